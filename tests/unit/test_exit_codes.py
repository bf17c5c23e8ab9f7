"""Each command ends with each of its exit codes: every pair that its help names has a case here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import Result

from infra.settings import SettingsError
from infra.settings.retention import Retention
from ops import adopt, cdktf, csv_import, demo, deploy, environment, plan, schedule, state, students, synth, terraform
from ops import report as reports
from ops.backups import check, checks, overview, restores, retention
from ops.backups import command as backups
from ops.events import bus_log, dead_letters
from ops.events import command as events
from ops.exits import Exit
from ops.failures import OperatorError, Refused
from ops.local import command as local
from ops.local import emulator, stack
from ops.plans import review
from ops.preflight import command as preflight
from ops.preflight import record
from ops.preflight.point import look, ok
from ops.smoke import steps
from ops.smoke.steps import Outcome as StepOutcome
from rollbook.engine import checks as engine_checks
from rollbook.engine.acceptance import NotInDoubt
from rollbook.engine.comparison import Outcome
from rollbook.engine.dynamodb.batch_write import NotWritten
from rollbook.engine.executions import Execution
from rollbook.engine.formats.lines import Corrupted
from rollbook.engine.restore_request import NotEqual, RestoreRefused
from rollbook.reports import ask
from tests.unit.commands import COMMANDS, LOCAL, Commands, codes_of, giving, raising, run

PLANS = Path(__file__).parent / "plans"
OUTPUTS = {"site_url": "http://site.example", "api_url": "http://api.example", "api_key_id": "id"}
Case = Callable[["Commands"], Result]
CASES: dict[tuple[str, Exit], list[Case]] = {}


def case(name: str, code: Exit) -> Callable[[Case], Case]:
    def add(function: Case) -> Case:
        CASES.setdefault((name, code), []).append(function)
        return function

    return add


REFUSED_BY_AWS = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObject")

# Every command that has an environment ends with 1 if there is none of its name.
_NEEDED = {
    "students import": [__file__],
    "backups show": ["KEY"],
    "backups verify": ["KEY"],
    "backups accept": ["KEY"],
    "backups diff": ["KEY"],
    "backups restore": ["KEY", "--to", "t"],
    "events put": [str(PLANS / "event.json")],
    "events replay": ["--from", "1h"],
    "events redrive": ["ID"],
    "deploy": ["--reviewed", "."],
}


def _nowhere(name: str) -> Case:
    def nowhere(it: Commands) -> Result:
        event = {"source": "rollbook.students", "detail-type": "student saved"}
        detail = {"correlationId": "c", "table": "t", "studentid": "A", "created": True}
        needed = [it.file(json.dumps(event | {"detail": detail}))] if name == "events put" else _NEEDED.get(name, [])
        return run(*name.split(), *needed, "--env", "nowhere")

    return nowhere


for _name, _command in COMMANDS.items():
    if any(parameter.name == "env" for parameter in _command.params):
        case(_name, Exit.FAILED)(_nowhere(_name))


# local
@contextmanager
def _started(_: int) -> Iterator[tuple[Any, bool]]:
    yield SimpleNamespace(port=1, stop=lambda: True), True


@case("local up", Exit.GOOD)
def _(it: Commands) -> Result:
    it.set(stack, started=_started, apply=giving((1, OUTPUTS)))
    return run("local", "up")


@case("local up", Exit.FAILED)
def _(it: Commands) -> Result:
    it.set(terraform, find=raising(OperatorError("there is no Terraform")))
    return run("local", "up")


@case("local down", Exit.GOOD)
def _(it: Commands) -> Result:
    return run("local", "down")


@case("local down", Exit.FAILED)
def _(it: Commands) -> Result:
    it.set(emulator.Emulator, stop=raising(OperatorError("it did not end")))
    return run("local", "down")


@case("local status", Exit.GOOD)
def _(it: Commands) -> Result:
    it.set(emulator.Emulator, recorded_port=giving(1), pid=giving(1))
    return run("local", "status")


@case("local status", Exit.FINDINGS)
def _(it: Commands) -> Result:
    return run("local", "status")


@case("local status", Exit.FAILED)
def _(it: Commands) -> Result:
    it.set(emulator.Emulator, recorded_port=raising(PermissionError(13, "denied", "emulator.json")))
    return run("local", "status")


@case("local reset", Exit.GOOD)
def _(it: Commands) -> Result:
    return run("local", "reset", "--yes")


@case("local reset", Exit.REFUSED)
def _(it: Commands) -> Result:
    return run("local", "reset", typed="n\n")


@case("local reset", Exit.FAILED)
def _(it: Commands) -> Result:
    return run("local", "reset", typed="")


@case("local logs", Exit.GOOD)
def _(it: Commands) -> Result:
    (it.folder / "emulator.log").write_text("a line\n")
    return run("local", "logs")


@case("local logs", Exit.FAILED)
def _(it: Commands) -> Result:
    return run("local", "logs")


@case("local mail", Exit.GOOD)
def _(it: Commands) -> Result:
    it.set(emulator, running_port=giving(1))
    it.set(local.aws, mails=giving([]))
    return run("local", "mail")


@case("local mail", Exit.FAILED)
def _(it: Commands) -> Result:
    return run("local", "mail")


# students
def _imports(it: Commands, what: str) -> Result:
    it.cloud()
    row = csv_import.Row(2, {"studentid": "A"})
    it.set(students, load=giving([csv_import.Outcome(row, what, "a reason")]))
    return run("students", "import", it.file("studentid\nA\n"))


@case("students import", Exit.GOOD)
def _(it: Commands) -> Result:
    return _imports(it, "created")


@case("students import", Exit.FINDINGS)
def _(it: Commands) -> Result:
    return _imports(it, "rejected")


@case("students import", Exit.FAILED)
def _(it: Commands) -> Result:
    return run("students", "import", "no-such-file.csv")


@case("students sample", Exit.GOOD)
def _(it: Commands) -> Result:
    return run("students", "sample", str(it.folder / "s.csv"), "--count", "1")


@case("students sample", Exit.FAILED)
def _(it: Commands) -> Result:
    return run("students", "sample", str(it.folder / "no-such-folder" / "s.csv"))


# backups
@case("backups list", Exit.GOOD)
def _(it: Commands) -> Result:
    it.cloud()
    it.set(overview, overview=giving([]))
    return run("backups", "list")


@case("backups show", Exit.GOOD)
def _(it: Commands) -> Result:
    it.cloud()
    it.set(overview, overview=giving([{"key": "KEY", "isConsistent": False}]))
    backup = SimpleNamespace(
        stored_bytes=giving(1), started_at=datetime(2025, 7, 8, tzinfo=UTC), manifest=None, table=None
    )
    it.set(backups.stored, open_backup=giving(backup))
    found = run("backups", "show", "KEY")
    assert "isConsistent  no\n" in found.output
    assert "startedAt     2025-07-08T00:00:00.000Z\n" in found.output
    return found


@case("backups create", Exit.GOOD)
def _(it: Commands) -> Result:
    it.cloud()
    it.set(backups, invoke=giving({"message": "AWS exports the table", "key": "KEY"}))
    begun = run("backups", "create")
    assert "✓" not in begun.output
    assert "It is not complete yet" in begun.output
    it.set(backups, invoke=giving({"message": "made", "items": 1}))
    return run("backups", "create")


@case("backups create", Exit.FINDINGS)
def _(it: Commands) -> Result:
    it.cloud()
    it.set(backups, invoke=giving({"message": "made", "key": "KEY", "doubt": "the table is empty"}))
    found = run("backups", "create")
    assert "rollbook backups accept KEY --env local" in found.output
    return found


@case("backups accept", Exit.GOOD)
def _(it: Commands) -> Result:
    it.cloud()
    it.set(backups, resources_of=giving(None))
    it.set(backups.acceptance, accept=giving(SimpleNamespace(items=1)))
    return run("backups", "accept", "KEY")


@case("backups accept", Exit.REFUSED)
def _(it: Commands) -> Result:
    it.cloud()
    it.set(backups, resources_of=giving(None))
    it.set(backups.acceptance, accept=raising(NotInDoubt("KEY is not in doubt")))
    return run("backups", "accept", "KEY")


@case("backups check", Exit.GOOD)
def _(it: Commands) -> Result:
    it.cloud()
    it.set(check, resources_of=giving(None))
    it.set(check.Checks, share=giving(engine_checks.Outcome(read=["KEY"])))
    return run("backups", "check")


@case("backups check", Exit.FINDINGS)
def _(it: Commands) -> Result:
    it.cloud()
    it.set(check, resources_of=giving(None))
    it.set(check.Checks, share=giving(engine_checks.Outcome(damaged={"KEY": "it is truncated"})))
    return run("backups", "check")


@case("backups create", Exit.FAILED)
def _(it: Commands) -> Result:
    it.cloud()
    return run("backups", "create", "--table", "no-such")


def _drills(it: Commands, answer: dict[str, Any], **more: str) -> Result:
    class Lambda:
        def invoke(self, **_: Any) -> dict[str, Any]:
            payload = SimpleNamespace(read=giving(json.dumps(answer)))
            return {"Payload": payload, **more}

    it.cloud(**{"lambda": Lambda()})
    return run("backups", "drill")


@case("backups drill", Exit.GOOD)
def _(it: Commands) -> Result:
    return _drills(it, {"message": "m", "items": 1, "rtoSeconds": 1.0, "rpoSeconds": 1.0})


@case("backups drill", Exit.FINDINGS)
def _(it: Commands) -> Result:
    return _drills(it, {"errorType": "DrillFailed", "errorMessage": "damaged"}, FunctionError="Unhandled")


@case("backups drill", Exit.FAILED)
def _(it: Commands) -> Result:
    return _drills(it, {"errorType": "Sandbox.Timedout", "errorMessage": "timed out"}, FunctionError="Unhandled")


def _with_retention(it: Commands, answer: dict[str, Any], *arguments: str, **more: str) -> Result:
    class Lambda:
        def invoke(self, **_: Any) -> dict[str, Any]:
            payload = SimpleNamespace(read=giving(json.dumps(answer)))
            return {"Payload": payload, **more}

    made = it.cloud(**{"lambda": Lambda(), "sts": SimpleNamespace(get_caller_identity=giving({"Account": "1"}))})
    policy = Retention(keep_last=1)
    made.settings = LOCAL.model_copy(
        update={"backups": LOCAL.backups.model_copy(update={"retention": policy, "tables": []})}
    )
    it.set(retention, _plan=giving([]))
    return run("backups", *arguments)


@case("backups prune", Exit.GOOD)
def _(it: Commands) -> Result:
    return _with_retention(it, {"table": "t", "marked": [], "unmarked": [], "kept": 1}, "prune", "--yes")


@case("backups prune", Exit.GOOD)
def _(it: Commands) -> Result:
    return _with_retention(it, {}, "prune", "--dry-run")


@case("backups prune", Exit.FINDINGS)
def _(it: Commands) -> Result:
    failed = {"errorType": "NotMarked", "errorMessage": "damaged"}
    return _with_retention(it, failed, "prune", "--yes", FunctionError="Unhandled")


@case("backups prune", Exit.REFUSED)
def _(it: Commands) -> Result:
    it.set(retention, confirm=raising(Refused("not confirmed")))
    return _with_retention(it, {}, "prune")


@case("backups prune", Exit.FAILED)
def _(it: Commands) -> Result:
    failed = {"errorType": "Sandbox.Timedout", "errorMessage": "timed out"}
    return _with_retention(it, failed, "prune", "--yes", FunctionError="Unhandled")


@case("backups pin", Exit.FAILED)
def _(it: Commands) -> Result:
    failed = {"errorType": "NoSuchBackup", "errorMessage": "no backup"}
    return _with_retention(it, failed, "pin", "KEY", FunctionError="Unhandled")


@case("backups unpin", Exit.FAILED)
def _(it: Commands) -> Result:
    failed = {"errorType": "NoSuchBackup", "errorMessage": "no backup"}
    return _with_retention(it, failed, "unpin", "KEY", FunctionError="Unhandled")


@case("backups pin", Exit.GOOD)
def _(it: Commands) -> Result:
    return _with_retention(it, {"isPinned": True, "unmarked": ["other"]}, "pin", "KEY")


@case("backups unpin", Exit.GOOD)
def _(it: Commands) -> Result:
    return _with_retention(it, {"isPinned": False, "unmarked": []}, "unpin", "KEY")


@case("backups verify", Exit.GOOD)
def _(it: Commands) -> Result:
    it.cloud()
    return _verifies(it, recorded=True)


def _verifies(it: Commands, *options: str, recorded: bool, damage: str = "", replaced: str = "") -> Result:
    opened = SimpleNamespace(recorded=True if recorded else None, change_of=None)
    it.set(checks, resources_of=giving(SimpleNamespace(open_backup=giving(opened), s3=None, bucket="b")))
    whole = SimpleNamespace(items=1, bytes=1, sha256="")
    it.set(checks.verification, verify=raising(Corrupted(damage)) if damage else giving((whole, True)))
    it.set(checks.stored, replaced=giving(replaced))
    return run("backups", "verify", "KEY", *options)


@case("backups verify", Exit.FINDINGS)
def _(it: Commands) -> Result:
    it.cloud()
    return _verifies(it, recorded=False)


@case("backups verify", Exit.FINDINGS)
def _(it: Commands) -> Result:
    it.cloud()
    return _verifies(it, recorded=True, replaced="KEY was replaced")


@case("backups verify", Exit.FINDINGS)
def _(it: Commands) -> Result:
    it.cloud()
    return _verifies(it, recorded=True, damage="cut short")


@case("backups verify", Exit.FINDINGS)
def _(it: Commands) -> Result:
    it.cloud()
    return _verifies(it, "--json", recorded=True, damage="cut short")


def _compares(it: Commands, outcome: Outcome) -> Result:
    it.cloud()
    it.set(checks.compare, keys=giving(["id"]), compare=giving(outcome))
    it.set(checks.Comparison, differences=giving(iter([])))
    return run("backups", "diff", "KEY")


@case("backups diff", Exit.GOOD)
def _(it: Commands) -> Result:
    return _compares(it, Outcome(first=1, second=1, added=0, removed=0, changed=0))


@case("backups diff", Exit.FINDINGS)
def _(it: Commands) -> Result:
    return _compares(it, Outcome(first=1, second=2, added=1, removed=0, changed=0))


@case("backups diff", Exit.FAILED)
def _(it: Commands) -> Result:
    it.cloud()
    it.set(checks.compare, keys=raising(Corrupted("cut short")))
    return run("backups", "diff", "KEY")


RESTORED = Execution(
    id="restore#t#KEY",
    kind="restore",
    table_name="t",
    status="completed",
    started_at=datetime(2025, 7, 8, tzinfo=UTC),
    items=1,
    written=1,
    seconds=1.0,
    differing=0,
    extra=0,
)


class Restorer:
    """Restores as a case wants it, after some steps.

    Arguments:
        outcome: the row of the history, or what is raised.
    """

    def __init__(self, restore_steps: restores._Steps, names: tuple[str, ...], outcome: Any) -> None:
        self._steps, self._names, self._outcome = restore_steps, names, outcome

    def run(self, *_: Any, **__: Any) -> Any:
        for name in self._names:
            self._steps.begin(name, 0)
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome


def _restores(it: Commands, outcome: Any, *names: str, options: tuple[str, ...] = ("--to", "t")) -> Result:
    it.cloud()
    it.set(restores, _restorer=lambda _, restore_steps, *__: Restorer(restore_steps, names, outcome))
    return run("backups", "restore", "KEY", *options)


@case("backups restore", Exit.GOOD)
def _(it: Commands) -> Result:
    return _restores(it, RESTORED)


@case("backups restore", Exit.FINDINGS)
def _(it: Commands) -> Result:
    return _restores(it, NotEqual("one key differs"), "Verifying", "Writing")


@case("backups restore", Exit.FINDINGS)
def _(it: Commands) -> Result:
    return _restores(it, NotWritten("one item was refused", 1), "Verifying", "Writing")


@case("backups restore", Exit.REFUSED)
def _(it: Commands) -> Result:
    return _restores(it, Corrupted("cut short"), "Verifying")


@case("backups restore", Exit.REFUSED)
def _(it: Commands) -> Result:
    return _restores(it, RestoreRefused("there is no table"))


@case("backups restore", Exit.REFUSED)
def _(it: Commands) -> Result:
    return _restores(it, None, options=("--into", "t", "--confirm", "other"))


@case("backups restore", Exit.FAILED)
def _(it: Commands) -> Result:
    return _restores(it, Corrupted("cut short"), "Verifying", "Writing")


# schedule
def _schedules(it: Commands, status: str) -> Result:
    it.cloud()
    found = {"Name": "n", "State": status, "ScheduleExpression": "rate(1 hour)", "ScheduleExpressionTimezone": "UTC"}
    it.set(schedule, _get=giving(found))
    return run("schedule", "show")


@case("schedule show", Exit.GOOD)
def _(it: Commands) -> Result:
    return _schedules(it, "ENABLED")


@case("schedule show", Exit.FINDINGS)
def _(it: Commands) -> Result:
    return _schedules(it, "DISABLED")


@case("schedule test", Exit.GOOD)
def _(it: Commands) -> Result:
    it.cloud()
    it.set(schedule, fire=giving("KEY"), _get=giving({"ScheduleExpression": "rate(1 hour)"}))
    return run("schedule", "test")


# events
@case("events tail", Exit.GOOD)
def _(it: Commands) -> Result:
    it.cloud()
    it.set(bus_log, read=giving(iter([])))
    return run("events", "tail", "--once")


@case("events tail", Exit.FAILED)
def _(it: Commands) -> Result:
    it.cloud()
    return run("events", "tail", "--since", "yesterday")


@case("events put", Exit.GOOD)
def _(it: Commands) -> Result:
    it.cloud()
    it.set(events, Bus=giving(SimpleNamespace(put=giving([]))))
    return run("events", "put", it.file("[]"))


@case("events put", Exit.REFUSED)
def _(it: Commands) -> Result:
    return run("events", "put", it.file('{"source": "s", "detail-type": "no such", "detail": {}}'))


class Replays:
    """EventBridge with one replay."""

    def __getattr__(self, _: str) -> Any:
        return giving({"ArchiveArn": "a", "Arn": "b", "State": "COMPLETED"})


@case("events replay", Exit.GOOD)
def _(it: Commands) -> Result:
    it.cloud(events=Replays())
    return run("events", "replay", "--from", "1h")


DEAD = dead_letters.DeadLetter("id", "function", "url", "receipt", "reason", "{}")


@case("events dead", Exit.GOOD)
def _(it: Commands) -> Result:
    it.cloud()
    it.set(dead_letters, read=giving([]))
    return run("events", "dead")


@case("events dead", Exit.FINDINGS)
def _(it: Commands) -> Result:
    it.cloud()
    it.set(dead_letters, read=giving([DEAD]))
    return run("events", "dead", "--json")


@case("events redrive", Exit.GOOD)
def _(it: Commands) -> Result:
    it.cloud(**{"lambda": SimpleNamespace(invoke=giving({})), "sqs": SimpleNamespace(delete_message=giving({}))})
    it.set(dead_letters, read=giving([DEAD]))
    return run("events", "redrive", "id")


@case("events redrive", Exit.FAILED)
def _(it: Commands) -> Result:
    it.cloud()
    it.set(dead_letters, read=giving([DEAD]))
    return run("events", "redrive", "another")


# state
def _bootstraps(it: Commands, missing: list[state.Step], *options: str, typed: str | None = None) -> Result:
    settings = LOCAL.model_copy(update={"state": LOCAL.state.model_copy(update={"bucket": "state"})})
    sts = SimpleNamespace(get_caller_identity=giving({"Account": "1"}))
    it.set(state, settings_of=giving(settings), client=giving(sts), _missing_steps=giving(missing))
    return run("state", "bootstrap", "--env", "local", *options, typed=typed)


STEP = state.Step("versioning", giving(False), giving(None))


@case("state bootstrap", Exit.GOOD)
def _(it: Commands) -> Result:
    return _bootstraps(it, [STEP], "--yes")


@case("state bootstrap", Exit.REFUSED)
def _(it: Commands) -> Result:
    return _bootstraps(it, [STEP], typed="n\n")


def _shows_states(it: Commands, unknown: str | None) -> Result:
    row = dict.fromkeys(("changedAt", "serial", "resources", "lock"))
    found = row | {"environment": "local", "where": "file", "unknown": unknown}
    it.set(state, load_all=giving([LOCAL]), state_of=giving(found))
    return run("state", "show")


@case("state show", Exit.GOOD)
def _(it: Commands) -> Result:
    return _shows_states(it, None)


@case("state show", Exit.FINDINGS)
def _(it: Commands) -> Result:
    return _shows_states(it, "access denied")


@case("state show", Exit.FAILED)
def _(it: Commands) -> Result:
    it.set(state, load_all=raising(SettingsError("workshop.toml: no region")))
    return run("state", "show")


# preflight, report, smoke
def _checks_account(it: Commands, *points: Any) -> Result:
    it.set(synth, synthesize=giving(None))
    it.set(record, keep=giving(None))
    it.set(preflight, of=giving(record.document("local", "1", "r", points)))
    return run("preflight")


@case("preflight", Exit.GOOD)
def _(it: Commands) -> Result:
    return _checks_account(it, ok("a", "b"))


@case("preflight", Exit.FINDINGS)
def _(it: Commands) -> Result:
    return _checks_account(it, ok("a", "b"), look("c", "d", "e"))


def _reports(it: Commands, is_good: bool) -> Result:
    it.cloud()
    it.set(ask, ask=giving(SimpleNamespace(is_good=is_good)))
    it.set(reports, _show=giving(None))
    return run("report")


@case("report", Exit.GOOD)
def _(it: Commands) -> Result:
    return _reports(it, True)


@case("report", Exit.FINDINGS)
def _(it: Commands) -> Result:
    return _reports(it, False)


def _smokes(it: Commands, *outcomes: StepOutcome) -> Result:
    it.cloud()
    it.set(steps, run=giving(iter(outcomes)))
    return run("smoke")


@case("smoke", Exit.GOOD)
def _(it: Commands) -> Result:
    return _smokes(it, StepOutcome("record", "passed", 1.0, "saved"))


@case("smoke", Exit.FINDINGS)
def _(it: Commands) -> Result:
    return _smokes(it, StepOutcome("record", "failed", 1.0, "503", "the log"))


# plan, guard, drift, deploy, adopt
def _plans(it: Commands, command: str, name: str) -> Result:
    return run(command, "--env", "local", "--plan", str(PLANS / f"{name}.json"))


@case("plan", Exit.GOOD)
def _(it: Commands) -> Result:
    return _plans(it, "plan", "no-change")


@case("plan", Exit.FINDINGS)
def _(it: Commands) -> Result:
    return _plans(it, "plan", "change")


@case("guard", Exit.GOOD)
def _(it: Commands) -> Result:
    return _plans(it, "guard", "add")


@case("guard", Exit.REFUSED)
def _(it: Commands) -> Result:
    return _plans(it, "guard", "destroy")


def _plan(name: str) -> bytes:
    return (PLANS / f"{name}.json").read_bytes()


@case("drift", Exit.GOOD)
def _(it: Commands) -> Result:
    it.set(plan, _make=giving(_plan("no-change")))
    return run("drift", "--env", "local")


@case("drift", Exit.FINDINGS)
def _(it: Commands) -> Result:
    document = json.loads(_plan("change"))
    it.set(plan, _make=giving(json.dumps({"format_version": "1", "resource_drift": document["resource_changes"]})))
    return run("drift", "--env", "local")


def _deploys(it: Commands, reviewed: str, planned: str) -> Result:
    (it.folder / plan.STACK).write_text('{"resource": {}}')

    class Terraform:
        def init(self) -> None: ...

        def identity(self) -> tuple[str, int]:
            return ("lineage", 1)

        def plan_json(self, *_: Any) -> bytes:
            return _plan(planned)

        def apply(self, _: Path) -> int:
            return 1

    it.set(synth, synthesize=giving(None))
    it.set(environment, terraform_of=giving(Terraform()))
    for module in (deploy, plan):
        it.set(module, stack_of=giving(it.folder))
    stack_json = (it.folder / plan.STACK).read_bytes()
    made = review.of(_plan(reviewed), "local", ("lineage", 1), stack_json)
    (it.folder / "review.json").write_text(made.dumps())
    return run("deploy", "--env", "local", "--reviewed", str(it.folder))


@case("deploy", Exit.GOOD)
def _(it: Commands) -> Result:
    return _deploys(it, "change", "change")


@case("deploy", Exit.REFUSED)
def _(it: Commands) -> Result:
    return _deploys(it, "destroy", "destroy")


@case("deploy", Exit.MOVED)
def _(it: Commands) -> Result:
    return _deploys(it, "change", "add")


def _adopts(it: Commands, name: str, *options: str, typed: str | None = None) -> Result:
    class Adoption:
        addresses = ("a",)

        def __init__(self, *_: Any) -> None: ...

        search, plan, leftovers = giving({}), giving(_plan(name)), giving([])
        apply = raising(AssertionError("it was applied"))

    it.set(synth, synthesize=giving(None))
    it.set(adopt, Adoption=Adoption)
    return run("adopt", "--env", "local", *options, typed=typed)


@case("adopt", Exit.GOOD)
def _(it: Commands) -> Result:
    return _adopts(it, "no-change")


@case("adopt", Exit.FINDINGS)
def _(it: Commands) -> Result:
    return _adopts(it, "change")


@case("adopt", Exit.REFUSED)
def _(it: Commands) -> Result:
    return _adopts(it, "destroy", "--apply", "--yes")


@case("adopt", Exit.REFUSED)
def _(it: Commands) -> Result:
    return _adopts(it, "change", "--apply", typed="n\n")


# demo, terraform, cdktf
@case("demo", Exit.GOOD)
def _(it: Commands) -> Result:
    it.set(stack, started=_started, apply=giving((1, OUTPUTS)))
    it.set(demo, _steps=giving(iter([("a step", None)])))
    return run("demo", "--once")


@case("demo", Exit.FAILED)
def _(it: Commands) -> Result:
    it.set(stack, started=_started, apply=raising(OperatorError("terraform apply failed")))
    return run("demo", "--once")


@case("terraform", Exit.GOOD)
def _(it: Commands) -> Result:
    it.set(terraform, find=giving(Path("terraform")), keep_provider=giving(False))
    return run("terraform")


@case("terraform", Exit.FAILED)
def _(it: Commands) -> Result:
    it.set(terraform, find=raising(OperatorError("there is no Terraform")))
    return run("terraform")


def _runs_cdktf(it: Commands, code: int) -> Result:
    it.set(cdktf, environment=giving({}), _PROGRAM=it.folder)
    it.set(cdktf.subprocess, run=giving(SimpleNamespace(returncode=code)))
    return run("cdktf", "list")


@case("cdktf", Exit.GOOD)
def _(it: Commands) -> Result:
    return _runs_cdktf(it, 0)


@case("cdktf", Exit.FAILED)
def _(it: Commands) -> Result:
    return _runs_cdktf(it, 7)


@pytest.mark.parametrize(
    ("name", "code", "run_case"),
    [
        pytest.param(name, code, run_case, id=f"{name} {code:d} {number}")
        for (name, code), cases in CASES.items()
        for number, run_case in enumerate(cases, 1)
    ],
)
def test_a_command_ends_with_its_code(
    name: str, code: Exit, run_case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(emulator, "FOLDER", tmp_path)
    monkeypatch.setattr(stack, "STATE", tmp_path / "state")
    ended = run_case(Commands(monkeypatch, tmp_path))
    assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
    assert ended.exit_code == code, ended.output
    if code in {Exit.FAILED, Exit.REFUSED, Exit.MOVED} and name not in {"guard", "adopt", "cdktf"}:
        assert ended.stderr.strip(), "it must say why"


def test_every_code_of_every_command_has_a_case() -> None:
    declared = {(name, code) for name, command in COMMANDS.items() for code in codes_of(command)}
    assert declared == set(CASES)
