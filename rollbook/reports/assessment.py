"""Assesses the facts of each table: punctuality, results and costs of its backups, and advice."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from rollbook.contract import schedules
from rollbook.contract.jobs import ReportedTable
from rollbook.engine.executions import CONTINUING, FAILED, LONGEST_SCAN, RUNNING, Execution, is_stopped
from rollbook.reports.costs import GB, SMALLEST_MOVED, costs_of, runs_a_month
from rollbook.reports.facts import Facts, Schedule, Unknown
from rollbook.reports.report import Cost, Objective, Objectives, Point, Report, TableReport, VaultReport
from rollbook.reports.words import size_of, span

# Lambda's longest timeout (Lambda quotas).
_LONGEST_RUN = timedelta(minutes=15)


def build(facts: Facts, objectives: Objectives, *, now: datetime, since: datetime) -> Report:
    """Assess the facts and return the report.

    Arguments:
        now, since: the end and the beginning of the reported period (aware).
    """
    tables = [_table(table, facts, objectives, now, since) for table in objectives.tables]
    vault = _vault(facts, objectives, now) if objectives.uses_vault else None
    unknown = list(_unknown(facts, objectives))
    costs = [cost for table in tables for cost in table.costs] + (vault.costs if vault else [])
    failed_jobs = bool(vault and vault.jobs and any("COMPLETED" not in state for state in vault.jobs))
    return Report(
        at=now,
        since=since,
        is_good=not unknown and not failed_jobs and all(map(_is_good, tables)),
        tables=tables,
        vault=vault,
        unknown=unknown,
        monthly_dollars=round(sum(cost.dollars for cost in costs), 2),
        prices_as_of=objectives.prices_as_of,
        prices_region=objectives.prices_region,
    )


def _is_good(table: TableReport) -> bool:
    counts = table.executions or {}
    has_findings = any(counts.get(name) for name in ("failed", "completed, in doubt", "completed, object gone"))
    return table.is_late is False and not has_findings and table.rpo.is_met is not False


def _table(table: ReportedTable, facts: Facts, objectives: Objectives, now: datetime, since: datetime) -> TableReport:
    name = table.table_name
    schedule = facts.schedules.get(name, Unknown("there is no schedule"))
    if isinstance(facts.executions, Unknown):
        executions: list[Execution] | None = None
    else:
        of_table = [_as_ended(execution, now) for execution in facts.executions if execution.table_name == name]
        executions = sorted(of_table, key=lambda execution: execution.started_at)
    good = None if executions is None else [backup for backup in executions if is_good_backup(backup, facts)]
    last = good[-1] if good else None
    running = next((each for each in reversed(executions or []) if _is_running(each, now)), None)
    state, why, is_late = _lateness(table, schedule, last, good is None, now)
    if is_late and running:
        state, why, is_late = "on time", f"a backup is running since {_begun(running):%Y-%m-%d %H:%M}Z", False
    recent = [backup for backup in executions or [] if backup.started_at >= since and backup.kind == "backup"]
    recent_good = [backup for backup in good or [] if backup.started_at >= since]
    seconds = [backup.seconds for backup in recent_good if backup.seconds is not None]
    sizes = [backup.bytes for backup in recent_good if backup.bytes is not None]
    drills = [drill for drill in executions or [] if drill.kind == "drill" and drill.status == "completed"]
    ended = [backup for backup in recent if backup.status in {"completed", "failed"}]
    succeeded = [backup for backup in ended if backup.status == "completed"]
    doubtful = sum(bool(backup.doubt) for backup in succeeded)
    lost = sum(
        not is_good_backup(backup, facts) and not backup.doubt and not _is_expired(backup, table, now)
        for backup in succeeded
    )
    counts = dict(Counter(backup.status for backup in recent)) | ({"completed, object gone": lost} if lost else {})
    counts |= {"completed, in doubt": doubtful} if doubtful else {}
    errors = [
        f"{backup.started_at:%Y-%m-%d %H:%M}Z {backup.kind}: {backup.error or backup.doubt}"
        for backup in recent
        if backup.error or backup.doubt
    ]
    return TableReport(
        table=name,
        state=state,
        why=why,
        is_late=is_late,
        last_key=last.key if last else None,
        last_at=last.ended_at if last else None,
        next_at=_next(schedule, last, now),
        expression=None if isinstance(schedule, Unknown) else f"{schedule.expression} {schedule.time_zone}",
        is_scheduled=None if isinstance(schedule, Unknown) else schedule.is_on,
        executions=None if executions is None else counts,
        success_rate=(len(succeeded) - lost - doubtful) / len(ended) if ended else None,
        items=last.items if last else None,
        bytes=last.bytes if last else None,
        growth_bytes=sizes[-1] - sizes[0] if len(sizes) > 1 else None,
        median_seconds=statistics.median(seconds) if seconds else None,
        slowest_seconds=max(seconds, default=None),
        rpo=_rpo(good, objectives.rpo, now, since),
        rto=_objective(objectives.rto, drills[-1].rto_seconds if drills else None),
        last_errors=errors[-3:],
        points=[
            Point(backup.started_at, backup.bytes or 0, backup.items or 0, backup.seconds or 0.0)
            for backup in recent_good
        ],
        costs=list(costs_of(table, schedule, recent_good or (good or [])[-1:], facts, objectives)),
        advice=list(_advice(table, schedule, (good or [])[-1:], facts, objectives)),
    )


def _as_ended(execution: Execution, now: datetime) -> Execution:
    """Return an execution that stopped without a result as a failed one."""
    if not is_stopped(execution, now):
        return execution
    error = "it stopped without a result; its last invocation was killed, or the next one was not started"
    return msgspec.structs.replace(execution, status=FAILED, error=error)


def _is_running(execution: Execution, now: datetime) -> bool:
    """Return whether a backup is running. After the longest time of a scan, it does not count as running any more."""
    is_open = execution.kind == "backup" and execution.status in {RUNNING, CONTINUING}
    return is_open and now - _begun(execution) <= LONGEST_SCAN + _LONGEST_RUN


def _begun(execution: Execution) -> datetime:
    return execution.claimed_at or execution.started_at


def is_good_backup(execution: Execution, facts: Facts) -> bool:
    """Return whether an execution is a completed backup without doubt whose object is in the bucket.

    It is False if that is unknown.
    """
    if execution.kind != "backup" or execution.status != "completed" or isinstance(facts.objects, Unknown):
        return False
    if execution.doubt:
        return False
    return execution.key in facts.objects


def _is_expired(execution: Execution, table: ReportedTable, now: datetime) -> bool:
    return now - execution.started_at >= timedelta(days=sum(table.days.values()))


def _lateness(
    table: ReportedTable,
    schedule: Schedule | Unknown,
    last: Execution | None,
    is_history_unknown: bool,
    now: datetime,
) -> tuple[str, str, bool | None]:
    """Return the state, its reason, and whether the last run that was due has left no backup.

    The settings say when a run is due. If someone disabled or changed the schedule by hand, backups are late.
    """
    off = "" if isinstance(schedule, Unknown) or schedule.is_on else "its schedule is disabled"
    if is_history_unknown:
        return "unknown", "the history could not be read", None
    due = schedules.last_before(table.expression, table.time_zone, now, since=last.started_at if last else None)
    if due is None:
        return ("on time", off, False) if last else ("unknown", "no run was due yet, and there is no backup", None)
    if last is not None and last.started_at >= due:
        return "on time", off, False
    if last is None:
        return f"late by {span(now - due)}", off or "a run was due, and there is no backup", True
    missed = next(schedules.parse(table.expression, table.time_zone).after(last.started_at))
    # A run may start at any time within its window, and then takes up to 15 minutes.
    if now - missed <= timedelta(minutes=table.window_minutes) + _LONGEST_RUN:
        return "on time", off or f"the run of {missed:%Y-%m-%d %H:%M}Z may not have ended yet", False
    return f"late by {span(now - missed)}", off or "a run was due, and it left no backup", True


def _next(schedule: Schedule | Unknown, last: Execution | None, now: datetime) -> datetime | None:
    if isinstance(schedule, Unknown) or not schedule.is_on:
        return None
    parsed = schedules.parse(schedule.expression, schedule.time_zone)
    if isinstance(parsed, schedules.Rate):
        if last is None:
            return None
        return next(moment for moment in parsed.after(last.started_at) if moment > now)
    return next(parsed.after(now), None)


def _rpo(good: list[Execution] | None, target: timedelta, now: datetime, since: datetime) -> Objective:
    """Return the longest time between two backups within the period: so much data could have been lost."""
    if not good:
        return _objective(target, None)
    before = [backup.started_at for backup in good if backup.started_at < since][-1:]
    starts = [*before, *(backup.started_at for backup in good if backup.started_at >= since), now]
    gaps = [
        (later - max(earlier, since)).total_seconds() for earlier, later in itertools.pairwise(starts) if later > since
    ]
    return _objective(target, max(gaps, default=None))


def _objective(target: timedelta, reached: float | None) -> Objective:
    seconds = target.total_seconds()
    return Objective(seconds, reached, None if reached is None else reached <= seconds)


def _advice(
    table: ReportedTable, schedule: Schedule | Unknown, good: Sequence[Execution], facts: Facts, objectives: Objectives
) -> Iterator[str]:
    if not good:
        return
    last, prices = good[-1], objectives.prices
    size = last.bytes or 0
    runs = runs_a_month(table, schedule)
    kept_days = sum(table.days.values())
    if size < SMALLEST_MOVED and len(table.days) > 1:
        exception = " except to Glacier, which bills 40 KB extra per object" if table.moves_small else ""
        yield (
            f"A backup has {size_of(size)}. S3 does not move objects under {SMALLEST_MOVED // 1024} KB to a cheaper "
            f"class{exception}. infrequent_access_after_days and glacier_after_days save nothing: set them to 0."
        )
    if "GLACIER" not in table.days and kept_days > 180 and size >= SMALLEST_MOVED:
        moved = runs * (kept_days - 90) / 30.4 * size / GB
        saved = moved * (prices["s3_standard_ia_gb_month"] - prices["s3_glacier_gb_month"])
        yield (
            f"Backups are kept for {kept_days} days: glacier_after_days = 90 would save {saved:,.2f} dollars per month."
        )
    table_bytes = facts.table_bytes.get(table.table_name, Unknown(""))
    if last.engine == "export" and not isinstance(table_bytes, Unknown) and table_bytes < GB:
        yield f'The table has {size_of(table_bytes)}. A scan is cheaper than an export: set engine = "auto".'
    if last.engine == "scan" and (last.seconds or 0) > 600:
        took = span(timedelta(seconds=last.seconds or 0))
        yield f'The scan took {took} of 15 min: set engine = "auto" or "export".'
    interval = schedules.longest_interval(table.expression, table.time_zone)
    if interval and interval * 2 <= objectives.rpo:
        times = int(objectives.rpo / interval)
        yield f"A backup every {span(interval)} is {times} times as often as an RPO of {span(objectives.rpo)} requires."


def _vault(facts: Facts, objectives: Objectives, now: datetime) -> VaultReport:
    jobs = None if isinstance(facts.jobs, Unknown) else Counter(f"{job.kind} {job.state}" for job in facts.jobs)
    points = None if isinstance(facts.recovery_points, Unknown) else facts.recovery_points
    next_runs = None
    if not isinstance(facts.rules, Unknown):
        next_runs = {
            name: next(schedules.parse(rule.expression, rule.time_zone).after(now), None)
            for name, rule in facts.rules.items()
        }
    costs = []
    for is_cold, name in ((False, "backup_warm_gb_month"), (True, "backup_cold_gb_month")):
        held = sum(point.bytes for point in points or [] if point.is_cold is is_cold)
        if held:
            word = "cold" if is_cold else "warm"
            costs.append(Cost(f"AWS Backup, {word}", held / GB * objectives.prices[name], size_of(held)))
    expiries = [point.expires_at for point in points or [] if point.expires_at]
    return VaultReport(
        jobs=None if jobs is None else dict(jobs),
        recovery_points=None if points is None else len(points),
        newest_at=max((point.created_at for point in points or []), default=None),
        next_expiry_at=min(expiries, default=None),
        bytes=None if points is None else sum(point.bytes for point in points),
        next_runs=next_runs,
        costs=costs,
    )


def _unknown(facts: Facts, objectives: Objectives) -> Iterator[str]:
    for what, value in (("the history", facts.executions), ("the bucket", facts.objects)):
        if isinstance(value, Unknown):
            yield f"{what} could not be read: {value.reason}"
    for table, schedule in facts.schedules.items():
        if isinstance(schedule, Unknown):
            yield f"the schedule of {table} could not be read: {schedule.reason}"
    for table, size in facts.table_bytes.items():
        if isinstance(size, Unknown):
            yield f"the size of {table} could not be read: {size.reason}"
    if objectives.uses_vault:
        for what, found in (("jobs", facts.jobs), ("recovery points", facts.recovery_points), ("rules", facts.rules)):
            if isinstance(found, Unknown):
                yield f"AWS Backup's {what} could not be read: {found.reason}"
