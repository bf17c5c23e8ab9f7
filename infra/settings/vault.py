"""The settings of AWS Backup."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from infra.settings.fields import FunctionName, QueueName, Region, RoleName, ScheduleExpression, Section, TimeZone
from rollbook.contract import schedules

_FREQUENCIES = {
    "hourly": "cron(0 * ? * * *)",
    "daily": "cron(0 5 ? * * *)",
    "weekly": "cron(0 5 ? * SUN *)",
    "monthly": "cron(0 5 1 * ? *)",
}


def _check_cold(cold_days: int | None, delete_days: int) -> None:
    # A recovery point stays in cold storage for 90 days or more (AWS Backup API reference, Lifecycle).
    if cold_days is not None and delete_days < cold_days + 90:
        raise ValueError(
            f"delete_after_days = {delete_days} must exceed cold_storage_after_days = {cold_days} by 90 or more, "
            "which is AWS Backup's minimum time in cold storage"
        )


Notification = Literal[
    "BACKUP_JOB_STARTED",
    "BACKUP_JOB_COMPLETED",
    "COPY_JOB_STARTED",
    "COPY_JOB_SUCCESSFUL",
    "COPY_JOB_FAILED",
    "RESTORE_JOB_STARTED",
    "RESTORE_JOB_COMPLETED",
    "RECOVERY_POINT_MODIFIED",
    "S3_BACKUP_OBJECT_FAILED",
    "S3_RESTORE_OBJECT_FAILED",
    "BACKUP_PLAN_CREATED",
    "BACKUP_PLAN_MODIFIED",
]


class VaultCopy(Section):
    """A copy of each recovery point of a rule, in a vault of the same name in another Region."""

    region: Region = Field(description="Region of the copy.")
    delete_after_days: int = Field(35, ge=1, description="Days until the copy is deleted.")
    cold_storage_after_days: int | None = Field(None, ge=1, description="Days until it moves to cold storage.")

    @model_validator(mode="after")
    def _cold_long_enough(self) -> Self:
        _check_cold(self.cold_storage_after_days, self.delete_after_days)
        return self


class VaultRule(Section):
    """A rule of the backup plan."""

    name: str = Field("RuleForDailyBackups", pattern=r"^[a-zA-Z0-9_.-]{1,50}$", description="Name of the rule.")
    frequency: Literal["hourly", "daily", "weekly", "monthly"] | None = Field(
        None, description="How often, at 05:00; weekly on Sunday, monthly on day 1. Or give an expression."
    )
    schedule_expression: ScheduleExpression | None = Field(
        None, description="cron(…), once an hour at most; by default cron(0 5 ? * * *)."
    )
    time_zone: TimeZone = Field("UTC", description="IANA zone in which the expression is read.")
    start_window_minutes: int = Field(
        60, ge=60, description="Minutes within which a job must start; later it expires (AWS Backup: 60 or more)."
    )
    completion_window_minutes: int = Field(
        120, ge=120, description="Minutes after the scheduled time within which a job must end; later it is cancelled."
    )
    delete_after_days: int | None = Field(35, ge=1, description="Days until a recovery point is deleted.")
    cold_storage_after_days: int | None = Field(
        None, ge=1, description="Days until it moves to cold storage, where it stays for 90 days or more."
    )
    continuous: bool = Field(
        False, description="Continuous backup; only for Aurora, RDS, S3, SAP HANA, not for DynamoDB."
    )
    recovery_point_tags: dict[str, str] = Field(default_factory=dict, description="Tags of the recovery points.")
    copies: list[VaultCopy] = Field(default_factory=list, description="Copies in other Regions.")

    @property
    def expression(self) -> str:
        """Return the schedule expression for AWS Backup."""
        return self.schedule_expression or _FREQUENCIES[self.frequency or "daily"]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.frequency and self.schedule_expression:
            raise ValueError("frequency and schedule_expression exclude each other; keep one")
        if not self.expression.startswith("cron("):
            raise ValueError(f"schedule_expression = {self.expression!r}: AWS Backup accepts only cron(…)")
        interval = schedules.shortest_interval(self.expression, self.time_zone)
        if interval is not None and interval < timedelta(hours=1):
            raise ValueError(f"schedule_expression runs every {interval}; AWS Backup runs a rule once an hour at most")
        if interval is not None and timedelta(minutes=self.start_window_minutes) > interval:
            raise ValueError(
                f"start_window_minutes = {self.start_window_minutes} is longer than the {interval} between two runs; "
                "make the window shorter or the interval longer"
            )
        if self.completion_window_minutes < self.start_window_minutes + 60:
            raise ValueError(
                f"completion_window_minutes = {self.completion_window_minutes} must exceed start_window_minutes = "
                f"{self.start_window_minutes} by 60 or more (AWS Backup's minimum)"
            )
        if self.delete_after_days is not None:
            _check_cold(self.cold_storage_after_days, self.delete_after_days)
        if self.continuous and (self.cold_storage_after_days or not 1 <= (self.delete_after_days or 0) <= 35):
            raise ValueError(
                "continuous = true needs delete_after_days from 1 to 35 and excludes cold_storage_after_days"
            )
        return self


class VaultSelection(Section):
    """The resources that a plan backs up."""

    name: str = Field(
        "TagBasedBackupSelection", pattern=r"^[a-zA-Z0-9_.-]{1,50}$", description="Name of the selection."
    )
    any_tags: dict[str, str] = Field(default_factory=dict, description="Resources that have one of these tags.")
    all_tags: dict[str, str] = Field(default_factory=dict, description="Resources that have all of these tags.")
    resources: list[str] = Field(default_factory=list, description="Resources by ARN, `*` for any characters.")
    not_resources: list[str] = Field(default_factory=list, description="Excluded resources, by ARN.")

    @model_validator(mode="after")
    def _selects(self) -> Self:
        if not (self.any_tags or self.all_tags or self.resources):
            raise ValueError("selects nothing; give any_tags, all_tags or resources")
        if self.any_tags and self.all_tags:
            raise ValueError("any_tags and all_tags cannot be in one selection; write two selections")
        return self


class VaultLock(Section):
    """A lock of the vault: recovery points cannot be deleted, nor their retention shortened, before its end."""

    mode: Literal["governance", "compliance"] = Field(
        "governance", description="`governance`: removable with permission; `compliance`: never removable."
    )
    min_retention_days: int = Field(1, ge=1, le=36_500, description="Minimum days for which a recovery point is kept.")
    max_retention_days: int = Field(
        36_500, ge=1, le=36_500, description="Maximum days for which a recovery point is kept."
    )
    changeable_for_days: int = Field(
        3, ge=3, le=36_500, description="Compliance: days until the lock can no longer be removed (3 or more)."
    )
    confirm_compliance: str | None = Field(
        None, description="Compliance: the vault's name, as a confirmation. Even AWS cannot undo this."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_retention_days < self.min_retention_days:
            raise ValueError(
                f"max_retention_days = {self.max_retention_days} is less than min_retention_days = "
                f"{self.min_retention_days}"
            )
        return self


class RestoreTesting(Section):
    """Restore tests of AWS Backup, validated item by item."""

    enabled: bool = Field(False, description="Run restore tests. Each restores the whole table and costs money.")
    plan_name: str = Field(
        "student_restore_testing",
        pattern=r"^[a-zA-Z0-9_]{1,50}$",
        description="Name of the plan; letters, digits, underscores.",
    )
    selection_name: str = Field(
        "student_records",
        pattern=r"^[a-zA-Z0-9_]{1,50}$",
        description="Name of the selection; letters, digits, underscores.",
    )
    schedule_expression: ScheduleExpression = Field("cron(0 7 ? * SUN *)", description="cron(…).")
    schedule_time_zone: TimeZone = Field("UTC", description="IANA zone in which the expression is read.")
    start_window_hours: int = Field(1, ge=1, le=168, description="Hours within which a restore may start (1 to 168).")
    selection_window_days: int = Field(
        7, ge=1, le=365, description="Maximum age of the recovery point, days (1 to 365)."
    )
    validation_window_hours: int = Field(
        4, ge=1, le=168, description="Hours for which the restored table is kept for validation (1 to 168)."
    )
    function_name: FunctionName = Field("ValidateRestoredTable", description="Function that validates.")
    memory_mb: int = Field(512, ge=128, le=10240, description="Memory, MB (Lambda: 128 to 10,240).")
    dead_letter_queue_name: QueueName = Field(
        "restore-validation-dead-letters", description="Queue of the restores that could not be validated."
    )
    undelivered_queue_name: QueueName = Field(
        "restore-validation-undelivered", description="Queue of the events that EventBridge could not deliver."
    )


class Vault(Section):
    """AWS Backup: one plan for all resources with a tag."""

    enabled: bool = Field(True, description="Create vault, plan and selections.")
    vault_name: str = Field("StudentBackupVault", pattern=r"^[a-zA-Z0-9_-]{2,50}$", description="Name of the vault.")
    plan_name: str = Field("StudentBackupPlan", pattern=r"^[a-zA-Z0-9_.-]{1,50}$", description="Name of the plan.")
    role_name: RoleName = Field("StudentAwsBackupRole", description="Role that AWS Backup uses.")
    customer_key: bool = Field(
        False, description="Encrypt each vault with its own key (1 dollar a month each) instead of AWS Backup's."
    )
    rules: list[VaultRule] = Field(
        default_factory=lambda: [VaultRule()], description="Rules: schedule, retention, copies."
    )
    selections: list[VaultSelection] = Field(
        default_factory=lambda: [VaultSelection(any_tags={"backup": "daily"})], description="What the plan backs up."
    )
    lock: VaultLock | None = Field(None, description="Lock of the vault; leave out for none.")
    notifications: list[Notification] = Field(
        default=["RECOVERY_POINT_MODIFIED", "BACKUP_PLAN_MODIFIED"],
        description="Events of the vault for the alert topic. Failed jobs are reported in any case.",
    )
    region_opt_in: dict[str, bool] = Field(
        default_factory=dict,
        description="AWS Backup's opt-ins by service, for the whole account and Region. List exactly the services that "
        "`aws backup describe-region-settings` shows: AWS refuses others, and a missing one changes in every plan. "
        "Leave out to change none. Cold storage and copies of DynamoDB need `DynamoDB = true`; preflight checks it.",
    )
    region_management: dict[str, bool] = Field(
        default_factory=dict,
        description="With `region_opt_in`: services whose backups AWS Backup manages fully; for DynamoDB these are "
        "the advanced features. List exactly the services of the Region; leave out to change none.",
    )
    restore_testing: RestoreTesting = RestoreTesting()
    audit_manager: bool = Field(
        False,
        description="Let Backup Audit Manager check the plan and report every day. It needs AWS Config, which is not "
        "set up here and costs money.",
    )
    aws_config_records: bool = Field(
        False,
        description="AWS Config records in this account and Region, set up elsewhere. `audit_manager` needs it: "
        "without a recorder its framework fails.",
    )
    s3_buckets: bool = Field(
        False,
        description="Allow selections of S3 buckets. AWS Backup's role then gets the two policies that S3 needs. With "
        "them it may read and write every object of the account.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("rules", "selections"):
            if self.enabled and not getattr(self, name):
                raise ValueError(
                    f"{name} is empty, so nothing would be backed up; set enabled = false if you intend that"
                )
        for selection in self.selections:
            if "*" in selection.not_resources:
                raise ValueError(f"the selection {selection.name} excludes everything: not_resources has '*'")
        if self.region_opt_in.get("DynamoDB") is False:
            raise ValueError("region_opt_in switches DynamoDB off, so the records would not be backed up")
        names = [rule.name for rule in self.rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two rules have the name {name}; AWS Backup requires different names")
        if self.audit_manager and not self.aws_config_records:
            raise ValueError(
                "audit_manager = true needs AWS Config: without a recorder the framework fails although the apply "
                "succeeds. Set up Config in this Region and set aws_config_records = true, or remove audit_manager"
            )
        resources = [arn for selection in self.selections for arn in selection.resources]
        buckets = [arn for arn in resources if arn.startswith("arn:aws:s3:")]
        if buckets and not self.s3_buckets:
            raise ValueError(
                f"selections.resources has {buckets[0]}, but AWS Backup's role does not have the policies for S3, so "
                "its jobs would fail; set s3_buckets = true"
            )
        lock = self.lock
        if lock is None:
            return self
        if lock.mode == "compliance" and lock.confirm_compliance != self.vault_name:
            raise ValueError(
                "a compliance lock cannot be removed by anyone, and recovery points cannot be deleted before their "
                f'retention ends; to confirm, set lock.confirm_compliance = "{self.vault_name}"'
            )
        for rule in self.rules:
            days = rule.delete_after_days
            if days is None or not lock.min_retention_days <= days <= lock.max_retention_days:
                raise ValueError(
                    f"the rule {rule.name} deletes after {days} days, but the lock requires "
                    f"{lock.min_retention_days} to {lock.max_retention_days} days: every job would fail"
                )
        return self
