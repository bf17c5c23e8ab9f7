"""Failed and silent exports: noticed without an event, and reported once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rollbook.engine import backup, exporting
from rollbook.engine.executions import Execution
from rollbook.engine.export_watch import ExportWatch, NotLookedAt
from tests.unit.engine import MINUTE, Clock, Mail, soon
from tests.unit.test_chains import INCREMENTS, School

LIMIT = timedelta(hours=6)
INTERVAL = 5 * MINUTE


@pytest.fixture
def school(aws: None, clock: Clock, mail: Mail) -> School:
    school = School(clock, mail)
    school.exporting.write("SV001", n={"N": "1"})
    clock.now += MINUTE
    return school


def look(school: School) -> dict[str, str]:
    return ExportWatch(school.used, school.notifier, LIMIT).run(holder="watch", deadline=soon())


def subjects(school: School) -> list[str]:
    return [sent["Subject"]["Data"] for sent in school.mail.sent]


def execution(school: School, row: Execution) -> Execution:
    found = school.used.history.get(row.id)
    assert found is not None
    return found


def test_a_failed_export_is_reported_once_within_15_minutes(school: School) -> None:
    row = school.begin()
    assert look(school) == {row.id: "running"}
    school.exporting.fail(row.export_arn)
    school.clock.now += INTERVAL
    assert look(school) == {row.id: "failed"}
    assert look(school) == {}
    failed = execution(school, row)
    assert failed.status == "failed"
    assert "S3AccessDenied: denied" in failed.error
    assert subjects(school) == ["Backup Failed: studentData"]
    body = school.mail.sent[0]["Body"]["Text"]["Data"]
    for part in ("Table:     studentData", f"Execution: {row.id}", "S3AccessDenied", "rollbook backups create"):
        assert part in body


def test_a_completed_export_without_an_event_is_finished(school: School) -> None:
    row = school.begin()
    school.exporting.complete(row.export_arn)
    school.exporting.exports[row.export_arn]["EndTime"] = school.clock.now
    assert look(school) == {row.id: "completed; its manifest's event is awaited"}
    school.clock.now += INTERVAL
    assert look(school) == {row.id: "completed without an event"}
    assert execution(school, row).status == "completed"
    assert look(school) == {}
    assert subjects(school) == [f"Backup Completed: {row.key}"]


def test_an_export_that_its_manifest_finished_is_forgotten(school: School) -> None:
    school.back_up()
    assert exporting.ids(school.used.history) == []
    assert look(school) == {}


def test_a_silent_export_is_reported_once_and_still_finished(school: School) -> None:
    row = school.begin()
    school.clock.now += LIMIT
    assert look(school) == {row.id: "running"}
    school.clock.now += INTERVAL
    assert look(school) == {row.id: "silent"}
    assert look(school) == {row.id: "silent"}
    assert subjects(school) == ["Backup Failed: studentData"]
    assert "is running for 6.1 hours" in school.mail.sent[0]["Body"]["Text"]["Data"]
    done = school.finish(row)
    assert done.status == "completed"
    assert subjects(school)[-1] == f"Backup Completed: {row.key}"
    assert look(school) == {}


def test_the_mail_of_a_completed_backup_is_sent_after_a_failed_try(school: School) -> None:
    request = backup.scheduled(INCREMENTS, "UTC", school.clock.now)
    row = school.begin(request=request)
    school.exporting.fail(row.export_arn)
    look(school)
    again = school.begin(request=request)
    school.finish(again)
    assert subjects(school) == ["Backup Failed: studentData", f"Backup Completed: {row.key}"]


def test_an_export_of_a_killed_invocation_is_reported(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any, **__: Any) -> Any:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(school.used.history, "mark_exporting", killed)
        patched.setattr(school.used.history, "fail", lambda *_, **__: None)
        with pytest.raises(SystemExit):
            school.begin()
    [id_] = exporting.ids(school.used.history)
    assert look(school) == {id_: "starting"}
    school.clock.now += 10 * MINUTE
    assert look(school) == {id_: "failed"}
    assert subjects(school) == ["Backup Failed: studentData"]


def test_a_fault_of_one_export_does_not_hide_the_others(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    first = school.begin()
    school.clock.now += MINUTE
    second = school.begin()
    school.exporting.fail(second.export_arn)
    del school.exporting.exports[first.export_arn]
    with pytest.raises(NotLookedAt, match=f"{first.id}: KeyError"):
        look(school)
    assert execution(school, second).status == "failed"
    assert exporting.ids(school.used.history) == [first.id]


def test_the_event_of_a_failed_export_is_on_the_bus(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr("rollbook.messages.bus.Bus.put", lambda _, event: sent.append(event))
    row = school.begin()
    school.exporting.fail(row.export_arn)
    look(school)
    [event] = sent
    assert (event.correlation_id, event.table) == (row.id, "studentData")
