"""Restore tests of AWS Backup, and the function that validates the restored tables."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.backup_restore_testing_plan import (
    BackupRestoreTestingPlan,
    BackupRestoreTestingPlanRecoveryPointSelection,
)
from cdktf_cdktf_provider_aws.backup_restore_testing_selection import BackupRestoreTestingSelection
from constructs import Construct

from infra.backups.store import BackupStore
from infra.backups.vault import Vault
from infra.constructs.function import Function, FunctionSettings, Limits
from infra.constructs.queue import DeadLetterQueue
from infra.constructs.rule import Rule
from infra.platform import Aws
from infra.school.records import Records
from rollbook.contract import environment

# The beginning of the names of restored test tables (AWS Backup Developer Guide, "Restore testing").
_RESTORED = "awsbackup-restore-test-"


class RestoreTesting(Construct):
    """AWS Backup's restore tests, and the function that reports whether the restored tables are valid."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        platform: Aws,
        vault: Vault,
        records: Records,
        store: BackupStore,
    ) -> None:
        super().__init__(scope, id_)
        settings = platform.settings
        testing = settings.vault.restore_testing
        plan = BackupRestoreTestingPlan(
            self,
            "plan",
            name=testing.plan_name,
            schedule_expression=testing.schedule_expression,
            schedule_expression_timezone=testing.schedule_time_zone,
            start_window_hours=testing.start_window_hours,
            recovery_point_selection=[
                BackupRestoreTestingPlanRecoveryPointSelection(
                    algorithm="LATEST_WITHIN_WINDOW",
                    include_vaults=[vault.vault.arn],
                    recovery_point_types=["SNAPSHOT"],
                    selection_window_days=testing.selection_window_days,
                )
            ],
        )
        BackupRestoreTestingSelection(
            self,
            "selection",
            name=testing.selection_name,
            restore_testing_plan_name=plan.name,
            protected_resource_type="DynamoDB",
            protected_resource_arns=[records.table_arn],
            iam_role_arn=vault.role.arn,
            validation_window_hours=testing.validation_window_hours,
        )
        function = Function(
            self,
            "function",
            platform.runtime,
            FunctionSettings(
                name=testing.function_name,
                entry="handlers.validate.handler",
                variables=environment.Validate(
                    s3_bucket_name=store.bucket_name, key_prefix=settings.backups.key_prefix
                ).variables(),
                limits=Limits(testing.memory_mb, timeout_seconds=900),
            ),
            dead_letters=DeadLetterQueue.of_function(self, "dead-letters", name=testing.dead_letter_queue_name),
        )
        store.grant_read(function)
        restored = f"arn:aws:dynamodb:{settings.region}:{platform.account_id}:table/{_RESTORED}*"
        function.allow(
            "CompareTables",
            [
                "dynamodb:DescribeTable",
                "dynamodb:DescribeContinuousBackups",
                "dynamodb:DescribeTimeToLive",
                "dynamodb:ListTagsOfResource",
                "dynamodb:Scan",
            ],
            [records.table_arn, restored],
        )
        # These actions cannot be limited to a resource (Service Authorization Reference, "AWS Backup").
        function.allow("AnswerRestores", ["backup:DescribeRestoreJob", "backup:PutRestoreValidationResult"], ["*"])
        rule = Rule(
            self,
            "rule",
            name=f"{testing.plan_name}-restored",
            description="Completed restore tests, for validation",
            pattern={
                "source": ["aws.backup"],
                "detail-type": ["Restore Job State Change"],
                "detail": {
                    "status": ["COMPLETED"],
                    # `DynamoDB.FullyManaged` if AWS Backup's advanced features are on, which is the default in new
                    # accounts.
                    "resourceType": [{"prefix": "DynamoDB"}],
                    "restoreTestingPlanArn": [{"exists": True}],
                },
            },
        )
        rule.invoke(function, undelivered_queue_name=testing.undelivered_queue_name)
