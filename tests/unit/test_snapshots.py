"""Database snapshots: copied once to the other Region under its key, old copies removed, foreign ones left."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.rds.models import rds_backends

from handlers.snapshots.copies import CopyFailed, Refused
from handlers.snapshots.event import Malformed
from tests.unit.aws import REGION, Context

ELSEWHERE = "ap-northeast-1"


class Databases:
    """Two Regions of RDS, and the function."""

    def __init__(self, function: Any, key_arn: str) -> None:
        self.function = function
        self.key_arn = key_arn
        self.here, self.elsewhere = boto3.client("rds"), boto3.client("rds", region_name=ELSEWHERE)
        self.here.create_db_instance(
            DBInstanceIdentifier="school",
            DBInstanceClass="db.t4g.micro",
            Engine="postgres",
            AllocatedStorage=20,
            MasterUsername="owner",
            ManageMasterUserPassword=True,
        )

    def snapshot(self, name: str, **tags: str) -> str:
        made = self.here.create_db_snapshot(
            DBInstanceIdentifier="school",
            DBSnapshotIdentifier=name,
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
        return str(made["DBSnapshot"]["DBSnapshotArn"])

    def automated(self) -> str:
        [found] = self.here.describe_db_snapshots(SnapshotType="automated")["DBSnapshots"]
        return str(found["DBSnapshotArn"])

    def cluster_snapshot(self, *, encrypted: bool) -> str:
        name = f"cluster-{encrypted}".lower()
        self.here.create_db_cluster(
            DBClusterIdentifier=name,
            Engine="aurora-postgresql",
            MasterUsername="owner",
            ManageMasterUserPassword=True,
            StorageEncrypted=encrypted,
        )
        made = self.here.create_db_cluster_snapshot(
            DBClusterIdentifier=name, DBClusterSnapshotIdentifier=f"{name}-nightly"
        )
        return str(made["DBClusterSnapshot"]["DBClusterSnapshotArn"])

    def tell(self, arn: str) -> dict[str, Any]:
        event = {"id": "1", "source": "aws.rds", "detail": {"SourceArn": arn}}
        answer: dict[str, Any] = self.function.handler(event, Context())
        return answer

    def copies(self) -> dict[str, dict[str, Any]]:
        found = self.elsewhere.describe_db_snapshots()["DBSnapshots"]
        return {copy["DBSnapshotIdentifier"]: copy for copy in found}

    def stored(self, name: str) -> Any:
        """The copy as moto keeps it, whose state and time a test can set."""
        backend = rds_backends[DEFAULT_ACCOUNT_ID][ELSEWHERE]
        return backend.database_snapshots[name]


@pytest.fixture
def databases(monkeypatch: pytest.MonkeyPatch) -> Iterator[Databases]:
    with mock_aws():
        key_arn = boto3.client("kms", region_name=ELSEWHERE).create_key()["KeyMetadata"]["Arn"]
        variables = {"DESTINATION_REGION": ELSEWHERE, "COPY_PREFIX": "rollbook", "KEY_ARN": key_arn}
        for name, value in (variables | {"RETENTION_DAYS": "35"}).items():
            monkeypatch.setenv(name, value)
        yield Databases(importlib.reload(importlib.import_module("handlers.snapshots.copy")), key_arn)


def test_a_manual_snapshot_is_copied_once_with_its_tags_under_the_regions_key(databases: Databases) -> None:
    arn = databases.snapshot("nightly", owner="office")
    for _ in range(3):
        assert databases.tell(arn) == {"copy": "rollbook-manual-nightly", "expired": []}
    [(name, copy)] = databases.copies().items()
    assert (name, copy["KmsKeyId"], copy["Encrypted"]) == ("rollbook-manual-nightly", databases.key_arn, True)
    assert {tag["Key"]: tag["Value"] for tag in copy["TagList"]} == {
        "owner": "office",
        "rollbook:copy-of": arn,
        "rollbook:copied-by": "function",
    }


def test_an_automated_snapshot_is_copied_beside_a_manual_one_of_that_name(databases: Databases) -> None:
    automated = databases.automated()
    plain = automated.rpartition("rds:")[2]
    databases.tell(automated)
    databases.tell(databases.snapshot(plain))
    assert databases.copies().keys() == {f"rollbook-automated-{plain}", f"rollbook-manual-{plain}"}


def test_an_aurora_snapshot_is_copied_and_an_unencrypted_one_is_refused(databases: Databases) -> None:
    databases.tell(databases.cluster_snapshot(encrypted=True))
    [copy] = databases.elsewhere.describe_db_cluster_snapshots()["DBClusterSnapshots"]
    assert (copy["DBClusterSnapshotIdentifier"], copy["KmsKeyId"]) == (
        "rollbook-manual-cluster-true-nightly",
        databases.key_arn,
    )
    with pytest.raises(Refused, match="restore it into an encrypted cluster"):
        databases.tell(databases.cluster_snapshot(encrypted=False))


def test_a_retry_after_an_answer_was_lost_copies_nothing_again(databases: Databases) -> None:
    arn = databases.snapshot("nightly")

    def lose(**_: Any) -> None:
        raise ConnectionResetError("the answer was lost")

    events = databases.function._destination.meta.events
    events.register("after-call.rds.CopyDBSnapshot", lose)
    with pytest.raises(ConnectionResetError):
        databases.tell(arn)
    events.unregister("after-call.rds.CopyDBSnapshot", lose)
    made = databases.copies()["rollbook-manual-nightly"]["SnapshotCreateTime"]
    databases.tell(arn)
    assert databases.copies()["rollbook-manual-nightly"]["SnapshotCreateTime"] == made


def test_two_at_once_make_one_copy(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = databases.snapshot("nightly")
    client = databases.function._destination
    real = client.copy_db_snapshot

    def second_comes_first(**wanted: Any) -> Any:
        real(**wanted)
        return real(**wanted)  # refused: the name is taken

    monkeypatch.setattr(client, "copy_db_snapshot", second_comes_first)
    assert databases.tell(arn)["copy"] == "rollbook-manual-nightly"
    assert len(databases.copies()) == 1


def test_old_copies_of_this_function_are_removed_and_foreign_ones_left(databases: Databases) -> None:
    for name in ("old", "young"):
        databases.tell(databases.snapshot(name))
    shared = {"DBInstanceIdentifier": "theirs"}
    databases.elsewhere.create_db_instance(
        **shared, DBInstanceClass="db.t4g.micro", Engine="postgres", AllocatedStorage=20, MasterUsername="owner"
    )
    databases.elsewhere.create_db_snapshot(**shared, DBSnapshotIdentifier="rollbook-manual-theirs")
    databases.elsewhere.create_db_snapshot(
        **shared,
        DBSnapshotIdentifier="rollbook-manual-another",
        Tags=[{"Key": "rollbook:copied-by", "Value": "another-function"}],
    )
    for name in ("old", "theirs", "another"):
        databases.stored(f"rollbook-manual-{name}").created = datetime.now(UTC) - timedelta(days=36)
    assert databases.tell(databases.snapshot("new"))["expired"] == ["rollbook-manual-old"]
    left = {name for name in databases.copies() if name.startswith("rollbook-")}
    assert left == {f"rollbook-manual-{name}" for name in ("young", "new", "theirs", "another")}


def test_a_failed_copy_is_reported_and_a_repeated_event_of_its_snapshot_starts_it_again(databases: Databases) -> None:
    arn = databases.snapshot("nightly")
    databases.tell(arn)
    databases.stored("rollbook-manual-nightly").status = "failed"
    with pytest.raises(CopyFailed, match=f"rollbook-manual-nightly of {arn}"):
        databases.tell(databases.snapshot("next"))
    databases.tell(arn)
    assert databases.copies()["rollbook-manual-nightly"]["Status"] == "available"


def test_what_cannot_be_copied_is_refused_and_says_why(databases: Databases) -> None:
    with pytest.raises(Refused, match="shared by the account 444455556666"):
        databases.tell(f"arn:aws:rds:{REGION}:444455556666:snapshot:theirs")
    with pytest.raises(Refused, match="does not exist any more"):
        databases.tell(f"arn:aws:rds:{REGION}:123456789012:snapshot:gone")
    with pytest.raises(Malformed, match="is not the ARN of a snapshot"):
        databases.tell(f"arn:aws:rds:{REGION}:123456789012:db:school")
    arn = databases.snapshot("taken")
    databases.elsewhere.create_db_instance(
        DBInstanceIdentifier="x", DBInstanceClass="db.t4g.micro", Engine="postgres", MasterUsername="owner"
    )
    databases.elsewhere.create_db_snapshot(DBInstanceIdentifier="x", DBSnapshotIdentifier="rollbook-manual-taken")
    with pytest.raises(Refused, match="but has the name of one; rename or delete it"):
        databases.tell(arn)


def test_a_snapshot_of_aws_backup_is_left_to_it(databases: Databases) -> None:
    arn = f"arn:aws:rds:{REGION}:123456789012:snapshot:awsbackup:job-1"
    assert databases.tell(arn) == {"copy": None, "expired": []}


def test_a_refusal_of_rds_raises(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = databases.snapshot("nightly")

    def too_many(**_: Any) -> None:
        error = {"Code": "SnapshotQuotaExceeded", "Message": "20 copies are in progress"}
        raise ClientError({"Error": error}, "CopyDBSnapshot")  # type: ignore[typeddict-item]

    monkeypatch.setattr(databases.function._destination, "copy_db_snapshot", too_many)
    with pytest.raises(ClientError, match="SnapshotQuotaExceeded"):
        databases.tell(arn)
