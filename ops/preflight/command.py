"""The command: all points, one after the other, none of which changes anything."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.table import Table
from rich.text import Text

from infra.settings import Settings
from ops import environment, local, state
from ops.console import OperatorError, command, err, out
from ops.preflight import limits, mail, places, record, services
from ops.preflight.account import GLOBAL_REGION, Account
from ops.preflight.point import Point, ok, unknown

# The exit code when there is something to look at, or something is unknown; 1 is for what could not be done.
NOT_GOOD = 2
_MARKS = {"ok": "[green]✓[/]", "after apply": "[cyan]…[/]", "look": "[bold red]![/]", "unknown": "[yellow]?[/]"}
CHECKS: dict[str, Callable[[Account], Iterator[Point]]] = {
    "Regions": places.regions,
    "state": places.state_bucket,
    "stack": places.applied,
    "names": places.names,
    "buckets": places.buckets,
    "addresses": mail.addresses,
    "SES": mail.sending,
    "alerts": mail.subscriptions,
    "API log role": services.api_log_role,
    "Backup opt-in": services.backup_opt_in,
    "AWS Config": services.config_records,
    "service-linked role": services.reports_role,
    "Lambda concurrency": limits.concurrency,
    "trails": limits.trails,
    "quota: IAM roles": limits.roles,
    "quotas": limits.quotas,
}


@command
def preflight(
    env: Annotated[str, typer.Option("--env", metavar="ENV", help="Environment.")] = "local",
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Check whether the account is ready for the stack. Changes nothing.

    Ends with 0 if it is ready, 1 if it could not check, and 2 if something is to do or unknown.
    """
    settings = environment.settings_of(env)
    with err.status("Synthesizing the stack"):
        local.synthesize()
    run = of(settings)
    record.keep(run)
    if as_json:
        print(json.dumps(run))
    else:
        show(run)
    if not run["isGood"]:
        raise typer.Exit(NOT_GOOD)


def of(settings: Settings) -> dict[str, Any]:
    """Make the preflight of an environment whose stack is synthesized.

    Raises:
        OperatorError: there are no valid credentials, so nothing can be read.
    """
    client = functools.cache(functools.partial(environment.client, settings))
    try:
        # The Region of the stack may not be enabled yet; then its STS takes no credentials.
        caller = client("sts", GLOBAL_REGION).get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(
            f"AWS takes no credentials from here: {error}. Log in, or set AWS_PROFILE, and see that "
            f"`aws sts get-caller-identity` names the account that {settings.name} is for"
        ) from None
    stack = json.loads((environment.stack_of(settings) / "cdk.tf.json").read_text("utf-8"))
    account = Account(settings, stack, str(caller["Account"]), client, is_applied(settings))
    points = [ok("account", f"{account.id}, as {caller['Arn']}")]
    with err.status("Reading the account") as status:
        for name in CHECKS:
            status.update(f"Reading the account: {name}")
            points += check(name, account)
    return record.document(settings.name, account.id, settings.region, points)


def check(name: str, account: Account) -> list[Point]:
    """Return what a check found; what cannot be read is unknown."""
    try:
        return list(CHECKS[name](account))
    except (BotoCoreError, ClientError) as error:
        advice = "run this again" if is_passing(error) else "ask for the permission that it names, and run this again"
        return [unknown(name, f"cannot be read: {error}", advice)]
    except (KeyError, ValueError) as error:
        return [unknown(name, f"the answer is not of the expected form: {error!r}")]


def is_passing(error: Exception) -> bool:
    """Return whether an error says nothing of permissions: throttling, expired credentials, no connection."""
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    return not code or "Throttl" in code or "Expired" in code


def is_applied(settings: Settings) -> bool | None:
    """Return whether Terraform's state has resources, or None if it cannot be read."""
    found = state.state_of(settings)
    if "(unknown:" in found["where"]:
        return None
    return bool(found["resources"])


def show(run: dict[str, Any]) -> None:
    """Print a run for people."""
    table = Table("", "Point", "Found, and what to do", box=None)
    for point in run["points"]:
        # As they are: names of settings such as [vault] are no markup.
        table.add_row(_MARKS[point["state"]], Text(point["name"]), Text(point["found"]))
        if point["remedy"]:
            table.add_row("", "", Text(f"→ {point['remedy']}", style="bold"))
    out.print(table)
    wrong = [point for point in run["points"] if point["state"] in {"look", "unknown"}]
    where = f"account {run['account']}, {run['region']}"
    if wrong:
        out.print(f"[bold red]{len(wrong)} to look at[/] in {where}", highlight=False)
    else:
        out.print(f"[green]✓[/] {len(run['points'])} points are good in {where}", highlight=False)
