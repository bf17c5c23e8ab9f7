"""Writes the ages of each table's last good backup and last passed drill as metrics.

A CloudWatch alarm covers at most seven days. So an alarm that counts successes cannot monitor a schedule that fires
weekly or less often. An alarm on the age can.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rollbook.contract.jobs import ReportedTable
from rollbook.engine.executions import Execution
from rollbook.messages import metrics
from rollbook.reports.assessment import is_good_backup
from rollbook.reports.facts import Facts, Unknown


def measure(facts: Facts, tables: Sequence[ReportedTable], now: datetime) -> dict[str, dict[str, float]]:
    """Write `BackupAgeSeconds` and `DrillAgeSeconds` of each table, and return them by table.

    If a table has no success, the age is that of its first execution. An unknown age is not written: the alarm treats
    missing data as breaching.

    Arguments:
        now: the current time (aware).
    """
    ages = {table.table_name: _ages(facts, table.table_name, now) for table in tables}
    for table, values in ages.items():
        if values:
            metrics.put(table, **values)
    return ages


def _ages(facts: Facts, table: str, now: datetime) -> dict[str, float]:
    if isinstance(facts.executions, Unknown):
        return {}
    executions = [execution for execution in facts.executions if execution.table_name == table]
    if not executions:
        return {}
    first = min(execution.started_at for execution in executions)
    passed = [_end(drill) for drill in executions if drill.kind == "drill" and drill.status == "completed"]
    ends = {"DrillAgeSeconds": max(passed, default=first)}
    if not isinstance(facts.objects, Unknown):
        # A run that was repeated after days has data of then, and a backup is as old as its data.
        good = [execution.read_from or _end(execution) for execution in executions if is_good_backup(execution, facts)]
        ends["BackupAgeSeconds"] = max(good, default=first)
    # An end in the future is wrong, so the age is unknown.
    return {name: (now - end).total_seconds() for name, end in ends.items() if end <= now}


def _end(execution: Execution) -> datetime:
    return execution.ended_at or execution.started_at
