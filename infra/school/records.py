"""The table of the student records and the permissions on it."""

from __future__ import annotations

from constructs import Construct

from infra.constructs.function import Function
from infra.constructs.table import table
from infra.settings.school import Records as RecordSettings

_PARTITION_KEY = "studentid"


class Records(Construct):
    """The on-demand, encrypted table with point-in-time recovery."""

    def __init__(self, scope: Construct, id_: str, records: RecordSettings) -> None:
        super().__init__(scope, id_)
        self._table = table(
            self,
            "table",
            name=records.table_name,
            key=_PARTITION_KEY,
            is_protected=records.deletion_protection,
            tags={"backup": records.backup_tag},
        )
        self.table_name = self._table.name
        self.table_arn = self._table.arn

    def grant_backup(self, function: Function, *, exports: bool) -> None:
        """Allow a function to scan and describe the table.

        Arguments:
            exports: whether it may export the table, too.
        """
        self.grant_scan(function)
        function.allow(
            "DescribeRecords",
            [
                "dynamodb:DescribeContinuousBackups",
                "dynamodb:DescribeTable",
                "dynamodb:DescribeTimeToLive",
                "dynamodb:ListTagsOfResource",
            ],
            [self.table_arn],
        )
        if exports:
            function.allow("ExportRecords", ["dynamodb:ExportTableToPointInTime"], [self.table_arn])
            self.grant_look_at_exports(function)

    def grant_look_at_exports(self, function: Function) -> None:
        """Allow a function to ask for the state of the table's exports."""
        function.allow("LookAtExports", ["dynamodb:DescribeExport"], [f"{self.table_arn}/export/*"])

    def grant_scan(self, function: Function) -> None:
        """Allow a function to read all records."""
        function.allow("ScanRecords", ["dynamodb:Scan"], [self.table_arn])

    def grant_compare(self, function: Function) -> None:
        """Allow a function to compare the table."""
        function.allow("CompareRecords", ["dynamodb:DescribeTable", "dynamodb:Scan"], [self.table_arn])

    def grant_restore(self, function: Function) -> None:
        """Allow a function to restore records into the table, but not to delete the table.

        An incremental backup deletes records, too.
        """
        actions = ["DeleteItem", "DescribeTable", "GetItem", "PutItem", "Scan", "UpdateItem"]
        function.allow("RestoreRecords", [f"dynamodb:{action}" for action in actions], [self.table_arn])

    def grant_copies(self, function: Function, suffix: str, *, keeps: bool) -> None:
        """Allow a function to create and fill tables whose names begin with the table's name and a suffix.

        Arguments:
            suffix: the tables are named `<name>-<suffix>-<anything>`.
            keeps: whether the tables remain and get all settings; otherwise the function may delete them.
        """
        actions = ["BatchWriteItem", "CreateTable", "DescribeTable", "Scan"]
        actions += (
            [
                "DescribeTimeToLive",
                "PutItem",
                "TagResource",
                "UpdateContinuousBackups",
                "UpdateTable",
                "UpdateTimeToLive",
            ]
            if keeps
            else ["DeleteTable"]
        )
        function.allow("FillCopies", [f"dynamodb:{action}" for action in actions], [f"{self.table_arn}-{suffix}-*"])

    def grant_save(self, function: Function) -> None:
        """Allow a function to create and change records, but not to delete or read them."""
        function.allow("SaveRecords", ["dynamodb:UpdateItem"], [self.table_arn])
