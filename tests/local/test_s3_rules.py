"""S3's lifecycle, rights and public access on the embedded AWS, and the lifecycle on moto."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.emulator.lifecycle import ALL_CLASSES, VARIES, Version, plan
from ops.local import aws
from tests.unit.aws import REGION
from tests.unit.lifecycle_on_moto import run_lifecycle

ACCOUNT = "000000000000"
SMALLEST = 128 * 1024
_names = count()
At = Callable[[float], None]


@pytest.fixture(params=["embedded", "moto"])
def stand_in(request: pytest.FixtureRequest) -> Iterator[tuple[Any, int | None]]:
    if request.param == "embedded":
        port = request.getfixturevalue("bare_port")
        yield aws.client("s3", port, REGION), port
        return
    with mock_aws():
        yield boto3.client("s3"), None


@pytest.fixture
def s3(stand_in: tuple[Any, int | None]) -> Any:
    return stand_in[0]


@pytest.fixture
def bucket(s3: Any) -> Iterator[str]:
    name = f"lifecycle-{next(_names)}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    yield name
    s3.delete_bucket_lifecycle(Bucket=name)


@pytest.fixture
def after(stand_in: tuple[Any, int | None], bucket: str) -> At:
    """Carry out the lifecycle as of some days from now."""

    def run(days: float) -> None:
        s3, port = stand_in
        now = datetime.now(UTC) + timedelta(days=days)
        if port is None:
            run_lifecycle(s3, bucket, now)
            return
        request = urllib.request.Request(
            f"http://localhost:{port}/_rollbook/lifecycle", json.dumps({"now": now.isoformat()}).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    return run


def configure(s3: Any, bucket: str, *rules: dict[str, Any], **given: Any) -> None:
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration={
            "Rules": [
                {"ID": f"rule-{number}", "Status": "Enabled", "Filter": {"Prefix": ""}} | rule
                for number, rule in enumerate(rules)
            ]
        },
        **given,
    )


def current(s3: Any, bucket: str) -> set[str]:
    return {found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])}


def versions(s3: Any, bucket: str) -> tuple[int, int]:
    """How many versions and delete markers there are."""
    found = s3.list_object_versions(Bucket=bucket)
    return len(found.get("Versions", [])), len(found.get("DeleteMarkers", []))


def test_what_is_under_the_rules_prefix_expires_at_the_midnight_after_its_days(s3: Any, bucket: str, after: At) -> None:
    s3.put_object(Bucket=bucket, Key="old/a", Body=b"a")
    s3.put_object(Bucket=bucket, Key="kept/a", Body=b"a")
    configure(s3, bucket, {"Filter": {"Prefix": "old/"}, "Expiration": {"Days": 10}})
    after(9.9)
    assert current(s3, bucket) == {"old/a", "kept/a"}
    after(11)
    assert current(s3, bucket) == {"kept/a"}
    assert versions(s3, bucket) == (2, 1), "an expiration leaves a delete marker"


def test_what_has_the_rules_tags_expires(s3: Any, bucket: str, after: At) -> None:
    s3.put_object(Bucket=bucket, Key="tagged", Body=b"a", Tagging="superseded=yes")
    s3.put_object(Bucket=bucket, Key="other", Body=b"a", Tagging="superseded=no")
    s3.put_object(Bucket=bucket, Key="plain", Body=b"a")
    tag = {"Tag": {"Key": "superseded", "Value": "yes"}}
    configure(s3, bucket, {"Filter": tag, "Expiration": {"Days": 1}})
    after(3)
    assert current(s3, bucket) == {"other", "plain"}


def test_a_rule_that_is_disabled_does_nothing(s3: Any, bucket: str, after: At) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"a")
    configure(s3, bucket, {"Status": "Disabled", "Expiration": {"Days": 1}})
    after(100)
    assert current(s3, bucket) == {"a"}


def test_a_noncurrent_version_is_deleted_its_days_after_it_was_replaced(s3: Any, bucket: str, after: At) -> None:
    for body in (b"1", b"2"):
        s3.put_object(Bucket=bucket, Key="a", Body=body)
    configure(s3, bucket, {"NoncurrentVersionExpiration": {"NoncurrentDays": 5}})
    after(4.9)
    assert versions(s3, bucket) == (2, 0)
    after(6)
    assert versions(s3, bucket) == (1, 0)
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"2"


def test_an_object_expires_then_its_version_is_deleted_then_its_marker(s3: Any, bucket: str, after: At) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    step = {"Expiration": {"Days": 10}, "NoncurrentVersionExpiration": {"NoncurrentDays": 5}}
    configure(s3, bucket, step)
    for days, expected in ((11, (1, 1)), (15, (1, 1)), (17, (0, 1)), (23, (0, 0))):
        after(days)
        assert versions(s3, bucket) == expected, f"after {days} days"


def test_an_object_moves_to_the_class_whose_day_has_come(s3: Any, bucket: str, after: At) -> None:
    s3.put_object(Bucket=bucket, Key="big", Body=b"x" * SMALLEST)
    s3.put_object(Bucket=bucket, Key="small", Body=b"x" * (SMALLEST - 1))
    steps = [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 90, "StorageClass": "GLACIER"}]
    configure(s3, bucket, {"Transitions": steps})
    for days, expected in ((29, "STANDARD"), (31, "STANDARD_IA"), (91, "GLACIER")):
        after(days)
        found = s3.list_object_versions(Bucket=bucket)["Versions"]
        assert {each["Key"]: each["StorageClass"] for each in found} == {"big": expected, "small": "STANDARD"}


@pytest.mark.parametrize("stand_in", ["embedded"], indirect=True)
def test_an_incomplete_upload_is_aborted(s3: Any, bucket: str, after: At) -> None:
    s3.create_multipart_upload(Bucket=bucket, Key="a")
    configure(s3, bucket, {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}})
    after(0.9)
    assert len(s3.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1
    after(2)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


MOMENT = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("minimum", "conditions", "to", "moves"),
    [
        (ALL_CLASSES, {}, "GLACIER", False),
        (VARIES, {}, "GLACIER", True),
        (VARIES, {}, "STANDARD_IA", False),
        (ALL_CLASSES, {"ObjectSizeGreaterThan": 10}, "STANDARD_IA", True),
    ],
)
def test_a_small_object_moves_only_if_the_configuration_or_the_rule_says_so(
    minimum: str, conditions: dict[str, Any], to: str, moves: bool
) -> None:
    rule = {"Status": "Enabled", "Filter": conditions, "Transitions": [{"Days": 30, "StorageClass": to}]}
    small = Version("a", "1", MOMENT, size=1000)
    assert bool(plan([rule], [small], [], MOMENT + timedelta(days=32), minimum)) is moves


def test_a_deletion_goes_before_a_move() -> None:
    rule = {
        "Status": "Enabled",
        "Expiration": {"Days": 30},
        "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}],
    }
    [action] = plan([rule], [Version("a", "1", MOMENT, SMALLEST)], [], MOMENT + timedelta(days=32))
    assert action.kind == "expire"


def test_the_newest_noncurrent_versions_stay_if_the_rule_says_how_many() -> None:
    rule = {
        "Status": "Enabled",
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 2},
    }
    kept = [Version("a", str(age), MOMENT - timedelta(days=age), is_latest=age == 0) for age in range(5)]
    due = plan([rule], kept, [], MOMENT + timedelta(days=5))
    assert [action.id for action in due] == ["3", "4"]


def test_the_default_minimum_size_of_a_configuration_is_kept(bare_port: int) -> None:
    s3 = aws.client("s3", bare_port, REGION)
    s3.create_bucket(Bucket="minimum", CreateBucketConfiguration={"LocationConstraint": REGION})
    for given in (VARIES, ALL_CLASSES):
        configure(s3, "minimum", {"Expiration": {"Days": 1}}, TransitionDefaultMinimumObjectSize=given)
        answer = s3.get_bucket_lifecycle_configuration(Bucket="minimum")
        assert answer["TransitionDefaultMinimumObjectSize"] == given


def user(port: int, name: str, actions: list[str]) -> Any:
    iam = aws.client("iam", port, REGION)
    iam.create_user(UserName=name)
    allow = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps({"Statement": [allow]}))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return aws.client(
        "s3", port, REGION, aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"]
    )


@pytest.mark.parametrize(
    ("action", "given"),
    [("s3:PutObjectAcl", {"ACL": "bucket-owner-full-control"}), ("s3:PutObjectTagging", {"Tagging": "a=b"})],
)
def test_an_object_with_an_acl_or_tags_needs_the_right_to_set_them(
    bare_port: int, action: str, given: dict[str, str]
) -> None:
    name = f"rights-{next(_names)}"
    aws.client("s3", bare_port, REGION).create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    without, with_ = user(bare_port, name, ["s3:PutObject"]), user(bare_port, f"{name}-b", ["s3:PutObject", action])
    without.put_object(Bucket=name, Key="k", Body=b"")
    for call in ("put_object", "create_multipart_upload"):
        with pytest.raises(ClientError, match=f"AccessDenied.*{action}"):
            getattr(without, call)(Bucket=name, Key="k", **given)
        getattr(with_, call)(Bucket=name, Key="k", **given)


PUBLIC = [
    {"Principal": "*"},
    {"Principal": {"AWS": "*"}},
    {"Principal": "*", "Condition": {"StringNotEquals": {"aws:SourceAccount": ACCOUNT}}},
    {"Principal": "*", "Condition": {"ArnLike": {"aws:SourceArn": "*"}}},
    {"Principal": "*", "Condition": {"StringLike": {"aws:PrincipalTag/team": "a"}}},
]
NOT_PUBLIC = [
    {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}},
    {"Principal": {"Service": "cloudfront.amazonaws.com"}},
    {"Principal": "*", "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}}},
    {"Principal": "*", "Effect": "Deny"},
]


@pytest.mark.parametrize(
    ("statement", "is_public"), [*((each, True) for each in PUBLIC), *((each, False) for each in NOT_PUBLIC)]
)
def test_a_public_policy_is_refused_where_public_policies_are_blocked(
    bare_port: int, statement: dict[str, Any], is_public: bool
) -> None:
    s3, name = aws.client("s3", bare_port, REGION), f"public-{next(_names)}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration={"BlockPublicPolicy": True})
    whole = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"} | statement
    document = json.dumps({"Version": "2012-10-17", "Statement": [whole]})
    if not is_public:
        s3.put_bucket_policy(Bucket=name, Policy=document)
        return
    with pytest.raises(ClientError, match=r"AccessDenied.*BlockPublicPolicy"):
        s3.put_bucket_policy(Bucket=name, Policy=document)
