"""`rollbook plan`, `guard` and `drift`: what an apply would change, and whether the guard allows it."""

from __future__ import annotations

import json
import tempfile
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError

from infra import prices
from infra.settings import ENVIRONMENTS, Settings
from infra.settings import EXCEPTIONS as EXCEPTIONS_FILE
from ops import console, environment, synth
from ops.commands import command
from ops.environment import settings_of, stack_of
from ops.exits import Exit
from ops.failures import OperatorError, explain
from ops.options import Env, Json
from ops.plans import guard as guards
from ops.plans import review, summary
from ops.plans.changes import Change, Plan, PlanError, drift_of, parse
from ops.plans.words import zip_changes
from ops.preflight import record

# The synthesized stack in its folder.
STACK = "cdk.tf.json"
EXCEPTIONS = ENVIRONMENTS / EXCEPTIONS_FILE

app = typer.Typer()
Recorded = Annotated[
    Path | None,
    typer.Option("--plan", metavar="FILE", help="Read this output of `terraform show -json` instead of planning."),
]


@command(
    app,
    "plan",
    example="rollbook plan --env production --out DIR",
    codes={Exit.GOOD: "no changes", Exit.FINDINGS: "changes"},
)
def plan(
    env: Env,
    folder: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write plan.json, summary.md and review.json."),
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a comment for a pull request.")] = False,
    as_json: Json = False,
    recorded: Recorded = None,
) -> None:
    """Show what an apply would change. What would be lost comes first."""
    if as_markdown and as_json:
        raise OperatorError("--markdown and --json exclude each other; give one")
    settings = settings_of(env)
    if not recorded:
        _note_preflight(settings)
    raw = _read(recorded) if recorded else _make(settings)
    found, context = understand(raw, settings)
    try:
        comment = summary.markdown(found, context) if folder or as_markdown else ""
    except PlanError as error:
        raise OperatorError(str(error)) from None
    if folder:
        _write(folder, raw, comment, None if recorded else settings)
    if as_json:
        console.say_json(summary.as_json(found, context))
    elif as_markdown:
        console.say(comment)
    else:
        for line in summary.text(found, context):
            console.say(line)
    if not found.is_empty:
        raise typer.Exit(Exit.FINDINGS)


def _write(folder: Path, raw: bytes, comment: str, settings: Settings | None) -> None:
    """Write the plan, its summary and, of a plan that was made here with `settings`, its review."""
    folder.mkdir(parents=True, exist_ok=True)
    # A review in this folder belongs to another plan.
    (folder / "review.json").unlink(missing_ok=True)
    # The plan has the secrets of the state.
    (folder / "plan.json").touch(mode=0o600)
    (folder / "plan.json").chmod(0o600)
    (folder / "plan.json").write_bytes(raw)
    (folder / "summary.md").write_text(comment)
    if settings:
        stack = stack_of(settings)
        identity = environment.terraform_of(settings, stack).identity()
        made = review.of(raw, settings.name, identity, (stack / STACK).read_bytes())
        (folder / "review.json").write_text(made.dumps())


@command(
    app,
    "guard",
    example="rollbook guard --env production --plan plan/plan.json",
    codes={
        Exit.GOOD: "the plan may be applied; a finding has an exception",
        Exit.REFUSED: "a finding has no exception; nothing was changed",
    },
)
def guard(env: Env, recorded: Recorded = None, as_json: Json = False) -> None:
    """Refuse a plan that breaks a rule of the guard.

    The rules keep data, private access, retentions and monitoring.
    To allow a finding, add an [[exception]] with an end date to environments/exceptions.toml (docs/terraform.md).
    """
    settings = settings_of(env)
    found, context = understand(_read(recorded) if recorded else _make(settings), settings)
    if as_json:
        console.say_json(summary.as_json(found, context)["findings"])
    else:
        for finding in context.findings:
            until = f"until {finding.exemption.expires} " if finding.exemption else ""
            expired = f" (its exception expired on {finding.expired.expires})" if finding.expired else ""
            line = f"{until}{finding.rule} {finding.address}: {finding.what}{expired}"
            if finding.is_allowed:
                console.marked("allowed", "green", line)
            else:
                console.marked("stopped", "bold red", line)
        if not context.findings:
            console.done(f"{summary.headline(found)}: no findings")
    if context.stopped:
        raise typer.Exit(Exit.REFUSED)


@command(
    app,
    "drift",
    example="rollbook drift --env production",
    codes={Exit.GOOD: "no drift", Exit.FINDINGS: "drift"},
)
def drift(env: Env, as_json: Json = False) -> None:
    """Show changes outside of Terraform since the last apply."""
    settings = settings_of(env)
    found, context = understand(_make(settings, "-refresh-only"), settings, drift=True)
    if as_json:
        console.say_json(summary.as_json(found, context))
    elif found.is_empty:
        console.done(f"{env} has no changes outside of Terraform")
    else:
        console.say(f"Changed outside of Terraform: {summary.headline(found)}")
        for line in summary.changes(found, context):
            console.say(line)
    if not found.is_empty:
        raise typer.Exit(Exit.FINDINGS)


def _note_preflight(settings: Settings) -> None:
    """Note on stderr if the account has no good preflight. Without credentials the plan itself fails."""
    try:
        account = environment.client(settings, "sts", settings.region).get_caller_identity()["Account"]
    except (BotoCoreError, ClientError):
        return
    if warning := record.warning(settings.name, str(account)):
        console.note(f"! {warning}", "yellow")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}") from None


def _make(settings: Settings, *options: str) -> bytes:
    """Synthesize and plan, and return the plan as JSON."""
    synth.synthesize(settings.name)
    with console.working(f"Planning {settings.name}"):
        stack = stack_of(settings)
        program = environment.terraform_of(settings, stack)
        program.init()
        # The file has the secrets of the state, and `rollbook deploy` makes its own plan.
        with tempfile.TemporaryDirectory(prefix="rollbook-plan-") as private:
            return program.plan_json(Path(private) / "plan.bin", *options)


def understand(raw: bytes, settings: Settings, *, drift: bool = False) -> tuple[Plan, summary.Context]:
    """Return a plan and the context of its summary, which has the findings of the guard.

    Arguments:
        raw: the output of `terraform show -json`.
        drift: return what changed outside of Terraform instead of what the plan would change.

    Raises:
        OperatorError: it is not a plan, or the exceptions cannot be read.
    """
    stack = stack_of(settings)
    synthesized = _synthesized(stack / STACK)
    paths = {address: resource["//"]["metadata"]["path"].partition("/")[2] for address, resource in synthesized.items()}
    try:
        found = drift_of(raw, paths, synthesized) if drift else parse(raw, paths)
        exemptions = guards.load(EXCEPTIONS)
    except (PlanError, guards.ExceptionsError) as error:
        raise OperatorError(str(error)) from None
    now = datetime.now(UTC)
    context = summary.Context(
        environment=settings.name,
        now=now,
        prices=prices.of(settings.region),
        code=lambda change: _code(change, settings, stack),
        findings=guards.check(found, exemptions, now.date()),
        account_wide=settings.account_wide,
    )
    return found, context


def _synthesized(path: Path) -> dict[str, dict[str, Any]]:
    """Return the synthesized resources by address."""
    if not path.exists():
        return {}
    stack: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return {
        f"{kind}.{name}": resource
        for kind, resources in stack.get("resource", {}).items()
        for name, resource in resources.items()
    }


def _code(change: Change, settings: Settings, stack: Path) -> list[str]:
    """Return the files that differ between the deployed zip of a function and the new one."""
    try:
        deployed = environment.client(settings, "lambda", settings.region).get_function(FunctionName=change.name)
        with urllib.request.urlopen(deployed["Code"]["Location"], timeout=30) as answer:
            old = answer.read()
        return zip_changes(old, (stack / str(change.after["filename"])).read_bytes())
    except (BotoCoreError, ClientError, OSError, KeyError, urllib.error.URLError, OperatorError) as error:
        return [f"(the deployed code cannot be compared: {explain(error) or error!r})"]
