"""Formats a report as text and as a self-contained HTML file."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import TypeVar

from rollbook.reports.report import Cost, Objective, Point, Report, TableReport, VaultReport
from rollbook.reports.words import size_of, span

T = TypeVar("T")
_UNKNOWN = "unknown"
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6572; --line: #d8dee6; --back: #fff; --good: #1a7f4b;
  --bad: #c22f2f; --bar: #3a6ea5 }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf1; --soft: #9aa5b1; --line: #38414c; --back: #14181d;
  --good: #4cc38a; --bad: #ff7b72; --bar: #79aee0 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; border-top: 1px solid var(--line); padding-top: 1.2rem }
.good { color: var(--good) } .bad { color: var(--bad) } .soft { color: var(--soft) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem }
dt { color: var(--soft) } dd { margin: 0 }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .25rem .8rem .25rem 0;
  border-bottom: 1px solid var(--line) } td.number { text-align: right; font-variant-numeric: tabular-nums }
figure { display: inline-block; margin: 0 2rem 1rem 0 } figcaption { color: var(--soft) } rect { fill: var(--bar) }
"""
_WIDTH, _HEIGHT, _BARS = 400, 90, 60


def text(report: Report, zone: tzinfo) -> str:
    """Return a report as plain text."""
    return "\n".join(_lines(report, zone)) + "\n"


def _lines(report: Report, zone: tzinfo) -> Iterator[str]:
    yield f"Backups from {_time(report.since, zone)} to {_time(report.at, zone)}: {verdict(report)}"
    for table in report.tables:
        yield ""
        yield f"{table.table}: {table.state}{f' ({table.why})' if table.why else ''}"
        for name, value in facts_of(table, zone):
            yield f"  {name + ':':16}{value}"
        for error in table.last_errors:
            yield f"  ! {error}"
        for line in table.advice:
            yield f"  → {line}"
    if report.vault:
        yield ""
        yield "AWS Backup"
        for name, value in facts_of_vault(report.vault, zone):
            yield f"  {name + ':':16}{value}"
    yield ""
    yield f"Estimated cost per month: {report.monthly_dollars:,.2f} dollars ({_prices(report)}):"
    for cost in costs_of(report):
        yield f"  {cost.dollars:10,.4f}  {cost.component}: {cost.how}"
    for line in report.unknown:
        yield f"? {line}"


def verdict(report: Report) -> str:
    """Return the overall result in a few words."""
    late = [table.table for table in report.tables if table.is_late]
    if late:
        return f"late: {', '.join(late)}"
    if report.is_good:
        return "all good"
    return "some facts are unknown" if report.unknown else "needs attention"


def facts_of(table: TableReport, zone: tzinfo) -> Iterator[tuple[str, str]]:
    """Yield the names and values of a table's facts. A missing value is shown as unknown."""
    yield "Last backup", _or(table.last_at, lambda at: f"{_time(at, zone)}, {table.last_key}")
    if table.is_scheduled is False:
        yield "Next", "never: the schedule is disabled"
    else:
        yield "Next", _or(table.next_at, lambda at: f"{_time(at, zone)} ({table.expression})")
    yield "Executions", _or(table.executions, _counts)
    yield "Success rate", _or(table.success_rate, lambda rate: f"{rate:.0%}")
    yield "Items", _or(table.items, lambda count: f"{count:,}")
    yield "Size", _or(table.bytes, lambda count: size_of(count) + _growth(table))
    yield (
        "Duration",
        _or(
            table.median_seconds,
            lambda median: f"median {median:,.1f} s, max {table.slowest_seconds:,.1f} s",
        ),
    )
    yield "RPO", _reached(table.rpo)
    yield "RTO", _reached(table.rto)


def facts_of_vault(vault: VaultReport, zone: tzinfo) -> Iterator[tuple[str, str]]:
    """Yield the names and values of AWS Backup's facts."""
    yield "Jobs", _or(vault.jobs, _counts)
    yield (
        "In the vault",
        _or(vault.recovery_points, lambda count: f"{count:,} recovery points, {size_of(vault.bytes or 0)}"),
    )
    if vault.recovery_points:
        yield "Newest", _or(vault.newest_at, lambda at: _time(at, zone))
        yield "Next expiry", _time(vault.next_expiry_at, zone) if vault.next_expiry_at else "never"
    for name, at in (vault.next_runs or {}).items():
        yield f"Next {name}", _or(at, lambda moment: _time(moment, zone))


def costs_of(report: Report) -> list[Cost]:
    """Return the components of the cost, the highest first. With several tables, each component names its table."""
    is_one = len(report.tables) == 1
    costs = [
        cost if is_one else Cost(f"{table.table}: {cost.component}", cost.dollars, cost.how)
        for table in report.tables
        for cost in table.costs
    ]
    costs += report.vault.costs if report.vault else []
    return sorted(costs, key=lambda cost: cost.dollars, reverse=True)


def page(report: Report, zone: tzinfo) -> str:
    """Return a report as one HTML file with charts."""
    kind = "good" if report.is_good else "bad"
    period = f"{_time(report.since, zone)} to {_time(report.at, zone)}"
    parts = [
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>Backups: {_safe(verdict(report))}</title>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<style>{_STYLE}</style></head><body><h1>Backups: <span class={kind}>{_safe(verdict(report))}</span></h1>",
        f"<p class=soft>{_safe(period)}</p>",
        *(f"<p class=bad>{_safe(line)}</p>" for line in report.unknown),
        *(_table(table, zone) for table in report.tables),
        _section("AWS Backup", facts_of_vault(report.vault, zone)) if report.vault else "",
        f"<h2>About {report.monthly_dollars:,.2f} dollars per month</h2><table>",
        *(
            f"<tr><td>{_safe(cost.component)}<td class=soft>{_safe(cost.how)}<td class=number>{cost.dollars:,.4f}"
            for cost in costs_of(report)
        ),
        f"</table><p class=soft>{_safe(_prices(report))}</p></body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _table(table: TableReport, zone: tzinfo) -> str:
    kind = {False: "good", True: "bad", None: "soft"}[table.is_late]
    head = f"{_safe(table.table)}: <span class={kind}>{_safe(table.state)}</span>"
    why = f"<p class=soft>{_safe(table.why)}</p>" if table.why else ""
    charts = "".join(
        _chart(name, table.points, value, show)
        for name, value, show in (
            ("Size", lambda point: float(point.bytes), size_of),
            ("Items", lambda point: float(point.items), lambda count: f"{count:,.0f}"),
            ("Duration", lambda point: point.seconds, lambda seconds: f"{seconds:,.1f} s"),
        )
    )
    errors = "".join(f"<p class=bad>{_safe(error)}</p>" for error in table.last_errors)
    advice = "".join(f"<p>→ {_safe(line)}</p>" for line in table.advice)
    return f"<h2>{head}</h2>{why}{_list(facts_of(table, zone))}{errors}{advice}{charts if table.points else ''}"


def _chart(name: str, points: Sequence[Point], value: Callable[[Point], float], show: Callable[[float], str]) -> str:
    """Return a bar chart of the last backups, with the newest at the right."""
    shown = points[-_BARS:]
    most = max(map(value, shown), default=0)
    step = _WIDTH / max(len(shown), 10)
    bars = "".join(
        f"<rect x={number * step:.1f} y={_HEIGHT - high:.1f} width={step * 0.8:.1f} height={high:.1f}>"
        f"<title>{point.at:%Y-%m-%d %H:%M}Z: {_safe(show(value(point)))}</title></rect>"
        for number, point in enumerate(shown)
        for high in [max(1.0, value(point) / most * _HEIGHT if most else 1.0)]
    )
    caption = f"{name}, up to {show(most)}"
    return (
        f"<figure><svg viewBox='0 0 {_WIDTH} {_HEIGHT}' width={_WIDTH} height={_HEIGHT} role=img "
        f"aria-label='{_safe(caption)}'>{bars}</svg><figcaption>{_safe(caption)}</figcaption></figure>"
    )


def _section(name: str, facts: Iterable[tuple[str, str]]) -> str:
    return f"<h2>{_safe(name)}</h2>{_list(facts)}"


def _list(facts: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{_safe(name)}<dd>{_safe(value)}" for name, value in facts) + "</dl>"


def _safe(value: str) -> str:
    return html.escape(value)


def _or(value: T | None, show: Callable[[T], str]) -> str:
    return _UNKNOWN if value is None else show(value)


def _counts(counts: dict[str, int]) -> str:
    """Return numbers by name. `completed, in doubt` is a part of `completed`, and is shown as one."""
    whole = "completed, "
    parts = [f"{n:,} {name.removeprefix(whole)}" for name, n in sorted(counts.items()) if name.startswith(whole)]
    texts = {name: f"{n:,} {name.lower()}" for name, n in sorted(counts.items()) if not name.startswith(whole)}
    if parts:
        texts["completed"] += f" ({', '.join(parts)})"
    return ", ".join(texts.values()) or "none"


def _growth(table: TableReport) -> str:
    if table.growth_bytes is None:
        return ""
    return f" ({'+' if table.growth_bytes >= 0 else '-'}{size_of(abs(table.growth_bytes))} in this period)"


def _reached(objective: Objective) -> str:
    target = span(timedelta(seconds=objective.target_seconds))
    if objective.reached_seconds is None:
        return f"{_UNKNOWN} (objective: {target})"
    seconds = objective.reached_seconds
    reached = f"{seconds:,.1f} s" if seconds < 60 else span(timedelta(seconds=seconds))
    return f"{reached}, {'within' if objective.is_met else 'over'} the objective of {target}"


def _prices(report: Report) -> str:
    return f"prices of {report.prices_region} as of {report.prices_as_of}, excluding taxes and free tiers"


def _time(moment: datetime, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M %Z}"
