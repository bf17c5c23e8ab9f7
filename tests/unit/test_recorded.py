"""A backup is compared with what the history records of it, not only with its own footer."""

from __future__ import annotations

import json

import boto3
import pytest

from infra.settings import ENVIRONMENTS, load
from rollbook.engine import backup, recorded, stored
from rollbook.engine.formats.lines import Corrupted
from rollbook.engine.restore_request import Request, RestoreRefused
from tests.unit.engine import JOB, KEY, Clock, Mail, backup_of, put, read, resources, restorer, scheduled, soon, table


@pytest.fixture(autouse=True)
def _made(aws: None, mail: Mail, clock: Clock) -> None:
    boto3.client("s3").put_bucket_versioning(Bucket="student-backup", VersioningConfiguration={"Status": "Enabled"})
    put(SV001={"name": {"S": "An"}}, SV002={"name": {"S": "Chi"}})
    backup_of(JOB, mail, clock).run(scheduled(), holder="a", deadline=soon())


def replace_with_a_backup_of_another_table(mail: Mail, clock: Clock) -> None:
    """Put a document that is whole by its own footer in the place of the backup."""
    put(SV003={"name": {"S": "Forged"}})
    clock.now = clock.now.replace(hour=5)
    other = backup_of(JOB, mail, clock).run(
        backup.Request("manual#forged", "manual", "students-backup-forged", clock.now),
        holder="f",
        deadline=soon(),
    )
    assert other is not None
    boto3.client("s3").put_object(Bucket="student-backup", Key=KEY, Body=read(other.key))


def test_the_history_keeps_the_version_and_the_digests(clock: Clock) -> None:
    found = recorded.find(resources(clock).history, KEY)
    head = boto3.client("s3").head_object(Bucket="student-backup", Key=KEY)
    assert found is not None
    assert (found.version_id, found.etag) == (head["VersionId"], head["ETag"].strip('"'))
    assert (found.items, found.bytes, found.execution) == (2, head["ContentLength"], scheduled().id)
    assert found.sha256 == json.loads(read(KEY))["sha256"]


def test_a_replaced_backup_is_told_and_the_version_of_the_history_is_read(mail: Mail, clock: Clock) -> None:
    replace_with_a_backup_of_another_table(mail, clock)
    used = resources(clock)
    opened = used.open_backup(KEY)
    assert stored.verify(opened).items == 2
    assert "was replaced by the version" in stored.replaced(used.s3, used.bucket, opened)
    restorer(clock).run(Request(KEY, "restored", is_new=True), holder="a")
    assert sorted(table("restored")) == ["SV001", "SV002"]


def test_a_replaced_backup_without_versions_is_damaged(mail: Mail, clock: Clock) -> None:
    """A row of an earlier release has no version."""
    replace_with_a_backup_of_another_table(mail, clock)
    resources(clock).history.remember(f"backup#{KEY}", {"versionId": ""})
    with pytest.raises(Corrupted, match=r"it has 3 items, but schedule#studentData#.* in the history has 2"):
        stored.verify(resources(clock).open_backup(KEY))


def test_a_deleted_backup_is_told_and_its_version_is_still_read(clock: Clock) -> None:
    boto3.client("s3").delete_object(Bucket="student-backup", Key=KEY)
    used = resources(clock)
    opened = used.open_backup(KEY)
    assert stored.verify(opened).items == 2
    assert "was deleted" in stored.replaced(used.s3, used.bucket, opened)


def test_a_backup_without_a_row_is_unknown_and_is_restored_only_when_that_is_said(clock: Clock) -> None:
    boto3.client("s3").put_object(Bucket="student-backup", Key="students-backup-x.json", Body=read(KEY))
    assert resources(clock).open_backup("students-backup-x.json").recorded is None
    request = Request("students-backup-x.json", "restored", is_new=True)
    with pytest.raises(RestoreRefused, match=r"the history does not know students-backup-x\.json"):
        restorer(clock).run(request, holder="a")
    restorer(clock).run(Request("students-backup-x.json", "restored", is_new=True, allows_unknown=True), holder="a")
    assert len(table("restored")) == 2


def test_a_backup_of_an_earlier_release_is_found_by_its_execution(clock: Clock) -> None:
    """Earlier releases wrote no row for a key."""
    boto3.client("dynamodb").delete_item(TableName="backup-executions", Key={"id": {"S": f"backup#{KEY}"}})
    found = recorded.find(resources(clock).history, KEY)
    assert found is not None
    assert (found.execution, found.items) == (scheduled().id, 2)


def test_a_row_that_cannot_be_read_is_told(clock: Clock) -> None:
    resources(clock).history.remember(f"backup#{KEY}", {"items": "many"})
    with pytest.raises(Corrupted, match=r"the row backup#.* of the history cannot be read"):
        resources(clock).open_backup(KEY)


def test_a_row_of_a_key_expires_like_its_execution(clock: Clock) -> None:
    rows = boto3.resource("dynamodb").Table("backup-executions")
    of_key, execution = (rows.get_item(Key={"id": id_})["Item"] for id_ in (f"backup#{KEY}", scheduled().id))
    assert of_key["expiresAt"] >= execution["expiresAt"]


def test_a_backup_that_does_not_expire_by_age_has_no_expiry_in_the_history() -> None:
    """Otherwise its deletion after that age would be no damage."""
    plans = {plan.table_name: plan for plan in load(ENVIRONMENTS / "production.toml").backed_up_tables}
    retained = {name: plan.job.expire_after_days for name, plan in plans.items() if plan.options.retention}
    assert set(retained.values()) == {0}
    assert all(plan.job.expire_after_days for name, plan in plans.items() if name not in retained)
