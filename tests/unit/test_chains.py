"""Chains of incremental exports: when a base is made, what a chain needs, and how it is restored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import boto3
import pytest

from ops.backups import overview
from rollbook.contract import moments
from rollbook.contract.jobs import BackupJob
from rollbook.engine import acceptance, backup, chain, compare, doubt, finish_export, restore, stored
from rollbook.engine.checks import Checks
from rollbook.engine.executions import Execution
from rollbook.engine.notifier import Notifier
from rollbook.engine.resources import Resources
from rollbook.engine.restore_request import Request, RestoreRefused
from rollbook.engine.selection import Selection
from tests.tiers import slow_beyond
from tests.unit.engine import JOB, MINUTE, PLACES, Clock, Mail, resources, soon, table
from tests.unit.exports import BUCKET, Exporting, Reading

DAY = timedelta(days=1)
INCREMENTS = replace(JOB, engine="export", format="dynamodb-export", export_type="incremental", full_every_days=7)


class School:
    """A table that is exported, on a clock that tests set."""

    def __init__(self, clock: Clock, mail: Mail) -> None:
        self.clock = clock
        self.mail = mail
        self.exporting = Exporting(clock)
        self.used: Resources = replace(resources(clock), dynamodb=self.exporting)

    @property
    def notifier(self) -> Notifier:
        def client(name: str) -> Any:
            return self.mail if name == "sesv2" else boto3.client(name)

        return Notifier(PLACES, history=self.used.history, client=client, clock=self.clock)

    def begin(self, job: BackupJob = INCREMENTS, request: backup.Request | None = None) -> Execution:
        request = request or backup.scheduled(job, "UTC", self.clock.now)
        row = backup.Backup(job, self.used, self.notifier).run(request, holder="a", deadline=soon())
        assert row is not None
        return row

    def finish(self, row: Execution) -> Execution:
        manifest = self.exporting.complete(row.export_arn)
        done = finish_export.finish(manifest, self.used, self.notifier, holder="finisher", deadline=soon())
        assert done is not None
        return done

    def back_up(self, job: BackupJob = INCREMENTS) -> Execution:
        return self.finish(self.begin(job))

    def chain(self, key: str) -> list[str]:
        return [link.key for link in chain.find(self.used.open_backup, key)]


@pytest.fixture
def school(aws: None, clock: Clock, mail: Mail) -> School:
    return School(clock, mail)


def put_item(table_name: str, studentid: str, number: str) -> None:
    item = {"studentid": {"S": studentid}, "n": {"N": number}}
    boto3.client("dynamodb").put_item(TableName=table_name, Item=item)


def items_of(backup: stored.StoredBackup) -> dict[str, Any]:
    return {json.loads(each)["studentid"]["S"]: json.loads(each) for each in backup.items()}


def after(school: School, gap: timedelta) -> Execution:
    """Back up, and again after a time."""
    school.exporting.write("SV001", n={"N": "1"})
    school.clock.now += MINUTE
    school.back_up()
    school.clock.now += gap
    return school.back_up()


@pytest.mark.parametrize(
    ("gap", "kind", "why"),
    [
        (timedelta(hours=12), "incremental", ""),
        (DAY, "incremental", ""),
        (DAY + 9 * MINUTE, "incremental", ""),
        (DAY + 64 * MINUTE, "incremental", ""),
        (3 * DAY, "full", "full, because the last export is of 2025-07-08T00:01Z, and an increment covers 24 hours or"),
        (10 * MINUTE, "full", "full, because the last export is of 2025-07-08T00:01Z, and an increment covers 15"),
        (7 * DAY, "full", "full, because the last full export is of 2025-07-08T00:01Z, 7 days ago or more"),
    ],
)
def test_an_increment_continues_the_last_export_or_the_reason_is_said(
    school: School, gap: timedelta, kind: str, why: str
) -> None:
    row = after(school, gap)
    assert row.export_type == kind
    assert why in row.reason
    if kind == "full":
        assert (row.base_key, row.predecessor_key, row.exported_from) == (row.key, "", None)


def test_a_period_ends_at_24_hours_and_the_next_goes_on_from_there(school: School) -> None:
    late = after(school, DAY + 9 * MINUTE)
    assert late.exported_from is not None
    assert late.exported_until is not None
    assert late.exported_until - late.exported_from == DAY
    school.clock.now += DAY - 9 * MINUTE
    following = school.back_up()
    assert following.exported_from == late.exported_until
    assert following.export_type == "incremental"
    assert following.predecessor_key == late.key
    assert following.base_key == late.base_key


def first_of(school: School) -> str:
    return next(iter(school.exporting.exports))


def test_the_times_are_those_of_the_manifest_and_not_of_our_clock(school: School) -> None:
    row = after(school, timedelta(hours=12))
    # DynamoDB's latest restorable time is five minutes ago.
    assert row.exported_until == (school.clock.now - 5 * MINUTE).replace(microsecond=0)
    link = chain.find(school.used.open_backup, row.key)[-1]
    assert link.change_of == (
        moments.to_text(row.exported_from or school.clock.now),
        moments.to_text(row.exported_until),
    )


@pytest.mark.parametrize("gone", ["base", "link", "manifest of the base"])
def test_a_chain_with_a_missing_link_is_not_continued(school: School, gone: str) -> None:
    first = after(school, timedelta(hours=12))
    school.clock.now += timedelta(hours=12)
    second = school.back_up()
    assert school.chain(second.key) == [first.base_key, first.key, second.key]
    lost = {"base": first.base_key, "link": first.key}.get(gone)
    if lost is None:
        opened = stored.open_backup(school.used.s3, BUCKET, first.base_key)
        lost = opened.manifest or ""
    school.used.s3.delete_object(Bucket=BUCKET, Key=lost)
    with pytest.raises(chain.Corrupted, match="is missing"):
        chain.find(school.used.open_backup, second.key)
    school.clock.now += timedelta(hours=12)
    row = school.back_up()
    assert row.export_type == "full"
    assert "cannot be continued" in row.reason
    assert lost in row.reason


@pytest.mark.parametrize("gone", ["base", "link", "data of the base"])
def test_a_chain_is_not_continued_if_somebody_deleted_a_link_and_its_version_remains(school: School, gone: str) -> None:
    """S3 deletes the version after the noncurrent days, and with it the chain."""
    s3 = school.used.s3
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    first = after(school, timedelta(hours=12))
    lost = {"base": first.base_key, "link": first.key}.get(gone)
    if lost is None:
        folder = stored.open_backup(s3, BUCKET, first.base_key).manifest or ""
        lost = folder.replace("manifest-summary.json", "data/one.json.gz")
    s3.delete_object(Bucket=BUCKET, Key=lost)
    if gone.startswith("data"):  # only a check reads the data
        assert Checks(school.used, school.notifier.damaged).share(1, "check#1", soon()).damaged
    school.clock.now += timedelta(hours=12)
    row = school.back_up()
    assert row.export_type == "full"
    assert lost.partition("/")[0] in row.reason


def test_an_increment_is_full_after_recovery_was_switched_off_and_on(school: School) -> None:
    first = after(school, timedelta(hours=12))
    school.exporting.recovery_since = school.clock.now + MINUTE
    school.clock.now += timedelta(hours=12)
    row = school.back_up()
    assert first.export_type == "incremental"
    assert row.export_type == "full"
    assert "point-in-time recovery covers the time since" in row.reason


@pytest.mark.slow
def test_a_base_that_is_older_than_the_window_of_recovery_is_continued(school: School) -> None:
    """The window slides with the time, so only the last export must be inside."""
    job = replace(INCREMENTS, full_every_days=60)
    school.exporting.write("SV001", n={"N": "1"})
    school.clock.now += MINUTE
    base = school.back_up(job)
    for _ in range(45):
        school.clock.now += DAY
        row = school.back_up(job)
    assert (row.export_type, row.base_key) == ("incremental", base.key)


def test_an_increment_is_full_if_the_table_is_another(school: School) -> None:
    after(school, timedelta(hours=12))
    school.exporting.table_id = "22222222-2222-2222-2222-222222222222"
    school.clock.now += timedelta(hours=12)
    row = school.back_up()
    assert row.export_type == "full"
    assert "the table was deleted and created" in row.reason


def test_a_retry_after_a_kill_continues_the_same_export(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    after(school, timedelta(hours=12))
    school.clock.now += timedelta(hours=12)
    request = backup.scheduled(INCREMENTS, "UTC", school.clock.now)

    def killed(*_: Any, **__: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(school.used.history, "mark_exporting", killed)
        with pytest.raises(MemoryError):
            school.begin(request=request)
    count = len(school.exporting.exports)
    school.clock.now += 10 * MINUTE
    row = school.begin(request=request)
    assert len(school.exporting.exports) == count
    assert school.finish(row).status == "completed"


def test_a_failed_export_is_begun_again_with_another_token(school: School) -> None:
    first = school.begin()
    school.exporting.fail(first.export_arn)
    request = backup.scheduled(INCREMENTS, "UTC", school.clock.now)
    with pytest.raises(RuntimeError, match="S3AccessDenied"):
        school.begin(request=request)
    assert school.begin(request=request).export_arn != first.export_arn


def test_a_refused_period_is_shortened_and_a_hopeless_one_becomes_full(school: School) -> None:
    after(school, timedelta(hours=12))
    school.clock.now += timedelta(hours=12)
    school.exporting.refused_until = school.clock.now - 11 * MINUTE
    row = school.back_up()
    assert row.export_type == "incremental"
    assert row.exported_until == school.clock.now.replace(microsecond=0) - 15 * MINUTE
    school.clock.now += 30 * MINUTE
    school.exporting.refused_until = school.clock.now - 40 * MINUTE
    row = school.back_up()
    assert row.export_type == "full"
    assert "DynamoDB refused the changes since" in row.reason


def test_the_state_of_a_chain_is_that_of_the_table_at_its_end(school: School) -> None:
    for number in range(5):
        school.exporting.write(f"SV{number:03}", n={"N": "0"})
    school.clock.now += MINUTE
    school.back_up()
    school.exporting.write("SV000", n={"N": "1"})
    school.exporting.delete("SV001")
    school.exporting.write("SV009", n={"N": "1"})
    school.clock.now += DAY
    school.back_up()
    school.exporting.write("SV001", n={"N": "2"})
    school.exporting.write("SV000", n={"N": "2"})
    school.exporting.delete("SV009")
    school.clock.now += DAY
    last = school.back_up()
    assert items_of(chain.open_chain(school.used.open_backup, last.key)) == school.exporting.state(school.clock.now)


def days(school: School, seed: int, count: int) -> Iterator[tuple[int, Execution]]:
    """Live for some days: a few writes, and a backup that starts up to ten minutes late."""
    random = Random(seed)
    midnight = school.clock.now
    for day in range(count):
        school.clock.now = midnight + day * DAY + timedelta(seconds=random.randrange(600))
        for _ in range(3):
            key = f"SV{random.randrange(40):03}"
            if random.random() < 0.3:
                school.exporting.delete(key)
            else:
                school.exporting.write(key, n={"N": str(random.randrange(1000))})
        school.clock.now += MINUTE
        yield day, school.back_up()


@pytest.mark.parametrize("count", slow_beyond(1, [20, 400]))
def test_each_day_has_a_whole_chain_with_a_young_base(school: School, count: int) -> None:
    school.used = replace(school.used, s3=Reading(school.used.s3))
    bases: list[str] = []
    for day, row in days(school, seed=1, count=count):
        links = chain.find(school.used.open_backup, row.key)
        base = chain.as_of(links[0])
        assert base is not None
        assert school.clock.now - base < timedelta(days=INCREMENTS.full_every_days + 1), f"day {day}"
        end = row.exported_until
        assert end is not None
        assert school.clock.now - end < timedelta(minutes=25), f"day {day}: the data is of {end}"
        found = items_of(chain.open_chain(school.used.open_backup, row.key))
        wanted = school.exporting.state(end)
        assert found == wanted, f"day {day}"
        if row.export_type == "full":
            bases.append(row.key)
    assert count // 8 <= len(bases) <= count // 7 + 1


def a_base_and_two_links(school: School) -> tuple[Execution, Execution, Execution]:
    school.exporting.write("SV001", n={"N": "1"})
    school.exporting.write("SV002", n={"N": "1"})
    school.clock.now += MINUTE
    base = school.back_up()
    school.exporting.write("SV001", n={"N": "2"})
    school.clock.now += DAY
    first = school.back_up()
    school.exporting.delete("SV002")
    school.exporting.write("SV003", n={"N": "3"})
    school.clock.now += DAY
    return base, first, school.back_up()


def restored(school: School, key: str, table_name: str, *, is_new: bool, chain: bool = False) -> Execution:
    request = Request(key, table_name, is_new=is_new, chain=chain)
    return restore.Restore(school.used).run(request, holder="a")


def numbers(table_name: str) -> dict[str, str]:
    return {key: json.loads(item)["n"]["N"] for key, item in table(table_name).items()}


def test_a_chain_is_restored_into_a_new_table_and_compared(school: School) -> None:
    _, _, last = a_base_and_two_links(school)
    row = restored(school, last.key, "restored", is_new=True, chain=True)
    assert (row.status, row.items) == ("completed", 2)
    assert numbers("restored") == {"SV001": "2", "SV003": "3"}


def test_a_link_is_refused_unless_the_target_ends_where_it_begins(school: School) -> None:
    base, first, second = a_base_and_two_links(school)
    with pytest.raises(RestoreRefused, match="--chain"):
        restored(school, second.key, "restored", is_new=True)
    restored(school, base.key, "restored", is_new=True)
    with pytest.raises(RestoreRefused, match="restored is not at their beginning: it is restored to"):
        restored(school, second.key, "restored", is_new=False)
    assert numbers("restored") == {"SV001": "1", "SV002": "1"}
    restored(school, first.key, "restored", is_new=False)
    restored(school, second.key, "restored", is_new=False)
    assert numbers("restored") == {"SV001": "2", "SV003": "3"}
    with pytest.raises(RestoreRefused, match="it is restored to"):
        restored(school, first.key, "restored", is_new=False)


def test_a_link_is_refused_into_another_table_of_the_same_name(school: School) -> None:
    base, first, _ = a_base_and_two_links(school)
    restored(school, base.key, "restored", is_new=True)
    school.exporting.other_ids["restored"] = "33333333-3333-3333-3333-333333333333"
    with pytest.raises(RestoreRefused, match="the history has no restore of this table"):
        restored(school, first.key, "restored", is_new=False)


def test_a_broken_chain_is_not_restored_and_names_what_is_missing(school: School) -> None:
    _, first, last = a_base_and_two_links(school)
    school.used.s3.delete_object(Bucket=BUCKET, Key=first.key)
    with pytest.raises(chain.ChainBroken, match=f"{first.key} is missing"):
        restored(school, last.key, "restored", is_new=True, chain=True)


def test_an_increment_is_compared_as_the_state_at_its_end(school: School) -> None:
    base, _, last = a_base_and_two_links(school)
    used = school.used
    answer = compare.summary(used, base.key, last.key)
    assert (answer["added"], answer["removed"], answer["changed"]) == (1, 1, 1)


def test_the_list_says_type_period_and_base(school: School) -> None:
    base, first, _ = a_base_and_two_links(school)
    rows = {row.key: overview.described(row) for row in (base, first)}
    assert (rows[base.key]["type"], rows[base.key]["base"], rows[base.key]["from"]) == ("full", base.key, "")
    assert rows[first.key]["type"] == "incremental"
    assert (rows[first.key]["base"], rows[first.key]["predecessor"]) == (base.key, base.key)
    assert overview.period(rows[first.key]) == f"{rows[first.key]['from']} to {rows[first.key]['until']}"


def test_a_selection_does_not_bring_a_table_to_the_end_of_a_backup(school: School) -> None:
    base, first, second = a_base_and_two_links(school)
    some = Request(base.key, "restored", is_new=True, selection=Selection(("SV001",)))
    restore.Restore(school.used).run(some, holder="a")
    with pytest.raises(RestoreRefused, match="the history has no restore of this table"):
        restored(school, first.key, "restored", is_new=False)
    restored(school, base.key, "whole", is_new=True)
    restored(school, first.key, "whole", is_new=False)
    one = Request(second.key, "whole", is_new=False, selection=Selection(("SV003",)))
    restore.Restore(school.used).run(one, holder="a")
    restored(school, second.key, "whole", is_new=False)
    assert numbers("whole") == {"SV001": "2", "SV003": "3"}


def test_a_full_backup_over_a_table_ends_its_place_in_the_chain(school: School) -> None:
    base, first, second = a_base_and_two_links(school)
    restored(school, base.key, "restored", is_new=True)
    restored(school, first.key, "restored", is_new=False)
    put_item("restored", "SV009", "9")
    over = Request(base.key, "restored", is_new=False, mode="differing")
    row = restore.Restore(school.used).run(over, holder="a")
    assert row.extra == 1
    with pytest.raises(RestoreRefused, match="the history has no restore of this table"):
        restored(school, second.key, "restored", is_new=False)


def test_a_link_that_ends_before_its_predecessor_breaks_the_chain(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first, last = a_base_and_two_links(school)
    opened = school.used.open_backup

    def swapped(key: str) -> stored.StoredBackup:
        found = opened(key)
        if key == last.key:
            found.change_of = ("2025-07-08T00:00:00.000Z", "2025-07-08T12:00:00.000Z")
        return found

    with pytest.raises(chain.ChainBroken, match=f"{first.key}, which it continues, ends later"):
        chain.find(swapped, last.key)


def test_an_increment_of_a_base_in_doubt_is_in_doubt(school: School) -> None:
    for number in range(40):
        school.exporting.write(f"SV{number:03}", n={"N": "1"})
    school.clock.now += MINUTE
    good = school.back_up()
    for number in range(39):
        school.exporting.delete(f"SV{number:03}")
    school.clock.now += 7 * DAY
    base = school.back_up()
    assert (base.export_type, bool(base.doubt)) == ("full", True)
    school.clock.now += DAY
    increment = school.back_up()
    assert increment.export_type == "incremental"
    assert increment.doubt == f"it continues {base.key}, which is in doubt"
    assert school.used.history.newest_backup("studentData")["key"] == good.key
    with pytest.raises(acceptance.NotInDoubt, match="accept that one first"):
        acceptance.accept(school.used, increment.key)
    acceptance.accept(school.used, base.key)
    school.clock.now += DAY
    following = school.back_up()
    assert following.doubt == ""
    acceptance.accept(school.used, increment.key)
    newest = school.used.history.newest_backup("studentData")
    assert newest["key"] == following.key
    assert [items for _, items in doubt.recent_of(newest, school.clock.now)] == [1]


def test_a_base_without_a_row_is_not_looked_for_in_the_whole_history(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role of the backup function may not scan the history."""
    base = school.back_up()
    boto3.client("dynamodb").delete_item(TableName="backup-executions", Key={"id": {"S": f"backup#{base.key}"}})

    def refuse(_: Any) -> Any:
        raise PermissionError("AccessDeniedException")

    monkeypatch.setattr("rollbook.engine.history.History.rows", refuse)
    school.clock.now += DAY
    row = school.back_up()
    assert row.export_type == "full"
    assert f"the history does not know {base.key}" in row.reason
