"""`python -m ops adopt`: takes over what was clicked together by hand, or what a lost state no longer knows."""

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
from rich.progress import Progress

from infra.settings import Settings
from ops import environment, local
from ops.adoption.finders import AdoptionError
from ops.adoption.leftovers import Leftover, leftovers
from ops.adoption.search import Search
from ops.console import OperatorError, command, err, out
from ops.environment import Env, settings_of, stack_of
from ops.plan import CHANGES, STOPPED, understand
from ops.plans import summary
from ops.plans.guard import Finding


@command
def adopt(
    env: Env,
    chosen: Annotated[
        list[str] | None, typer.Option("--id", metavar="ADDRESS=ID", help="What a resource is, if several fit.")
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Take it over, after the plan was shown and agreed to.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Find what is in the account by the stack's names, and show what taking it over would change.

    Ends with 0 if nothing is left to change, with 2 if something is, and with 3 if the guard stops it.
    """
    if as_json and apply and not yes:
        raise OperatorError("--json cannot ask; give --yes too")
    settings, ids = settings_of(env), _ids(chosen or [])
    with err.status("Synthesizing the stack"):
        local.synthesize()
    adoption = Adoption(settings, ids)
    found = adoption.search()
    raw = adoption.plan()
    plan, context = understand(raw, settings)
    behind = adoption.leftovers()
    stopped = context.stopped
    if not as_json:
        out.print(f"{len(found):,} of {len(adoption.addresses):,} resources are in the account", highlight=False)
        for line in summary.text(plan, context):
            out.print(line, markup=False, highlight=False, soft_wrap=True)
        _show(behind)
        _exceptions(stopped)
    applied = False
    if apply and not stopped and not plan.is_empty:
        if not yes and not typer.confirm(f"Take it over, as above: {summary.headline(plan)}?"):
            raise OperatorError("nothing was done")
        adoption.apply()
        applied = True
        plan, context = understand(adoption.plan(), settings)
    if as_json:
        document = {"found": found, "isApplied": applied, "plan": summary.as_json(plan, context)}
        print(json.dumps(document | {"leftovers": [vars(each) for each in behind]}))
    elif applied:
        out.print(f"[green]✓[/] taken over; now: {summary.headline(plan)}", highlight=False)
    elif not plan.is_empty and not stopped:
        out.print(f"Nothing was changed. To take it over: python -m ops adopt {env} --apply", highlight=False)
    if stopped:
        raise typer.Exit(STOPPED)
    if not plan.is_empty:
        raise typer.Exit(CHANGES)


class Adoption:
    """One adoption: a folder of its own with the synthesized stack and the import blocks, which no synth has.

    Arguments:
        chosen: import ids by address, for what is not to be looked for.
    """

    def __init__(self, settings: Settings, chosen: Mapping[str, str]) -> None:
        self._settings = settings
        stack = stack_of(settings)
        # As deep as the stacks are, as a local state's path counts from there.
        self.folder = stack.parent.with_name("adoptions") / settings.name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        # The file holds the state's secrets, and between plan and apply nobody else may replace it.
        private = tempfile.mkdtemp(prefix="rollbook-plan-")
        weakref.finalize(self, shutil.rmtree, private)
        self._plan = Path(private) / "plan.bin"
        for part in (*stack.glob("*.tf.json"), *stack.glob("assets"), stack / ".terraform.lock.hcl"):
            (self.folder / part.name).symlink_to(part)
        self._terraform = environment.terraform_of(settings, self.folder)
        client = functools.cache(functools.partial(environment.client, settings))
        synthesized = json.loads((stack / "cdk.tf.json").read_text("utf-8"))
        with _told():
            account = str(client("sts", settings.region).get_caller_identity()["Account"])
            self._search = Search(synthesized, account, client, chosen)
        self.addresses = tuple(self._search.resources)

    def search(self) -> dict[str, str]:
        """Write the import blocks of what is there and not in the state, and return all ids by address."""
        with err.status("Reading the state"):
            self._terraform.init()
            managed = self._terraform.managed()
        found: dict[str, str] = {}
        with _told(), Progress(console=err, transient=True) as progress:
            task = progress.add_task("Looking at the account", total=len(self.addresses))
            for address, there in self._search.run():
                progress.advance(task)
                if there:
                    found[address] = there.import_id
        blocks = [{"to": address, "id": id_} for address, id_ in found.items() if address not in managed]
        self._imports.write_text(json.dumps({"import": blocks}, indent=2) + "\n")
        return found

    @property
    def _imports(self) -> Path:
        return self.folder / "imports.tf.json"

    def plan(self) -> bytes:
        """Return the plan as JSON."""
        with err.status("Planning"):
            return self._terraform.plan_json(self._plan)

    def apply(self) -> None:
        """Apply exactly the plan that was made last, and take the import blocks away.

        Raises:
            OperatorError: with Terraform's own words; what was taken over until then stays so.
        """
        self._terraform.apply(self._plan)
        self._imports.unlink()

    def leftovers(self) -> list[Leftover]:
        """Return what Rollbook will not manage."""
        with _told(), err.status("Looking for what stays behind"):
            return list(leftovers(self._search))


@contextmanager
def _told() -> Iterator[None]:
    """Let what cannot be looked at end the command with its reason."""
    try:
        yield
    except (AdoptionError, BotoCoreError, ClientError) as error:
        raise OperatorError(str(error)) from None


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


def _show(behind: list[Leftover]) -> None:
    if behind:
        out.print(f"Stays behind, unmanaged ({len(behind)}):", highlight=False)
    for each in behind:
        out.print(f"  {each.what}: {each.why}\n      {each.command}", markup=False, highlight=False, soft_wrap=True)


def _exceptions(stopped: list[Finding]) -> None:
    """Print what would have to be written for the guard to let it pass."""
    if not stopped:
        return
    out.print("The guard stops this. What is meant, write into environments/exceptions.toml:", highlight=False)
    for finding in stopped:
        block = f'[[exception]]\nrule = "{finding.rule}"\naddress = "{finding.address}"\n'
        out.print(f'{block}reason = ""\napproved_by = ""\nexpires = \n', markup=False, highlight=False)
