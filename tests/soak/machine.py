"""The rules of the soak: what happens at a school, and what must be true after it."""

from __future__ import annotations

import gzip
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rollbook.contract.retention import Policy
from rollbook.engine import backup, chain, stored, verification
from rollbook.engine.drill import DrillFailed
from rollbook.engine.drill_lock import DrillRunning
from rollbook.engine.executions import COMPLETED, EXPORTING, Execution
from rollbook.engine.formats.lines import Corrupted
from rollbook.engine.restore_request import AlreadyRunning, Request, RestoreRefused
from tests.soak import school as schools
from tests.soak.combinations import VALID
from tests.soak.faults import Fault, Killed
from tests.soak.model import Made, Model, Run
from tests.soak.school import SCRATCH, TABLE, ZONE

# What was done in all histories of this process.
COUNTS: Counter[str] = Counter()
NONE = Fault()
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
FAULTS = st.one_of(
    st.just(NONE),
    st.just(NONE),
    st.builds(Fault, st.sampled_from(["kill before", "kill after"]), st.integers(1, 30)),
    st.builds(Fault, st.just("throttle"), st.integers(1, 20), st.integers(1, 4)),
    st.just(Fault("no mail")),
)
KEYS = st.integers(0, 24).map(lambda number: f"SV{number:03}")
PLACES = st.integers(0, 1000)
SCANS, EXPORTS = (
    st.sampled_from([number for number, each in enumerate(VALID) if (each.engine == "export") == is_export])
    for is_export in (False, True)
)
POLICIES = st.sampled_from([None, Policy(keep_last=1), Policy(keep_last=2, daily=2), Policy(keep_last=1, weekly=3)])
# Errors that a fault may cause; anything else is a fault of the engine.
TOLD = (ClientError, BotoCoreError, RuntimeError, Corrupted)


class Soak(RuleBasedStateMachine):
    """The life of one school."""

    @initialize(policy=POLICIES, full_every=st.sampled_from([1, 7, 25]))
    def open(self, policy: Policy | None, full_every: int) -> None:
        self.stack = ExitStack()
        self.school = self.stack.enter_context(schools.opened(policy))
        self.jobs = [
            each.job(expire_after_days=0 if policy else schools.EXPIRE_DAYS, full_every_days=full_every)
            for each in VALID
        ]
        self.model = Model()
        self.number = 0
        self.unrecorded = 0  # mails in invocations with a fault, which may have been sent and not recorded
        self.exports: dict[str, str] = {}
        self.manifests: dict[str, str] = {}
        self.drills: list[str] = []
        for number in range(12):
            self.school.write(f"SV{number:03}", n={"N": "0"})
        self._back_up(0, NONE, is_manual=False)
        COUNTS["histories"] += 1

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()

    # Time.

    def tick(self) -> int:
        """Let a second pass, and return a number that was not used before."""
        self.number += 1
        self.school.times.now += timedelta(seconds=1, milliseconds=1)
        return self.number

    @rule(minutes=st.sampled_from([1, 5, 16, 60, 120, 600]))
    def wait(self, minutes: int) -> None:
        self.school.times.now += minutes * MINUTE

    @rule(hours=st.sampled_from([-2, -1, 0, 0, 1, 2]))
    def set_the_clock(self, hours: int) -> None:
        """Set the functions' clock. It goes back only while nothing waits for a retry: a lease is a time."""
        is_waiting = any(self.model.open_runs()) or self.manifests
        if is_waiting and timedelta(hours=hours) < self.school.times.skew:
            return
        self.school.times.skew = timedelta(hours=hours)
        COUNTS["clock changes"] += 1

    @rule(days=st.sampled_from([1, 1, 2, 7, 30, 45]))
    def pass_days(self, days: int) -> None:
        """Let days pass, each with the lifecycle at midnight, and the daily function in every ten of them."""
        before = self.model.good_full(self.school.versions())
        for day in range(days):
            self.school.times.now = (self.school.times.now + DAY).replace(hour=0, minute=1)
            if day % 10 == 9 or day == days - 1:
                taken = self.school.midnight()
                for made in self.model.made.values():
                    made.is_expired = made.is_expired or bool(taken & made.objects.keys())
                self._expect_rows()
                self.check(NONE)
        COUNTS["days"] += days
        if before and self.school.policy and not self._has_unannounced():
            after = self.model.good_full(self.school.versions())
            assert before[0] in after, f"the lifecycle took the last good full backup {before[0].key}"

    # The records.

    @rule(key=KEYS, value=st.integers(0, 99))
    def save(self, key: str, value: int) -> None:
        self.tick()
        self.school.write(key, n={"N": str(value)})

    @rule(key=KEYS)
    def erase(self, key: str) -> None:
        self.tick()
        self.school.delete(key)

    @rule(keeps=st.sampled_from([0, 1, 3]))
    def lose_most_records(self, keeps: int) -> None:
        self.tick()
        for key in sorted(self.school.records)[keeps:]:
            self.school.delete(key)
        COUNTS["tables nearly emptied"] += 1

    @rule()
    def save_many(self) -> None:
        self.tick()
        for number in range(20):
            self.school.write(f"SV{number:03}", n={"N": str(self.number)})

    # Backups.

    @rule(job=SCANS, fault=FAULTS, is_manual=st.booleans())
    def back_up_by_a_scan(self, job: int, fault: Fault, is_manual: bool) -> None:
        self._back_up(job, fault, is_manual)

    @rule(job=EXPORTS, fault=FAULTS, is_manual=st.booleans())
    def back_up_by_an_export(self, job: int, fault: Fault, is_manual: bool) -> None:
        self._back_up(job, fault, is_manual)

    @rule(job=EXPORTS, fault=FAULTS, others=FAULTS)
    def back_up_by_an_export_that_ends(self, job: int, fault: Fault, others: Fault) -> None:
        """Begin an export, let some time pass, and finish it."""
        self._back_up(job, fault, is_manual=False)
        self.school.times.now += 16 * MINUTE
        for arn in sorted(self.exports):
            self._end(arn, fails=False)
        for manifest in sorted(self.manifests):
            self._finish(manifest, others)

    def _back_up(self, job: int, fault: Fault, is_manual: bool) -> None:
        number, chosen = self.tick(), self.jobs[job]
        if is_manual:
            request = backup.manual(chosen, ZONE, "manual", f"{number:08}-by-hand", self.school.times())
        else:
            request = backup.scheduled(chosen, ZONE, self.school.times.now.replace(second=0, microsecond=0))
        run = self.model.runs.setdefault(request.id, Run(request, chosen))
        self._attempt(run, f"request-{number}", fault)

    @precondition(lambda self: any(self.model.open_runs()))
    @rule(place=PLACES, fault=FAULTS, is_same=st.booleans())
    def try_again(self, place: int, fault: Fault, is_same: bool) -> None:
        """Retry a run as Lambda does, or as an operator who sends its dead letter again."""
        runs = list(self.model.open_runs())
        number = self.tick()
        run = runs[place % len(runs)]
        self._attempt(run, run.holder if is_same else f"request-{number}", fault)

    @precondition(lambda self: bool(self.model.made))
    @rule(place=PLACES, fault=FAULTS)
    def deliver_twice(self, place: int, fault: Fault) -> None:
        """Invoke a run that is completed once more."""
        runs = list(self.model.runs.values())
        self._attempt(runs[place % len(runs)], f"request-{self.tick()}", fault)

    def _attempt(self, run: Run, holder: str, fault: Fault) -> None:
        self.tick()
        school = self.school
        if run.attempts:
            school.times.now += MINUTE  # Lambda's first retry comes after a minute
        run.holder = run.holder or holder
        began, table = school.times(), dict(school.records)
        COUNTS["backups tried"] += 1
        row = None
        try:
            row = school.back_up(run.job, run.request, holder, fault)
        except Killed:
            run.is_open = True
        except TOLD as error:
            run.is_open = True
            self._expect_reason(error)
        run.attempts.append((began, school.times(), table))
        self._count(run, fault)
        if row is None:
            self._made_again(run)
            return
        if row.status == COMPLETED:
            self._made(run, row)
        elif row.status == EXPORTING:
            run.is_open = False
            run.export_arn = row.export_arn
            self.exports.setdefault(row.export_arn, run.request.id)

    def _expect_reason(self, error: BaseException) -> None:
        """A failure needs a fault, or an export that failed."""
        excused = self.school.gate.hits or "ExportFailed" in f"{type(error).__name__}: {error}"
        if not excused:
            raise error

    def _count(self, run: Run | None, fault: Fault) -> None:
        gate = self.school.gate
        if gate.hits:
            COUNTS[f"fault: {fault.kind}"] += 1
        if gate.hits and gate.mailed:
            self.unrecorded += gate.mailed
            if run:
                run.mail_kills += 1

    def _has_unannounced(self) -> bool:
        """Return whether a completed backup waits for its mail: it may have taken the place of the announced ones."""
        rows = (self.school.used.history.get(run.request.id) for run in self.model.open_runs())
        return any(row is not None and row.status == COMPLETED for row in rows)

    @precondition(lambda self: bool(self.exports))
    @rule(place=PLACES, fails=st.sampled_from([False, False, False, True]))
    def end_an_export(self, place: int, fails: bool) -> None:
        arns = sorted(self.exports)
        self._end(arns[place % len(arns)], fails)

    def _end(self, arn: str, fails: bool) -> None:
        request = self.exports.pop(arn)
        if fails:
            self.school.exporting.fail(arn)
            self.model.runs[request].is_open = True
            COUNTS["exports failed"] += 1
        else:
            self.manifests[self.school.exporting.complete(arn)] = request
            self.school.exporting.exports[arn]["EndTime"] = self.school.times.now

    @precondition(lambda self: bool(self.manifests))
    @rule(place=PLACES, fault=FAULTS)
    def finish(self, place: int, fault: Fault) -> None:
        manifests = sorted(self.manifests)
        self._finish(manifests[place % len(manifests)], fault)

    def _finish(self, manifest: str, fault: Fault) -> None:
        run = self.model.runs[self.manifests[manifest]]
        self.tick()
        self.school.times.now += MINUTE
        try:
            row = self.school.finish(manifest, f"finisher-{manifest}", fault)
        except (Killed, *TOLD) as error:
            # Until its lease expires, a killed invocation keeps all others away.
            is_waiting = "must wait for the retry" in str(error)
            if not isinstance(error, Killed) and not is_waiting and not self._is_damaged(run):
                self._expect_reason(error)
            self._count(run, fault)
            return
        self._count(run, fault)
        del self.manifests[manifest]
        if row is not None:
            self._made(run, row)

    def _is_damaged(self, run: Run) -> bool:
        versions = self.school.versions()
        return any(made.run is run and not made.is_untouched(versions) for made in self.model.made.values())

    @rule(fault=FAULTS)
    def watch(self, fault: Fault) -> None:
        number = self.tick()
        try:
            found = self.school.watch(f"watch-{number}", fault)
        except (Killed, *TOLD) as error:
            if not isinstance(error, Killed):
                self._expect_reason(error)
            found = {}
        self._count(None, fault)
        for request, what in found.items():
            if what == "completed without an event":
                row = self.school.used.history.get(request)
                assert row is not None
                self._made(self.model.runs[request], row)
                self.manifests = {key: of for key, of in self.manifests.items() if of != request}
            elif what == "failed":
                self.model.runs[request].is_open = True

    def _made_again(self, run: Run) -> None:
        """Take note of a backup whose object was gone, that was made again, and that could not be announced yet."""
        row = self.school.used.history.get(run.request.id)
        if row and row.status == COMPLETED and row.key in self.model.made:
            self._made(run, row)
            run.is_open = True

    def _made(self, run: Run, row: Execution) -> None:
        """Take note of a backup that was announced, and let the events of its completion follow."""
        run.is_open = False
        objects = self._objects(row)
        known = self.model.made.get(row.key)
        if known and known.objects[row.key] == objects.get(row.key):
            return  # it was not made again; a check finds what became of its other objects
        COUNTS[f"backups: {row.engine}, {row.export_type or 'full'}"] += 1
        predecessor = row.predecessor_key if row.export_type == "incremental" else ""
        self.model.made[row.key] = Made(row.key, run, row, self._expected(run, row), predecessor, objects)
        self.read_all_of(self.model.made[row.key])
        if self.school.policy:
            self.mark(NONE)

    def _objects(self, row: Execution) -> dict[str, str]:
        versions = self.school.versions()
        keys = [row.key]
        if row.manifest:
            folder = row.manifest.rpartition("/")[0]
            keys += [
                key
                for key in versions
                if key.startswith(f"{folder}/data/") or key in {row.manifest, f"{folder}/manifest-files.json"}
            ]
        return {key: versions[key][0][0] for key in keys if key in versions}

    def _expected(self, run: Run, row: Execution) -> dict[str, Any]:
        if row.engine == "export":
            assert row.exported_until is not None
            return self.school.exporting.state(row.exported_until)
        assert row.read_from is not None
        table = run.table_at(row.read_from)
        assert table is not None, f"{row.key} says that it was read at {row.read_from}, when nothing ran"
        return table

    def read_all_of(self, made: Made) -> None:
        """A backup that was just made has the table's items, unless somebody damaged an earlier link of its chain."""
        if not self.model.is_restorable(made, self.school.versions()):
            return
        opened = chain.open_chain(self.school.used.open_backup, made.key)
        found = {item["studentid"]["S"]: item for item in map(schools.of_bytes, opened.items())}
        assert found == made.table, f"{made.key} differs from the table"

    # What happens to the objects.

    def _some(self, place: int) -> Made:
        keys = sorted(self.model.made)
        return self.model.made[keys[place % len(keys)]]

    @precondition(lambda self: bool(self.model.made))
    @rule(place=PLACES, which=PLACES, how=st.sampled_from(["delete", "replace", "copy another", "erase"]))
    def damage(self, place: int, which: int, how: str) -> None:
        made = self._some(place)
        versions = self.school.versions()
        if not made.is_untouched(versions):
            return
        self.tick()
        objects = sorted(made.objects)
        key = objects[which % len(objects)]
        s3, bucket = self.school.s3, schools.BUCKET
        if how == "delete":
            s3.delete_object(Bucket=bucket, Key=key)
        elif how == "erase":
            s3.delete_object(Bucket=bucket, Key=key, VersionId=made.objects[key])
        elif how == "replace":
            s3.put_object(Bucket=bucket, Key=key, Body=gzip.compress(b'{"Item":{}}\n'))
        else:
            other = self._some(which)
            body = self.school.read(other.key) if other.is_untouched(versions) else b""
            s3.put_object(Bucket=bucket, Key=key, Body=body)
        COUNTS[f"damage: {how}"] += 1

    @precondition(lambda self: bool(self.model.made))
    @rule(place=PLACES)
    def repair(self, place: int) -> None:
        """Delete what is on top of a backup's objects."""
        made = self._some(place)
        if made.is_expired:
            return
        versions = self.school.versions()
        for key, version in made.objects.items():
            names = [each for each, _ in versions.get(key, [])]
            for newer in names[: names.index(version)] if version in names else ():
                self.school.s3.delete_object(Bucket=schools.BUCKET, Key=key, VersionId=newer)
                COUNTS["objects repaired"] += 1

    # What looks at the backups.

    @precondition(lambda self: bool(self.model.made))
    @rule(place=PLACES)
    def verify(self, place: int) -> None:
        made = self._some(place)
        used = self.school.used
        try:
            opened = used.open_backup(made.key)
            verification.verify(opened)
            says_good = not stored.replaced(used.s3, used.bucket, opened)
        except Corrupted:
            says_good = False
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"404", "NoSuchKey", "NoSuchVersion"}:
                raise
            says_good = False
        assert says_good == made.is_untouched(self.school.versions()), f"verify of {made.key} says {says_good}"
        COUNTS["verifications"] += 1

    @rule(fault=FAULTS)
    def check(self, fault: Fault) -> None:
        """Each damaged backup is found, and told once until it is whole again."""
        number, school = self.tick(), self.school
        school.times.now += MINUTE  # the lease of a mail that was not sent is over
        versions = school.versions()
        try:
            outcome = school.check_all(f"check#{number}", fault)
        except (Killed, *TOLD) as error:
            if not isinstance(error, Killed):
                self._expect_reason(error)
            self._count(None, fault)
            return
        self._count(None, fault)
        if outcome.failed:  # a fault hit the reading of a backup; the next check reads it
            return
        COUNTS["checks"] += 1
        found = outcome.damaged
        for made in self.model.made.values():
            if made.is_expired or self._may_be_gone(made):
                continue
            is_damaged = not made.is_untouched(versions)
            assert (made.key in found) == is_damaged, (
                f"damaged: {is_damaged}; the check says {found.get(made.key)!r} of {made.key}"
            )
            made.mails += is_damaged and not made.is_told
            made.is_told = is_damaged
            sent = [subject for subject, _ in school.mail.sent if subject == f"Backup Damaged: {made.key}"]
            assert made.mails <= len(sent), f"{len(sent)} mails of {made.mails} incidents of {made.key}"
            most = made.mails + self.unrecorded
            assert len(sent) <= most, f"{len(sent)} mails of {made.mails} incidents of {made.key}"

    def _may_be_gone(self, made: Made) -> bool:
        """Return whether the absence of a backup is no damage: it was marked, or its days are over."""
        is_over = made.row.started_at + schools.EXPIRE_DAYS * DAY <= self.school.times()
        return made.is_marked if self.school.policy else is_over

    @precondition(lambda self: bool(self.school.policy))
    @rule(fault=FAULTS)
    def mark(self, fault: Fault) -> None:
        self.tick()
        versions = self.school.versions()
        try:
            self.school.mark(fault)
        except (Killed, *TOLD) as error:
            # A newest backup that is damaged or was replaced stops the marking.
            found = self.model.made.values()
            is_stopped = any(
                not self.model.is_restorable(made, versions) or not made.is_untouched(versions) for made in found
            )
            if not isinstance(error, Killed) and not is_stopped:
                self._expect_reason(error)
        self._count(None, fault)
        for made in self.model.made.values():
            made.is_marked = made.is_marked or "markedAt" in self.school.rows().get(f"backup#{made.key}", {})
        COUNTS["markings"] += 1

    @precondition(lambda self: bool(self.model.made))
    @rule(fault=FAULTS)
    def drill(self, fault: Fault) -> None:
        number = self.tick()
        self.school.times.now += 10 * MINUTE  # the lease of a drill that was killed is over
        versions = self.school.versions()
        newest = self.school.used.history.newest_backup(TABLE).get("key")
        good = None
        try:
            done = self.school.drill(f"drill#{number}", f"request-{number}", fault)
            good = done is not None
        except DrillFailed as error:
            good = None if self.school.gate.hits else False
            why = str(error)
        except (Killed, DrillRunning, *TOLD) as error:
            if not isinstance(error, Killed | DrillRunning):
                self._expect_reason(error)
        self._count(None, fault)
        if good is not None and newest in self.model.made:
            made = self.model.made[str(newest)]
            assert not good or self.model.is_restorable(made, versions), f"the drill of {newest} passed"
            is_due = good or "objective" in why or not self.model.is_restorable(made, versions)
            assert is_due, f"the drill of {newest} failed: {why}"
            assert not [name for name in self.school.tables() if name.startswith(SCRATCH)], "a scratch table is left"
            COUNTS["drills"] += 1

    @precondition(lambda self: bool(self.model.made))
    @rule(place=PLACES, fault=FAULTS)
    def restore(self, place: int, fault: Fault) -> None:
        """Restore a backup into a new table; after a kill or a fault, once more."""
        made, number = self._some(place), self.tick()
        name = f"restored-{number}"
        request = Request(made.key, name, is_new=True, chain=True)
        versions = self.school.versions()
        is_good = self.model.is_restorable(made, versions)
        for attempt, happens in enumerate((fault, NONE, NONE)):
            try:
                self.school.restore(request, f"restorer-{attempt}", happens)
            except Killed:
                self._count(None, happens)
                self.school.times.now += MINUTE
                continue
            except (RestoreRefused, AlreadyRunning, *TOLD):
                self._count(None, happens)
                if not self.school.gate.hits and is_good:
                    raise
                self.school.times.now += MINUTE
                continue
            self._count(None, happens)
            assert is_good, f"{made.key} is damaged and was restored"
            assert self.school.table(name) == made.table, f"{made.key} was restored to something else"
            COUNTS["restores"] += 1
            break
        else:
            assert not is_good, f"{made.key} was not restored by three tries"
            assert name not in self.school.tables(), f"{name} was made of a damaged backup"
            COUNTS["restores refused"] += 1
        if name in self.school.tables():
            self.school.dynamodb.delete_table(TableName=name)

    # What is always true.

    def _expect_rows(self) -> None:
        rows, versions = self.school.rows(), self.school.versions()
        for made in self.model.made.values():
            if made.exists(versions):
                for name in (f"backup#{made.key}", made.run.request.id):
                    assert name in rows, f"the row {name} expired before its backup"

    @invariant()
    def the_history_is_true(self) -> None:
        if not hasattr(self, "model"):
            return
        COUNTS["steps"] += 1
        rows = {name: row for name, row in self.school.rows().items() if row.get("kind") == "backup"}
        exporting = set(self.manifests.values())
        for name, row in rows.items():
            run = self.model.runs[name]
            if row["status"] == COMPLETED and not run.is_open and name not in exporting:
                assert row["key"] in self.model.made, f"{name} is completed, and there is no backup"
        for made in self.model.made.values():
            row = rows.get(made.run.request.id, {})
            if row.get("key") == made.key and not made.run.is_open and not made.is_expired:
                assert row["status"] == COMPLETED, f"{made.key} is announced, and its row says {row['status']}"
        self._expect_mails()
        self._expect_latest(rows)

    def _expect_mails(self) -> None:
        sent: Counter[str] = Counter()
        for subject, body in self.school.mail.sent:
            if subject.startswith(("Backup Completed", "Backup in Doubt")):
                sent[body.rpartition("Execution: ")[2].strip()] += 1
        for made in self.model.made.values():
            run = made.run
            count = sent[run.request.id]
            assert run.is_open or count >= 1, f"{made.key} was not announced"
            assert count <= 1 + run.mail_kills, f"{count} mails of {made.key}"

    def _expect_latest(self, rows: dict[str, Any]) -> None:
        newest = self.model.newest_good()
        if newest is None or any(self.model.open_runs()) or self.manifests:
            return
        key = self.school.used.history.newest_backup(TABLE).get("key")
        latest = self.model.made.get(str(key))
        assert latest is not None, f"the newest backup is {key}, which was never announced"
        assert not latest.row.doubt, f"the newest backup {key} is in doubt"
        assert latest.began >= newest.began, f"the newest backup is {key}, not {newest.key}"
