"""Backup Audit Manager: checks the backup plan against the settings and writes daily reports."""

from __future__ import annotations

from collections.abc import Iterator

from cdktf import Postcondition, TerraformResourceLifecycle
from cdktf_cdktf_provider_aws.backup_framework import (
    BackupFramework,
    BackupFrameworkControl,
    BackupFrameworkControlInputParameter,
)
from cdktf_cdktf_provider_aws.backup_report_plan import (
    BackupReportPlan,
    BackupReportPlanReportDeliveryChannel,
    BackupReportPlanReportSetting,
)
from constructs import Construct

from infra.constructs import policy
from infra.constructs.accepted import accept
from infra.constructs.bucket import PrivateBucket
from infra.constructs.lifecycle import LifecycleRule, expire
from infra.platform import Aws

accept(
    "aws_s3_bucket",
    {
        "CKV_AWS_144": "AWS Backup writes new reports daily",
        "CKV2_AWS_62": "no process depends on the arrival of a report",
    },
    path="vault/*",
)


def audit_manager(scope: Construct, platform: Aws) -> None:
    """Add the framework, the reports' bucket and the report plan to the vault's construct."""
    settings = platform.settings
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
        scope,
        "framework",
        name="rollbook",
        control=list(controls()),
        # The provider treats a framework that AWS could not deploy as created.
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
    bucket = PrivateBucket(scope, "reports", name=settings.reports_bucket_name, force_destroy=settings.force_destroy)
    expire(scope, "reports-lifecycle", bucket, [LifecycleRule("reports", "", expire_days=365, noncurrent_days=30)])
    # S3 refuses a principal that does not exist. `python -m ops preflight --env ENV` finds the role or says how to
    # create it. A policy for all principals with this role as a condition might be treated as public.
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
        scope,
        "report",
        name="rollbook_restore_jobs",
        report_delivery_channel=BackupReportPlanReportDeliveryChannel(
            s3_bucket_name=bucket.name, formats=["CSV", "JSON"]
        ),
        report_setting=BackupReportPlanReportSetting(report_template="RESTORE_JOB_REPORT"),
        depends_on=[written, framework],
    )
