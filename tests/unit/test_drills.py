"""Drills: of chains, with objectives, and one at a time for each table."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest

from rollbook.contract.jobs import DrillJob
from rollbook.engine import chain
from rollbook.engine.deadline import Deadline
from rollbook.engine.drill import Drill, DrillFailed
from rollbook.engine.drill_lock import DrillLock, DrillRunning
from rollbook.engine.history import scratch_of
from tests.unit.engine import MINUTE, Clock, Mail, local, soon
from tests.unit.test_chains import DAY, School

KEY = "arn:aws:kms:ap-southeast-1:123456789012:key/1"
JOB = DrillJob(table_name="studentData", scratch_prefix="studentData-drill-", rpo_hours=25, rto_minutes=60)


@pytest.fixture
def school(aws: None, clock: Clock, mail: Mail) -> School:
    school = School(clock, mail)
    school.exporting.write("SV001", n={"N": "1"})
    school.exporting.write("SV002", n={"N": "1"})
    clock.now += MINUTE
    school.back_up()
    school.exporting.write("SV001", n={"N": "2"})
    school.exporting.delete("SV002")
    clock.now += DAY
    school.back_up()
    return school


def drilled(school: School, execution: str = "drill#1", job: DrillJob = JOB) -> Drill:
    return Drill(job, school.used, school.notifier)


def scratch_tables() -> list[str]:
    return [name for name in boto3.client("dynamodb").list_tables()["TableNames"] if "-drill-" in name]


def create(name: str) -> None:
    boto3.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )


def test_a_drill_of_an_increment_restores_its_whole_chain(school: School) -> None:
    row = drilled(school).run("drill#1", holder="a", deadline=soon())
    assert row is not None
    assert row.status == "completed"
    assert row.key == school.used.history.newest_backup("studentData")["key"]
    assert row.items == 1
    assert scratch_tables() == []


def test_a_drill_of_an_old_backup_fails_and_names_its_age(school: School) -> None:
    school.clock.now += 89 * DAY
    with pytest.raises(DrillFailed, match=r"2,136\.1 hours old, and the objective \(RPO\) is 25 hours"):
        drilled(school).run("drill#1", holder="a", deadline=soon())
    assert scratch_tables() == []
    assert [sent["Subject"]["Data"] for sent in school.mail.sent if "Drill Failed" in sent["Subject"]["Data"]]


def test_a_drill_that_takes_longer_than_its_objective_fails(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    job = replace(JOB, rto_minutes=1)
    create_table = local().dynamodb.create_table

    def slow(**request: object) -> object:
        school.clock.now += 2 * MINUTE
        return create_table(**request)

    monkeypatch.setattr(school.exporting, "create_table", slow, raising=False)
    with pytest.raises(DrillFailed, match=r"took 2\.0 minutes, and the objective \(RTO\) is 1 minutes"):
        drilled(school, job=job).run("drill#1", holder="a", deadline=soon())


def test_two_drills_of_one_table_do_not_run_at_once_and_keep_each_others_tables(school: School) -> None:
    lock = DrillLock(school.used.history, school.used.dynamodb, "studentData", "another")
    lock.take(now=school.clock.now, until=school.clock.now + MINUTE, scratch="studentData-drill-another")
    create("studentData-drill-another")
    with pytest.raises(DrillRunning, match="another drill of studentData is running until"):
        drilled(school).run("drill#2", holder="b", deadline=soon())
    assert scratch_tables() == ["studentData-drill-another"]
    assert not [sent for sent in school.mail.sent if "Drill Failed" in sent["Subject"]["Data"]]
    boto3.client("dynamodb").delete_table(TableName="studentData-drill-another")
    lock.release(now=school.clock.now)
    row = drilled(school).run("drill#2", holder="c", deadline=soon())
    assert row is not None
    assert row.status == "completed"


def test_drills_of_two_tables_run_at_once(school: School) -> None:
    lock = DrillLock(school.used.history, school.used.dynamodb, "another-table", "another")
    lock.take(now=school.clock.now, until=school.clock.now + MINUTE, scratch="another-table-drill-1")
    row = drilled(school).run("drill#1", holder="a", deadline=soon())
    assert row is not None
    assert row.status == "completed"


def test_the_table_of_a_dead_drill_is_deleted_once_its_lease_has_ended(school: School) -> None:
    lock = DrillLock(school.used.history, school.used.dynamodb, "studentData", "dead")
    lock.take(now=school.clock.now, until=school.clock.now + 15 * MINUTE, scratch="studentData-drill-dead")
    create("studentData-drill-dead")
    create("studentData-drill-by-hand")
    school.clock.now += timedelta(minutes=14)
    with pytest.raises(DrillRunning):
        drilled(school).run("drill#1", holder="a", deadline=soon())
    assert "studentData-drill-dead" in scratch_tables()
    school.clock.now += timedelta(minutes=2)
    drilled(school).run("drill#1", holder="b", deadline=soon())
    assert scratch_tables() == ["studentData-drill-by-hand"]


def test_a_drill_names_its_table_uniquely(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for holder in ("a", "b"):
        drilled(school).run(f"drill#{holder}", holder=holder, deadline=Deadline.after(60))
        names.append((school.used.history.recall(scratch_of("studentData")) or {})["table"])
    assert len(set(names)) == 2


@pytest.mark.parametrize(
    ("kms_key_arn", "sent"),
    [("", {"Enabled": True, "SSEType": "KMS"}), (KEY, {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY})],
)
def test_the_scratch_table_has_the_key_that_the_settings_name_or_that_of_aws(
    school: School, monkeypatch: pytest.MonkeyPatch, kms_key_arn: str, sent: dict[str, Any]
) -> None:
    created: list[dict[str, Any]] = []
    create_table, open_chain = local().dynamodb.create_table, chain.open_chain

    def noted(**request: Any) -> Any:
        created.append(request)
        return create_table(**request)

    def encrypted(*of: Any) -> Any:
        found = open_chain(*of)
        found.table = (found.table or {}) | {"encryption": {"SSEType": "KMS", "KMSMasterKeyArn": f"{KEY}-of-aws"}}
        return found

    monkeypatch.setattr(school.exporting, "create_table", noted, raising=False)
    monkeypatch.setattr(chain, "open_chain", encrypted)
    row = drilled(school, job=replace(JOB, kms_key_arn=kms_key_arn)).run("drill#1", holder="a", deadline=soon())
    assert row is not None
    assert [request["SSESpecification"] for request in created] == [sent]


def test_a_drill_passes_although_its_clock_is_behind(school: School) -> None:
    school.clock.now -= timedelta(hours=2)
    row = drilled(school).run("drill#1", holder="a", deadline=soon())
    assert row is not None
    assert row.rpo_seconds == 0
