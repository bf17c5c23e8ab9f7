"""Every stored backup is read again, and damage is told once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest

from rollbook.engine import backup, checks
from rollbook.engine.deadline import Deadline
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


def checker(mail: Mail, clock: Clock) -> checks.Checks:
    used = resources(clock)

    def client(name: str) -> Any:
        return mail if name == "sesv2" else local().client(name)

    return checks.Checks(used, Notifier(PLACES, history=used.history, client=client, clock=clock))


def row_of(key: str) -> dict[str, Any]:
    return boto3.resource("dynamodb").Table(PLACES.history_table_name).get_item(Key={"id": f"backup#{key}"})["Item"]


def damaged(mail: Mail) -> list[str]:
    subjects = [sent["Subject"]["Data"] for sent in mail.sent]
    return [subject for subject in subjects if subject.startswith("Backup Damaged")]


def test_a_backup_is_read_after_it_was_made(mail: Mail, clock: Clock) -> None:
    made(mail, clock)
    assert checker(mail, clock).one(KEY, "check#1").read == [KEY]
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
            checker(mail, clock).one(KEY, f"check#{number}")
    assert damaged(mail) == [f"Backup Damaged: {KEY}"]
    assert "verifiedAt" not in row_of(KEY)


def test_each_backup_is_read_within_the_days(mail: Mail, clock: Clock) -> None:
    keys = made(mail, clock, days=20)
    reads = [Counter[str](), Counter[str]()]
    for day in range(10):
        clock.now = MIDNIGHT + timedelta(days=20 + day)
        reads[day // 5].update(checker(mail, clock).share(5, f"check#{day}", soon()).read)
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
        checker(mail, clock).share(1, "check#1", soon())
    assert all("verifiedAt" in row_of(key) for key in others)


def test_what_is_cold_counts_as_unread(mail: Mail, clock: Clock) -> None:
    made(mail, clock)
    moved = boto3.client("s3").copy_object(
        Bucket=BUCKET, Key=KEY, CopySource={"Bucket": BUCKET, "Key": KEY}, StorageClass="GLACIER"
    )
    # A lifecycle rule moves the version itself.
    resources(clock).history.remember(f"backup#{KEY}", {"versionId": moved["VersionId"]})
    outcome = checker(mail, clock).one(KEY, "check#1")
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
        checker(mail, clock).share(30, "check#1", soon())
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
        checker(mail, clock).one(KEY, "check#1")
    clock.now += timedelta(days=366)
    assert checker(mail, clock).one(KEY, "check#2").gone == [KEY]


def test_what_is_not_read_in_time_is_named(mail: Mail, clock: Clock) -> None:
    keys = made(mail, clock, days=2)
    assert checker(mail, clock).share(1, "check#1", Deadline.after(0)).left == keys


def test_damage_that_comes_back_after_a_repair_is_told_again(mail: Mail, clock: Clock) -> None:
    made(mail, clock)
    s3 = boto3.client("s3")
    for number in range(2):
        marker = s3.delete_object(Bucket=BUCKET, Key=KEY)["VersionId"]
        with pytest.raises(checks.DamageFound):
            checker(mail, clock).one(KEY, f"check#{number}")
        s3.delete_object(Bucket=BUCKET, Key=KEY, VersionId=marker)
        checker(mail, clock).one(KEY, f"check#{number}-whole")
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


class Dying(Mail):
    """A mail whose invocation is killed before it is sent."""

    def send_email(self, **_: Any) -> dict[str, str]:
        raise MemoryError


def test_the_mail_of_damage_is_not_lost_to_a_kill(mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    made(mail, clock)
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=KEY)
    with monkeypatch.context() as dead:
        # A killed invocation releases nothing.
        dead.setattr("rollbook.engine.announcements.release_damage", lambda *_: None)
        with pytest.raises(MemoryError):
            checker(Dying(), clock).one(KEY, "check#1")
    clock.now += timedelta(minutes=1)
    with pytest.raises(checks.DamageFound):
        checker(mail, clock).one(KEY, "check#1")
    assert damaged(mail) == [f"Backup Damaged: {KEY}"]


def test_the_mail_of_a_failure_is_not_lost_to_a_kill(mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    boto3.client("dynamodb").delete_table(TableName=JOB.table_name)
    request = backup.scheduled(JOB, ZONE, MIDNIGHT)
    with monkeypatch.context() as dead:
        dead.setattr("rollbook.engine.announcements.release_incident", lambda *_: None)
        with pytest.raises(Exception, match="not found"):
            backup_of(JOB, Dying(), clock).run(request, holder="a", deadline=soon())
    clock.now += timedelta(minutes=1)
    for _ in range(2):
        with pytest.raises(Exception, match="not found"):
            backup_of(JOB, mail, clock).run(request, holder="a", deadline=soon())
    assert [sent["Subject"]["Data"] for sent in mail.sent] == [f"Backup Failed: {JOB.table_name}"]
