"""Who may tag backups, with the policies of the stack and IAM enforced; condition keys of tags; lifecycle by tags."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.settings import ENVIRONMENTS, load
from rollbook.contract.retention import MARK, PIN
from rollbook.engine.s3 import tags
from tests.conftest import Stacks, synthesize_settings
from tests.lifecycle_rules import api_rules
from tests.local.bare import Clients, a_bucket, a_user, allowed, ask, assumed, of_role, refused

PREFIX = "students-backup-"
KEY = f"{PREFIX}20250708T0700.json"
CARRIED = {"Class": "records"}


@pytest.fixture
def aws(bare_port: int) -> Clients:
    return Clients(bare_port)


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Stacks:
    """Production, with tags on the backups."""
    settings = load(ENVIRONMENTS / "production.toml")
    backups = settings.backups.model_copy(update={"tags": CARRIED})
    return synthesize_settings(settings.model_copy(update={"backups": backups}), Path(tmp_path_factory.mktemp("tags")))


@dataclass
class Store:
    """A bucket with the policy of the stack, and a client of S3 for each caller."""

    bucket: str
    root: Any
    retention: Any
    backup: Any
    admin: Any

    def tag(self, caller: Any, key: str = KEY, **given: str) -> dict[str, Any]:
        tag_set = [{"Key": name, "Value": value} for name, value in given.items()]
        return {"Bucket": self.bucket, "Key": key, "Tagging": {"TagSet": tag_set}}

    def refuses(self, caller: Any, tagged: dict[str, str], key: str = KEY) -> bool:
        return refused(caller.put_object_tagging, **self.tag(caller, key, **tagged))

    def tags(self) -> dict[str, str]:
        return tags.read(self.root, self.bucket, KEY)


@pytest.fixture
def store(aws: Clients, stacks: Stacks) -> Store:
    bucket, s3 = a_bucket(aws), aws("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    arns: dict[str, str] = {}

    def resolved(text: str) -> Any:
        def replaced(found: re.Match[str]) -> str:
            kind, name = found.groups()
            return f"arn:aws:s3:::{bucket}" if kind == "aws_s3_bucket" else arns["_".join(name.split("_")[:-2])]

        return json.loads(re.sub(r"\$\{(\w+)\.([\w-]+)\.arn\}", replaced, text))

    for name in ("retention_function", "backups_function"):
        policies = [
            resolved(policy["policy"])
            for key, policy in stacks.resources("production", "aws_iam_role_policy").items()
            if key.startswith(f"{name}_") and "aws_s3_bucket" in policy["policy"]
        ]
        arns[name] = of_role(aws, *(statement for policy in policies for statement in policy["Statement"]))
    arns["backups_finish"] = arns["backups_function"]
    [policy] = [
        each["policy"]
        for key, each in stacks.resources("production", "aws_s3_bucket_policy").items()
        if key.startswith("store_")
    ]
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(resolved(policy)))
    _, admin = a_user(aws, allowed("s3:*"))
    made = Store(
        bucket,
        s3,
        aws("s3", **assumed(aws, arns["retention_function"])),
        aws("s3", **assumed(aws, arns["backups_function"])),
        aws("s3", **admin),
    )
    made.backup.put_object(Bucket=bucket, Key=KEY, Body=b"x", Tagging="Class=records")
    return made


def test_the_retention_sets_and_removes_the_mark_and_the_pin_beside_other_tags(store: Store) -> None:
    for name in (MARK, PIN):
        assert tags.change(store.retention, store.bucket, KEY, name, "yes")
    assert store.tags() == CARRIED | {MARK: "yes", PIN: "yes"}
    for name in (MARK, PIN):
        assert tags.change(store.retention, store.bucket, KEY, name, None)
    assert store.tags() == CARRIED
    assert tags.change(store.retention, store.bucket, KEY, "Class", None)
    assert store.tags() == {}


@pytest.mark.parametrize(
    "tagged", [{MARK: "no"}, {PIN: "y"}, {"Other": "a"}, {MARK: "yes", "Other": "a"}], ids=lambda each: "+".join(each)
)
def test_the_retention_sets_no_other_tag_or_value(store: Store, tagged: dict[str, str]) -> None:
    assert store.refuses(store.retention, tagged)
    assert store.tags() == CARRIED


def test_the_retention_writes_and_deletes_nothing_and_tags_no_other_object(store: Store) -> None:
    assert refused(store.retention.put_object, Bucket=store.bucket, Key=KEY, Body=b"y")
    assert refused(store.retention.delete_object, Bucket=store.bucket, Key=KEY)
    assert refused(store.retention.delete_object_tagging, Bucket=store.bucket, Key=KEY)
    assert store.refuses(store.retention, {MARK: "yes"}, key="other/key")


@pytest.mark.parametrize("name", [MARK, PIN])
def test_a_backup_is_uploaded_with_its_tags_and_never_with_the_mark_or_the_pin(store: Store, name: str) -> None:
    for call in (store.backup.put_object, store.backup.create_multipart_upload):
        asked = {"Bucket": store.bucket, "Key": f"{PREFIX}other"}
        assert not refused(call, **asked, Tagging="Class=records")
        assert refused(call, **asked, Tagging=f"Class=records&{name}=yes")
    assert store.refuses(store.backup, CARRIED | {name: "yes"})


def test_a_backup_function_cannot_remove_a_pin(store: Store) -> None:
    assert not store.refuses(store.backup, CARRIED)
    tags.change(store.retention, store.bucket, KEY, PIN, "yes")
    assert store.refuses(store.backup, CARRIED)
    assert store.tags() == CARRIED | {PIN: "yes"}


@pytest.mark.parametrize("tagged", [{MARK: "yes"}, {PIN: "yes"}, {"a": "b"}, {}], ids=["mark", "pin", "other", "none"])
def test_an_administrator_tags_nothing(store: Store, tagged: dict[str, str]) -> None:
    assert store.refuses(store.admin, tagged)
    version = store.root.head_object(Bucket=store.bucket, Key=KEY)["VersionId"]
    of_version = store.tag(store.admin, **tagged) | {"VersionId": version}
    assert refused(store.admin.put_object_tagging, **of_version)
    assert refused(store.admin.delete_object_tagging, Bucket=store.bucket, Key=KEY)
    assert refused(store.admin.delete_object_tagging, Bucket=store.bucket, Key=KEY, VersionId=version)
    assert not refused(store.admin.get_object_tagging, Bucket=store.bucket, Key=KEY)


def conditional(operator: str, key: str, value: Any) -> dict[str, Any]:
    return allowed("s3:*") | {"Condition": {operator: {key: value}}}


@pytest.mark.parametrize(
    ("statement", "granted", "denied"),
    [
        (conditional("StringEquals", "s3:RequestObjectTag/a", "1"), "a=1&b=2", "a=2"),
        (conditional("StringEquals", "s3:RequestObjectTag/a", "1"), "a=1", "A=1"),
        (conditional("ForAllValues:StringEquals", "s3:RequestObjectTagKeys", ["a", "b"]), "a=1", "a=1&c=1"),
        (conditional("ForAllValues:StringEquals", "s3:RequestObjectTagKeys", ["a"]), "", "c=1"),
        (conditional("ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", ["a"]), "a=1&c=1", ""),
        (conditional("Null", "s3:RequestObjectTagKeys", "true"), "", "a=1"),
        (conditional("StringEquals", "s3:ExistingObjectTag/old", "1"), None, "old=1"),
    ],
)
def test_the_tags_of_a_request_are_condition_keys(
    aws: Clients, statement: dict[str, Any], granted: str | None, denied: str
) -> None:
    bucket = a_bucket(aws)
    _, keys = a_user(aws, statement)
    s3 = aws("s3", **keys)
    for call in (s3.put_object, s3.create_multipart_upload):
        if granted is not None:
            assert not refused(call, Bucket=bucket, Key="k", **({"Tagging": granted} if granted else {}))
        assert refused(call, Bucket=bucket, Key="k", **({"Tagging": denied} if denied else {}))


def test_the_tags_of_an_object_are_condition_keys(aws: Clients) -> None:
    bucket, root = a_bucket(aws), aws("s3")
    for key in ("old", "new"):
        root.put_object(Bucket=bucket, Key=key, Tagging=f"age={key}")
    _, keys = a_user(aws, conditional("StringEquals", "s3:ExistingObjectTag/age", "old"))
    s3 = aws("s3", **keys)
    asked = {"Bucket": bucket, "Tagging": {"TagSet": [{"Key": "age", "Value": "old"}]}}
    assert not refused(s3.put_object_tagging, Key="old", **asked)
    assert refused(s3.put_object_tagging, Key="new", **asked)
    assert not refused(s3.get_object_tagging, Bucket=bucket, Key="old")
    assert refused(s3.get_object_tagging, Bucket=bucket, Key="new")
    assert refused(s3.delete_object, Bucket=bucket, Key="old"), "S3 does not have the key for this call"


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        ({"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}, "AbortIncompleteMultipartUpload"),
        ({"Expiration": {"ExpiredObjectDeleteMarker": True}}, "ExpiredObjectDeleteMarker"),
    ],
)
@pytest.mark.parametrize("is_and", [True, False])
def test_a_rule_with_tags_has_no_action_on_uploads_or_markers(
    aws: Clients, part: dict[str, Any], fault: str, is_and: bool
) -> None:
    tag = {"Key": MARK, "Value": "yes"}
    of_tag = {"And": {"Prefix": "a", "Tags": [tag]}} if is_and else {"Tag": tag}
    rule = {"ID": "r", "Status": "Enabled", "Filter": of_tag, "Expiration": {"Days": 1}} | part
    asked = {"Bucket": a_bucket(aws), "LifecycleConfiguration": {"Rules": [rule]}}
    with pytest.raises(ClientError, match=f"InvalidRequest.*{fault} cannot be specified with Tags"):
        aws("s3").put_bucket_lifecycle_configuration(**asked)


def test_what_is_marked_goes_at_midnight_and_its_version_after_the_days_to_undo(
    aws: Clients, store: Store, stacks: Stacks
) -> None:
    other = f"{PREFIX}20250709T0700.json"
    store.backup.put_object(Bucket=store.bucket, Key=other, Body=b"x")
    [configured] = [
        each
        for key, each in stacks.resources("production", "aws_s3_bucket_lifecycle_configuration").items()
        if key.startswith("store_")
    ]
    store.root.put_bucket_lifecycle_configuration(
        Bucket=store.bucket, LifecycleConfiguration={"Rules": api_rules(configured["rule"])}
    )
    tags.change(store.retention, store.bucket, KEY, MARK, "yes")
    now = datetime.now(UTC)

    def after(days: float) -> tuple[set[str], int, int]:
        ask(aws.port, "lifecycle", {"now": (now + timedelta(days=days)).isoformat()})
        found = store.root.list_object_versions(Bucket=store.bucket)
        current = {each["Key"] for each in found.get("Versions", []) if each["IsLatest"]}
        return current, len(found.get("Versions", [])), len(found.get("DeleteMarkers", []))

    assert after(0.5) == ({KEY, other}, 2, 0)
    assert after(3) == ({other}, 2, 1)
    assert after(92) == ({other}, 2, 1)
    assert after(95) == ({other}, 1, 1)
    assert after(96) == ({other}, 1, 0)
    assert after(4000) == ({other}, 1, 0)
