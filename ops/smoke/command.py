"""`rollbook smoke`."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from ops import console
from ops.cloud import Cloud
from ops.commands import command
from ops.exits import Exit
from ops.options import EnvOrLocal, Json
from ops.smoke import steps
from ops.smoke.run import AUDIT_SECONDS, Smoke
from ops.smoke.steps import Outcome

app = typer.Typer()
_MARKS = {"passed": ("✓", "green"), "failed": ("✗", "bold red"), "not tried": ("-", "yellow")}


@command(
    app,
    "smoke",
    example="rollbook smoke --env production",
    codes={Exit.GOOD: "every step passed", Exit.FINDINGS: "a step failed"},
)
def smoke(
    env: EnvOrLocal = "local",
    patience: Annotated[int, typer.Option(min=1, metavar="SECONDS", help="Longest wait in one step.")] = AUDIT_SECONDS,
    as_json: Json = False,
) -> None:
    """Prove a deployed environment by use.

    It saves a marked record, makes a marked backup and cleans up. The backup is kept.
    """
    test = Smoke(Cloud.of(env), patience)
    outcomes = []
    try:
        with _stopped_by_signals():
            for outcome in steps.run(test):
                outcomes.append(outcome)
                if not as_json:
                    show(outcome)
    except KeyboardInterrupt:
        for what in test.left:
            console.note(f"  left: {what}")
        raise
    is_good = all(outcome.state == "passed" for outcome in outcomes)
    if as_json:
        listed = [outcome.as_json() for outcome in outcomes]
        console.say_json({"environment": env, "id": test.id, "isGood": is_good, "steps": listed, "left": test.left})
    else:
        for what in test.left:
            console.say(f"  left: {what}")
        counts = Counter(outcome.state for outcome in outcomes)
        if is_good:
            console.done("every step passed")
        else:
            console.say(
                f"{counts['failed']} of {len(outcomes)} steps failed, {counts['not tried']} not tried", "bold red"
            )
    if not is_good:
        raise typer.Exit(Exit.FINDINGS)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP as Ctrl-C, so that a cancelled job cleans up too."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show(outcome: Outcome) -> None:
    """Print the outcome of a step."""
    mark, style = _MARKS[outcome.state]
    console.marked(mark, style, f"{outcome.name:12} {outcome.seconds:6.1f} s  {outcome.found}")
    if outcome.state == "failed" and outcome.look_at:
        console.say(f"  → check {outcome.look_at}")
