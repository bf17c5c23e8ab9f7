"""`rollbook preflight`: run all checks; none changes anything."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import typer
from botocore.exceptions import BotoCoreError, ClientError

from infra.settings import Settings
from ops import console, environment, state, synth
from ops.commands import command
from ops.exits import Exit
from ops.failures import OperatorError, explain
from ops.options import EnvOrLocal, Json
from ops.preflight import limits, mail, places, record, services
from ops.preflight.account import GLOBAL_REGION, Account
from ops.preflight.point import Point, ok, unknown

app = typer.Typer()
_MARKS = {"ok": ("✓", "green"), "after apply": ("…", "cyan"), "look": ("!", "bold red"), "unknown": ("?", "yellow")}
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


@command(
    app,
    "preflight",
    example="rollbook preflight --env production",
    codes={Exit.GOOD: "the account is ready", Exit.FINDINGS: "something is to do or unknown"},
)
def preflight(env: EnvOrLocal = "local", as_json: Json = False) -> None:
    """Check whether the account is ready for the stack. It changes nothing."""
    settings = environment.settings_of(env)
    synth.synthesize(settings.name)
    run = of(settings)
    record.keep(run)
    if as_json:
        console.say_json(run)
    else:
        show(run)
    if not run["isGood"]:
        raise typer.Exit(Exit.FINDINGS)


def of(settings: Settings) -> dict[str, Any]:
    """Run the preflight of an environment whose stack is synthesized.

    Raises:
        OperatorError: there are no valid credentials.
    """
    client = functools.cache(functools.partial(environment.client, settings))
    try:
        # The Region of the stack may not be enabled yet. Its STS then accepts no credentials.
        caller = client("sts", GLOBAL_REGION).get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(
            f"AWS accepts no credentials: {explain(error)}. `aws sts get-caller-identity` must return the account of "
            f"{settings.name}"
        ) from None
    stack = json.loads((environment.stack_of(settings) / "cdk.tf.json").read_text("utf-8"))
    account = Account(settings, stack, str(caller["Account"]), client, is_applied(settings))
    points = [ok("account", f"{account.id}, as {caller['Arn']}")]
    for name in CHECKS:
        with console.working(f"Reading the account: {name}"):
            points += check(name, account)
    return record.document(settings.name, account.id, settings.region, points)


def check(name: str, account: Account) -> list[Point]:
    """Return the points of a check; a point that cannot be read is unknown."""
    try:
        return list(CHECKS[name](account))
    except (BotoCoreError, ClientError) as error:
        advice = "run this again" if is_temporary(error) else "ask for the permission that it names, and run this again"
        return [unknown(name, f"cannot be read: {error}", advice)]
    except (KeyError, ValueError) as error:
        return [unknown(name, f"the answer has an unexpected form: {error!r}")]


def is_temporary(error: Exception) -> bool:
    """Return whether a later attempt may succeed: throttling, expired credentials, no connection."""
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    return not code or "Throttl" in code or "Expired" in code


def is_applied(settings: Settings) -> bool | None:
    """Return whether Terraform's state has resources, or None if it cannot be read."""
    found = state.state_of(settings)
    if found["unknown"]:
        return None
    return bool(found["resources"])


def show(run: dict[str, Any]) -> None:
    """Print a run: a line for each point, and below it what to do."""
    for point in run["points"]:
        mark, style = _MARKS[point["state"]]
        console.marked(mark, style, f"{point['name']}: {point['found']}")
        if point["remedy"]:
            console.say(f"  → {point['remedy']}", "bold")
    wrong = [point for point in run["points"] if point["state"] in {"look", "unknown"}]
    where = f"account {run['account']}, {run['region']}"
    if wrong:
        console.say(f"{len(wrong)} points to look at in {where}", "bold red")
    else:
        console.done(f"{len(run['points'])} points are good in {where}")
