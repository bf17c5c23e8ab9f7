"""Chooses what the next export of a table covers: the whole table, or the changes since the last export."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from rollbook.contract.jobs import BackupJob
from rollbook.engine import chain, recorded, stored
from rollbook.engine.dynamodb import exports
from rollbook.engine.dynamodb.exports import LONGEST, SHORTEST, Period
from rollbook.engine.executions import Row
from rollbook.engine.formats.lines import Corrupted
from rollbook.engine.resources import Resources
from rollbook.engine.stored import StoredBackup

# DynamoDB's latest restorable time is typically five minutes ago, so a refused end moves back by this time.
_STEP_BACK = timedelta(minutes=5)
# A start that is late, or a schedule's window. After a longer gap, increments would stay behind until the next full
# export, because each covers 24 hours.
_LAG = timedelta(hours=1)


@dataclass(frozen=True)
class Planned:
    """What an export covers.

    Arguments:
        period: of an incremental export; None for a full one.
        reason: why it is full although increments are wanted; otherwise empty.
        base_key, predecessor_key: of an incremental export's chain; otherwise empty.
    """

    period: Period | None
    reason: str = ""
    base_key: str = ""
    predecessor_key: str = ""

    def row(self) -> Row:
        """Return the values for the history."""
        return {
            "since": self.period.since.isoformat() if self.period else "",
            "until": self.period.until.isoformat() if self.period else "",
            "reason": self.reason,
            "baseKey": self.base_key,
            "predecessorKey": self.predecessor_key,
        }

    @classmethod
    def of_row(cls, row: Row) -> Planned:
        """Return what `row` wrote."""
        times = [str(row[name]) for name in ("since", "until")]
        period = Period(*map(datetime.fromisoformat, times)) if all(times) else None
        return cls(period, str(row["reason"]), str(row["baseKey"]), str(row["predecessorKey"]))


def plan(job: BackupJob, resources: Resources, table_id: str, now: datetime) -> Planned:
    """Return what the next export of a table covers, and why it is full.

    Arguments:
        table_id: the id that DynamoDB assigned to the table.
    """
    if job.export_type != "incremental":
        return Planned(None)
    newest = resources.history.recall(chain.newest_of(job.table_name))
    if newest is None:
        return _full("there is no earlier export")
    if newest["tableId"] != table_id:
        return _full("the table was deleted and created since the last export")
    try:
        links = chain.find(partial(resources.open_backup, reads_all=False), str(newest["key"]))
    except Corrupted as fault:
        return _full(f"the last export {newest['key']} cannot be continued: {fault}")
    if why := next(filter(None, (_fault(resources, link) for link in links)), ""):
        return _full(f"the last export {newest['key']} cannot be continued: {why}")
    base, last = chain.as_of(links[0]), chain.as_of(links[-1])
    if base is None or last is None:
        return _full(f"the last export {newest['key']} does not name its time")
    if now - base >= timedelta(days=job.full_every_days):
        return _full(f"the last full export is of {_short(base)}, {job.full_every_days} days ago or more")
    return _next(job, resources, last, Planned(None, "", links[0].key, links[-1].key), now)


def shorter(refused: Planned, resources: Resources, table_name: str, why: object) -> Planned:
    """Return what to export after DynamoDB refused a period: an earlier end, or the whole table."""
    if refused.period is None:
        raise ValueError("a full export has no period")
    since = refused.period.since
    latest = exports.window(resources.dynamodb, table_name).latest or refused.period.until
    until = min(latest, refused.period.until - _STEP_BACK)
    if until - since < SHORTEST:
        return _full(f"DynamoDB refused the changes since {_short(since)}: {why}")
    return Planned(Period(since, until), "", refused.base_key, refused.predecessor_key)


def _next(job: BackupJob, resources: Resources, since: datetime, chained: Planned, now: datetime) -> Planned:
    """Return the increment that begins at `since`, or why it is impossible."""
    window = exports.window(resources.dynamodb, job.table_name)
    # The end of the last export, and not of the base: the window of point-in-time recovery covers at most 35 days.
    if window.earliest and window.earliest > since:
        return _full(
            f"point-in-time recovery covers the time since {_short(window.earliest)}, and the last export is of "
            f"{_short(since)}; it was switched off in between, or its period is too short"
        )
    latest = window.latest or now
    if latest - since > LONGEST + _LAG:
        return _full(f"the last export is of {_short(since)}, and an increment covers 24 hours or less")
    until = min(latest, since + LONGEST)
    if until - since < SHORTEST:
        return _full(f"the last export is of {_short(since)}, and an increment covers 15 minutes or more")
    return Planned(Period(since, until), "", chained.base_key, chained.predecessor_key)


def _fault(resources: Resources, link: StoredBackup) -> str:
    """Return why a link that can be opened must not be continued, or an empty text.

    S3 deletes a link that was deleted or replaced after the noncurrent days, and with it every increment since.
    """
    if link.recorded is None:
        return f"the history does not know {link.key}"
    told = (resources.history.recall(recorded.PREFIX + link.key) or {}).get("damage")
    return str(told or "") or stored.replaced(resources.s3, resources.bucket, link)


def _full(why: str) -> Planned:
    return Planned(None, f"full, because {why}")


def _short(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%MZ}"
