"""The permissions to back up further tables of the account, which other stacks created."""

from __future__ import annotations

from collections.abc import Sequence

from infra.constructs.function import Function
from infra.platform import Aws
from infra.settings.backups import TablePlan


class Fleet:
    """The tables of `backups.tables`."""

    def __init__(self, platform: Aws, plans: Sequence[TablePlan]) -> None:
        self._settings = platform.settings
        self._plans = plans
        tables = f"arn:aws:dynamodb:{self._settings.region}:{platform.account_id}:table" if plans else ""
        self._arns = [f"{tables}/{plan.table_name}" for plan in plans]

    def grant_backup(self, function: Function) -> None:
        """Allow a function to scan, describe and export the tables."""
        if not self._plans:
            return
        function.allow(
            "ReadFleet",
            [
                "dynamodb:DescribeContinuousBackups",
                "dynamodb:DescribeTable",
                "dynamodb:DescribeTimeToLive",
                "dynamodb:ListTagsOfResource",
                "dynamodb:Scan",
            ],
            self._arns,
        )
        if keys := self._keys():
            # DynamoDB decrypts with the caller's permissions (KMS Developer Guide, "How Amazon DynamoDB uses AWS KMS";
            # aws/aws-cdk issue 10010).
            function.allow(
                "UseFleetKeys",
                ["kms:Decrypt", "kms:DescribeKey"],
                keys,
                self._via_dynamodb(),
            )
        exported = [arn for arn, plan in zip(self._arns, self._plans, strict=True) if plan.options.engine != "scan"]
        if exported:
            function.allow("ExportFleet", ["dynamodb:ExportTableToPointInTime"], exported)
        self.grant_look_at_exports(function)

    def grant_look_at_exports(self, function: Function) -> None:
        """Allow a function to ask for the state of the tables' exports."""
        exported = [arn for arn, plan in zip(self._arns, self._plans, strict=True) if plan.options.engine != "scan"]
        if exported:
            function.allow("LookAtFleetExports", ["dynamodb:DescribeExport"], [f"{arn}/export/*" for arn in exported])

    def grant_scratch(self, function: Function, suffix: str) -> None:
        """Allow a function to create, fill and delete scratch tables, named `<table>-<suffix>-<anything>`."""
        if self._plans:
            actions = ("BatchWriteItem", "CreateTable", "DeleteTable", "DescribeTable", "Scan")
            tables = [f"{arn}-{suffix}-*" for arn in self._arns]
            function.allow("FillScratchTables", [f"dynamodb:{action}" for action in actions], tables)
        if keys := self._keys():
            # Who creates a table with a key needs what DynamoDB does with it (DynamoDB Developer Guide, "DynamoDB
            # encryption at rest usage notes", "Key policy for a customer managed key").
            uses = (
                "CreateGrant",
                "Decrypt",
                "DescribeKey",
                "Encrypt",
                "GenerateDataKey",
                "GenerateDataKeyWithoutPlaintext",
                "ReEncryptFrom",
                "ReEncryptTo",
            )
            function.allow("EncryptScratchTables", [f"kms:{use}" for use in uses], keys, self._via_dynamodb())

    def _keys(self) -> list[str]:
        return sorted({table.kms_key_arn for table in self._settings.backups.tables if table.kms_key_arn})

    def _via_dynamodb(self) -> dict[str, dict[str, str]]:
        return {"StringEquals": {"kms:ViaService": f"dynamodb.{self._settings.region}.amazonaws.com"}}
