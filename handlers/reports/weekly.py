"""`SendBackupReport`: by its weekly schedule, or by hand with the schedule's own `tables`, mails the report."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from aws_lambda_powertools import Logger

from handlers import mail, schedules
from handlers.environment import Report, ReportedTable
from handlers.reports import ask, page

environment = Report.read()
logger = Logger(service="reports")


@logger.inject_lambda_context
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Send one report; what cannot be read is in it as unknown, and a mail that cannot be sent raises."""
    if not event.get("tables"):
        raise ValueError('the event names no tables; send {"tables": […]} as the schedule of this function has it')
    tables = [ReportedTable(**table) for table in event["tables"]]
    found = ask.ask(
        environment, tables, boto3.client, now=datetime.now(UTC), period=timedelta(days=int(environment.days))
    )
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
