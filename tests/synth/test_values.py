"""What AWS acts on is as it should be, by value; and the checks notice when it is not."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest

from infra.settings import load_all
from tests.conftest import Stacks
from tests.synth import alterations
from tests.synth.values import every
from tests.synth.values.events import matches
from tests.synth.values.requests import Request, answer
from tests.synth.values.storage import place_of
from tests.synth.values.view import CHECKS, Check, View, ignored

SETTINGS = {settings.name: settings for settings in load_all() if settings.name in alterations.STACKS}
# Of the leaves that are drawn, the value checks have to notice this part.
_NOTICED = 0.9


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_by_value(stacks: Stacks, check: Check, name: str) -> None:
    found = list(every.faults(View(stacks.json(name), SETTINGS[name]), [check]))
    assert not found, "\n".join(found[:10])


@pytest.fixture(scope="module")
def documents(stacks: Stacks) -> dict[str, dict[str, Any]]:
    return {name: stacks.json(name) for name in alterations.STACKS}


def test_every_named_alteration_is_noticed(documents: dict[str, dict[str, Any]]) -> None:
    named = alterations.named(documents)
    assert len(named) >= 54
    unnoticed = [str(each) for each in named if not alterations.is_noticed(documents, each)]
    assert not unnoticed, "\n".join(unnoticed)
    assert all(alterations.shows(documents, each) for each in named)


def test_drawn_alterations_are_noticed_and_show_in_the_reviewed_files(documents: dict[str, dict[str, Any]]) -> None:
    drawn = alterations.drawn(documents)
    unseen = [str(each) for each in drawn if not alterations.shows(documents, each)]
    assert not unseen, "\n".join(unseen)
    unnoticed = [str(each) for each in drawn if not alterations.is_noticed(documents, each)]
    assert len(unnoticed) <= len(drawn) * (1 - _NOTICED), "\n".join(unnoticed)


def test_what_is_ignored_has_a_reason_and_is_in_the_stacks(documents: dict[str, dict[str, Any]]) -> None:
    for kind, attributes in ignored().items():
        assert all(reason.endswith(".") for reason in attributes.values()), kind
        assert kind == "*" or any(kind in stack["resource"] for stack in documents.values()), f"there is no {kind}"


def test_every_type_of_resource_is_altered_by_some_seed(documents: dict[str, dict[str, Any]]) -> None:
    """No type is left out of what is drawn: each has a leaf that AWS acts on, or is only ignored attributes."""
    kinds = {place[1] for name in documents for place, _, _ in alterations.acted_on(name, documents[name])}
    assert kinds == {kind for stack in documents.values() for kind in stack["resource"]}


def test_production_keeps_what_a_school_needs(documents: dict[str, dict[str, Any]]) -> None:
    """In days, independent of the settings' defaults: backups until they are marked, copies and logs a year."""
    view = View(documents["production"], SETTINGS["production"])
    backups = view.by("aws_s3_bucket_lifecycle_configuration", "bucket")["rollbook-production-backups"]["rule"]
    key = "students-backup-20250101T0000.json"
    assert [place_of(backups, key, age) for age in (29, 30, 89, 90, 729, 730)] == [
        "STANDARD",
        "STANDARD_IA",
        "STANDARD_IA",
        "GLACIER",
        "GLACIER",
        "GLACIER",
    ]
    marked = {"rollbook-expired": "yes"}
    assert [place_of(backups, key, age, tags=marked) for age in (0, 1)] == ["STANDARD", "deleted"]
    versions = [place_of(backups, key, age, current=False, tags=marked) for age in (89, 90)]
    assert versions == ["STANDARD", "deleted"]
    [plan] = view.all("aws_backup_plan").values()
    assert [rule["lifecycle"]["delete_after"] for rule in plan["rule"]] == [35, 365]
    assert plan["rule"][0]["copy_action"][0]["lifecycle"]["delete_after"] == 35
    [lock] = view.all("aws_backup_vault_lock_configuration").values()
    assert (lock["min_retention_days"], lock["max_retention_days"]) == (7, 36_500)
    logs = view.by("aws_cloudwatch_log_group", "name")
    assert {logs[name]["retention_in_days"] for name in logs if name.startswith("/aws/lambda/")} == {365}
    found = view.by("aws_dynamodb_table", "name")
    assert found["studentData"]["deletion_protection_enabled"] is True
    alarms = view.by("aws_cloudwatch_metric_alarm", "alarm_name")
    assert alarms["studentData-no-backup"]["evaluation_periods"] == 28
    assert alarms["BackupDynamoDBAndSendEmail-duration"]["threshold"] == 810_000


def event(**detail: Any) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "1",
        "source": "aws.test",
        "account": "111122223333",
        "detail-type": "t",
        "time": "2025-01-01T00:00:00Z",
        "region": "ap-southeast-1",
        "resources": [],
        "detail": detail,
    }


# EventBridge User Guide, "Comparison operators for use in event patterns": what matches, and what does not.
@pytest.mark.parametrize(
    ("filters", "right", "wrong"),
    [
        (["a"], "a", "b"),
        ([{"prefix": "a/"}], "a/b", "b/a"),
        ([{"suffix": ".png"}], "a.png", "a.txt"),
        ([{"prefix": {"equals-ignore-case": "EV"}}], "evening", "morning"),
        ([{"anything-but": "a"}], "b", "a"),
        ([{"anything-but": ["a", "b"]}], "c", "b"),
        ([{"anything-but": {"prefix": "a"}}], "b", "ab"),
        ([{"equals-ignore-case": "alice"}], "ALICE", "bob"),
        ([{"wildcard": "dir/*.png"}], "dir/x/a.png", "other/a.png"),
        ([{"exists": True}], "a", None),
        ([{"exists": False}], None, "a"),
        ([{"numeric": [">", 0, "<=", 5]}], 5, 0),
        ([{"numeric": ["=", 100]}], 100.0, 101),
        ([None], "null", "a"),
        ([{"cidr": "10.0.0.0/24"}], "10.0.0.255", "10.0.1.0"),
        (["a", {"prefix": "b"}], "bc", "c"),
    ],
    ids=json.dumps,
)
def test_the_matcher_knows_eventbridges_operators(filters: list[Any], right: Any, wrong: Any) -> None:
    pattern = json.dumps({"detail": {"x": filters}})
    for value, should in ((right, True), (wrong, False)):
        given = {} if value is None else {"x": None if value == "null" else value}
        assert matches(pattern, event(**given)) is should


def test_the_matcher_takes_all_fields_together_and_each_of_an_or() -> None:
    both = json.dumps({"source": ["aws.test"], "detail": {"x": ["a"], "y": ["b"]}})
    assert matches(both, event(x="a", y="b"))
    assert not matches(both, event(x="a", y="c"))
    either = json.dumps({"detail": {"$or": [{"x": ["a"]}, {"y": ["b"]}]}})
    assert matches(either, event(x="c", y="b"))
    assert not matches(either, event(x="c", y="c"))
    with pytest.raises(ValueError, match="pattern"):
        matches(json.dumps({"detail": {"x": "a"}}), event(x="a"))


def test_objects_move_on_the_day_of_the_lifecycle() -> None:
    rule = {
        "status": "Enabled",
        "filter": [{"prefix": "a/"}],
        "transition": [{"days": 90, "storage_class": "GLACIER"}, {"days": 30, "storage_class": "STANDARD_IA"}],
        "expiration": [{"days": 365}],
        "noncurrent_version_expiration": [{"noncurrent_days": 10}],
    }
    ages = (0, 29, 30, 89, 90, 364, 365)
    places = ["STANDARD", "STANDARD", "STANDARD_IA", "STANDARD_IA", "GLACIER", "GLACIER", "deleted"]
    assert [place_of([rule], "a/b", age) for age in ages] == places
    assert [place_of([rule], "a/b", age, current=False) for age in (9, 10)] == ["STANDARD", "deleted"]
    assert place_of([rule], "b/a", 1000) == "STANDARD"
    assert place_of([rule | {"status": "Disabled"}], "a/b", 1000) == "STANDARD"


def test_a_policy_answers_by_principal_condition_and_transport() -> None:
    allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    source = {"ArnEquals": {"aws:SourceArn": "arn:aws:events:r:1:rule/a"}}
    secure = {"Bool": {"aws:SecureTransport": "false"}}
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "q", "Condition": secure}
    policy = json.dumps({"Statement": [allow | {"Resource": "q", "Condition": source}, deny]})
    context = (("aws:sourcearn", "arn:aws:events:r:1:rule/a"),)
    asked = Request("sqs:SendMessage", "q", "events.amazonaws.com", context)
    assert answer(policy, asked) == "Allow"
    assert answer(policy, Request("sqs:SendMessage", "q", "events.amazonaws.com", context, secure=False)) == "Deny"
    assert answer(policy, Request("sqs:SendMessage", "q", "events.amazonaws.com")) == "ImplicitDeny"
    assert answer(policy, Request("sqs:SendMessage", "q", "s3.amazonaws.com", context)) == "ImplicitDeny"
    assert answer(policy, Request("sqs:SendMessage", "q")) == "ImplicitDeny"


def test_a_named_alteration_that_finds_nothing_is_an_error(
    documents: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    gone = tmp_path / "named.toml"
    gone.write_text('[[alteration]]\nwhat = "gone"\ntype = "aws_sqs_queue"\nof = { name = "gone" }\nat = ["name"]\n')
    monkeypatch.setattr(alterations, "NAMED", gone)
    with pytest.raises(ValueError, match="0 resources aws_sqs_queue"):
        alterations.named(documents)
    assert tomllib.loads(gone.read_text())
