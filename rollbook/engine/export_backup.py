"""Starts DynamoDB's export of a table and checks whether it failed. `finish_export` completes it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from rollbook.contract.jobs import BackupJob
from rollbook.engine.dynamodb import exports
from rollbook.engine.dynamodb.definitions import Described
from rollbook.engine.executions import Execution, Row
from rollbook.engine.history import exported_by
from rollbook.engine.resources import Resources


class ExportBackup:
    """The engine `export` for one table."""

    def __init__(self, job: BackupJob, resources: Resources) -> None:
        self._job = job
        self._resources = resources

    def start(self, execution_id: str, holder: str, name: str, described: Described, started: datetime) -> Row:
        """Start the export and return the values for the history row.

        Arguments:
            name: the prefix of the export's keys.
            started: when the execution began (aware).
        """
        history = self._resources.history
        period, why = self._period(started)
        # Written before the export starts, so that its manifest always finds the execution.
        history.remember(exported_by(name), {"execution": execution_id})
        begun = exports.start(
            self._resources.dynamodb,
            table_arn=described.definition["arn"],
            bucket=self._resources.bucket,
            prefix=name,
            token=f"{execution_id} {holder}",
            period=period,
        )
        until = period.until if period else started
        return {
            "engine": "export",
            "reason": why,
            "format": "dynamodb-export",
            "key": f"{name}.json",
            "exportArn": begun["ExportArn"],
            "exportType": "incremental" if period else "full",
            "exportedUntil": until.isoformat(),
            "doubtfulChangePercent": f"{self._job.doubtful_change_percent:g}",
            "doubtfulChangeItems": self._job.doubtful_change_items,
            "table": json.dumps(described.definition),
        }

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

    def _period(self, started: datetime) -> tuple[exports.Period | None, str]:
        """Return the period of an incremental export, or None and why the export must be full."""
        if self._job.export_type != "incremental":
            return None, ""
        known = self._resources.history.newest_backup(self._job.table_name)
        if "exportedUntil" not in known:
            return None, "full, because there is no earlier export"
        since = datetime.fromisoformat(str(known["exportedUntil"]))
        if not exports.SHORTEST <= started - since <= exports.LONGEST:
            return (
                None,
                f"full, because the last export is of {since:%Y-%m-%dT%H:%MZ}, which is not 15 minutes to 24 hours ago",
            )
        return exports.Period(since, started), ""
