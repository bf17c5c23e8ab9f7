"""`rollbook adopt`: manage existing resources with Terraform, made by hand or missing in a lost state."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError

from infra.settings import Settings
from ops import console, environment, synth
from ops.adoption.finding import AdoptionError
from ops.adoption.leftovers import Leftover, leftovers
from ops.adoption.search import Search
from ops.commands import command, confirm
from ops.environment import settings_of, stack_of
from ops.exits import Exit
from ops.failures import OperatorError, explain
from ops.options import Env, Json, Yes
from ops.plan import understand
from ops.plans import summary
from ops.plans.guard import Finding

app = typer.Typer()


@command(
    app,
    "adopt",
    example="rollbook adopt --env production --apply",
    codes={
        Exit.GOOD: "nothing is left to change",
        Exit.FINDINGS: "something is left to change",
        Exit.REFUSED: "the guard stopped the plan, or it was not confirmed; nothing was changed",
    },
)
def adopt(
    env: Env,
    chosen: Annotated[
        list[str] | None, typer.Option("--id", metavar="ADDRESS=ID", help="Import id of a resource, if several match.")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Show the plan, ask, and apply it.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Manage existing resources with Terraform.

    It finds the resources of the stack in the account by name, and shows what adopting them would change.
    """
    if as_json and apply and not yes:
        raise OperatorError("--json cannot ask; give --yes too")
    settings, ids = settings_of(env), _ids(chosen or [])
    synth.synthesize(settings.name)
    adoption = Adoption(settings, ids)
    found = adoption.search()
    raw = adoption.plan()
    plan, context = understand(raw, settings)
    unmanaged = adoption.leftovers()
    stopped = context.stopped
    if not as_json:
        console.say(f"{len(found):,} of {len(adoption.addresses):,} resources are in the account")
        for line in summary.text(plan, context):
            console.say(line)
        _show(unmanaged)
        _show_exceptions(stopped)
    applied = False
    if apply and not stopped and not plan.is_empty:
        confirm(f"Adopt this: {summary.headline(plan)}?", yes=yes)
        adoption.apply()
        applied = True
        plan, context = understand(adoption.plan(), settings)
    if as_json:
        document = {"found": found, "isApplied": applied, "plan": summary.as_json(plan, context)}
        console.say_json(document | {"leftovers": [vars(each) for each in unmanaged]})
    elif applied:
        console.done(f"adopted; now: {summary.headline(plan)}")
    elif not plan.is_empty and not stopped:
        console.say(f"Nothing was changed. To adopt it: rollbook adopt --env {env} --apply")
    if stopped:
        raise typer.Exit(Exit.REFUSED)
    if not plan.is_empty:
        raise typer.Exit(Exit.FINDINGS)


class Adoption:
    """One adoption, in its own folder with the synthesized stack and the import blocks.

    Arguments:
        chosen: import ids by address, for resources that are not searched.
    """

    def __init__(self, settings: Settings, chosen: Mapping[str, str]) -> None:
        self._settings = settings
        stack = stack_of(settings)
        # At the depth of the stacks, because the path of a local state is relative.
        self.folder = stack.parent.with_name("adoptions") / settings.name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        # The plan has the secrets of the state, and no other process may replace it before the apply.
        private = tempfile.mkdtemp(prefix="rollbook-plan-")
        weakref.finalize(self, shutil.rmtree, private)
        self._plan = Path(private) / "plan.bin"
        for part in (*stack.glob("*.tf.json"), *stack.glob("assets"), stack / ".terraform.lock.hcl"):
            (self.folder / part.name).symlink_to(part)
        self._terraform = environment.terraform_of(settings, self.folder)
        client = functools.cache(functools.partial(environment.client, settings))
        synthesized = json.loads((stack / "cdk.tf.json").read_text("utf-8"))
        with _explained():
            account = str(client("sts", settings.region).get_caller_identity()["Account"])
            self._search = Search(synthesized, account, client, chosen)
        self.addresses = tuple(self._search.resources)

    def search(self) -> dict[str, str]:
        """Write import blocks for found resources that are not in the state; return the ids of all, by address."""
        with console.working("Reading the state"):
            self._terraform.init()
            managed = self._terraform.managed()
        found: dict[str, str] = {}
        with _explained(), console.progress() as progress:
            task = progress.add_task("Reading the account", total=len(self.addresses))
            for address, resource in self._search.run():
                progress.advance(task)
                if resource:
                    found[address] = resource.import_id
        blocks = [{"to": address, "id": id_} for address, id_ in found.items() if address not in managed]
        self._imports.write_text(json.dumps({"import": blocks}, indent=2) + "\n")
        return found

    @property
    def _imports(self) -> Path:
        return self.folder / "imports.tf.json"

    def plan(self) -> bytes:
        """Return the plan as JSON."""
        with console.working("Planning"):
            return self._terraform.plan_json(self._plan)

    def apply(self) -> None:
        """Apply the last plan, and remove the import blocks.

        Raises:
            OperatorError: with the message of Terraform. Resources that were adopted before stay adopted.
        """
        self._terraform.apply(self._plan)
        self._imports.unlink()

    def leftovers(self) -> list[Leftover]:
        """Return what stays in the account and Rollbook does not manage."""
        with _explained(), console.working("Reading what stays unmanaged"):
            return list(leftovers(self._search))


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what the search raises into an `OperatorError`."""
    try:
        yield
    except AdoptionError as error:
        raise OperatorError(str(error)) from None
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(f"the account cannot be read: {explain(error)}") from None


def _ids(given: list[str]) -> dict[str, str]:
    ids = {}
    for each in given:
        address, sign, id_ = each.partition("=")
        if not (address and sign and id_):
            raise OperatorError(
                f"--id {each}: write ADDRESS=ID, such as aws_api_gateway_rest_api.api_rest_DB28241E=a1b2c3"
            )
        ids[address] = id_
    return ids


def _show(unmanaged: list[Leftover]) -> None:
    if unmanaged:
        console.say(f"Stays in the account, unmanaged ({len(unmanaged)}):")
    for each in unmanaged:
        console.say(f"  {each.what}: {each.why}\n      {each.command}")


def _show_exceptions(stopped: list[Finding]) -> None:
    """Print the exceptions that would allow the findings."""
    if not stopped:
        return
    console.say("The guard stops this. To allow a finding, complete its block in environments/exceptions.toml:")
    for finding in stopped:
        block = f'[[exception]]\nrule = "{finding.rule}"\naddress = "{finding.address}"\n'
        console.say(f'{block}reason = ""\napproved_by = ""\nexpires = \n')
