"""`rollbook report`: whether the backups are on time, their executions, their cost, and advice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
import typer

from infra.observability import report_settings
from ops import console, tables
from ops.cloud import Cloud
from ops.commands import command
from ops.exits import Exit
from ops.failures import OperatorError
from ops.options import EnvOrLocal, Json
from rollbook.reports import ask, page
from rollbook.reports.report import Report, TableReport

app = typer.Typer()


@command(
    app,
    "report",
    example="rollbook report --days 30 --env production",
    codes={Exit.FINDINGS: "something is late, failed or unknown"},
)
def report(
    env: EnvOrLocal = "local",
    hours: Annotated[int | None, typer.Option(min=1, help="Period, hours until now.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Period, days until now; 7 by default.")] = None,
    as_json: Json = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one HTML file with charts.")] = None,
) -> None:
    """Report on all backups."""
    if hours and days:
        raise OperatorError("--hours and --days exclude each other; give one")
    if as_json and html:
        raise OperatorError("--json and --html exclude each other; give one")
    cloud = Cloud.of(env)
    period = timedelta(hours=hours) if hours else timedelta(days=days or 7)
    variables, reported_tables = report_settings.variables(cloud.settings), cloud.settings.reported_tables
    found = ask.ask(variables, reported_tables, cloud.client, now=datetime.now(UTC), period=period)
    zone = ZoneInfo(cloud.settings.time_zone)
    if as_json:
        console.say_json(msgspec.to_builtins(found))
    elif html:
        html.write_text(page.page(found, zone))
        console.done(f"wrote {html}")
    else:
        _show(found, zone)
    if not found.is_good:
        raise typer.Exit(Exit.FINDINGS)


def _show(found: Report, zone: ZoneInfo) -> None:
    console.marked(
        page.verdict(found),
        f"bold {'green' if found.is_good else 'red'}",
        f" {found.since:%Y-%m-%d %H:%M}Z to {found.at:%Y-%m-%d %H:%M}Z",
    )
    for table in found.tables:
        _show_table(table, zone)
    if found.vault:
        console.say("\nAWS Backup", "bold")
        tables.show_facts(list(page.facts_of_vault(found.vault, zone)))
    console.say(f"\nCost: {found.monthly_dollars:,.2f} dollars a month", "bold")
    costs = [tables.Row((cost.component, f"{cost.dollars:,.4f}", cost.how)) for cost in page.costs_of(found)]
    tables.show(("Component", "Dollars a month", "Calculation"), costs, numbers={"Dollars a month"})
    console.say(f"Prices of {found.prices_region} as of {found.prices_as_of}", "dim")
    for line in found.unknown:
        console.marked("?", "yellow", line)


def _show_table(table: TableReport, zone: ZoneInfo) -> None:
    color = {False: "green", True: "red", None: "yellow"}[table.is_late]
    console.say("")
    console.say(table.table, "bold")
    facts: list[tuple[str, object]] = [("State", table.state)]
    if table.why:
        facts.append(("Why", table.why))
    facts += page.facts_of(table, zone)
    tables.show_facts(facts, styles={"State": color})
    for error in table.last_errors:
        console.marked("!", "red", error)
    for line in table.advice:
        console.say(f"→ {line}")
