"""AWS Backup by tag: the vault, the plan, who is selected, copies to other Regions, and restores that are tested."""

from __future__ import annotations

from collections.abc import Iterator

from cdktf import Postcondition, TerraformProvider, TerraformResourceLifecycle
from cdktf_cdktf_provider_aws.backup_framework import (
    BackupFramework,
    BackupFrameworkControl,
    BackupFrameworkControlInputParameter,
)
from cdktf_cdktf_provider_aws.backup_plan import (
    BackupPlan,
    BackupPlanRule,
    BackupPlanRuleCopyAction,
    BackupPlanRuleCopyActionLifecycle,
    BackupPlanRuleLifecycle,
)
from cdktf_cdktf_provider_aws.backup_region_settings import BackupRegionSettings
from cdktf_cdktf_provider_aws.backup_report_plan import (
    BackupReportPlan,
    BackupReportPlanReportDeliveryChannel,
    BackupReportPlanReportSetting,
)
from cdktf_cdktf_provider_aws.backup_restore_testing_plan import (
    BackupRestoreTestingPlan,
    BackupRestoreTestingPlanRecoveryPointSelection,
)
from cdktf_cdktf_provider_aws.backup_restore_testing_selection import BackupRestoreTestingSelection
from cdktf_cdktf_provider_aws.backup_selection import (
    BackupSelection,
    BackupSelectionCondition,
    BackupSelectionConditionStringEquals,
    BackupSelectionSelectionTag,
)
from cdktf_cdktf_provider_aws.backup_vault import BackupVault
from cdktf_cdktf_provider_aws.backup_vault_lock_configuration import BackupVaultLockConfiguration
from cdktf_cdktf_provider_aws.backup_vault_notifications import BackupVaultNotifications
from cdktf_cdktf_provider_aws.iam_role import IamRole
from cdktf_cdktf_provider_aws.iam_role_policy_attachment import IamRolePolicyAttachment
from cdktf_cdktf_provider_aws.kms_key import KmsKey
from constructs import Construct

from infra.backups.store import BackupStore
from infra.constructs import policy
from infra.constructs.accepted import accept
from infra.constructs.bucket import PrivateBucket
from infra.constructs.function import Function, Limits
from infra.constructs.lifecycle import LifecycleRule, expire
from infra.constructs.queue import DeadLetterQueue
from infra.constructs.rule import Rule
from infra.observability.alerts import Alerts
from infra.platform import Aws
from infra.school.records import Records
from infra.settings import Settings
from infra.settings import vault as models
from rollbook.contract import environment

accept(
    "aws_kms_key",
    {"CKV2_AWS_64": "KMS's default policy: this account's IAM decides, and neither its root nor AWS is shut out"},
)
accept(
    "aws_s3_bucket",
    {"CKV_AWS_144": "AWS Backup writes its reports daily", "CKV2_AWS_62": "nobody waits for a report's file"},
    path="vault/*",
)


_AWS_POLICIES = "arn:aws:iam::aws:policy"
# What AWS Backup calls the tables of its restore tests (AWS Backup Developer Guide, "Restore testing").
_RESTORED = "awsbackup-restore-test-"


class Vault(Construct):
    """The vault and the plan. Every table that carries the tag is backed up by it, whoever made it."""

    def __init__(self, scope: Construct, id_: str, *, platform: Aws, settings: Settings, alerts: Alerts) -> None:
        super().__init__(scope, id_)
        self._settings = settings
        vault = settings.vault
        self.vault = self._vault("vault", vault.vault_name, None)
        self._lock(vault)
        if vault.notifications:
            BackupVaultNotifications(
                self,
                "notifications",
                backup_vault_name=self.vault.name,
                sns_topic_arn=alerts.topic_arn,
                backup_vault_events=vault.notifications,
            )
        regions = sorted({copy.region for rule in vault.rules for copy in rule.copies})
        copies = {
            region: self._vault(f"vault-{region}", vault.vault_name, platform.provider_of(region)) for region in regions
        }
        plan = BackupPlan(
            self,
            "plan",
            name=vault.plan_name,
            rule=[self._rule(rule, copies) for rule in vault.rules],
        )
        self.role = self._service_role(platform)
        for selection in vault.selections:
            self._select(plan, selection)
        if vault.region_opt_in:
            BackupRegionSettings(
                self,
                "region-settings",
                resource_type_opt_in_preference=vault.region_opt_in,
                resource_type_management_preference=vault.region_management or None,
            )
        if vault.audit_manager:
            self._audit_manager(settings, platform)

    def _vault(self, id_: str, name: str, provider: TerraformProvider | None) -> BackupVault:
        key = None
        if self._settings.vault.customer_key:
            key = KmsKey(
                self,
                f"{id_}-key",
                description=f"Recovery points in {name}",
                enable_key_rotation=True,
                deletion_window_in_days=30,
                provider=provider,
            )
        return BackupVault(
            self,
            id_,
            name=name,
            kms_key_arn=key.arn if key else None,
            force_destroy=self._settings.force_destroy,
            provider=provider,
        )

    def _lock(self, vault: models.Vault) -> None:
        if vault.lock is None:
            return
        BackupVaultLockConfiguration(
            self,
            "lock",
            backup_vault_name=self.vault.name,
            min_retention_days=vault.lock.min_retention_days,
            max_retention_days=vault.lock.max_retention_days,
            # With days of grace it is a compliance lock, without them one of governance.
            changeable_for_days=vault.lock.changeable_for_days if vault.lock.mode == "compliance" else None,
        )

    def _rule(self, rule: models.VaultRule, copies: dict[str, BackupVault]) -> BackupPlanRule:
        return BackupPlanRule(
            rule_name=rule.name,
            target_vault_name=self.vault.name,
            schedule=rule.expression,
            schedule_expression_timezone=rule.time_zone,
            start_window=rule.start_window_minutes,
            completion_window=rule.completion_window_minutes,
            enable_continuous_backup=rule.continuous,
            recovery_point_tags=rule.recovery_point_tags or None,
            lifecycle=BackupPlanRuleLifecycle(
                cold_storage_after=rule.cold_storage_after_days, delete_after=rule.delete_after_days
            ),
            copy_action=[
                BackupPlanRuleCopyAction(
                    destination_vault_arn=copies[copy.region].arn,
                    lifecycle=BackupPlanRuleCopyActionLifecycle(
                        cold_storage_after=copy.cold_storage_after_days, delete_after=copy.delete_after_days
                    ),
                )
                for copy in rule.copies
            ],
        )

    def _service_role(self, platform: Aws) -> IamRole:
        role = IamRole(
            self,
            "role",
            name=self._settings.vault.role_name,
            assume_role_policy=policy.trust(
                "backup.amazonaws.com", {"StringEquals": {"aws:SourceAccount": platform.account_id}}
            ),
        )
        for name in ("AWSBackupServiceRolePolicyForBackup", "AWSBackupServiceRolePolicyForRestores"):
            IamRolePolicyAttachment(self, name, role=role.name, policy_arn=f"{_AWS_POLICIES}/service-role/{name}")
        if self._settings.vault.s3_buckets:
            # The two policies above have nothing for S3 (AWS Backup Developer Guide, "Amazon S3 backups").
            for name in ("AWSBackupServiceRolePolicyForS3Backup", "AWSBackupServiceRolePolicyForS3Restore"):
                IamRolePolicyAttachment(self, name, role=role.name, policy_arn=f"{_AWS_POLICIES}/{name}")
        return role

    def _select(self, plan: BackupPlan, selection: models.VaultSelection) -> None:
        conditions = [
            BackupSelectionConditionStringEquals(key=f"aws:ResourceTag/{key}", value=value)
            for key, value in sorted(selection.all_tags.items())
        ]
        BackupSelection(
            self,
            f"selection-{selection.name}",
            name=selection.name,
            plan_id=plan.id,
            iam_role_arn=self.role.arn,
            selection_tag=[
                BackupSelectionSelectionTag(type="STRINGEQUALS", key=key, value=value)
                for key, value in sorted(selection.any_tags.items())
            ],
            condition=[BackupSelectionCondition(string_equals=conditions)] if conditions else None,
            resources=selection.resources or (["*"] if conditions else None),
            not_resources=selection.not_resources or None,
        )

    def _audit_manager(self, settings: Settings, platform: Aws) -> None:
        """Have Backup Audit Manager check the plan against the settings, and report every day."""
        rules = settings.vault.rules
        days = min((rule.delete_after_days for rule in rules if rule.delete_after_days), default=None)

        def control(name: str, **parameters: str) -> BackupFrameworkControl:
            inputs = [BackupFrameworkControlInputParameter(name=key, value=value) for key, value in parameters.items()]
            return BackupFrameworkControl(name=name, input_parameter=inputs or None)

        def controls() -> Iterator[BackupFrameworkControl]:
            yield control("BACKUP_RESOURCES_PROTECTED_BY_BACKUP_PLAN")
            yield control("BACKUP_RECOVERY_POINT_ENCRYPTED")
            yield control("BACKUP_RECOVERY_POINT_MANUAL_DELETION_DISABLED")
            if days:
                yield control("BACKUP_RECOVERY_POINT_MINIMUM_RETENTION_CHECK", requiredRetentionDays=str(days))
            if settings.vault.restore_testing.enabled:
                yield control("RESTORE_TIME_FOR_RESOURCES_MEET_TARGET", maxRestoreTime="720")

        framework = BackupFramework(
            self,
            "framework",
            name="rollbook",
            control=list(controls()),
            # The provider takes a framework that AWS could not deploy for done.
            lifecycle=TerraformResourceLifecycle(
                postcondition=[
                    Postcondition(
                        condition='${self.status != "FAILED"}',
                        error_message="Backup Audit Manager could not deploy its framework. It needs AWS Config to "
                        "record in this Region; see `aws backup describe-framework --framework-name rollbook`.",
                    )
                ]
            ),
        )
        bucket = PrivateBucket(self, "reports", name=settings.reports_bucket_name, force_destroy=settings.force_destroy)
        expire(self, "reports-lifecycle", bucket, [LifecycleRule("reports", "", expire_days=365, noncurrent_days=30)])
        # S3 refuses a principal that does not exist. `python -m ops preflight --env ENV` finds the role or says how to
        # make it; a policy for everybody with this role as its condition might count as public.
        notifier = (
            f"arn:aws:iam::{platform.account_id}:role/aws-service-role/reports.backup.amazonaws.com/"
            "AWSServiceRoleForBackupReports"
        )
        written = bucket.restrict(
            [
                policy.Statement(
                    "BackupReports",
                    ["s3:PutObject"],
                    [f"{bucket.arn}/*"],
                    principals={"AWS": [notifier]},
                    conditions={"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}},
                )
            ]
        )
        BackupReportPlan(
            self,
            "report",
            name="rollbook_restore_jobs",
            report_delivery_channel=BackupReportPlanReportDeliveryChannel(
                s3_bucket_name=bucket.name, formats=["CSV", "JSON"]
            ),
            report_setting=BackupReportPlanReportSetting(report_template="RESTORE_JOB_REPORT"),
            depends_on=[written, framework],
        )


class RestoreTesting(Construct):
    """Restores that AWS Backup makes to test, and the function that answers whether they are right."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        platform: Aws,
        settings: Settings,
        vault: Vault,
        records: Records,
        store: BackupStore,
    ) -> None:
        super().__init__(scope, id_)
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
            platform=platform,
            name=testing.function_name,
            entry="handlers.validate.handler",
            environment=environment.Validate(s3_bucket_name=store.bucket_name, key_prefix=settings.backups.key_prefix),
            limits=Limits(testing.memory_mb, timeout_seconds=900),
            log_retention_days=settings.functions.log_retention_days,
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
        # Neither has a resource that a policy could name (Service Authorization Reference, "AWS Backup").
        function.allow("AnswerRestores", ["backup:DescribeRestoreJob", "backup:PutRestoreValidationResult"], ["*"])
        rule = Rule(
            self,
            "rule",
            name=f"{testing.plan_name}-restored",
            description="Restore tests whose table is there, to be validated",
            pattern={
                "source": ["aws.backup"],
                "detail-type": ["Restore Job State Change"],
                "detail": {
                    "status": ["COMPLETED"],
                    # `DynamoDB.FullyManaged` where AWS Backup's advanced features are on, as they are in new accounts.
                    "resourceType": [{"prefix": "DynamoDB"}],
                    "restoreTestingPlanArn": [{"exists": True}],
                },
            },
        )
        rule.invoke(function, undelivered_queue_name=testing.undelivered_queue_name)
