"""A restore that runs again does not revert live data, and nothing is written that does not fit the table."""

from __future__ import annotations

import importlib
import json
from datetime import timedelta

import boto3
import pytest

from rollbook.engine import stored, verification
from rollbook.engine.dynamodb import scan
from rollbook.engine.formats import document
from rollbook.engine.formats.lines import Corrupted
from rollbook.engine.restore_request import NotEqual, Request, RestoreRefused
from tests.unit.aws import Context
from tests.unit.engine import Clock, Mail, put, restorer, table
from tests.unit.restores import backed_up, delete, new, once_at
from tests.unit.test_restore import TABLES


class Stopped(RuntimeError):
    pass


def stop() -> None:
    raise Stopped


def stopped_at(step: str, mail: Mail, clock: Clock) -> str:
    put(**{f"SV{number:03}": {"n": {"N": "1"}} for number in range(30)})
    key = backed_up(mail, clock)
    with pytest.raises(Stopped):
        restorer(clock, progress=once_at(step, stop)).run(new(key), holder="a")
    return key


def save(**items: str) -> None:
    for studentid, number in items.items():
        item = {"studentid": {"S": studentid}, "n": {"N": number}}
        boto3.client("dynamodb").put_item(TableName="restored", Item=item)


def test_a_restore_is_not_continued_days_later_over_a_table_that_went_live(aws: None, mail: Mail, clock: Clock) -> None:
    key = stopped_at("Comparing", mail, clock)
    save(SV001="2")
    delete("SV002", name="restored")
    clock.now += timedelta(days=3)
    for _ in range(2):
        with pytest.raises(RestoreRefused, match=r"stopped at 2025-07-08.*more than 8 hours ago.*use --into restored"):
            restorer(clock).run(new(key), holder="b")
    assert json.loads(table("restored")["SV001"])["n"] == {"N": "2"}
    assert "SV002" not in table("restored")


def test_a_restore_that_is_continued_soon_adds_only_what_is_missing(aws: None, mail: Mail, clock: Clock) -> None:
    key = stopped_at("Comparing", mail, clock)
    save(SV001="2")
    delete("SV002", name="restored")
    clock.now += timedelta(hours=7)
    with pytest.raises(NotEqual, match="SV001"):
        restorer(clock).run(new(key), holder="b")
    assert json.loads(table("restored")["SV001"])["n"] == {"N": "2"}
    assert "SV002" in table("restored")


def test_a_restore_is_not_continued_in_another_table_of_the_same_name(aws: None, mail: Mail, clock: Clock) -> None:
    key = stopped_at("Comparing", mail, clock)
    boto3.client("dynamodb").delete_table(TableName="restored")
    restorer(clock).run(new(key), holder="b")
    key_again = stopped_again(clock, key)
    boto3.client("dynamodb").delete_table(TableName="restored")
    make("S")
    save(SV001="2")
    with pytest.raises(RestoreRefused, match="the table restored is another than that of this restore"):
        restorer(clock).run(new(key_again), holder="c")
    assert list(table("restored")) == ["SV001"]


def stopped_again(clock: Clock, key: str) -> str:
    boto3.client("dynamodb").delete_table(TableName="restored")
    with pytest.raises(Stopped):
        restorer(clock, progress=once_at("Writing", stop)).run(new(key), holder="b")
    return key


def make(kind: str) -> None:
    boto3.client("dynamodb").create_table(
        TableName="restored",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "studentid", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "studentid", "AttributeType": kind}],
    )


def test_a_table_that_appears_between_check_and_creation_is_never_written(aws: None, mail: Mail, clock: Clock) -> None:
    put(SV001={"n": {"N": "1"}})
    key = backed_up(mail, clock)

    def appear() -> None:
        make("S")
        save(SV001="2")
        raise Stopped

    with pytest.raises(Stopped):
        restorer(clock, progress=once_at("Creating the table", appear)).run(new(key), holder="a")
    with pytest.raises(RestoreRefused, match="the table restored is not known to be of this restore"):
        restorer(clock).run(new(key), holder="b")
    assert json.loads(table("restored")["SV001"])["n"] == {"N": "2"}


def test_a_restore_that_was_stopped_right_after_the_creation_is_continued(aws: None, mail: Mail, clock: Clock) -> None:
    put(SV001={})
    key = backed_up(mail, clock)

    def appear() -> None:
        make("S")
        raise Stopped

    with pytest.raises(Stopped):
        restorer(clock, progress=once_at("Creating the table", appear)).run(new(key), holder="a")
    assert restorer(clock).run(new(key), holder="b").status == "completed"
    assert list(table("restored")) == ["SV001"]


def test_key_types_must_be_the_same(aws: None, mail: Mail, clock: Clock) -> None:
    put(SV001={})
    key = backed_up(mail, clock)
    make("N")
    request = Request(key, "restored", is_new=False, mode="missing")
    with pytest.raises(RestoreRefused, match=r"restored has studentid \(N\), the backup's table has studentid \(S\)"):
        restorer(clock).run(request, holder="a")


def with_key_twice(mail: Mail, clock: Clock) -> str:
    """A document that is consistent in itself and has a key twice."""
    put(SV001={}, SV002={})
    definition = stored.open_backup(boto3.client("s3"), "student-backup", backed_up(mail, clock)).table
    header = document.Header(document.FORMAT, "manual#1", definition, clock.now)
    pages = [scan.Page([b'{"studentid":{"S":"SV001"}}'] * 2, 1.0)]
    body = b"".join(document.Writer().chunks(header, pages, clock))
    boto3.client("s3").put_object(Bucket="student-backup", Key="students-backup-twice.json", Body=body)
    return "students-backup-twice.json"


def test_a_key_that_a_backup_has_twice_is_found_before_anything_is_written(aws: None, mail: Mail, clock: Clock) -> None:
    key = with_key_twice(mail, clock)
    with pytest.raises(Corrupted, match=r'the key \{"studentid":\{"S":"SV001"\}\} twice'):
        restorer(clock).run(new(key, allows_unknown=True), holder="a")
    assert sorted(boto3.client("dynamodb").list_tables()["TableNames"]) == TABLES


def test_verify_finds_a_key_that_a_backup_has_twice(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = with_key_twice(mail, clock)
    monkeypatch.setenv("S3_BUCKET_NAME", "student-backup")
    monkeypatch.setenv("HISTORY_TABLE_NAME", "backup-executions")
    function = importlib.reload(importlib.import_module("handlers.verify"))
    with pytest.raises(Corrupted, match=r'contains the key \{"studentid":\{"S":"SV001"\}\} twice'):
        function.handler({"key": key}, Context())


def test_verify_says_when_the_keys_are_unknown(aws: None, mail: Mail, clock: Clock) -> None:
    put(SV001={})
    key = backed_up(mail, clock, ("dynamodb-export", "gzip"))
    s3 = boto3.client("s3")
    described = stored.open_backup(s3, "student-backup", key)
    assert described.manifest is not None
    foreign = stored.open_backup(s3, "student-backup", described.manifest)
    assert [verification.verify(each)[1] for each in (described, foreign)] == [True, False]
    assert verification.verify(described)[0].items == 1
