"""`SendBackupReport`: one schedule makes it mail the weekly report, another makes it measure the backups' ages.

To invoke it by hand, send the message of one of the schedules.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from aws_lambda_powertools import Logger

from rollbook.contract import schedules
from rollbook.contract.environment import Report
from rollbook.contract.jobs import ReportedTable
from rollbook.messages import mail
from rollbook.reports import ages, ask, page

environment = Report.read()
logger = Logger(service="reports")


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Send the report, or with `"measure": "ages"` write the ages of backups and drills as metrics.

    A fact that cannot be read is unknown in the report and not measured. If the mail cannot be sent, it raises.
    """
    if not event.get("tables"):
        raise ValueError('the event names no tables; send {"tables": […]} as this function\'s schedule does')
    tables = [ReportedTable(**table) for table in event["tables"]]
    now = datetime.now(UTC)
    if event.get("measure") == "ages":
        gathered = ask.gather(environment, tables, boto3.client, since=now)
        return {"ages": ages.measure(gathered, tables, now)}
    found = ask.ask(environment, tables, boto3.client, now=now, period=timedelta(days=environment.days))
    zone = schedules.zone_of(environment.time_zone)
    verdict = page.verdict(found)
    mail.send(
        boto3.client("sesv2"),
        sender=environment.sender_email,
        recipient=environment.recipient_email,
        subject=f"Backups: {verdict}",
        body=page.text(found, zone),
        html=page.page(found, zone),
    )
    logger.info("Report sent", verdict=verdict)
    return {"message": verdict, "isGood": found.is_good}
