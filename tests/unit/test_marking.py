"""The mark on moto: after a verification, manifest first, beside other tags; removed when a backup is kept again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from dateutil import tz

from rollbook.contract.retention import MARK, PIN, Policy, RetainedTable
from rollbook.engine import backup as run
from rollbook.engine.inventory import Inventory
from rollbook.engine.marking import Marking, NoSuchBackup, NotMarked
from rollbook.engine.s3 import tags
from tests.unit.engine import JOB, MIDNIGHT, PLACES, ZONE, Clock, Mail, backup_of, objects, put, resources, soon

BUCKET = PLACES.s3_bucket_name
TABLE = RetainedTable(JOB.table_name, JOB.key_prefix, Policy(keep_last=2))
DAY = timedelta(days=1)


def marking(clock: Clock, s3: Any = None) -> Marking:
    used = resources(clock)
    used = replace(used, s3=s3 or used.s3)
    inventory = Inventory(used.s3, boto3.client("dynamodb"), BUCKET, PLACES.history_table_name)
    return Marking(used, inventory, tz.gettz(ZONE), PLACES.history_days)


def days(count: int, mail: Mail, clock: Clock, **values: Any) -> list[str]:
    """Make one backup a day and return their keys."""
    put(item={})
    job, keys = replace(JOB, **values), []
    for number in range(count):
        clock.now = MIDNIGHT + number * DAY + timedelta(seconds=3)
        request = run.scheduled(job, ZONE, MIDNIGHT + number * DAY)
        row = backup_of(job, mail, clock).run(request, holder="a", deadline=soon())
        assert row is not None
        keys.append(row.key)
    return keys


def tagged(key: str) -> dict[str, str]:
    return tags.read(boto3.client("s3"), BUCKET, key)


def row_of(key: str) -> dict[str, Any]:
    rows = boto3.client("dynamodb").scan(TableName=PLACES.history_table_name)["Items"]
    [found] = [row for row in rows if row.get("key") == {"S": key} and "kind" in row]
    return dict(found)


class Recording:
    """A client of S3 that notes which objects are tagged, and ends a run after some."""

    def __init__(self, most: int = 10_000) -> None:
        self._s3 = boto3.client("s3")
        self.tagged: list[str] = []
        self.read: list[str] = []
        self._most = most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def get_object(self, **request: Any) -> Any:
        self.read.append(request["Key"])
        return self._s3.get_object(**request)

    def put_object_tagging(self, **request: Any) -> Any:
        if len(self.tagged) == self._most:
            raise KeyboardInterrupt
        self.tagged.append(request["Key"])
        return self._s3.put_object_tagging(**request)


def test_old_backups_get_the_mark_after_the_newest_was_read(aws: None, mail: Mail, clock: Clock) -> None:
    put(a={})
    keys = days(4, mail, clock)
    s3 = Recording()
    outcome = marking(clock, s3).run(TABLE)
    assert sorted(outcome.marked) == keys[:2]
    assert (outcome.kept, outcome.unmarked) == (2, [])
    assert [tagged(key) for key in keys] == [{MARK: "yes"}, {MARK: "yes"}, {}, {}]
    assert set(s3.read) == {keys[3]}
    again = Recording()
    assert marking(clock, again).run(TABLE).marked == []
    assert (again.tagged, again.read) == ([], [])


def test_a_damaged_newest_backup_stops_the_marking(aws: None, mail: Mail, clock: Clock) -> None:
    put(a={})
    keys = days(4, mail, clock)
    s3 = boto3.client("s3")
    body = s3.get_object(Bucket=BUCKET, Key=keys[3])["Body"].read()
    s3.put_object(Bucket=BUCKET, Key=keys[3], Body=body.replace(b'"a"', b'"b"'))
    for _ in range(2):
        with pytest.raises(NotMarked, match=f"{keys[3]} is damaged, so no backup of studentData was marked"):
            marking(clock).run(TABLE)
    assert [tagged(key) for key in keys] == [{}] * 4
    assert row_of(keys[3])["damagedAt"]["S"]
    s3.put_object(Bucket=BUCKET, Key=keys[3], Body=body)
    assert sorted(marking(clock).run(TABLE).marked) == keys[:2]


def test_a_whole_document_that_is_not_the_one_of_the_history_stops_the_marking(
    aws: None, mail: Mail, clock: Clock
) -> None:
    put(a={})
    keys = days(2, mail, clock)
    put(b={})
    clock.now += DAY
    other = run.manual(JOB, ZONE, "manual", "other-id", clock.now)
    made = backup_of(JOB, mail, clock).run(other, holder="a", deadline=soon())
    assert made is not None
    s3 = boto3.client("s3")
    s3.copy_object(Bucket=BUCKET, Key=made.key, CopySource={"Bucket": BUCKET, "Key": keys[0]})
    with pytest.raises(NotMarked, match="it has 2 items"):
        marking(clock).run(TABLE)


def test_other_tags_stay_and_a_pin_is_respected(aws: None, mail: Mail, clock: Clock) -> None:
    keys = days(5, mail, clock)
    s3 = boto3.client("s3")
    for key in keys[:2]:
        s3.put_object_tagging(Bucket=BUCKET, Key=key, Tagging={"TagSet": [{"Key": "Class", "Value": "records"}]})
    marking(clock).pin(TABLE, keys[1])
    assert marking(clock).run(TABLE).marked == [keys[2], keys[0]]
    assert tagged(keys[0]) == {"Class": "records", MARK: "yes"}
    assert tagged(keys[1]) == {"Class": "records", PIN: "yes"}


def test_a_pin_removes_the_mark_and_an_unpin_lets_it_return(aws: None, mail: Mail, clock: Clock) -> None:
    keys = days(3, mail, clock)
    marking(clock).run(TABLE)
    assert marking(clock).pin(TABLE, keys[0]).unmarked == [keys[0]]
    assert tagged(keys[0]) == {PIN: "yes"}
    assert marking(clock).run(TABLE).marked == []
    marking(clock).unpin(TABLE, keys[0])
    assert tagged(keys[0]) == {}
    assert marking(clock).run(TABLE).marked == [keys[0]]


def test_what_is_no_backup_cannot_be_pinned(aws: None, mail: Mail, clock: Clock) -> None:
    days(1, mail, clock)
    with pytest.raises(NoSuchBackup, match=r"students-backup-x\.json is no backup of studentData"):
        marking(clock).pin(TABLE, "students-backup-x.json")


def test_a_longer_policy_removes_marks(aws: None, mail: Mail, clock: Clock) -> None:
    keys = days(4, mail, clock)
    marking(clock).run(TABLE)
    outcome = marking(clock).run(replace(TABLE, policy=Policy(keep_last=3)))
    assert outcome.unmarked == [keys[1]]
    assert [MARK in tagged(key) for key in keys] == [True, False, False, False]


def test_an_export_is_marked_from_its_manifest_on_and_unmarked_in_reverse(aws: None, mail: Mail, clock: Clock) -> None:
    put(a={}, b={})
    keys = days(3, mail, clock, format="dynamodb-export")
    s3 = Recording()
    assert marking(clock, s3).run(TABLE).marked == keys[:1]
    own = [key for key in objects() if key.startswith(keys[0].removesuffix(".json"))]
    assert sorted(s3.tagged) == sorted(own)
    assert s3.tagged[0].endswith("/manifest-summary.json")
    assert s3.tagged[-1] == keys[0]
    back = Recording()
    marking(clock, back).pin(TABLE, keys[0])
    assert back.tagged == [keys[0], *reversed(s3.tagged)]


@pytest.mark.parametrize("is_marking", [True, False], ids=["marking", "unmarking"])
def test_an_interrupted_run_is_completed_by_the_next(is_marking: bool, aws: None, mail: Mail, clock: Clock) -> None:
    put(a={}, b={})
    keys = days(3, mail, clock, format="dynamodb-export")
    longer = replace(TABLE, policy=Policy(keep_last=3))
    count = len([key for key in objects() if key.startswith(keys[0].removesuffix(".json"))])
    for most in range(count):
        marking(clock).run(longer if is_marking else TABLE)
        with pytest.raises(KeyboardInterrupt):
            marking(clock, Recording(most)).run(TABLE if is_marking else longer)
        marking(clock).run(TABLE if is_marking else longer)
        own = [key for key in objects() if key.startswith(keys[0].removesuffix(".json"))]
        assert {MARK in tagged(key) for key in own} == {is_marking}


def test_backups_without_a_row_and_objects_that_are_no_backups_stay(aws: None, mail: Mail, clock: Clock) -> None:
    keys = days(4, mail, clock)
    boto3.client("dynamodb").delete_item(TableName=PLACES.history_table_name, Key={"id": row_of(keys[0])["id"]})
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"{JOB.key_prefix}smoke-x.json", Body=b"x")
    assert marking(clock).run(TABLE).marked == [keys[1]]
    [unknown] = [each for each in marking(clock).plan(TABLE) if each.backup.state == "unknown"]
    assert unknown.backup.key == keys[0]
    assert "not in the history" in unknown.reasons


def test_an_export_that_lost_its_manifest_is_damaged(aws: None, mail: Mail, clock: Clock) -> None:
    put(a={})
    keys = days(4, mail, clock, format="dynamodb-export")
    [manifest] = [
        key
        for key in objects()
        if key.startswith(keys[1].removesuffix(".json")) and key.endswith("manifest-summary.json")
    ]
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=manifest)
    found = {each.backup.key: each for each in marking(clock).plan(TABLE)}
    assert found[keys[1]].backup.state == "damaged"
    assert found[keys[1]].reasons == ("damaged",)


def test_a_backup_that_s3_refuses_to_tag_is_named_and_the_others_are_marked(
    aws: None, mail: Mail, clock: Clock
) -> None:
    keys = days(4, mail, clock)

    class Refusing(Recording):
        def put_object_tagging(self, **request: Any) -> Any:
            if request["Key"] == keys[1]:
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObjectTagging")
            return super().put_object_tagging(**request)

    with pytest.raises(NotMarked, match=f"refused to tag 1 backups of studentData, so they stay: {keys[1]}"):
        marking(clock, Refusing()).run(TABLE)
    assert [MARK in tagged(key) for key in keys] == [True, False, False, False]


def test_the_row_of_a_kept_backup_does_not_expire(aws: None, mail: Mail, clock: Clock) -> None:
    keys = days(2, mail, clock)
    before = int(row_of(keys[0])["expiresAt"]["N"])
    marking(clock).run(TABLE)
    assert int(row_of(keys[0])["expiresAt"]["N"]) == before
    clock.now += 201 * DAY
    marking(clock).run(TABLE)
    assert int(row_of(keys[0])["expiresAt"]["N"]) == before + 202 * 86400


def test_a_plan_says_what_a_run_does(aws: None, mail: Mail, clock: Clock) -> None:
    keys = days(5, mail, clock)
    planned = [each.backup.key for each in marking(clock).plan(TABLE) if not each.is_kept]
    assert [tagged(key) for key in keys] == [{}] * 5
    assert not row_of(keys[4])["verifiedAt"]["S"]
    assert marking(clock).run(TABLE).marked == planned == keys[2::-1]


def test_increments_are_marked_with_their_base_as_the_history_names_it(aws: None, mail: Mail, clock: Clock) -> None:
    put(a={})
    keys = days(5, mail, clock, format="dynamodb-export")
    dynamodb = boto3.client("dynamodb")
    for number, base, predecessor in ((1, keys[0], keys[0]), (2, "", keys[1])):
        dynamodb.update_item(
            TableName=PLACES.history_table_name,
            Key={"id": row_of(keys[number])["id"]},
            UpdateExpression="SET exportType = :type, baseKey = :base, predecessorKey = :predecessor",
            ExpressionAttributeValues={
                ":type": {"S": "incremental"},
                ":base": {"S": base},
                ":predecessor": {"S": predecessor},
            },
        )
    chain = keys[:3]
    kept = replace(TABLE, policy=Policy(keep_last=3))
    assert marking(clock).run(kept).marked == []
    reasons = {each.backup.key: each.reasons for each in marking(clock).plan(kept)}
    assert [reasons[key] for key in chain] == [(f"in the chain of {keys[2]}",)] * 2 + [("last",)]
    assert sorted(marking(clock).run(TABLE).marked) == chain


def test_an_increment_without_a_row_keeps_everything_older(aws: None, mail: Mail, clock: Clock) -> None:
    put(a={})
    keys = days(4, mail, clock, format="dynamodb-export")
    s3 = boto3.client("s3")
    [manifest] = [
        key
        for key in objects()
        if key.startswith(keys[1].removesuffix(".json")) and key.endswith("manifest-summary.json")
    ]
    s3.put_object(Bucket=BUCKET, Key=manifest, Body=b"{}")
    boto3.client("dynamodb").delete_item(TableName=PLACES.history_table_name, Key={"id": row_of(keys[1])["id"]})
    found = {each.backup.key: each.reasons for each in marking(clock).plan(TABLE)}
    assert found[keys[0]] == (f"may be needed by {keys[1]}",)
    assert "its base is unknown" in found[keys[1]]


def test_a_backup_in_doubt_does_not_take_the_place_of_the_last_good_one(aws: None, mail: Mail, clock: Clock) -> None:
    put(**{f"SV{number:03}": {} for number in range(40)})
    keys = days(3, mail, clock)
    dynamodb = boto3.client("dynamodb")
    for name in ["item", *(f"SV{number:03}" for number in range(39))]:
        dynamodb.delete_item(TableName=JOB.table_name, Key={"studentid": {"S": name}})
    clock.now += DAY
    job = replace(JOB, key_prefix=JOB.key_prefix)
    done = backup_of(job, mail, clock).run(run.scheduled(job, ZONE, clock.now), holder="a", deadline=soon())
    assert done is not None
    assert done.doubt
    shortest = replace(TABLE, policy=Policy(keep_last=1))
    for _ in range(2):
        marking(clock).run(shortest)
        assert [MARK in tagged(key) for key in [*keys, done.key]] == [True, True, False, False]
    reasons = {each.backup.key: each.reasons for each in marking(clock).plan(shortest)}
    assert "in doubt" in reasons[done.key]
    assert "last good full" in reasons[keys[2]]


def versioned() -> None:
    boto3.client("s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})


def test_a_replaced_newest_backup_stops_the_marking(aws: None, mail: Mail, clock: Clock) -> None:
    """S3 deletes the version that the history names after the noncurrent days."""
    versioned()
    keys = days(4, mail, clock)
    boto3.client("s3").put_object(Bucket=BUCKET, Key=keys[3], Body=b"another")
    with pytest.raises(NotMarked, match=f"{keys[3]} was replaced by the version"):
        marking(clock).run(TABLE)
    assert [tagged(key) for key in keys] == [{}] * 4


def test_a_verified_backup_that_was_replaced_since_is_not_the_last_good_one(
    aws: None, mail: Mail, clock: Clock
) -> None:
    versioned()
    keys = days(3, mail, clock)
    marking(clock).run(replace(TABLE, policy=Policy(keep_last=3)))
    boto3.client("s3").put_object(Bucket=BUCKET, Key=keys[2], Body=b"another")
    found = {each.backup.key: each for each in marking(clock).plan(replace(TABLE, policy=Policy(keep_last=1)))}
    assert "last good full" not in found[keys[2]].reasons
    assert found[keys[1]].is_kept


def test_a_pin_that_is_set_during_a_marking_is_respected(aws: None, mail: Mail, clock: Clock) -> None:
    keys = days(3, mail, clock)
    s3 = Recording()
    work = marking(clock, s3)
    head = work._inventory.of

    def pinned_after(table: RetainedTable) -> Any:
        found = head(table)
        tags.change(boto3.client("s3"), BUCKET, keys[0], PIN, "yes")
        return found

    work._inventory.of = pinned_after  # type: ignore[method-assign]
    work.run(TABLE)
    assert tagged(keys[0]) == {PIN: "yes"}
