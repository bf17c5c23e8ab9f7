"""`python -m ops report`: whether the backups are on time, how they went, what they cost, what to change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
import typer
from rich.table import Table

from infra.observability import report_settings
from ops.cloud import Cloud
from ops.console import OperatorError, command, out
from rollbook.reports import ask, page
from rollbook.reports.assessment import Report, TableReport

# The exit code when something is late, failed or unknown; 1 is for a command that could not do its work.
NOT_GOOD = 2


@command
def report(
    env: Annotated[str, typer.Option("--env", metavar="ENV", help="Environment.")] = "local",
    hours: Annotated[int | None, typer.Option(min=1, help="So many hours back.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="So many days back; 7 if nothing is said.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one HTML file, with charts.")] = None,
) -> None:
    """Report on all backups; ends with 0 if all is well, with 2 if something is late, failed or unknown."""
    if hours and days:
        raise OperatorError("--hours and --days say the same thing; give one")
    if as_json and html:
        raise OperatorError("--json prints and --html writes; give one")
    cloud = Cloud.of(env)
    period = timedelta(hours=hours) if hours else timedelta(days=days or 7)
    variables, tables = report_settings.variables(cloud.settings), cloud.settings.reported_tables
    found = ask.ask(variables, tables, cloud.client, now=datetime.now(UTC), period=period)
    zone = ZoneInfo(cloud.settings.time_zone)
    if as_json:
        print(msgspec.json.encode(found).decode())
    elif html:
        try:
            html.write_text(page.page(found, zone))
        except OSError as error:
            raise OperatorError(f"{html} cannot be written: {error.strerror}") from None
        out.print(f"[green]✓[/] {html}", highlight=False)
    else:
        _print(found, zone)
    if not found.is_good:
        raise typer.Exit(NOT_GOOD)


def _print(found: Report, zone: ZoneInfo) -> None:
    color = "green" if found.is_good else "red"
    out.print(f"[bold {color}]{page.verdict(found)}[/]  {found.since:%Y-%m-%d %H:%M}Z to {found.at:%Y-%m-%d %H:%M}Z")
    for table in found.tables:
        out.print(_of_table(table, zone))
        for error in table.last_errors:
            out.print(f"[red]![/] {error}", highlight=False)
        for line in table.advice:
            out.print(f"→ {line}", highlight=False)
    if found.vault:
        rows = Table("AWS Backup", "", box=None, title_justify="left")
        for name, value in page.facts_of_vault(found.vault, zone):
            rows.add_row(name, value)
        out.print(rows)
    costs = Table("Dollars a month", f"{found.monthly_dollars:,.2f}", "", box=None)
    for cost in page.costs_of(found):
        costs.add_row(cost.component, f"{cost.dollars:,.4f}", cost.how)
    out.print(costs)
    out.print(f"prices of {found.prices_region} as of {found.prices_as_of}", style="dim")
    for line in found.unknown:
        out.print(f"[yellow]?[/] {line}", highlight=False)


def _of_table(table: TableReport, zone: ZoneInfo) -> Table:
    color = {False: "green", True: "red", None: "yellow"}[table.is_late]
    rows = Table(table.table, f"[{color}]{table.state}[/]", box=None)
    if table.why:
        rows.add_row("Why", table.why)
    for name, value in page.facts_of(table, zone):
        rows.add_row(name, value)
    return rows
