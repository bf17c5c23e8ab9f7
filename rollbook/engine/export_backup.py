"""Starts DynamoDB's export of a table and checks whether it failed. `finish_export` completes it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from rollbook.contract.jobs import BackupJob
from rollbook.engine import exporting
from rollbook.engine.dynamodb import exports
from rollbook.engine.dynamodb.definitions import Described
from rollbook.engine.executions import Execution, Row
from rollbook.engine.history import exported_by
from rollbook.engine.periods import Planned, plan, shorter
from rollbook.engine.resources import Resources


class ExportBackup:
    """The engine `export` for one table."""

    def __init__(self, job: BackupJob, resources: Resources) -> None:
        self._job = job
        self._resources = resources

    def start(self, execution_id: str, name: str, described: Described, started: datetime) -> Row:
        """Start the export and return the values for the history row. A repeated call continues the same export.

        Arguments:
            name: the prefix of the export's keys.
            started: when the execution began (aware).
        """
        history = self._resources.history
        kept = history.recall(exported_by(name)) or {}
        number = int(kept.get("number", 0))
        is_kept = kept.get("execution") == execution_id and "plannedAt" in kept
        if is_kept and self._has_failed(kept):
            is_kept, number = False, number + 1
        is_kept = is_kept and (bool(kept["exportArn"]) or _is_recent(kept, started))
        planned = Planned.of_row(kept) if is_kept else plan(self._job, self._resources, described.table_id, started)
        exporting.add(history, execution_id)
        begun, planned = self._begin(name, described, started, planned, {"execution": execution_id, "number": number})
        values = {
            "engine": "export",
            "reason": planned.reason,
            "format": "dynamodb-export",
            "key": f"{name}.json",
            "exportArn": begun["ExportArn"],
            "doubtfulChangePercent": f"{self._job.doubtful_change_percent:g}",
            "doubtfulChangeItems": self._job.doubtful_change_items,
            "exportType": "incremental" if planned.period else "full",
            "tableId": described.table_id,
            "baseKey": planned.base_key or f"{name}.json",
            "predecessorKey": planned.predecessor_key,
            "table": json.dumps(described.definition),
        }
        if planned.period:
            values["exportedFrom"] = planned.period.since.isoformat()
            values["exportedUntil"] = planned.period.until.isoformat()
        return values

    def _begin(
        self, name: str, described: Described, started: datetime, planned: Planned, kept: Row
    ) -> tuple[dict[str, Any], Planned]:
        """Start an export. If DynamoDB refuses its period, start one with a period that it accepts, or a full one."""
        history = self._resources.history
        while True:
            # Written before the export starts, so that its manifest always finds the execution, and a retry after a
            # kill asks for the same export with the same token.
            values = kept | planned.row() | {"plannedAt": started.isoformat(), "exportArn": ""}
            history.remember(exported_by(name), values)
            try:
                begun = exports.start(
                    self._resources.dynamodb,
                    table_arn=described.definition["arn"],
                    bucket=self._resources.bucket,
                    prefix=name,
                    token=f"{kept['execution']} {kept['number']}",
                    period=planned.period,
                )
            except ClientError as error:
                if error.response["Error"]["Code"] != "InvalidExportTimeException" or planned.period is None:
                    raise
                planned = shorter(planned, self._resources, self._job.table_name, error.response["Error"]["Message"])
                continue
            history.remember(exported_by(name), {"exportArn": begun["ExportArn"]})
            return begun, planned

    def _has_failed(self, kept: Row) -> bool:
        return bool(kept["exportArn"]) and exports.fault(self._resources.dynamodb, str(kept["exportArn"])) is not None

    def check(self, execution: Execution, holder: str) -> None:
        """Check whether a started export failed.

        Raises:
            ExportFailed: it failed. The next try starts a new export.
        """
        fault = exports.fault(self._resources.dynamodb, execution.export_arn)
        if fault is None:
            return
        failed = exports.ExportFailed(f"the export {execution.export_arn} failed: {fault}")
        history, now = self._resources.history, self._resources.clock()
        if history.claim_exporting(execution.id, holder=holder, now=now, until=now + timedelta(minutes=1)).granted:
            history.fail(execution.id, holder=holder, now=now, error=failed)
        raise failed


def _is_recent(kept: Row, started: datetime) -> bool:
    """Return whether the token of a planned export is still valid."""
    return started - datetime.fromisoformat(str(kept["plannedAt"])) < exports.TOKEN_LIFE
