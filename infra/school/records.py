"""The student records: one table."""

from __future__ import annotations

from constructs import Construct

from infra.constructs.function import Function
from infra.constructs.table import table
from infra.settings.school import Records as RecordSettings

_PARTITION_KEY = "studentid"


class Records(Construct):
    """The table, on demand, encrypted, with point-in-time recovery."""

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
        """Let a function scan and describe the table.

        Arguments:
            exports: let it export the table too.
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
            function.allow("LookAtExports", ["dynamodb:DescribeExport"], [f"{self.table_arn}/export/*"])

    def grant_scan(self, function: Function) -> None:
        """Let a function read all records."""
        function.allow("ScanRecords", ["dynamodb:Scan"], [self.table_arn])

    def grant_compare(self, function: Function) -> None:
        """Let a function compare the table with something."""
        function.allow("CompareRecords", ["dynamodb:DescribeTable", "dynamodb:Scan"], [self.table_arn])

    def grant_restore(self, function: Function) -> None:
        """Let a function put records back into the table; not delete one, nor the table."""
        actions = ["dynamodb:BatchWriteItem", "dynamodb:DescribeTable", "dynamodb:Scan"]
        function.allow("RestoreRecords", actions, [self.table_arn])

    def grant_copies(self, function: Function, suffix: str, *, keeps: bool) -> None:
        """Let a function make tables of the table's name and a suffix, and fill them.

        Arguments:
            suffix: the tables are `<name>-<suffix>-<anything>`.
            keeps: they stay and get what a table has besides items; otherwise the function deletes them.
        """
        actions = ["BatchWriteItem", "CreateTable", "DescribeTable", "Scan"]
        actions += (
            ["DescribeTimeToLive", "TagResource", "UpdateContinuousBackups", "UpdateTable", "UpdateTimeToLive"]
            if keeps
            else ["DeleteTable"]
        )
        function.allow("FillCopies", [f"dynamodb:{action}" for action in actions], [f"{self.table_arn}-{suffix}-*"])

    def grant_save(self, function: Function) -> None:
        """Let a function create and change a record; not delete or read one."""
        function.allow("SaveRecords", ["dynamodb:UpdateItem"], [self.table_arn])
