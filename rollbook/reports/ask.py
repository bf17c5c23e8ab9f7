"""Makes a report from the settings: asks AWS for the facts and compares them with the objectives."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from rollbook.contract.environment import Report as ReportEnvironment
from rollbook.contract.jobs import ReportedTable
from rollbook.reports import assessment, facts
from rollbook.reports.report import Objectives, Report


def gather(
    environment: ReportEnvironment,
    tables: Sequence[ReportedTable],
    client: Callable[[str], Any],
    *,
    since: datetime,
) -> facts.Facts:
    """Ask AWS for the facts of a report. For the arguments see `ask`."""
    return facts.gather(
        client,
        history_table=environment.history_table_name,
        bucket=environment.s3_bucket_name,
        schedule_group=environment.schedule_group,
        tables={table.table_name: table.schedule_name for table in tables},
        default_table=tables[0].table_name,
        since=since,
        vault_name=environment.vault_name,
        plan_name=environment.plan_name,
    )


def ask(
    environment: ReportEnvironment,
    tables: Sequence[ReportedTable],
    client: Callable[[str], Any],
    *,
    now: datetime,
    period: timedelta,
) -> Report:
    """Return the report of a period that ends now.

    Arguments:
        tables: all backed-up tables, the table of the records first.
        client: returns a boto3 client of a service.
        now: the current time (aware).
    """
    since = now - period
    gathered = gather(environment, tables, client, since=since)
    objectives = Objectives(
        tables=tables,
        rpo=timedelta(hours=environment.rpo_hours),
        rto=timedelta(minutes=environment.rto_minutes),
        prices=json.loads(environment.prices),
        prices_as_of=environment.prices_as_of,
        prices_region=environment.prices_region,
        uses_vault=bool(environment.vault_name),
    )
    return assessment.build(gathered, objectives, now=now, since=since)
