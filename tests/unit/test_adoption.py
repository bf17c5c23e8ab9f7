"""Adoption without an account: imports in a plan, the search, and the review."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from ops import terraform
from ops.__main__ import app
from ops.adoption.finders import FINDERS
from ops.adoption.finding import AdoptionError, Found, Place
from ops.adoption.search import Search
from ops.plans import guard, review
from ops.plans.changes import Action, parse
from tests.unit.aws import REGION

ACCOUNT = "123456789012"


def plan(*changes: dict[str, Any]) -> str:
    return json.dumps({"format_version": "1.2", "resource_changes": list(changes)})


def change(address: str, actions: list[str], before: Any, after: Any, **more: Any) -> dict[str, Any]:
    kind, _, name = address.partition(".")
    return {
        "address": address,
        "mode": "managed",
        "type": kind,
        "name": name,
        "change": {"actions": actions, "before": before, "after": after, **more},
    }


def test_an_import_is_adopted_unchanged_or_changed() -> None:
    same = {"name": "a"}
    found = parse(
        plan(
            change("aws_sqs_queue.as_it_is", ["no-op"], same, same, importing={"id": "url-1"}),
            change("aws_sqs_queue.off", ["update"], {**same, "x": None}, {**same, "x": False}, importing={"id": "u"}),
            change("aws_sqs_queue.changed", ["update"], {**same, "x": 1}, {**same, "x": 2}, importing={"id": "url-2"}),
            change("aws_sqs_queue.managed", ["no-op"], same, same),
        )
    )
    assert [(each.address, each.action, each.resource.adopted_from) for each in found.changes] == [
        ("aws_sqs_queue.changed", Action.CHANGE, "url-2"),
        ("aws_sqs_queue.as_it_is", Action.ADOPT, "url-1"),
        ("aws_sqs_queue.off", Action.ADOPT, "u"),
    ]


@pytest.mark.parametrize(("bucket", "stopped"), [("backups-by-hand", 2), (None, 0)])
def test_a_new_lifecycle_that_deletes_existing_objects_is_a_finding(bucket: str | None, stopped: int) -> None:
    rule = {
        "id": "backups",
        "expiration": [{"days": 365}],
        "noncurrent_version_expiration": [{"noncurrent_days": 30}],
    }
    address = "aws_s3_bucket_lifecycle_configuration.store"
    found = parse(plan(change(address, ["create"], None, {"bucket": bucket, "rule": [rule]})))
    findings = guard.check(found, [], date(2026, 1, 1))
    assert len(findings) == stopped
    assert all(finding.rule == "keep-retention" and "backups-by-hand" in finding.what for finding in findings)


def test_the_unknown_window_of_an_adopted_key_is_not_a_finding() -> None:
    before, after = {"deletion_window_in_days": None}, {"deletion_window_in_days": 30}
    found = parse(plan(change("aws_kms_key.k", ["update"], before, after, importing={"id": "k"})))
    assert guard.check(found, [], date(2026, 1, 1)) == []


STACK = {
    "provider": {"aws": [{"region": REGION}, {"region": "eu-west-1", "alias": "eu-west-1"}]},
    "resource": {
        "aws_sqs_queue": {
            "here": {"name": "letters"},
            "there": {"name": "letters", "provider": "aws.eu-west-1"},
            "nowhere": {"name": "none"},
        },
        "aws_sqs_queue_policy": {
            "here": {"queue_url": "${aws_sqs_queue.here.url}"},
            "nowhere": {"queue_url": "${aws_sqs_queue.nowhere.url}"},
        },
        "aws_s3_bucket": {"b": {"bucket": "somebodys"}},
    },
}


@mock_aws
def test_a_search_follows_references_and_regions() -> None:
    urls = {region: boto3.client("sqs", region).create_queue(QueueName="letters") for region in (REGION, "eu-west-1")}
    boto3.client("sqs", REGION).add_permission(
        QueueUrl=urls[REGION]["QueueUrl"], Label="one", AWSAccountIds=[ACCOUNT], Actions=["SendMessage"]
    )
    found = {address: it and it.import_id for address, it in Search(STACK, ACCOUNT, boto3.client).run()}
    assert found == {
        "aws_sqs_queue.here": urls[REGION]["QueueUrl"],
        "aws_sqs_queue.there": urls["eu-west-1"]["QueueUrl"],
        "aws_sqs_queue.nowhere": None,
        "aws_sqs_queue_policy.here": urls[REGION]["QueueUrl"],
        "aws_sqs_queue_policy.nowhere": None,
        "aws_s3_bucket.b": None,
    }


def test_a_type_without_a_finder_is_refused() -> None:
    with pytest.raises(AdoptionError, match="there is no finder for aws_thing"):
        Search({"provider": {"aws": []}, "resource": {"aws_thing": {"t": {}}}}, ACCOUNT, boto3.client)
    with pytest.raises(AdoptionError, match=r"the stack has no aws_sqs_queue\.other"):
        Search(STACK, ACCOUNT, boto3.client, {"aws_sqs_queue.other": "url"})
    said = CliRunner().invoke(app, ["adopt", "--env", "workshop", "--id", "aws_sqs_queue.q"])
    assert said.exit_code == 1
    assert "write ADDRESS=ID" in said.stderr


def test_a_chosen_id_is_used_without_a_search() -> None:
    api, resource = "aws_api_gateway_rest_api.api", "aws_api_gateway_resource.students"
    of_api = {"rest_api_id": f"${{{api}.id}}"}
    stack = {
        "provider": STACK["provider"],
        "resource": {
            "aws_api_gateway_rest_api": {"api": {"name": "student"}},
            "aws_api_gateway_resource": {"students": {**of_api, "path_part": "students"}},
            "aws_api_gateway_method": {"get": {**of_api, "resource_id": f"${{{resource}.id}}", "http_method": "GET"}},
        },
    }

    def nobody(service: str, region: str) -> Any:
        raise AssertionError(f"{service} in {region} was asked")

    search = Search(stack, ACCOUNT, nobody, {api: "a1b2", resource: "a1b2/c3"})
    assert search.find(resource) == Found("a1b2/c3", "c3")
    assert search.values("aws_api_gateway_method.get") == {
        "rest_api_id": "a1b2",
        "resource_id": "c3",
        "http_method": "GET",
    }


@mock_aws
def test_a_missing_permission_ends_the_search_and_names_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    queues = boto3.client("sqs", REGION)
    refused = {"Error": {"Code": "AccessDenied", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 403}}

    def refuse(**_: Any) -> None:
        raise queues.exceptions.ClientError(refused, "GetQueueUrl")

    monkeypatch.setattr(queues, "get_queue_url", refuse)
    search = Search(STACK, ACCOUNT, lambda *_: queues)
    with pytest.raises(AdoptionError, match=r"aws_sqs_queue\.here: it cannot be searched: .*AccessDenied"):
        search.find("aws_sqs_queue_policy.here")


def reviewed(*changes: dict[str, Any], serial: int = 3, **more: Any) -> review.Review:
    stack = json.dumps(more.pop("stack", {})).encode()
    document = {**json.loads(plan(*changes)), **more}
    return review.of(json.dumps(document).encode(), "production", ("lineage", serial), stack)


def test_a_review_detects_another_plan_and_another_state() -> None:
    first = change("aws_sqs_queue.a", ["update"], {"x": 1}, {"x": 2})
    second = change("aws_sqs_queue.b", ["create"], None, {"x": 1})
    quiet = change("aws_sqs_queue.c", ["no-op"], {"x": 1}, {"x": 1})
    made = reviewed(first, second)
    assert review.loads(made.dumps()) == made
    assert made.differences(reviewed(second, quiet, first)) == []
    other = change("aws_sqs_queue.a", ["update"], {"x": 1}, {"x": 3})
    assert made.differences(reviewed(other, second)) == ["the plan differs from the reviewed one"]
    assert made.differences(reviewed(first, second, serial=4)) == ["the state moved from serial 3 to 4"]
    with pytest.raises(review.ReviewError, match="not a review"):
        review.loads('{"digest": "1"}')


@pytest.mark.parametrize(
    "more",
    [
        {"stack": {"resource": {"a": {"b": {"provisioner": [{"local-exec": {"command": "touch x"}}]}}}}},
        {"stack": {"provider": {"aws": [{"endpoints": [{"sts": "http://127.0.0.1:1"}]}]}}},
        {
            "stack": {
                "resource": {"aws_iam_role_policy": {"p": {"policy": "Allow everything on ${aws_sqs_queue.a.arn}"}}}
            }
        },
        {"output_changes": {"url": {"actions": ["update"], "before": "a", "after": "b"}}},
    ],
    ids=["a program that an apply runs", "where a provider connects to", "a policy that is not known yet", "an output"],
)
def test_a_review_covers_provisioners_providers_and_outputs(more: dict[str, Any]) -> None:
    first = change("aws_sqs_queue.a", ["update"], {"x": 1}, {"x": 2})
    assert reviewed(first).differences(reviewed(first, **more)) == ["the plan differs from the reviewed one"]


def test_a_review_covers_an_import_that_changes_nothing() -> None:
    quiet = change("aws_sqs_queue.c", ["no-op"], {"x": 1}, {"x": 1})
    other = {**quiet, "change": {**quiet["change"], "importing": {"id": "another"}}}
    assert reviewed(quiet).differences(reviewed(other)) == ["the plan differs from the reviewed one"]


def test_a_review_covers_a_move_that_changes_nothing_else() -> None:
    quiet = change("aws_sqs_queue.c", ["no-op"], {"x": 1}, {"x": 1})
    moved = quiet | {"previous_address": "aws_sqs_queue.b"}
    assert reviewed(quiet).differences(reviewed(moved)) == ["the plan differs from the reviewed one"]


def test_a_crash_of_the_provider_is_shortened_to_its_place() -> None:
    said = (
        "Error: Plugin did not respond\n\nStack trace:\n\npanic: nil pointer\n[signal]\n\ngoroutine 1:\n"
        "github.com/x.f()\n\tgithub.com/hashicorp/terraform-provider-aws/internal/service/s3/b.go:16 +0x1\n"
        "Error: Request cancelled\n"
    )
    assert terraform._reason(said) == "the provider crashed: nil pointer, in internal/service/s3/b.go:16"
    assert terraform._reason("Error: no\n") == "Error: no"


def test_notifications_of_a_bucket_are_found_for_every_target() -> None:
    """A bucket has one configuration, and PutBucketNotificationConfiguration replaces it (S3 API reference)."""
    with mock_aws():
        s3, topic = boto3.client("s3"), boto3.client("sns").create_topic(Name="a")["TopicArn"]
        s3.create_bucket(Bucket="by-hand", CreateBucketConfiguration={"LocationConstraint": REGION})
        place, find = Place(ACCOUNT, REGION, boto3.client), FINDERS["aws_s3_bucket_notification"]
        assert find(place, {"bucket": "by-hand"}) is None
        told = {"TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]}
        s3.put_bucket_notification_configuration(Bucket="by-hand", NotificationConfiguration=told)
        assert find(place, {"bucket": "by-hand"}) == Found("by-hand")
