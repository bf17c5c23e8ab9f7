"""How long ago a table's last good backup was made and its last drill passed, as metrics.

CloudWatch looks back seven days at most, so an alarm on the successes themselves cannot watch what is due weekly or
more rarely. An alarm on the age can.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rollbook.contract.jobs import ReportedTable
from rollbook.engine.executions import Execution
from rollbook.messages import metrics
from rollbook.reports.assessment import is_seen
from rollbook.reports.facts import Facts, Unknown


def measure(facts: Facts, tables: Sequence[ReportedTable], now: datetime) -> dict[str, dict[str, float]]:
    """Put `BackupAgeSeconds` and `DrillAgeSeconds` of each table, and return them by table.

    Without a success it is the age of the table's first execution, whatever became of that. What cannot be known is not
    put: the alarm takes silence for bad.

    Arguments:
        now: aware.
    """
    ages = {table.table_name: _ages(facts, table.table_name, now) for table in tables}
    for table, values in ages.items():
        if values:
            metrics.put(table, **values)
    return ages


def _ages(facts: Facts, table: str, now: datetime) -> dict[str, float]:
    if isinstance(facts.executions, Unknown):
        return {}
    of_table = [each for each in facts.executions if each.table_name == table]
    if not of_table:
        return {}
    first = min(each.started_at for each in of_table)
    passed = [_end(each) for each in of_table if each.kind == "drill" and each.status == "completed"]
    ends = {"DrillAgeSeconds": max(passed, default=first)}
    if not isinstance(facts.objects, Unknown):
        ends["BackupAgeSeconds"] = max((_end(each) for each in of_table if is_seen(each, facts)), default=first)
    # What ended in the future ended at a time that is not known.
    return {name: (now - end).total_seconds() for name, end in ends.items() if end <= now}


def _end(execution: Execution) -> datetime:
    return execution.ended_at or execution.started_at
