"""Text of students, senders, AWS and Terraform is printed as it is, in every command that prints some."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.text import Text
from typer.testing import Result

from ops import adopt, csv_import, demo, schedule, state, students, synth
from ops.adoption.leftovers import Leftover
from ops.backups import check, checks, overview, restores
from ops.backups import command as backups
from ops.cloud import Cloud
from ops.events import bus_log, dead_letters
from ops.events import command as events
from ops.failures import OperatorError
from ops.local import command as local
from ops.local import emulator, stack
from ops.plans import review
from ops.plans.changes import parse
from ops.preflight import command as preflight
from ops.preflight import record
from ops.preflight.point import look
from ops.smoke import steps
from ops.smoke.steps import Outcome as StepOutcome
from rollbook.engine.acceptance import NotInDoubt
from rollbook.engine.checks import Outcome as Checked
from rollbook.engine.comparison import Outcome
from rollbook.engine.formats.lines import Corrupted
from tests.unit.commands import COMMANDS, LOCAL, Commands, cloud, giving, raising, run

# A closing tag without an opening one, a style, a link, an escaped bracket, and an emoji.
TEXT = r"[/x] [red]An[/] [link=x]y[/link] \[z] :smile:"
PLANS = Path(__file__).parent / "plans"
ROW = {"key": TEXT, "id": "i", "kind": "backup", "status": TEXT, "source": TEXT, "engine": TEXT, "startedAt": "s"}
ROW |= {"type": TEXT, "from": "", "until": "s", "base": TEXT, "predecessor": ""}
MAIL = {"Source": TEXT, "To": [TEXT], "Subject": TEXT, "BodyText": TEXT}
DEAD = dead_letters.DeadLetter(TEXT, TEXT, "url", "receipt", TEXT, TEXT)
EVENT = {"time": "2026-01-01T00:00:00Z", "detail-type": TEXT, "source": TEXT, "detail": {"name": "[/x]"}}
OUTPUTS = {"site_url": TEXT, "api_url": TEXT, "api_key_id": "id"}


def backups_list(it: Commands) -> Result:
    it.cloud()
    it.set(overview, overview=giving([ROW | {"items": 1, "bytes": None, "error": TEXT}]))
    return run("backups", "list")


def backups_show(it: Commands) -> Result:
    it.cloud()
    it.set(overview, overview=giving([ROW | {"items": 1, "error": TEXT}]))
    backup = SimpleNamespace(stored_bytes=giving(1), started_at=None, manifest=TEXT, table=None)
    it.set(backups.stored, open_backup=giving(backup))
    return run("backups", "show", TEXT)


def backups_create(it: Commands) -> Result:
    it.cloud()
    it.set(backups, invoke=giving({"message": TEXT}))
    return run("backups", "create")


def backups_accept(it: Commands) -> Result:
    it.cloud()
    it.set(backups, resources_of=giving(None))
    it.set(backups.acceptance, accept=raising(NotInDoubt(TEXT)))
    return run("backups", "accept", "KEY")


def backups_drill(it: Commands) -> Result:
    it.cloud()
    it.set(backups, make_drill=giving({"message": TEXT, "items": 1, "rtoSeconds": 1.0, "rpoSeconds": 1.0}))
    return run("backups", "drill")


def backups_verify(it: Commands) -> Result:
    it.cloud()
    it.set(checks, resources_of=giving(SimpleNamespace(open_backup=raising(Corrupted(TEXT)))))
    return run("backups", "verify", "KEY")


def backups_diff(it: Commands) -> Result:
    it.cloud()
    outcome = Outcome(first=1, second=2, added=1, removed=0, changed=0)
    it.set(checks.compare, keys=giving(["id"]), compare=giving(outcome))
    it.set(checks.Comparison, differences=giving(iter([SimpleNamespace(kind="added", key=TEXT)])))
    return run("backups", "diff", TEXT)


def backups_check(it: Commands) -> Result:
    it.cloud()
    work = SimpleNamespace(share=giving(Checked(damaged={TEXT: TEXT}, failed={TEXT: TEXT})))
    it.set(check, resources_of=giving(None), Checks=giving(work))
    return run("backups", "check")


def backups_restore(it: Commands) -> Result:
    it.cloud()
    it.set(restores, _restorer=raising(OperatorError(TEXT)))
    return run("backups", "restore", "KEY", "--to", "t")


def events_tail(it: Commands) -> Result:
    it.cloud()
    it.set(bus_log, read=giving(iter([EVENT])))
    return run("events", "tail", "--once")


def events_put(it: Commands) -> Result:
    it.cloud()
    it.set(events, _read_file=giving([SimpleNamespace(DETAIL_TYPE=TEXT)]))
    it.set(events, Bus=giving(SimpleNamespace(put=giving([TEXT]))))
    return run("events", "put", "FILE")


def events_replay(it: Commands) -> Result:
    failed = {"ArchiveArn": "a", "Arn": "b", "State": "FAILED", "StateReason": TEXT}
    calls = ("start_replay", "describe_archive", "describe_event_bus", "describe_replay")
    it.cloud(events=SimpleNamespace(**{name: giving(failed) for name in calls}))
    return run("events", "replay", "--from", "1h")


def events_dead(it: Commands) -> Result:
    it.cloud()
    it.set(dead_letters, read=giving([DEAD]))
    return run("events", "dead")


def events_redrive(it: Commands) -> Result:
    it.cloud(**{"lambda": SimpleNamespace(invoke=giving({})), "sqs": SimpleNamespace(delete_message=giving({}))})
    it.set(dead_letters, read=giving([DEAD]))
    return run("events", "redrive", "all")


def students_import(it: Commands) -> Result:
    it.cloud()
    it.set(students, load=giving([csv_import.Outcome(csv_import.Row(2, {}), "rejected", TEXT)]))
    return run("students", "import", it.file("studentid\nA\n"))


def students_sample(it: Commands) -> Result:
    it.patch.chdir(it.folder)
    return run("students", "sample", TEXT)


def local_mail(it: Commands) -> Result:
    it.set(emulator, running_port=giving(1))
    it.set(local.aws, mails=giving([MAIL]))
    return run("local", "mail")


def local_logs(it: Commands) -> Result:
    (it.folder / "emulator.log").write_text(f"{TEXT}\n")
    return run("local", "logs")


def local_status(it: Commands) -> Result:
    it.set(emulator.Emulator, recorded_port=giving(1), pid=giving(1))
    (it.folder / "state").write_text("{}")
    it.set(stack, STACK=it.folder)
    it.set(local.terraform, Terraform=giving(SimpleNamespace(outputs=giving(OUTPUTS))))
    return run("local", "status")


def state_show(it: Commands) -> Result:
    row = dict.fromkeys(("changedAt", "serial", "resources"))
    found = row | {"environment": "local", "where": "file", "lock": TEXT, "unknown": None}
    it.set(state, load_all=giving([LOCAL]), state_of=giving(found))
    return run("state", "show")


def schedule_show(it: Commands) -> Result:
    it.cloud()
    found = {"Name": TEXT, "State": "DISABLED", "ScheduleExpression": "", "ScheduleExpressionTimezone": "UTC"}
    it.set(schedule, _get=giving(found))
    return run("schedule", "show")


def schedule_test(it: Commands) -> Result:
    it.cloud()
    it.set(schedule, fire=giving(TEXT), _get=giving({"ScheduleExpression": TEXT}))
    return run("schedule", "test")


def preflight_(it: Commands) -> Result:
    it.set(synth, synthesize=giving(None))
    it.set(record, keep=giving(None))
    it.set(preflight, of=giving(record.document("local", "1", "r", [look(TEXT, TEXT, TEXT)])))
    return run("preflight")


def smoke(it: Commands) -> Result:
    it.cloud()
    it.set(steps, run=giving(iter([StepOutcome("record", "failed", 1.0, TEXT, TEXT)])))
    return run("smoke")


def _plan() -> bytes:
    """A plan whose resources have foreign names, and which the guard stops."""
    document = json.loads((PLANS / "destroy.json").read_text())
    for change in document["resource_changes"]:
        change["address"] = TEXT
    assert parse(json.dumps(document)).changes
    return json.dumps(document).encode()


def plan(it: Commands) -> Result:
    return run("plan", "--env", "local", "--plan", it.file(_plan().decode()))


def guard(it: Commands) -> Result:
    return run("guard", "--env", "local", "--plan", it.file(_plan().decode()))


def adopt_(it: Commands) -> Result:
    class Adoption:
        addresses = ("a",)

        def __init__(self, *_: Any) -> None: ...

        search, plan, leftovers = giving({}), giving(_plan()), giving([Leftover(TEXT, TEXT, TEXT)])

    it.set(synth, synthesize=giving(None))
    it.set(adopt, Adoption=Adoption)
    return run("adopt", "--env", "local")


def demo_(it: Commands) -> Result:
    it.set(demo.stack, started=raising(OperatorError(TEXT)))
    return run("demo", "--once")


def deploy(it: Commands) -> Result:
    (it.folder / "review.json").write_text("{}")
    it.set(review, loads=raising(review.ReviewError(TEXT)))
    return run("deploy", "--env", "local", "--reviewed", str(it.folder))


CASES: dict[str, Callable[[Commands], Result]] = {
    "backups list": backups_list,
    "backups show": backups_show,
    "backups create": backups_create,
    "backups accept": backups_accept,
    "backups drill": backups_drill,
    "backups verify": backups_verify,
    "backups diff": backups_diff,
    "backups check": backups_check,
    "backups restore": backups_restore,
    "events tail": events_tail,
    "events put": events_put,
    "events replay": events_replay,
    "events dead": events_dead,
    "events redrive": events_redrive,
    "students import": students_import,
    "students sample": students_sample,
    "local mail": local_mail,
    "local logs": local_logs,
    "local status": local_status,
    "state show": state_show,
    "schedule show": schedule_show,
    "schedule test": schedule_test,
    "preflight": preflight_,
    "smoke": smoke,
    "plan": plan,
    "guard": guard,
    "adopt": adopt_,
    "demo": demo_,
    "deploy": deploy,
}
# Their foreign text reaches the output by the functions that the cases above test.
_SAME_OUTPUT = {
    "backups prune": "backups list",
    "backups pin": "backups accept",
    "backups unpin": "backups accept",
    "drift": "plan",
    "report": "preflight",
    "local up": "local status",
    "local down": "demo",
    "local reset": "demo",
    "state bootstrap": "demo",
    "terraform": "demo",
    "cdktf": "demo",
}


@pytest.mark.parametrize("is_terminal", [True, False], ids=["terminal", "pipe"])
@pytest.mark.parametrize("name", CASES)
def test_foreign_text_is_printed_as_it_is(
    name: str, is_terminal: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(emulator, "FOLDER", tmp_path)
    monkeypatch.setattr(stack, "STATE", tmp_path / "state")
    monkeypatch.setattr(Cloud, "of", lambda _: cloud())
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("TERM", "dumb")
        monkeypatch.setenv("COLUMNS", "80")
    ended = CASES[name](Commands(monkeypatch, tmp_path))
    assert ended.exception is None or isinstance(ended.exception, SystemExit), repr(ended.exception)
    assert TEXT in Text.from_ansi(ended.output).plain


def test_every_command_is_in_the_list() -> None:
    assert set(CASES) | set(_SAME_OUTPUT) == set(COMMANDS)
    assert set(_SAME_OUTPUT.values()) <= set(CASES)
