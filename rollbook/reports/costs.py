"""Estimates the monthly cost of a table's backups."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from datetime import timedelta

from rollbook.contract import schedules
from rollbook.contract.jobs import ReportedTable
from rollbook.engine.executions import Execution
from rollbook.reports.facts import Facts, Schedule, Unknown
from rollbook.reports.report import Cost, Objectives
from rollbook.reports.words import size_of

GB = 1e9
_MONTH = timedelta(days=30.4)
# By default, S3 does not move smaller objects to a cheaper class (S3 User Guide, "Transitioning objects using Amazon S3
# Lifecycle").
SMALLEST_MOVED = 128 * 1024
# Additional bytes that are billed for each object in Glacier, at Glacier's and at Standard's price (S3 User Guide,
# "Understanding S3 Glacier storage classes for long-term data storage").
_GLACIER_INDEX, _GLACIER_NAME = 32 * 1024, 8 * 1024
# The part size of an upload (rollbook/engine/s3/upload.py).
_PART_BYTES = 5 * 1024 * 1024
_PRICE_OF_CLASS = {
    "STANDARD": "s3_standard_gb_month",
    "STANDARD_IA": "s3_standard_ia_gb_month",
    "GLACIER": "s3_glacier_gb_month",
}


def runs_a_month(table: ReportedTable, schedule: Schedule | Unknown) -> float:
    """Return how often a schedule fires per month of 30.4 days, on average."""
    expression = table.expression if isinstance(schedule, Unknown) else schedule.expression
    zone = table.time_zone if isinstance(schedule, Unknown) else schedule.time_zone
    if not isinstance(schedule, Unknown) and not schedule.is_on:
        return 0.0
    interval = schedules.mean_interval(expression, zone)
    return _MONTH / interval if interval else 0.0


def costs_of(
    table: ReportedTable, schedule: Schedule | Unknown, good: Sequence[Execution], facts: Facts, objectives: Objectives
) -> Iterator[Cost]:
    """Estimate the costs per month from the size and frequency of recent backups.

    The estimate is for the steady state, in which as many backups expire as are made.

    Arguments:
        good: recent good backups.
    """
    if not good:
        return
    prices, runs = objectives.prices, runs_a_month(table, schedule)
    size = statistics.fmean(backup.bytes or 0 for backup in good)
    days_between = _MONTH / timedelta(days=1) / runs if runs else 0
    days_in = days_in_classes(table, size)
    for storage_class, days in days_in.items():
        kept = days / days_between if runs else 0
        billed, dollars = size, kept * size / GB * prices[_PRICE_OF_CLASS[storage_class]]
        if storage_class == "GLACIER":
            billed += _GLACIER_INDEX + _GLACIER_NAME
            dollars += kept * _GLACIER_INDEX / GB * prices["s3_glacier_gb_month"]
            dollars += kept * _GLACIER_NAME / GB * prices["s3_standard_gb_month"]
        yield Cost(f"S3 {storage_class}", dollars, f"{kept:,.0f} backups of {size_of(billed)}")
    puts = runs * (size // _PART_BYTES + 3)
    moves = runs * (len(days_in) - 1)
    yield Cost(
        "S3 requests",
        puts * prices["s3_put_request"] + moves * prices["s3_transition_request"],
        f"{puts:,.0f} writes, {moves:,.0f} moves to a cheaper class",
    )
    seconds = statistics.fmean(backup.seconds or 0 for backup in good)
    gb_seconds = runs * seconds * table.memory_mb / 1024
    yield Cost(
        "Lambda",
        gb_seconds * prices[f"lambda_{table.architecture}_gb_second"] + runs * prices["lambda_request"],
        f"{runs:,.0f} runs of {seconds:,.1f} s at {table.memory_mb} MB",
    )
    yield Cost("Scheduler", runs * prices["scheduler_invocation"], f"{runs:,.0f} invocations")
    yield Cost("SES", runs * prices["ses_mail"], f"{runs:,.0f} mails")
    table_bytes = facts.table_bytes.get(table.table_name, Unknown(""))
    exported = [backup for backup in good if backup.engine == "export"]
    if exported and not isinstance(table_bytes, Unknown):
        exports = runs * len(exported) / len(good)
        yield Cost(
            "DynamoDB export",
            exports * table_bytes / GB * prices["dynamodb_export_gb"],
            f"{exports:,.0f} exports of {size_of(table_bytes)}",
        )
    units = [backup.read_units for backup in good if backup.read_units is not None]
    if units:
        read = runs * statistics.fmean(units) * len(units) / len(good)
        yield Cost("DynamoDB reads", read * prices["dynamodb_read_unit"], f"{read:,.0f} read units")
    if not isinstance(table_bytes, Unknown):
        yield Cost(
            "DynamoDB point-in-time recovery",
            table_bytes / GB * prices["dynamodb_pitr_gb_month"],
            f"a table of {size_of(table_bytes)}",
        )
    if table.replicated_to:
        copied = runs * size / GB
        kept = sum(table.days.values()) / days_between if runs else 0
        yield Cost(
            f"Copies in {table.replicated_to}",
            copied * (prices["s3_replication_gb"] + prices["s3_replication_time_control_gb"])
            + runs * prices["s3_put_request"]
            + kept * size / GB * prices["s3_standard_gb_month"],
            f"{size_of(copied * GB)} per month, {kept:,.0f} backups kept",
        )


def days_in_classes(table: ReportedTable, size: float) -> dict[str, int]:
    """Return how many days a backup of a given size is in each storage class."""
    if size >= SMALLEST_MOVED:
        return table.days
    glacier = table.days.get("GLACIER", 0) if table.moves_small else 0
    standard = sum(table.days.values()) - glacier
    return {"STANDARD": standard, **({"GLACIER": glacier} if glacier else {})}
