"""The settings that a report needs. This module does not import CDKTF, because the commands use it, too."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from infra import prices
from infra.settings import Settings
from rollbook.contract import environment


def variables(settings: Settings) -> environment.Report:
    """Return the variables of the report function for an environment."""
    backups, vault = settings.backups, settings.vault
    known = prices.of(settings.region)
    return environment.Report(
        s3_bucket_name=backups.bucket_name,
        history_table_name=backups.history_table_name,
        schedule_group=backups.schedule_group,
        sender_email=settings.mail.sender,
        recipient_email=settings.mail.recipient,
        prices=json.dumps(dict(known.values), separators=(",", ":")),
        prices_as_of=known.as_of.isoformat(),
        prices_region=known.region,
        time_zone=settings.time_zone,
        rpo_hours=settings.objectives.rpo_hours,
        rto_minutes=settings.objectives.rto_minutes,
        days=settings.weekly_report.days,
        vault_name=vault.vault_name if vault.enabled else "",
        plan_name=vault.plan_name if vault.enabled else "",
    )


def message(settings: Settings) -> dict[str, Any]:
    """Return the message for the report function: the tables to report on."""
    return {"tables": [asdict(table) for table in settings.reported_tables]}
