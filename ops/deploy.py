"""`rollbook deploy`: apply a reviewed plan."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from infra.settings import Settings
from ops import console, environment, synth
from ops.commands import command
from ops.environment import settings_of, stack_of
from ops.exits import Exit
from ops.failures import OperatorError, Refused, StateMoved
from ops.options import Env, Json
from ops.plan import STACK, understand
from ops.plans import review, summary

app = typer.Typer()


@command(
    app,
    "deploy",
    example="rollbook deploy --env production --reviewed DIR",
    codes={
        Exit.GOOD: "applied, or nothing to change",
        Exit.REFUSED: "the guard stopped the plan; nothing was changed",
        Exit.MOVED: "the state moved or the plan differs from the review; nothing was changed",
    },
)
def deploy(
    env: Env,
    reviewed: Annotated[Path, typer.Option(metavar="DIR", help="Folder that the option --out of plan wrote.")],
    as_json: Json = False,
) -> None:
    """Apply a plan that equals the reviewed one.

    It makes a new plan and compares it with the review in DIR. No plan file is read from DIR.
    """
    settings = settings_of(env)
    file = reviewed / "review.json"
    try:
        wanted = review.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, review.ReviewError) as error:
        raise OperatorError(f"{file}: {error}; write it with: rollbook plan --env {env} --out DIR") from None
    # Only this process reads and writes the folder, so the checked plan is the applied plan.
    with tempfile.TemporaryDirectory(prefix="rollbook-plan-") as private:
        changed = _deploy(settings, wanted, Path(private) / "plan.bin")
    if as_json:
        console.say_json({"environment": env, "changed": changed})
    elif changed:
        console.done(f"applied as reviewed: {changed} resources changed")
    else:
        console.done("no changes, as reviewed")


def _deploy(settings: Settings, wanted: review.Review, file: Path) -> int:
    """Return the number of changed resources."""
    env = settings.name
    synth.synthesize(settings.name)
    with console.working(f"Planning {env}"):
        terraform = environment.terraform_of(settings, stack_of(settings))
        terraform.init()
        raw = terraform.plan_json(file)
    found, context = understand(raw, settings)
    stack = (stack_of(settings) / STACK).read_bytes()
    differences = wanted.differences(review.of(raw, env, terraform.identity(), stack))
    if differences:
        console.note("The new plan:")
        for line in summary.text(found, context):
            console.note(f"  {line}")
        raise StateMoved(f"{'; '.join(differences)}. Nothing was changed. Plan and review it again")
    if context.stopped:
        findings = "\n".join(f"  {each.rule} {each.address}: {each.what}" for each in context.stopped)
        raise Refused(f"the guard stops this plan; nothing was changed:\n{findings}")
    return 0 if found.is_empty else terraform.apply(file)
