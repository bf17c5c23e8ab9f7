"""A backup whose number of items is unusual is made, and is not called good. Failures are told once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import boto3
import pytest

from rollbook.engine import acceptance, backup, doubt
from rollbook.engine.dynamodb import scan
from tests.unit.engine import JOB, MIDNIGHT, MINUTE, ZONE, Clock, Mail, backup_of, put, resources, soon


def run_of(day: int) -> backup.Request:
    return backup.scheduled(JOB, ZONE, MIDNIGHT + timedelta(days=day))


def backed_up(mail: Mail, clock: Clock, day: int) -> Any:
    clock.now = MIDNIGHT + timedelta(days=day, seconds=3)
    return backup_of(JOB, mail, clock).run(run_of(day), holder=f"{day}", deadline=soon())


def subjects(mail: Mail) -> list[str]:
    return [sent["Subject"]["Data"].partition(":")[0] for sent in mail.sent]


def test_an_empty_table_is_backed_up_and_not_called_good(
    aws: None, mail: Mail, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    done = backed_up(mail, clock, 0)
    assert (done.status, done.items, done.doubt) == ("completed", 0, "the table is empty")
    assert subjects(mail) == ["Backup in Doubt"]
    printed = capsys.readouterr().out
    assert '"BackupsDoubtful":[1.0]' in printed
    assert "BackupsCompleted" not in printed


def test_a_table_that_lost_its_items_keeps_its_last_good_backup(aws: None, mail: Mail, clock: Clock) -> None:
    put(**{f"SV{number:03}": {} for number in range(40)})
    good = [backed_up(mail, clock, day) for day in range(3)][-1]
    dynamodb = boto3.client("dynamodb")
    for number in range(20):
        dynamodb.delete_item(TableName="studentData", Key={"studentid": {"S": f"SV{number:03}"}})
    bad = backed_up(mail, clock, 3)
    assert "the table has 20 items, and the median of the last 28 days is 40; that differs by 20 (50 %)" in bad.doubt
    assert resources(clock).history.newest_backup("studentData")["key"] == good.key
    assert subjects(mail) == ["Backup Completed"] * 3 + ["Backup in Doubt"]
    assert bad.doubt in mail.sent[-1]["Body"]["Text"]["Data"]


@pytest.mark.parametrize(
    ("items", "recent", "is_good"),
    [
        (0, [], False),
        (0, [40, 40], False),
        (0, [0], True),  # accepted as empty
        (5, [], True),
        (51, [40, 40, 40], True),
        (53, [40, 40, 40], False),
        (29, [40], True),  # 27 %
        (27, [40], False),
        (1, [9, 9, 9], True),  # fewer than 10 items
        (40, [40, 40, 4000], True),
        (12, [0, 0, 0], False),
    ],
)
def test_both_limits_must_be_exceeded(items: int, recent: list[int], is_good: bool) -> None:
    assert (doubt.doubt(doubt.Limits(30, 10), items, recent) == "") is is_good


def test_an_accepted_backup_is_the_newest_good_one(aws: None, mail: Mail, clock: Clock) -> None:
    put(**{f"SV{number:03}": {} for number in range(40)})
    backed_up(mail, clock, 0)
    dynamodb = boto3.client("dynamodb")
    for number in range(20):
        dynamodb.delete_item(TableName="studentData", Key={"studentid": {"S": f"SV{number:03}"}})
    in_doubt = backed_up(mail, clock, 1)
    used = resources(clock)
    accepted = acceptance.accept(used, in_doubt.key)
    assert used.history.newest_backup("studentData")["key"] == accepted.key == in_doubt.key
    with pytest.raises(acceptance.NotInDoubt, match="is not in doubt"):
        acceptance.accept(used, in_doubt.key)
    with pytest.raises(acceptance.NotInDoubt, match="the history knows no backup x"):
        acceptance.accept(used, "x")
    assert backed_up(mail, clock, 2).doubt == ""


def test_only_28_days_count() -> None:
    row = {"recent": doubt.remembered([(MIDNIGHT, 9)], MIDNIGHT + timedelta(days=20), 8)}
    assert [items for _, items in doubt.recent_of(row, MIDNIGHT + timedelta(days=27))] == [9, 8]
    assert [items for _, items in doubt.recent_of(row, MIDNIGHT + timedelta(days=29))] == [8]


def test_a_repeated_run_counts_its_items_once(aws: None, mail: Mail, clock: Clock) -> None:
    put(SV001={})
    backed_up(mail, clock, 0)
    backed_up(mail, clock, 0)
    row = resources(clock).history.newest_backup("studentData")
    assert [items for _, items in doubt.recent_of(row, clock.now)] == [1]


def test_a_failure_is_mailed_once_until_a_backup_succeeds(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise scan.ScanError("DynamoDB answered with 17 bytes that cannot be read")

    put(SV001={})
    for day in range(2):
        monkeypatch.setattr(scan, "pages", broken)
        for _ in range(3):
            with pytest.raises(scan.ScanError):
                backed_up(mail, clock, 2 * day)
        monkeypatch.undo()
        backed_up(mail, clock, 2 * day + 1)
    assert subjects(mail) == ["Backup Failed", "Backup Completed"] * 2
    body = mail.sent[0]["Body"]["Text"]["Data"]
    for told in ("studentData", "17 bytes that cannot be read", run_of(0).id, "docs/runbook.md"):
        assert told in body


def test_a_failure_whose_mail_failed_is_told_by_the_next_try(
    aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise scan.ScanError("no")

    monkeypatch.setattr(scan, "pages", broken)
    mail.fails = True
    with pytest.raises(scan.ScanError) as raised:
        backed_up(mail, clock, 0)
    assert "could not be sent" in raised.value.__notes__[0]
    mail.fails = False
    with pytest.raises(scan.ScanError):
        backed_up(mail, clock, 0)
    assert subjects(mail) == ["Backup Failed"]


def test_a_mail_lost_to_a_kill_is_sent_by_lambdas_first_retry(aws: None, mail: Mail, clock: Clock) -> None:
    """Lambda's first retry comes after a minute (Lambda Developer Guide, "Asynchronous invocation")."""
    put(SV001={})

    class Killed(BaseException):
        pass

    def kill(**_: Any) -> None:
        raise Killed

    mail.send_email = kill  # type: ignore[method-assign,assignment]
    work = backup_of(JOB, mail, clock)
    work._notifier._history.update = _without_release(work._notifier._history.update)  # type: ignore[method-assign]
    with pytest.raises(Killed):
        work.run(run_of(0), holder="a", deadline=soon())
    del mail.send_email
    clock.now += MINUTE
    backup_of(JOB, mail, clock).run(run_of(0), holder="a", deadline=soon())
    assert subjects(mail) == ["Backup Completed"]


def _without_release(update: Any) -> Any:
    def killed_before(row_id: str, values: Any, *arguments: Any, **options: Any) -> Any:
        return None if values == {"mailLeaseUntil": 0} else update(row_id, values, *arguments, **options)

    return killed_before


def lose(first: int, last: int) -> None:
    dynamodb = boto3.client("dynamodb")
    for number in range(first, last):
        dynamodb.delete_item(TableName="studentData", Key={"studentid": {"S": f"SV{number:03}"}})


def test_an_older_backup_that_is_accepted_does_not_replace_a_newer_good_one(
    aws: None, mail: Mail, clock: Clock
) -> None:
    put(**{f"SV{number:03}": {} for number in range(40)})
    backed_up(mail, clock, 0)
    lose(0, 20)
    in_doubt = backed_up(mail, clock, 1)
    put(**{f"SV{number:03}": {} for number in range(40)})
    newer = backed_up(mail, clock, 2)
    used = resources(clock)
    acceptance.accept(used, in_doubt.key)
    assert used.history.newest_backup("studentData")["key"] == newer.key
    assert used.history.get(in_doubt.id).doubt == ""  # type: ignore[union-attr]


def test_a_damaged_backup_is_not_accepted(aws: None, mail: Mail, clock: Clock) -> None:
    put(**{f"SV{number:03}": {} for number in range(40)})
    good = backed_up(mail, clock, 0)
    lose(0, 20)
    in_doubt = backed_up(mail, clock, 1)
    used = resources(clock)
    used.s3.put_object(Bucket=used.bucket, Key=in_doubt.key, Body=b"{}")
    with pytest.raises(acceptance.NotInDoubt, match=f"{in_doubt.key} is damaged"):
        acceptance.accept(used, in_doubt.key)
    assert used.history.newest_backup("studentData")["key"] == good.key
