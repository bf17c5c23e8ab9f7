"""Chooses how a table is backed up: by a scan in this invocation, by a scan over several, or by AWS's export."""

from __future__ import annotations

from dataclasses import dataclass

from rollbook.contract.jobs import BackupJob
from rollbook.engine.deadline import Deadline, bytes_per_read_unit
from rollbook.engine.dynamodb.definitions import Described
from rollbook.engine.executions import Row

# Assumed for a table that was never scanned: half of the rate measured with 128 MB of memory (docs/benchmarks.md).
_ASSUMED_BYTES_PER_SECOND = 4e6
# One invocation scans a table if its expected duration is at most this share of the remaining time.
_SHARE_OF_TIME = 0.75
# A scan of fewer bytes measures the start of the function instead of the rate.
_LEAST_MEASURED_BYTES = 4e6


@dataclass(frozen=True)
class Choice:
    """How a table is backed up.

    Arguments:
        engine: `scan` or `export`.
        reason: why, as a clause.
        in_parts: whether the scan is expected to need several invocations.
    """

    engine: str
    reason: str
    in_parts: bool = False


def choose(job: BackupJob, newest: Row, described: Described, deadline: Deadline) -> Choice:
    """Choose by the settings, the table's size as DynamoDB last reported it, and the rate of the last scan.

    Arguments:
        newest: what the history has of the table's newest backup.
    """
    if job.engine == "export":
        return Choice("export", "backups.engine is export")
    rate = float(newest.get("scanRate") or _ASSUMED_BYTES_PER_SECOND)
    how = "measured" if newest.get("scanRate") else "assumed"
    if job.read_units_per_second:
        allowed = job.read_units_per_second * bytes_per_read_unit(is_consistent=job.consistent_reads)
        rate, how = (allowed, "allowed") if allowed < rate else (rate, how)
    seconds = described.size_bytes / rate
    expected = f"{described.size_bytes / 1e6:,.1f} MB at {how} {rate / 1e6:,.1f} MB/s take {seconds:,.0f} s"
    seconds_left = deadline.left()
    left = f"{seconds_left:,.0f} s"
    fits = seconds <= seconds_left * _SHARE_OF_TIME
    if job.engine == "scan":
        reason = "backups.engine is scan" + ("" if fits else f"; {expected}, and only {left} are left")
        return Choice("scan", reason, in_parts=not fits)
    if fits:
        return Choice("scan", f"{expected} of {left}")
    if can_export(job, described):
        return Choice("export", f"{expected}, and only {left} are left")
    return Choice("scan", f"{expected} of {left}, and an export needs point-in-time recovery, which is off", True)


def can_export(job: BackupJob, described: Described) -> bool:
    """Return whether AWS's export may replace a scan."""
    return job.engine == "auto" and bool(described.definition.get("pointInTimeRecovery"))


def measured(read_bytes: float, seconds: float) -> Row:
    """Return the rate of a scan for the history row. It is empty if too little was read."""
    return {"scanRate": int(read_bytes / max(seconds, 1e-3))} if read_bytes >= _LEAST_MEASURED_BYTES else {}
