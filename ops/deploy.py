"""`python -m ops deploy`: applies a plan that was reviewed, and no other."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from infra.settings import Settings
from ops import environment, local
from ops.console import OperatorError, command, err, out
from ops.environment import Env, settings_of, stack_of
from ops.plan import STACK, STOPPED, understand
from ops.plans import review, summary

# What would be applied is not what was reviewed.
MOVED = 4


@command
def deploy(
    env: Env,
    reviewed: Annotated[Path, typer.Option(metavar="DIR", help="What `plan --out` wrote when it was reviewed.")],
) -> None:
    """Make a new plan and apply it if it equals the reviewed one. No plan file is read from DIR.

    Ends with 3 if the guard stops it, and with 4 if the state moved or the plan differs. Then nothing was done.
    """
    settings = settings_of(env)
    try:
        wanted = review.loads((reviewed / "review.json").read_text("utf-8"))
    except (OSError, UnicodeDecodeError, review.ReviewError) as error:
        raise OperatorError(
            f"{reviewed / 'review.json'}: {error}; make it with: python -m ops plan {env} --out DIR"
        ) from None
    # Only this process reads and writes the folder, so the plan that was checked is the plan that is applied.
    with tempfile.TemporaryDirectory(prefix="rollbook-plan-") as private:
        _deploy(settings, wanted, Path(private) / "plan.bin")


def _deploy(settings: Settings, wanted: review.Review, file: Path) -> None:
    env = settings.name
    with err.status(f"Planning {env}"):
        local.synthesize()
        terraform = environment.terraform_of(settings, stack_of(settings))
        terraform.init()
        raw = terraform.plan_json(file)
    found, context = understand(raw, settings)
    differences = wanted.differences(
        review.of(raw, env, terraform.identity(), (stack_of(settings) / STACK).read_bytes())
    )
    if differences:
        err.print("[bold red]refused:[/]", end=" ")
        err.print("; ".join(differences), markup=False, highlight=False, soft_wrap=True)
        err.print("Plan and review it again. It would be:", highlight=False)
        for line in summary.text(found, context):
            err.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(MOVED)
    if context.stopped:
        for finding in context.stopped:
            line = f"[bold red]stopped[/] {finding.rule} {finding.address}: {finding.what}"
            err.print(line, highlight=False, soft_wrap=True)
        raise typer.Exit(STOPPED)
    if found.is_empty:
        out.print("[green]✓[/] no changes, as reviewed", highlight=False)
        return
    changed = terraform.apply(file)
    out.print(f"[green]✓[/] applied as reviewed: {changed} resources changed", highlight=False)
