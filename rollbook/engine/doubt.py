"""Decides whether a completed backup can be called good: it is in doubt if its number of items is not the usual one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rollbook.engine import recorded
from rollbook.engine.executions import Execution
from rollbook.engine.resources import Resources

# Four weeks contain the same weekdays equally often.
_REMEMBERED = timedelta(days=28)
# An hourly schedule has 672 backups in four weeks. A row of the history stays far below DynamoDB's 400 KB.
_MOST = 700


@dataclass(frozen=True)
class Limits:
    """How much the number of items may change. Both limits must be exceeded."""

    percent: float
    items: int


def doubt(limits: Limits, items: int, recent: Sequence[int]) -> str:
    """Return why a backup is in doubt, as a sentence, or an empty text.

    Arguments:
        items: of the backup.
        recent: the numbers of items of the table's backups in the last 28 days.
    """
    if not items and not (recent and recent[-1] == 0):
        return "the table is empty"
    if not recent:
        return ""
    usual = _median(recent)
    change = abs(items - usual)
    if change <= limits.items or change * 100 <= usual * limits.percent:
        return ""
    share = f" ({change * 100 / usual:,.0f} %)" if usual else ""
    return (
        f"the table has {items:,} items, and the median of the last 28 days is {usual:,.0f}; that differs by "
        f"{change:,.0f}{share}, and the limit is {limits.percent:g} % and {limits.items:,} items"
    )


def doubt_of_base(resources: Resources, increment: Execution) -> str:
    """Return why an incremental export is in doubt, as a sentence: its base is. Otherwise return an empty text."""
    known = recorded.find(resources.history, increment.base_key, reads_all=False)
    base = resources.history.get(known.execution) if known else None
    return f"it continues {increment.base_key}, which is in doubt" if base and base.doubt else ""


def _median(numbers: Sequence[int]) -> float:
    # The module `statistics` takes 10 ms of a cold start.
    ordered, middle = sorted(numbers), len(numbers) // 2
    return (ordered[middle] + ordered[~middle]) / 2


def recent_of(row: dict[str, Any], now: datetime) -> list[tuple[datetime, int]]:
    """Return the time and the items of a table's backups in the last 28 days, oldest first.

    Arguments:
        row: of the table's newest backup.
    """
    known = [(datetime.fromisoformat(at), int(items)) for at, items in json.loads(str(row.get("recent") or "[]"))]
    return [(at, items) for at, items in known if at > now - _REMEMBERED][-_MOST:]


def remembered(recent: Sequence[tuple[datetime, int]], at: datetime, items: int) -> str:
    """Return the text for the row of the newest backup: the recent backups and one more."""
    return json.dumps([(when.isoformat(timespec="seconds"), count) for when, count in [*recent, (at, items)]][-_MOST:])
