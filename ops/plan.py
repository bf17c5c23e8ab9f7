"""`python -m ops plan` and `python -m ops guard`: what an apply would do, for its reviewers, and whether it may."""

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
from ops import environment, local
from ops.console import OperatorError, command, err, out
from ops.environment import Env, settings_of, stack_of
from ops.plans import guard as guards
from ops.plans import review, summary
from ops.plans.changes import Change, Plan, PlanError, drift_of, parse
from ops.plans.words import zip_changes
from ops.preflight import record

# As `terraform plan -detailed-exitcode`: 0 for no changes, 1 for an error, 2 for changes.
CHANGES = 2
# The synthesized stack in its folder.
STACK = "cdk.tf.json"
# The guard stopped the plan.
STOPPED = 3
EXCEPTIONS = ENVIRONMENTS / EXCEPTIONS_FILE

Recorded = Annotated[
    Path | None, typer.Option("--plan", metavar="FILE", help="A plan that `terraform show -json` printed; makes none.")
]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]


@command
def plan(
    env: Env,
    folder: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write plan.json, summary.md and review.json."),
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="For a pull request's comment.")] = False,
    as_json: Json = False,
    recorded: Recorded = None,
) -> None:
    """Show what an apply would do, what is lost by it first; ends with 0 for no changes and 2 for some."""
    if as_markdown and as_json:
        raise OperatorError("--markdown and --json are two forms of one thing; give one")
    settings = settings_of(env)
    if not recorded:
        _say_of_preflight(settings)
    raw = _read(recorded) if recorded else _make(settings)
    found, context = understand(raw, settings)
    try:
        comment = summary.markdown(found, context) if folder or as_markdown else ""
    except PlanError as error:
        raise OperatorError(str(error)) from None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        # A review that lies here is of another plan.
        (folder / "review.json").unlink(missing_ok=True)
        # It holds the state's secrets.
        (folder / "plan.json").touch(mode=0o600)
        (folder / "plan.json").chmod(0o600)
        (folder / "plan.json").write_bytes(raw)
        (folder / "summary.md").write_text(comment)
        if not recorded:
            stack = stack_of(settings)
            identity = environment.terraform_of(settings, stack).identity()
            made = review.of(raw, env, identity, (stack / STACK).read_bytes())
            (folder / "review.json").write_text(made.dumps())
    if as_json:
        print(json.dumps(summary.as_json(found, context)))
    elif as_markdown:
        print(comment)
    else:
        for line in summary.text(found, context):
            out.print(line, markup=False, highlight=False, soft_wrap=True)
    if not found.is_empty:
        raise typer.Exit(CHANGES)


@command
def guard(env: Env, recorded: Recorded = None, as_json: Json = False) -> None:
    """Stop a plan that loses data, opens access, shortens what is kept or looks away; ends with 3 if it does.

    To allow a finding, add an `exception` with an end date to environments/exceptions.toml (docs/terraform.md).
    """
    settings = settings_of(env)
    found, context = understand(_read(recorded) if recorded else _make(settings), settings)
    if as_json:
        print(json.dumps(summary.as_json(found, context)["findings"]))
    else:
        for finding in context.findings:
            mark = "[green]allowed[/]" if finding.is_allowed else "[bold red]stopped[/]"
            until = f" until {finding.exemption.expires}" if finding.exemption else ""
            expired = f" (its exception expired on {finding.expired.expires})" if finding.expired else ""
            line = f"{mark}{until} {finding.rule} {finding.address}: {finding.what}{expired}"
            out.print(line, highlight=False, soft_wrap=True)
        if not context.findings:
            out.print(f"[green]✓[/] {summary.headline(found)}: nothing that needs an exception", highlight=False)
    if context.stopped:
        raise typer.Exit(STOPPED)


@command
def drift(env: Env, as_json: Json = False) -> None:
    """Show what was changed outside of Terraform since the last apply; ends with 0 for nothing and 2 for something."""
    settings = settings_of(env)
    found, context = understand(_make(settings, "-refresh-only"), settings, drift=True)
    if as_json:
        print(json.dumps(summary.as_json(found, context)))
    elif found.is_empty:
        out.print(f"[green]✓[/] {env} is as Terraform left it", highlight=False)
    else:
        out.print(f"Changed outside of Terraform: {summary.headline(found)}", highlight=False)
        for line in summary.changes(found, context):
            out.print(line, markup=False, highlight=False, soft_wrap=True)
    if not found.is_empty:
        raise typer.Exit(CHANGES)


def _say_of_preflight(settings: Settings) -> None:
    """Say on the error output if the account had no good preflight; without credentials the plan itself says so."""
    try:
        account = environment.client(settings, "sts", settings.region).get_caller_identity()["Account"]
    except (BotoCoreError, ClientError):
        return
    if said := record.warning(settings.name, str(account)):
        err.print(f"[yellow]![/] {said}", highlight=False, soft_wrap=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}") from None


def _make(settings: Settings, *options: str) -> bytes:
    """Synthesize and plan, and return the plan as JSON."""
    with err.status(f"Planning {settings.name}"):
        local.synthesize()
        stack = stack_of(settings)
        program = environment.terraform_of(settings, stack)
        program.init()
        # The plan's file holds the state's secrets, and `python -m ops deploy` makes its own.
        with tempfile.TemporaryDirectory(prefix="rollbook-plan-") as private:
            return program.plan_json(Path(private) / "plan.bin", *options)


def understand(raw: bytes, settings: Settings, *, drift: bool = False) -> tuple[Plan, summary.Context]:
    """Return a plan and what a summary of it is made with, the guard's findings among it.

    Arguments:
        raw: as `terraform show -json` prints it.
        drift: what its making found changed, instead of what it would change.

    Raises:
        OperatorError: it is no plan, or the exceptions cannot be read.
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
    """Return what changed in a function's zip, from the one that is deployed."""
    try:
        deployed = environment.client(settings, "lambda", settings.region).get_function(FunctionName=change.name)
        with urllib.request.urlopen(deployed["Code"]["Location"], timeout=30) as answer:
            old = answer.read()
        return zip_changes(old, (stack / str(change.after["filename"])).read_bytes())
    except (BotoCoreError, ClientError, OSError, KeyError, urllib.error.URLError, OperatorError) as error:
        return [f"(the deployed code could not be compared: {error})"]
