"""The table that a restore writes into: creates it, recognizes it after an interruption and finishes it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from rollbook.contract import moments, pauses
from rollbook.engine.dynamodb import definitions, scan, tables
from rollbook.engine.executions import Execution
from rollbook.engine.lease import LeaseRenewer
from rollbook.engine.resources import Resources
from rollbook.engine.restore_request import RESUMABLE, Options, Request, RestoreRefused
from rollbook.engine.stored import StoredBackup
from rollbook.engine.stored_export import StoredExport

_POLL_SECONDS = 0.2


@dataclass
class RestoreTarget:
    """The target of one restore.

    Arguments:
        renewer: renews the execution's lease; None for a plan.
    """

    request: Request
    backup: StoredBackup
    resources: Resources
    options: Options
    renewer: LeaseRenewer | None = None

    def refuse_existing(self) -> None:
        """Raise RestoreRefused if the new table exists already."""
        if tables.exists(self.resources.dynamodb, self.request.table_name):
            raise RestoreRefused(
                f"the table {self.request.table_name} exists already; to write into it, name it with --into"
            )

    def is_continued(self, execution: Execution) -> bool:
        """Return whether an earlier try has begun to change the target, and this one may continue it.

        Raises:
            RestoreRefused: there is a table of that name that this restore did not create, or that may be in use since.
        """
        if not self.request.is_new:
            return execution.has_begun
        found = tables.found(self.resources.dynamodb, self.request.table_name)
        if found is None:
            return False
        if not execution.has_begun:
            self.refuse_existing()
        self._refuse_table_of_others(found, execution)
        return True

    def _refuse_table_of_others(self, found: dict[str, Any], execution: Execution) -> None:
        name = self.request.table_name
        advice = f"to add only what is missing, use --into {name}; to restore again, use another name"
        if not execution.table_id:
            # The earlier try was stopped before it could note the table's id, and so before it wrote an item.
            if next(scan.items(self.resources.dynamodb, name, is_consistent=True), None) is not None:
                raise RestoreRefused(f"the table {name} is not known to be of this restore; {advice}")
        elif execution.table_id != found.get("TableId"):
            raise RestoreRefused(f"the table {name} is another than that of this restore; {advice}")
        stopped = execution.active_at
        if stopped and self.resources.clock() - stopped > RESUMABLE:
            raise RestoreRefused(
                f"this restore into {name} stopped at {moments.to_text(stopped)}, more than "
                f"{RESUMABLE.total_seconds() / 3600:.0f} hours ago, and the table may be in use since; {advice}"
            )

    def create(self) -> None:
        """Create the table, or continue where an earlier try stopped."""
        self.options.progress.step("Creating the table", 0)
        found = tables.found(self.resources.dynamodb, self.request.table_name)
        if found is None:
            tables.create(
                self.resources.dynamodb,
                self._created(),
                self.request.table_name,
                scratch=self.request.scratch,
                created=self._remember,
                waiting=self._renew_if_due,
            )
        else:
            self._remember(found)
            self._prepare()

    def _prepare(self) -> None:
        tables.prepare(
            self.resources.dynamodb,
            self.definition(),
            self.request.table_name,
            scratch=self.request.scratch,
            waiting=self._renew_if_due,
        )
        if self.request.engine == "import":
            tables.complete_import(
                self.resources.dynamodb, self.definition(), self.request.table_name, self._renew_if_due
            )

    def finish(self) -> None:
        """Create the indexes that were left for later, and turn on time to live and deletion protection."""
        if self.request.scratch:
            return
        dynamodb, name = self.resources.dynamodb, self.request.table_name
        tables.add_indexes(dynamodb, self.definition(), name, self._renew_if_due)
        tables.finish(dynamodb, self.definition(), name)

    def definition(self) -> definitions.Definition:
        """Return the definition of the new table.

        Raises:
            RestoreRefused: the backup does not contain it.
        """
        if self.backup.table is None:
            raise RestoreRefused(f"{self.request.key} does not contain the table's definition")
        kms_key = self.request.kms_key
        if self.request.scratch and not kms_key and self.backup.table.get("encryption"):
            # The AWS managed key needs no KMS permission (DynamoDB Developer Guide, "DynamoDB encryption at rest usage
            # notes"). A backup does not say whether its key is managed by AWS.
            kms_key = "aws-managed"
        return definitions.with_key(self.backup.table, kms_key, self.options.managed_key)

    def _created(self) -> definitions.Definition:
        definition = self.definition()
        return definitions.without_global_indexes(definition) if self.request.indexes_after else definition

    def import_table(self) -> None:
        """Create and fill the table with AWS's ImportTable, and add what ImportTable cannot create.

        Raises:
            RestoreRefused: the import failed.
        """
        self.options.progress.step("Importing", 0)
        if not isinstance(self.backup, StoredExport):
            raise RestoreRefused("the engine import needs the export layout")
        prefix, method = self.backup.data()
        started = self.resources.dynamodb.import_table(
            ClientToken=hashlib.sha256(self.request.id.encode()).hexdigest()[:36],
            S3BucketSource={"S3Bucket": self.resources.bucket, "S3KeyPrefix": prefix},
            InputFormat="DYNAMODB_JSON",
            InputCompressionType=method.upper(),
            TableCreationParameters=definitions.parameters(
                self._created(), self.request.table_name, self.resources.dynamodb.meta.region_name
            ),
        )["ImportTableDescription"]
        self._remember(started)
        while True:
            found = self.resources.dynamodb.describe_import(ImportArn=started["ImportArn"])["ImportTableDescription"]
            if found["ImportStatus"] not in {"IN_PROGRESS", "CANCELLING"}:
                break
            self._renew_if_due()
            pauses.sleep(_POLL_SECONDS)
        if found["ImportStatus"] != "COMPLETED":
            raise RestoreRefused(
                f"the import {started['ImportArn']} ended with the status {found['ImportStatus']}: "
                f"{found.get('FailureCode')}: {found.get('FailureMessage')}; failed items: "
                f"{found.get('ErrorCount', 0):,}"
            )
        self._remember(found)
        self._prepare()

    def _remember(self, described: dict[str, Any]) -> None:
        """Note the table's id, so that the next try recognizes the table."""
        if self.renewer and described.get("TableId"):
            self.renewer.renew({"tableId": described["TableId"]})

    def _renew_if_due(self) -> None:
        if self.renewer:
            self.renewer.renew_if_due({})
