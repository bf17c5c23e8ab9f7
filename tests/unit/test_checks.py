"""Every stored backup is read again, and damage is told once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from rollbook.engine import backup, checks
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import scan
from rollbook.engine.formats import document
from rollbook.engine.notifier import Notifier
from tests.unit.engine import (
    JOB,
    KEY,
    MIDNIGHT,
    PLACES,
    ZONE,
    Clock,
    Mail,
    backup_of,
    local,
    put,
    read,
    resources,
    soon,
)
from tests.unit.restores import delete

BUCKET = PLACES.s3_bucket_name


@pytest.fixture(autouse=True)
def _versions(aws: None) -> None:
    boto3.client("s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    put(SV001={})


def made(mail: Mail, clock: Clock, days: int = 1) -> list[str]:
    keys = []
    for day in range(days):
        clock.now = MIDNIGHT + timedelta(days=day, seconds=3)
        request = backup.scheduled(JOB, ZONE, MIDNIGHT + timedelta(days=day))
        done = backup_of(JOB, mail, clock).run(request, holder="a", deadline=soon())
        assert done is not None
        keys.append(done.key)
    return keys


def checker(mail: Mail, clock: Clock, s3: Any = None) -> checks.Checks:
    used = resources(clock)
    used = replace(used, s3=s3 or used.s3)

    def client(name: str) -> Any:
        return mail if name == "sesv2" else local().client(name)

    return checks.Checks(used, Notifier(PLACES, history=used.history, client=client, clock=clock).damaged)


def row_of(key: str) -> dict[str, Any]:
    return boto3.resource("dynamodb").Table(PLACES.history_table_name).get_item(Key={"id": f"backup#{key}"})["Item"]


def damaged(mail: Mail) -> list[str]:
    subjects = [sent["Subject"]["Data"] for sent in mail.sent]
    return [subject for subject in subjects if subject.startswith("Backup Damaged")]


def test_a_backup_is_read_after_it_was_made(mail: Mail, clock: Clock) -> None:
    made(mail, clock)
    assert checker(mail, clock).one(KEY, "check#1", soon()).read == [KEY]
    assert row_of(KEY)["verifiedAt"] == "2025-07-08T00:00:03.000Z"


@pytest.mark.parametrize("how", ["replaced", "deleted"])
def test_damage_is_told_once_and_raises_each_time(mail: Mail, clock: Clock, how: str) -> None:
    made(mail, clock)
    s3 = boto3.client("s3")
    if how == "replaced":
        s3.put_object(Bucket=BUCKET, Key=KEY, Body=read(KEY).replace(b"SV001", b"SV009"))
    else:
        s3.delete_object(Bucket=BUCKET, Key=KEY)
    for number in range(2):
        with pytest.raises(checks.DamageFound, match=f"{KEY} was {how}"):
            checker(mail, clock).one(KEY, f"check#{number}", soon()).judge()
    assert damaged(mail) == [f"Backup Damaged: {KEY}"]
    assert "verifiedAt" not in row_of(KEY)


def test_each_backup_is_read_within_the_days(mail: Mail, clock: Clock) -> None:
    keys = made(mail, clock, days=9)
    reads = [Counter[str](), Counter[str]()]
    for day in range(6):
        clock.now = MIDNIGHT + timedelta(days=9 + day)
        reads[day // 3].update(checker(mail, clock).share(3, f"check#{day}", soon()).read)
    assert [set(each) for each in reads] == [set(keys)] * 2
    assert set(reads[1].values()) == {1}


def test_those_that_were_not_read_for_the_longest_time_come_first(mail: Mail, clock: Clock) -> None:
    keys = made(mail, clock, days=6)
    work = checker(mail, clock)
    assert work.share(3, "check#1", soon()).read == keys
    clock.now += timedelta(days=1)
    assert work.share(3, "check#2", soon()).read == keys[:2]
    clock.now += timedelta(days=1)
    assert work.share(3, "check#3", soon()).read == keys[2:4]


def test_one_damaged_backup_does_not_keep_the_others_unread(mail: Mail, clock: Clock) -> None:
    first, *others = made(mail, clock, days=3)
    boto3.client("s3").put_object(Bucket=BUCKET, Key=first, Body=b"{}")
    with pytest.raises(checks.DamageFound, match="1 backups are damaged"):
        checker(mail, clock).share(1, "check#1", soon()).judge()
    assert all("verifiedAt" in row_of(key) for key in others)


def test_what_is_cold_counts_as_unread(mail: Mail, clock: Clock) -> None:
    made(mail, clock)
    moved = boto3.client("s3").copy_object(
        Bucket=BUCKET, Key=KEY, CopySource={"Bucket": BUCKET, "Key": KEY}, StorageClass="GLACIER"
    )
    # A lifecycle rule moves the version itself.
    resources(clock).history.remember(f"backup#{KEY}", {"versionId": moved["VersionId"]})
    outcome = checker(mail, clock).one(KEY, "check#1", soon())
    assert (outcome.cold, outcome.read) == ([KEY], [])
    assert "verifiedAt" not in row_of(KEY)


def erase(key: str) -> None:
    s3 = boto3.client("s3")
    for version in s3.list_object_versions(Bucket=BUCKET)["Versions"]:
        s3.delete_object(Bucket=BUCKET, Key=key, VersionId=version["VersionId"])


def test_a_backup_that_was_erased_before_its_expiry_is_damage(mail: Mail, clock: Clock) -> None:
    made(mail, clock)
    erase(KEY)
    with pytest.raises(checks.DamageFound, match=f"S3 has no object {KEY}"):
        checker(mail, clock).share(30, "check#1", soon()).judge()
    assert damaged(mail) == [f"Backup Damaged: {KEY}"]


@pytest.mark.parametrize("reason", [{"expiresOn": "2025-07-08T00:00:00Z"}, {"markedAt": "2025-07-08T00:00:00.000Z"}])
@pytest.mark.parametrize("how", [erase, lambda key: boto3.client("s3").delete_object(Bucket=BUCKET, Key=key)])
def test_a_backup_that_expired_or_was_marked_is_gone_and_is_not_read_again(
    mail: Mail, clock: Clock, how: Callable[[str], None], reason: dict[str, str]
) -> None:
    made(mail, clock)
    resources(clock).history.remember(f"backup#{KEY}", reason)
    how(KEY)
    assert checker(mail, clock).share(30, "check#1", soon()).gone == [KEY]
    assert checker(mail, clock).share(30, "check#2", soon()) == checks.Outcome()
    assert damaged(mail) == []


def test_a_backup_that_the_lifecycle_deleted_is_gone_and_not_damaged(mail: Mail, clock: Clock) -> None:
    """A lifecycle rule puts a delete marker on the current version."""
    request = backup.scheduled(JOB, ZONE, MIDNIGHT)
    kept = replace(JOB, expire_after_days=365)
    done = backup_of(kept, mail, clock).run(request, holder="a", deadline=soon())
    assert done is not None
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=KEY)
    with pytest.raises(checks.DamageFound):
        checker(mail, clock).one(KEY, "check#1", soon()).judge()
    clock.now += timedelta(days=366)
    assert checker(mail, clock).one(KEY, "check#2", soon()).gone == [KEY]


def test_what_is_not_read_in_time_is_named(mail: Mail, clock: Clock) -> None:
    keys = made(mail, clock, days=2)
    assert checker(mail, clock).share(1, "check#1", Deadline.after(0)).left == keys


class Denying:
    """An S3 client that may not read some objects."""

    def __init__(self, *keys: str) -> None:
        self._s3 = boto3.client("s3")
        self._keys = keys
        self.read: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def head_object(self, **request: Any) -> Any:
        if request["Key"] in self._keys:
            raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadObject")
        return self._s3.head_object(**request)

    def get_object(self, **request: Any) -> Any:
        self.read.append(request["Key"])
        return self._s3.get_object(**request)


def test_a_backup_that_cannot_be_read_hides_no_damage_of_the_others(mail: Mail, clock: Clock) -> None:
    first, second, third = made(mail, clock, days=3)
    boto3.client("s3").put_object(Bucket=BUCKET, Key=first, Body=b"{}")
    work = checker(mail, clock, Denying(second))
    with pytest.raises(checks.DamageFound, match=f"1 backups could not be read: {second}: .*403"):
        work.share(1, "check#1", soon()).judge()
    assert damaged(mail) == [f"Backup Damaged: {first}"]
    assert "verifiedAt" in row_of(third)
    assert "verifiedAt" not in row_of(second)


def test_a_backup_that_takes_longer_than_an_invocation_does_not_keep_the_others_unread(
    mail: Mail, clock: Clock
) -> None:
    put(**{f"SV{number:03}": {} for number in range(150)})
    [large] = made(mail, clock)
    delete(*(f"SV{number:03}" for number in range(150)))
    others = made(mail, clock, days=4)[1:]
    seconds = iter(range(100_000))

    def deadline() -> Deadline:
        began = next(seconds)
        return Deadline(began + 115, clock=lambda: next(seconds))

    done, failed = Counter[str](), set[str]()
    for day in range(8):
        clock.now += timedelta(days=1)
        outcome = checker(mail, clock).share(4, f"check#{day}", deadline())
        done.update(outcome.read)
        failed |= outcome.failed.keys()
    assert set(done) == set(others)
    assert failed == {large}


def test_a_key_that_is_no_backup_leaves_no_row(mail: Mail, clock: Clock) -> None:
    with pytest.raises(checks.NotChecked, match="the history does not know it either"):
        checker(mail, clock).one("students-backup-typo.json", "check#1", soon()).judge()
    assert not boto3.resource("dynamodb").Table(PLACES.history_table_name).scan()["Items"]


def forget(*, executions: bool) -> None:
    """Delete the rows of the backups, as if an earlier release had made them."""
    table = boto3.resource("dynamodb").Table(PLACES.history_table_name)
    for row in table.scan()["Items"]:
        if row["id"].startswith("backup#") or (executions and row.get("kind") == "backup"):
            table.delete_item(Key={"id": row["id"]})


def test_a_backup_of_an_earlier_release_is_read_and_compared_with_its_execution(mail: Mail, clock: Clock) -> None:
    first, second = made(mail, clock, days=2)
    forget(executions=False)
    work = checker(mail, clock)
    assert sorted(work.share(1, "check#1", soon()).read) == [first, second]
    assert row_of(first)["verifiedAt"]
    boto3.client("s3").put_object(Bucket=BUCKET, Key=second, Body=read(first))
    clock.now += timedelta(days=1)
    assert list(work.share(1, "check#2", soon()).damaged) == [second]


def test_a_backup_without_a_row_stays_unknown_and_is_read_once(mail: Mail, clock: Clock) -> None:
    first, second = made(mail, clock, days=2)
    forget(executions=True)
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"{JOB.key_prefix}smoke-x1.json", Body=b"{}")
    work = checker(mail, clock)
    outcome = work.share(30, "check#1", soon())
    assert (sorted(outcome.unknown), outcome.read) == ([first, second], [])
    assert "verifiedAt" not in row_of(first)
    assert resources(clock).open_backup(first).recorded is None
    clock.now += timedelta(days=1)
    assert len(work.share(30, "check#2", soon()).unknown) == 1
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=first)
    clock.now += timedelta(days=30)
    assert work.share(30, "check#3", soon()).gone == [first]


def test_an_unknown_backup_that_is_damaged_by_its_own_digest_is_told(mail: Mail, clock: Clock) -> None:
    [key] = made(mail, clock)
    forget(executions=True)
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=read(key).replace(b"SV001", b"SV009"))
    for number in range(2):
        with pytest.raises(checks.DamageFound, match="CRC32"):
            checker(mail, clock).one(key, f"check#{number}", soon()).judge()
    assert damaged(mail) == [f"Backup Damaged: {key}"]


def test_a_key_that_is_there_twice_is_damage(mail: Mail, clock: Clock) -> None:
    page = scan.Page([b'{"studentid":{"S":"SV001"}}'] * 2, read_units=1.0)
    table = {
        "name": "studentData",
        "keySchema": [{"AttributeName": "studentid", "KeyType": "HASH"}],
        "attributeDefinitions": [{"AttributeName": "studentid", "AttributeType": "S"}],
    }
    head = document.Header(document.FORMAT, "x", table, clock())
    key = f"{JOB.key_prefix}twice.json"
    body = b"".join(document.Writer().chunks(head, [page], clock))
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
    outcome = checker(mail, clock).one(key, "check#1", soon())
    assert "contains the key" in outcome.damaged[key]


def test_damage_that_could_not_be_told_is_told_by_the_next_check(mail: Mail, clock: Clock) -> None:
    [key] = made(mail, clock)
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    mail.fails = True
    assert list(checker(mail, clock).share(30, "check#1", soon()).failed) == [key]
    mail.fails = False
    clock.now += timedelta(minutes=1)
    assert list(checker(mail, clock).share(30, "check#1", soon()).damaged) == [key]
    assert damaged(mail) == [f"Backup Damaged: {key}"]


def test_damage_that_comes_back_after_a_repair_is_told_again(mail: Mail, clock: Clock) -> None:
    made(mail, clock)
    s3 = boto3.client("s3")
    for number in range(2):
        marker = s3.delete_object(Bucket=BUCKET, Key=KEY)["VersionId"]
        assert checker(mail, clock).one(KEY, f"check#{number}", soon()).damaged
        s3.delete_object(Bucket=BUCKET, Key=KEY, VersionId=marker)
        assert checker(mail, clock).one(KEY, f"check#{number}-whole", soon()).read == [KEY]
    assert damaged(mail) == [f"Backup Damaged: {KEY}"] * 2


def test_the_rows_of_a_backup_that_is_there_do_not_expire(mail: Mail, clock: Clock) -> None:
    """When backups stop, nothing is marked, and the function that marks does not extend the rows."""
    made(mail, clock)
    clock.now += timedelta(days=399)
    checker(mail, clock).share(30, "check#1", soon())
    execution = row_of(KEY)["execution"]
    rows = boto3.resource("dynamodb").Table(PLACES.history_table_name)
    for row in (row_of(KEY), rows.get_item(Key={"id": execution})["Item"]):
        assert int(row["expiresAt"]) > (clock.now + timedelta(days=199)).timestamp()


def test_a_backup_that_was_made_again_is_not_damaged_and_is_read_first(mail: Mail, clock: Clock) -> None:
    _, second = made(mail, clock, days=2)
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=second)
    assert list(checker(mail, clock).share(1, "check#1", soon()).damaged) == [second]
    clock.now += timedelta(minutes=1)
    request = backup.scheduled(JOB, ZONE, MIDNIGHT + timedelta(days=1))
    backup_of(JOB, mail, clock).run(request, holder="b", deadline=soon())
    assert (row_of(second)["damage"], row_of(second)["checkedAt"]) == ("", "")
    assert checker(mail, clock).share(30, "check#2", soon()).read == [second]
