"""The settings of an environment, read from `environments/<name>.toml` and checked before Terraform sees anything."""

from __future__ import annotations

import itertools
import re
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from handlers import schedules
from handlers.environment import ReportedTable

ENVIRONMENTS = Path(__file__).resolve().parent.parent / "environments"


class SettingsError(ValueError):
    """An environment file is not usable; the message names file, key, value, reason and remedy."""


def _bucket_name(name: str) -> str:
    if re.fullmatch(r"\d+\.\d+\.\d+\.\d+", name) or ".." in name or name.startswith(("xn--", "sthree-")):
        raise ValueError("S3 refuses names that look like an IP address, hold '..' or start with xn-- or sthree-")
    return name


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("no such IANA time zone; write for example Asia/Ho_Chi_Minh or UTC") from None
    return name


def _schedule(expression: str) -> str:
    schedules.parse(expression)
    return expression


def _check_window(expression: str, time_zone: str, minutes: int) -> None:
    interval = schedules.shortest_interval(expression, time_zone)
    if interval is not None and timedelta(minutes=minutes) >= interval:
        raise ValueError(
            f"flexible_window_minutes = {minutes} is not shorter than the {interval} between two runs of "
            "schedule_expression; make the window shorter or the interval longer"
        )


def _check_cold(cold_days: int | None, delete_days: int) -> None:
    # AWS Backup API reference, Lifecycle: what is moved stays there for 90 days or more.
    if cold_days is not None and delete_days < cold_days + 90:
        raise ValueError(
            f"delete_after_days = {delete_days} must be 90 or more past cold_storage_after_days = {cold_days}: cold "
            "storage is paid for 90 days, and AWS Backup refuses less"
        )


def _days_in_classes(infrequent: int | None, glacier: int | None, expire: int) -> dict[str, int]:
    """Return the days that a backup is in each storage class."""
    begins = {"STANDARD": 0, "STANDARD_IA": infrequent, "GLACIER": glacier}
    steps = [(name, day) for name, day in begins.items() if day is not None]
    ends = [*(day for _, day in steps[1:]), expire]
    return {name: end - day for (name, day), end in zip(steps, ends, strict=True)}


def _spread(frequency: str, number: int, count: int, minutes: int) -> str:
    """Return the expression of the number-th of so many tables, so that they do not begin at once."""
    after = number * min(minutes, 60 if frequency == "hourly" else minutes) // count
    hour, minute = divmod(after, 60)
    return {
        "hourly": f"cron({minute} * * * ? *)",
        "daily": f"cron({minute} {hour} * * ? *)",
        "weekly": f"cron({minute} {hour} ? * SUN *)",
        "monthly": f"cron({minute} {hour} 1 * ? *)",
    }[frequency]


_FREQUENCIES = {
    "hourly": "cron(0 * ? * * *)",
    "daily": "cron(0 5 ? * * *)",
    "weekly": "cron(0 5 ? * SUN *)",
    "monthly": "cron(0 5 1 * ? *)",
}

# The log retentions that CloudWatch Logs takes, in days (API reference, PutRetentionPolicy).
RetentionDays = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
]
BucketName = Annotated[
    str,
    Field(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$"),
    AfterValidator(_bucket_name),
]
Region = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
_KEY_ARN = r"^arn:aws:kms:[a-z0-9-]+:\d{12}:key/.+$"
RoleName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w+=,.@-]+$")]
FunctionName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
TableName = Annotated[str, Field(min_length=3, max_length=255, pattern=r"^[A-Za-z0-9_.-]+$")]
ScheduleName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z_.-]+$")]
QueueName = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9_-]+$")]
Suffix = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9_.-]+$")]
Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s<>\"]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$")]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
ScheduleExpression = Annotated[str, AfterValidator(_schedule)]


class Section(BaseModel):
    """A table of the file: unknown keys are refused, values cannot change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Records(Section):
    """The table of student records."""

    table_name: TableName = Field(description="DynamoDB table (3 to 255 characters).")
    deletion_protection: bool = Field(True, description="DynamoDB refuses to delete the table while this is on.")
    backup_tag: str = Field("daily", description="Value of the tag `backup`, by which AWS Backup selects the table.")


class Functions(Section):
    """What all functions share, and the two of the API."""

    runtime: Literal["python3.11", "python3.12", "python3.13"] = Field("python3.13", description="Lambda runtime.")
    architecture: Literal["arm64", "x86_64"] = Field("arm64", description="arm64 costs a fifth less per GB-second.")
    log_retention_days: RetentionDays = Field(30, description="Days until CloudWatch drops a function's log events.")
    get_name: FunctionName = Field(description="Function behind `GET /students`.")
    insert_name: FunctionName = Field(description="Function behind `POST /students`.")
    memory_mb: int = Field(256, ge=128, le=10240, description="Memory of the two, MB (Lambda: 128 to 10,240).")
    timeout_seconds: int = Field(
        15, ge=1, le=29, description="Time limit of the two, seconds (API Gateway gives up after 29)."
    )
    reserved_concurrency: int = Field(
        -1, ge=-1, le=1000, description="Executions at once kept for each of the two; -1 takes from the account's pool."
    )


class Api(Section):
    """The REST API."""

    name: str = Field("student", min_length=1, description="Name of the REST API.")
    stage: str = Field("prod", pattern=r"^[A-Za-z0-9_-]{1,128}$", description="Stage that the site is served from.")
    key_name: str = Field("StudentApiKey", min_length=1, description="Name of the API key that CloudFront adds.")
    usage_plan_name: str = Field("StudentUsagePlan", min_length=1, description="Name of the usage plan.")
    rate_limit: float = Field(50, gt=0, le=10_000, description="Requests a second that the key may make, sustained.")
    burst_limit: int = Field(100, ge=1, le=5_000, description="Requests at once above the rate.")
    quota_per_day: int = Field(100_000, ge=1, description="Requests a day that the key may make.")
    max_body_bytes: int = Field(
        262_144, ge=1_024, le=400_000, description="Largest body that `POST /students` takes (DynamoDB item: 400 KB)."
    )
    log_retention_days: RetentionDays = Field(30, description="Days until the access log drops an entry.")
    manage_account_log_role: bool = Field(
        True,
        description="Set the role by which API Gateway writes logs. It is one for the whole account and Region: turn "
        "this off where another stack has set it.",
    )


class Site(Section):
    """The website and the CloudFront distribution before it."""

    bucket_name: BucketName = Field(description="Bucket of the site's files.")
    distribution_name: str = Field("StudentWebsiteDistribution", min_length=1, description="Comment and tag Name.")
    price_class: Literal["PriceClass_100", "PriceClass_200", "PriceClass_All"] = Field(
        "PriceClass_200", description="CloudFront edge locations that serve the site."
    )
    domain_name: str | None = Field(None, description="Own domain name; needs `certificate_arn`.")
    certificate_arn: str | None = Field(
        None, pattern=r"^arn:aws:acm:us-east-1:\d{12}:certificate/.+$", description="ACM certificate in us-east-1."
    )

    @model_validator(mode="after")
    def _domain_needs_certificate(self) -> Self:
        if (self.domain_name is None) != (self.certificate_arn is None):
            raise ValueError("domain_name and certificate_arn come together; set both or none")
        return self


class Mail(Section):
    """Mail through SES."""

    sender: Email = Field(description="Address that mail comes from; verified in SES.")
    recipient: Email = Field(description="Address that is told; verified too while SES is in its sandbox.")
    on_save: bool = Field(True, description="Mail the recipient when a student record is saved.")


class TableBackups(Section):
    """How a table is backed up, and how long that is kept."""

    engine: Literal["auto", "scan", "export"] = Field(
        "auto",
        description="`scan` reads the table in the function; `export` has AWS do it, at any size and without read "
        "units, and needs point-in-time recovery; `auto` scans what it can in its time, and else exports.",
    )
    format: Literal["json", "dynamodb-export"] = Field(
        "json",
        description="What a scan writes: one JSON document, or AWS's export layout, which ImportTable, Athena and Glue "
        "read. An export always writes its own.",
    )
    compression: Literal["none", "gzip", "zstd"] = Field(
        "none", description="Of what a scan writes; `zstd` in the export layout only."
    )
    export_type: Literal["full", "incremental"] = Field(
        "full",
        description="What the engine `export` asks for; `incremental` has the changes since the one before, and is a "
        "full one where that is not 15 minutes to 24 hours ago (DynamoDB's limits).",
    )
    segments: int = Field(
        2, ge=1, le=64, description="Parts of the table that a scan reads at a time; each has a page in memory."
    )
    read_units_per_second: float | None = Field(
        None, gt=0, description="Ceiling of what a scan reads; leave out for none. A unit is two blocks of 4 KB."
    )
    infrequent_access_after_days: int | None = Field(
        30, ge=30, description="Days until a backup moves to Standard-IA (S3: 30 or more); leave out for never."
    )
    glacier_after_days: int | None = Field(
        90, ge=1, description="Days until it moves to Glacier Flexible Retrieval; leave out for never."
    )
    expire_after_days: int = Field(365, ge=1, description="Days until it is deleted.")
    tags: Annotated[
        dict[
            Annotated[str, Field(max_length=128, pattern=r"^(?:[A-Za-z0-9 _.:/=+@-])+$")],
            Annotated[str, Field(max_length=256, pattern=r"^[A-Za-z0-9 _.:/=+@-]*$")],
        ],
        Field(max_length=10),
    ] = Field(
        default_factory=dict,
        description="Tags of the objects that a scan writes (S3: up to 10); DynamoDB's own export takes none.",
    )
    replicate_to: Region | None = Field(
        None, description="Region of a bucket that gets a copy of each backup within minutes; leave out for none."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.engine == "export" and self.format != "dynamodb-export":
            raise ValueError('engine = "export" writes AWS\'s layout; set format = "dynamodb-export" with it')
        if self.export_type == "incremental" and self.engine != "export":
            raise ValueError('export_type = "incremental" is of engine = "export"; set both')
        if self.compression == "zstd" and self.format == "json":
            raise ValueError('compression = "zstd" is of format = "dynamodb-export"; a document takes gzip or none')
        steps = [
            (name, days)
            for name in ("infrequent_access_after_days", "glacier_after_days", "expire_after_days")
            if (days := getattr(self, name)) is not None
        ]
        for (name, days), (later, more) in itertools.pairwise(steps):
            if more <= days:
                raise ValueError(f"{later} = {more} must be more than {name} = {days}")
        cold = (self.infrequent_access_after_days, self.glacier_after_days)
        if None not in cold and (self.glacier_after_days or 0) < (self.infrequent_access_after_days or 0) + 30:
            raise ValueError("glacier_after_days must be 30 or more past infrequent_access_after_days (S3's minimum)")
        return self


@dataclass(frozen=True)
class TablePlan:
    """A table that is backed up: when, how, and where to."""

    table_name: str
    key_prefix: str
    schedule_name: str
    expression: str
    time_zone: str
    window_minutes: int
    how: TableBackups

    def message(self) -> dict[str, str]:
        """Return what the function is told of the table, by the names of its environment."""
        how = self.how
        return {
            "table_name": self.table_name,
            "key_prefix": self.key_prefix,
            "engine": how.engine,
            "format": how.format,
            "compression": how.compression,
            "export_type": how.export_type,
            "segments": str(how.segments),
            "read_units_per_second": f"{how.read_units_per_second:g}" if how.read_units_per_second else "",
            "object_tags": urlencode(sorted(how.tags.items())),
        }


class FleetTable(TableBackups):
    """A further table of the account, backed up by the same function and schedule group."""

    table_name: TableName = Field(description="DynamoDB table, made elsewhere.")
    frequency: Literal["hourly", "daily", "weekly", "monthly"] | None = Field(
        None, description="When, by name, each table a little after the one before; or say it by expression."
    )
    schedule_expression: ScheduleExpression | None = Field(None, description="cron(…), rate(…) or at(…).")
    schedule_time_zone: TimeZone = Field("UTC", description="IANA zone in which the expression is read.")
    schedule_name: ScheduleName | None = Field(None, description="Schedule; by default `Backup-<table>`.")
    key_prefix: str | None = Field(
        None, pattern=r"^[A-Za-z0-9!_.*'()/-]{1,512}$", description="What a key begins with; by default `<table>/`."
    )

    @model_validator(mode="after")
    def _timed(self) -> Self:
        if bool(self.frequency) == bool(self.schedule_expression):
            raise ValueError("give either frequency or schedule_expression")
        return self


class Backups(TableBackups):
    """The scheduled backup."""

    bucket_name: BucketName = Field(description="Bucket of the backup documents.")
    function_name: FunctionName = Field(description="Function that writes the backup.")
    role_name: RoleName = Field(description="The function's execution role.")
    memory_mb: int = Field(128, ge=128, le=10240, description="Memory, MB (Lambda: 128 to 10,240).")
    ephemeral_storage_mb: int = Field(
        512, ge=512, le=10240, description="Temporary storage, MB (Lambda: 512 to 10,240)."
    )
    timeout_seconds: int = Field(900, ge=1, le=900, description="Time limit, seconds (Lambda: up to 900).")
    reserved_concurrency: int = Field(-1, ge=-1, le=1000, description="Executions at once kept for it; -1 for none.")
    finish_function_name: FunctionName = Field(
        "FinishStudentExport", description="Function that an export's manifest wakes."
    )
    history_table_name: TableName = Field("backup-executions", description="Table with one row per execution.")
    history_days: int = Field(400, ge=1, le=3650, description="Days until a row of the history expires.")
    key_prefix: str = Field(
        "students-backup-", pattern=r"^[A-Za-z0-9!_.*'()/-]{0,512}$", description="What a backup's key begins with."
    )
    schedule_name: ScheduleName = Field(description="Schedule (up to 64 characters).")
    schedule_group: ScheduleName = Field(description="Schedule group, this stack's own.")
    schedule_role_name: RoleName = Field(description="Execution role of the schedule; may invoke the function only.")
    schedule_expression: ScheduleExpression = Field(description="cron(…), rate(…) or at(…).")
    schedule_time_zone: TimeZone = Field("UTC", description="IANA zone in which the expression is read.")
    flexible_window_minutes: int = Field(
        5, ge=0, le=1440, description="Minutes within which the run may start; 0 for on time (Scheduler: 1 to 1,440)."
    )
    retry_attempts: int = Field(5, ge=0, le=185, description="Times the Scheduler tries again (0 to 185).")
    retry_hours: float = Field(2, ge=1 / 60, le=24, description="Hours for which it tries (60 seconds to 24 hours).")
    dead_letter_queue_name: QueueName = Field(
        "student-backup-dead-letters", description="Queue of the runs that the function failed."
    )
    schedule_dead_letter_queue_name: QueueName = Field(
        "student-backup-schedule-dead-letters", description="Queue of the runs that the Scheduler could not start."
    )
    noncurrent_expire_days: int = Field(30, ge=1, description="Days that an overwritten or deleted version is kept.")
    spread_minutes: int = Field(
        60, ge=1, le=720, description="Minutes over which the tables whose frequency has a name are spread."
    )
    replica_bucket_prefix: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9.-]{2,46}$",
        description="Bucket of a Region's copies is `<prefix>-<region>`; by default the prefix is this bucket's name.",
    )
    replication_role_name: RoleName = Field("BackupReplicationRole", description="Role under which S3 copies.")
    tables: list[FleetTable] = Field(default_factory=list, description="Further tables of the account.")

    @model_validator(mode="after")
    def _fleet(self) -> Self:
        _check_window(self.schedule_expression, self.schedule_time_zone, self.flexible_window_minutes)
        prefixes = [self.key_prefix, *(table.key_prefix or f"{table.table_name}/" for table in self.tables)]
        for one, other in itertools.permutations(prefixes, 2):
            if other.startswith(one):
                raise ValueError(
                    f"the key prefix {other!r} begins with {one!r} of another table, so the lifecycle of one would "
                    "hold for the other; set key_prefix"
                )
        return self


class Restores(Section):
    """The functions that verify and restore backups."""

    verify_function_name: FunctionName = Field("VerifyStudentBackup", description="Function that verifies, compares.")
    restore_function_name: FunctionName = Field("RestoreStudentData", description="Function that restores.")
    restored_suffix: Suffix = Field(
        "restored", description="The function makes tables `<table>-<suffix>-<anything>` and no others."
    )
    memory_mb: int = Field(512, ge=128, le=10240, description="Memory of each, MB (Lambda: 128 to 10,240).")
    ephemeral_storage_mb: int = Field(
        512, ge=512, le=10240, description="For comparisons, MB: some 70 bytes for each item on each side."
    )
    timeout_seconds: int = Field(900, ge=1, le=900, description="Time limit, seconds (Lambda: up to 900).")


class Drills(Section):
    """The weekly drill, which restores the newest backup into a scratch table and compares it."""

    enabled: bool = Field(True, description="Make drills.")
    function_name: FunctionName = Field("DrillStudentBackup", description="Function that makes the drill.")
    scratch_suffix: Suffix = Field("drill", description="Scratch tables are `<table>-<suffix>-<time>`.")
    schedule_name: ScheduleName = Field("WeeklyRestoreDrill", description="Schedule, in the group of the backup's.")
    schedule_role_name: RoleName = Field(
        "WeeklyRestoreDrillRole", description="Execution role of the schedule; may invoke the drill only."
    )
    schedule_expression: ScheduleExpression = Field("cron(0 3 ? * SUN *)", description="cron(…), rate(…) or at(…).")
    schedule_time_zone: TimeZone = Field("UTC", description="IANA zone in which the expression is read.")
    flexible_window_minutes: int = Field(
        15, ge=0, le=1440, description="Minutes within which a drill may start; 0 for on time (Scheduler: 1 to 1,440)."
    )
    memory_mb: int = Field(512, ge=128, le=10240, description="Memory, MB (Lambda: 128 to 10,240).")
    ephemeral_storage_mb: int = Field(
        512, ge=512, le=10240, description="For the comparison, MB: some 70 bytes for each item on each side."
    )
    timeout_seconds: int = Field(900, ge=1, le=900, description="Time limit, seconds (Lambda: up to 900).")
    dead_letter_queue_name: QueueName = Field(
        "student-drill-dead-letters", description="Queue of the drills that failed three times."
    )
    schedule_dead_letter_queue_name: QueueName = Field(
        "student-drill-schedule-dead-letters", description="Queue of the drills that the Scheduler could not start."
    )

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        _check_window(self.schedule_expression, self.schedule_time_zone, self.flexible_window_minutes)
        return self


class Events(Section):
    """The event bus."""

    bus_name: str = Field(
        "student-events", pattern=r"^[/.\-_A-Za-z0-9]{1,256}$", description="Bus on which everything is put."
    )
    log_retention_days: RetentionDays = Field(7, description="Days for which the bus's log group keeps every event.")
    archive_days: int = Field(
        30, ge=1, description="Days for which the archive keeps every event, to be replayed from."
    )


class SignUps(Section):
    """The welcome of users who signed up to another application, which puts an event of it on the bus."""

    enabled: bool = Field(True, description="Welcome them.")
    source: str = Field("myapp.userservice", min_length=1, max_length=256, description="Source of the event.")
    detail_type: str = Field("user_signup", min_length=1, max_length=128, description="Detail type of the event.")
    function_name: FunctionName = Field("SendWelcomeEmail", description="Function that sends the mail.")
    memory_mb: int = Field(128, ge=128, le=10240, description="Memory, MB (Lambda: 128 to 10,240).")
    timeout_seconds: int = Field(30, ge=1, le=900, description="Time limit, seconds (Lambda: up to 900).")
    idempotency_table_name: TableName = Field(
        "welcomed-users", description="Table of the events whose mail was sent; a row expires after 31 days."
    )
    dead_letter_queue_name: QueueName = Field(
        "user-signup-dead-letters", description="Queue of the sign-ups whose mail failed three times."
    )
    undelivered_queue_name: QueueName = Field(
        "user-signup-undelivered", description="Queue of the sign-ups that EventBridge could not hand to the function."
    )


class Alerts(Section):
    """The topic that tells the operator when something is wrong."""

    topic_name: str = Field(
        "student-backup-alerts", pattern=r"^[A-Za-z0-9_-]{1,256}$", description="SNS topic, not encrypted with a key."
    )
    recipient: Email | None = Field(None, description="Who is told, and confirms it once; by default that of `[mail]`.")


class Audit(Section):
    """The trail of who touched the backups, and the alert of who should not have."""

    enabled: bool = Field(True, description="Keep it. CloudTrail costs 0.10 dollars for 100,000 reads and writes.")
    trail_name: str = Field(
        "student-backup-audit",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,46}[A-Za-z0-9]$",
        description="Trail, rule and log group (3 to 48 characters).",
    )
    bucket_name: BucketName | None = Field(
        None, description="Bucket of the trail; by default that of the backups with `-audit` behind it."
    )
    expire_after_days: int = Field(365, ge=1, description="Days until a record is deleted from the bucket.")
    log_retention_days: RetentionDays = Field(90, description="Days for which the log group keeps a record.")
    alert_refused: bool = Field(True, description="Alert of what S3 refused too.")
    function_name: FunctionName = Field("AuditBackupAccess", description="Function that judges each record.")
    dead_letter_queue_name: QueueName = Field(
        "student-backup-audit-dead-letters", description="Queue of the records that the function failed."
    )
    undelivered_queue_name: QueueName = Field(
        "student-backup-audit-undelivered", description="Queue of those that EventBridge could not hand to it."
    )


class Snapshots(Section):
    """Copies of the account's database snapshots in another Region."""

    destination_region: Region | None = Field(None, description="Region that they are copied to; leave out for none.")
    retention_days: int = Field(35, ge=1, description="Days until a copy is deleted.")
    copy_prefix: str = Field(
        "rollbook", pattern=r"^[a-z][a-z0-9]{0,29}$", description="What a copy's name begins with."
    )
    kms_key_arn: str | None = Field(
        None, pattern=_KEY_ARN, description="Key of that Region for the copies; by default one is made."
    )
    source_key_arns: list[Annotated[str, Field(pattern=_KEY_ARN)]] = Field(
        default_factory=list, description="Customer-managed keys by which the databases are encrypted."
    )
    option_group_name: str | None = Field(
        None, min_length=1, description="Option group of that Region, for databases that need their own to be restored."
    )
    function_name: FunctionName = Field("CopyDatabaseSnapshot", description="Function that copies.")
    rule_name: ScheduleName = Field("database-snapshots", description="Rule on RDS's events, and its log group.")
    log_retention_days: RetentionDays = Field(30, description="Days for which the log group keeps an event.")
    dead_letter_queue_name: QueueName = Field(
        "database-snapshot-dead-letters", description="Queue of the snapshots that could not be copied."
    )
    undelivered_queue_name: QueueName = Field(
        "database-snapshot-undelivered", description="Queue of the events that EventBridge could not hand over."
    )

    @model_validator(mode="after")
    def _key_is_there(self) -> Self:
        if self.kms_key_arn and self.kms_key_arn.split(":")[3] != self.destination_region:
            raise ValueError("kms_key_arn must be a key of destination_region; a key encrypts in its own Region only")
        return self


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
    """A copy of each recovery point of a rule, in another Region's vault of the same name."""

    region: Region = Field(description="Region of the copy.")
    delete_after_days: int = Field(35, ge=1, description="Days until the copy is deleted.")
    cold_storage_after_days: int | None = Field(None, ge=1, description="Days until it moves to cold storage.")

    @model_validator(mode="after")
    def _cold_long_enough(self) -> Self:
        _check_cold(self.cold_storage_after_days, self.delete_after_days)
        return self


class VaultRule(Section):
    """A rule of the backup plan."""

    name: str = Field("RuleForDailyBackups", pattern=r"^[a-zA-Z0-9_.-]{1,50}$", description="Rule.")
    frequency: Literal["hourly", "daily", "weekly", "monthly"] | None = Field(
        None, description="When, by name: at 05:00, weekly on Sunday, monthly on the first; or say it by expression."
    )
    schedule_expression: ScheduleExpression | None = Field(
        None, description="cron(…), once an hour at most; by default cron(0 5 ? * * *)."
    )
    time_zone: TimeZone = Field("UTC", description="IANA zone in which the expression is read.")
    start_window_minutes: int = Field(
        60, ge=60, description="Minutes within which a job must start, or it expires (AWS Backup: 60 or more)."
    )
    completion_window_minutes: int = Field(
        120, ge=120, description="Minutes from the schedule within which a job must end, or it is cancelled."
    )
    delete_after_days: int | None = Field(35, ge=1, description="Days until a recovery point is deleted.")
    cold_storage_after_days: int | None = Field(
        None, ge=1, description="Days until it moves to cold storage, where it stays for 90 days or more."
    )
    continuous: bool = Field(
        False, description="Continuous backup, where the resource has it (Aurora, RDS, S3, SAP HANA; not DynamoDB)."
    )
    recovery_point_tags: dict[str, str] = Field(default_factory=dict, description="Tags of the recovery points.")
    copies: list[VaultCopy] = Field(default_factory=list, description="Copies in other Regions.")

    @property
    def expression(self) -> str:
        """Return the schedule as AWS Backup takes it."""
        return self.schedule_expression or _FREQUENCIES[self.frequency or "daily"]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.frequency and self.schedule_expression:
            raise ValueError("frequency and schedule_expression say the same thing; keep one")
        if not self.expression.startswith("cron("):
            raise ValueError(f"schedule_expression = {self.expression!r}: AWS Backup takes cron(…) only")
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
                f"completion_window_minutes = {self.completion_window_minutes} must be 60 or more past "
                f"start_window_minutes = {self.start_window_minutes} (AWS Backup's minimum)"
            )
        if self.delete_after_days is not None:
            _check_cold(self.cold_storage_after_days, self.delete_after_days)
        if self.continuous and (self.cold_storage_after_days or not 1 <= (self.delete_after_days or 0) <= 35):
            raise ValueError("continuous = true keeps 1 to 35 days and takes no cold storage; set delete_after_days so")
        return self


class VaultSelection(Section):
    """What a plan backs up."""

    name: str = Field("TagBasedBackupSelection", pattern=r"^[a-zA-Z0-9_.-]{1,50}$", description="Selection.")
    any_tags: dict[str, str] = Field(default_factory=dict, description="Resources that have one of these tags.")
    all_tags: dict[str, str] = Field(default_factory=dict, description="Resources that have all of these tags.")
    resources: list[str] = Field(default_factory=list, description="Resources by ARN, `*` for any characters.")
    not_resources: list[str] = Field(default_factory=list, description="Resources that are left out, by ARN.")

    @model_validator(mode="after")
    def _selects(self) -> Self:
        if not (self.any_tags or self.all_tags or self.resources):
            raise ValueError("selects nothing; give any_tags, all_tags or resources")
        if self.any_tags and self.all_tags:
            raise ValueError("any_tags and all_tags cannot be in one selection; write two")
        return self


class VaultLock(Section):
    """A lock of the vault: nobody shortens or deletes what is in it before its time."""

    mode: Literal["governance", "compliance"] = Field(
        "governance", description="`governance`: who has the permission may take it off; `compliance`: nobody, ever."
    )
    min_retention_days: int = Field(1, ge=1, le=36_500, description="A recovery point is kept for these days at least.")
    max_retention_days: int = Field(36_500, ge=1, le=36_500, description="And for these at most.")
    changeable_for_days: int = Field(
        3, ge=3, le=36_500, description="Compliance: days of grace until nobody can take the lock off (3 or more)."
    )
    confirm_compliance: str | None = Field(
        None, description="Compliance: the vault's name once more, as this cannot be undone, not by AWS either."
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
    """Restores that AWS Backup makes to test, validated item by item."""

    enabled: bool = Field(False, description="Make them. Each restores the whole table, and is paid for.")
    plan_name: str = Field(
        "student_restore_testing", pattern=r"^[a-zA-Z0-9_]{1,50}$", description="Plan; letters, digits, underscores."
    )
    selection_name: str = Field(
        "student_records", pattern=r"^[a-zA-Z0-9_]{1,50}$", description="Selection; letters, digits, underscores."
    )
    schedule_expression: ScheduleExpression = Field("cron(0 7 ? * SUN *)", description="cron(…).")
    schedule_time_zone: TimeZone = Field("UTC", description="IANA zone in which the expression is read.")
    start_window_hours: int = Field(1, ge=1, le=168, description="Hours within which a restore may start (1 to 168).")
    selection_window_days: int = Field(
        7, ge=1, le=365, description="Days within which the newest recovery point is taken (1 to 365)."
    )
    validation_window_hours: int = Field(
        4, ge=1, le=168, description="Hours that the table is kept for its validation (1 to 168)."
    )
    function_name: FunctionName = Field("ValidateRestoredTable", description="Function that validates.")
    memory_mb: int = Field(512, ge=128, le=10240, description="Its memory, MB (Lambda: 128 to 10,240).")
    dead_letter_queue_name: QueueName = Field(
        "restore-validation-dead-letters", description="Queue of the restores that could not be validated."
    )
    undelivered_queue_name: QueueName = Field(
        "restore-validation-undelivered", description="Queue of those that EventBridge could not hand over."
    )


class Vault(Section):
    """AWS Backup: one plan for everything that carries a tag."""

    enabled: bool = Field(True, description="Make vault, plan and selections.")
    vault_name: str = Field("StudentBackupVault", pattern=r"^[a-zA-Z0-9_-]{2,50}$", description="Vault.")
    plan_name: str = Field("StudentBackupPlan", pattern=r"^[a-zA-Z0-9_.-]{1,50}$", description="Plan.")
    role_name: RoleName = Field("StudentAwsBackupRole", description="Role under which AWS Backup works.")
    customer_key: bool = Field(
        False, description="Encrypt each vault with a key of its own (1 dollar a month) instead of AWS Backup's."
    )
    rules: list[VaultRule] = Field(default_factory=lambda: [VaultRule()], description="When, how long, where to.")
    selections: list[VaultSelection] = Field(
        default_factory=lambda: [VaultSelection(any_tags={"backup": "daily"})], description="What."
    )
    lock: VaultLock | None = Field(None, description="Lock of the vault; leave out for none.")
    notifications: list[Notification] = Field(
        default=["RECOVERY_POINT_MODIFIED", "BACKUP_PLAN_MODIFIED"],
        description="What the vault itself tells the alert topic; failed jobs come by rules.",
    )
    region_opt_in: dict[str, bool] = Field(
        default_factory=dict,
        description="AWS Backup's services by name, each on or off. They hold for the whole account and Region, so "
        "list them all, as `aws backup describe-region-settings` shows them; leave out to touch none. DynamoDB's cold "
        "storage and copies need `DynamoDB = true`.",
    )
    restore_testing: RestoreTesting = RestoreTesting()
    audit_manager: bool = Field(False, description="Have Backup Audit Manager check it all, and report every day.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [rule.name for rule in self.rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two rules are named {name}; AWS Backup wants each its own name")
        lock = self.lock
        if lock is None:
            return self
        if lock.mode == "compliance" and lock.confirm_compliance != self.vault_name:
            raise ValueError(
                "a compliance lock cannot be taken off, and what is in the vault cannot be deleted before its time, by "
                f'nobody; if that is wanted, set lock.confirm_compliance = "{self.vault_name}"'
            )
        for rule in self.rules:
            days = rule.delete_after_days
            if days is None or not lock.min_retention_days <= days <= lock.max_retention_days:
                raise ValueError(
                    f"the rule {rule.name} deletes after {days} days, and the lock keeps from "
                    f"{lock.min_retention_days} to {lock.max_retention_days}: every job would fail"
                )
        return self


class Objectives(Section):
    """What is wanted of the backups; reports hold what was reached against it."""

    rpo_hours: float = Field(25, gt=0, description="Hours of changes that may be lost at most.")
    rto_minutes: float = Field(60, gt=0, description="Minutes that it may take to bring the records back.")


class WeeklyReport(Section):
    """The weekly mail on all backups."""

    enabled: bool = Field(True, description="Send it.")
    function_name: FunctionName = Field("SendBackupReport", description="Function that sends it.")
    memory_mb: int = Field(256, ge=128, le=10240, description="Its memory, MB (Lambda: 128 to 10,240).")
    schedule_name: ScheduleName = Field("WeeklyBackupReport", description="Schedule, in the group of the backup's.")
    schedule_role_name: RoleName = Field(
        "WeeklyBackupReportRole", description="Execution role of the schedule; may invoke the report only."
    )
    schedule_expression: ScheduleExpression = Field("cron(0 6 ? * MON *)", description="cron(…), rate(…) or at(…).")
    schedule_time_zone: TimeZone = Field("UTC", description="IANA zone in which the expression is read.")
    days: int = Field(7, ge=1, le=366, description="Days that it covers.")
    dead_letter_queue_name: QueueName = Field(
        "backup-report-dead-letters", description="Queue of the reports that failed three times."
    )
    schedule_dead_letter_queue_name: QueueName = Field(
        "backup-report-schedule-dead-letters", description="Queue of those that the Scheduler could not start."
    )


class Monitoring(Section):
    """Alarms and the dashboard."""

    enabled: bool = Field(True, description="Make them.")
    watch: Literal["all", "backups"] = Field(
        "all",
        description="Which functions and queues: all, or those of the backup alone. An alarm costs 0.10 dollars a "
        "month; the first ten of an account are free.",
    )
    grace_hours: float = Field(
        3, ge=0, le=72, description="Hours past its time after which a missing backup or drill is told of."
    )
    duration_percent: int = Field(
        90, ge=10, le=99, description="Part of its time limit, in percent, at which a function is told of."
    )
    dashboard_name: str = Field("student-backups", pattern=r"^[A-Za-z0-9_-]{1,255}$", description="Dashboard.")


class State(Section):
    """Where Terraform keeps the state. Without a bucket it is a file beside the project."""

    bucket: BucketName | None = Field(None, description="S3 bucket of the state; it must exist before `deploy`.")
    region: str | None = Field(None, description="Region of that bucket; the environment's own by default.")


class Settings(Section):
    """All settings of one environment."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="The file's name without `.toml`.")
    region: Region = Field(description="AWS Region, for example ap-southeast-1.")
    time_zone: TimeZone = Field("UTC", description="IANA zone of the stamp in a backup's name.")
    emulated: bool = Field(False, description="The stack runs on the embedded AWS; see `infra/emulator/`.")
    force_destroy: bool = Field(
        False, description="Let `terraform destroy` delete buckets that still hold objects. Never in production."
    )
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of every resource.")
    records: Records
    functions: Functions
    api: Api = Api()
    site: Site
    mail: Mail
    backups: Backups
    restores: Restores = Restores()
    drills: Drills = Drills()
    events: Events = Events()
    signups: SignUps = SignUps()
    alerts: Alerts = Alerts()
    audit: Audit = Audit()
    snapshots: Snapshots = Snapshots()
    vault: Vault = Vault()
    monitoring: Monitoring = Monitoring()
    objectives: Objectives = Objectives()
    weekly_report: WeeklyReport = WeeklyReport()
    state: State = State()

    def _check_fleet(self) -> None:
        plans = self.backed_up_tables
        for what, names in {
            "table": [plan.table_name for plan in plans],
            "schedule": [plan.schedule_name for plan in plans],
        }.items():
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"[[backups.tables]]: two have the {what} {name}; each needs its own")
        for plan in plans:
            _check_window(plan.expression, plan.time_zone, plan.window_minutes)
            region = plan.how.replicate_to
            if region == self.region:
                raise ValueError(f"replicate_to = {region} of {plan.table_name} is where the backups are; name another")
            if region and len(self.replica_bucket_name(region)) > 63:
                raise ValueError(
                    f"{self.replica_bucket_name(region)!r} is longer than S3's 63 characters; set "
                    "backups.replica_bucket_prefix"
                )

    @property
    def reported_tables(self) -> list[ReportedTable]:
        """Return every table that is backed up, as reports want it."""
        return [
            ReportedTable(
                table_name=plan.table_name,
                key_prefix=plan.key_prefix,
                schedule_name=plan.schedule_name,
                expression=plan.expression,
                time_zone=plan.time_zone,
                window_minutes=plan.window_minutes,
                engine=plan.how.engine,
                days=_days_in_classes(
                    plan.how.infrequent_access_after_days, plan.how.glacier_after_days, plan.how.expire_after_days
                ),
                replicated_to=plan.how.replicate_to or "",
                memory_mb=self.backups.memory_mb,
                architecture=self.functions.architecture,
            )
            for plan in self.backed_up_tables
        ]

    @property
    def backed_up_tables(self) -> list[TablePlan]:
        """Return every table that the own engine backs up, the records first."""
        backups = self.backups
        first = TablePlan(
            self.records.table_name,
            backups.key_prefix,
            backups.schedule_name,
            backups.schedule_expression,
            backups.schedule_time_zone,
            backups.flexible_window_minutes,
            backups,
        )
        named = [table for table in backups.tables if table.frequency]
        return [first] + [
            TablePlan(
                table.table_name,
                table.key_prefix or f"{table.table_name}/",
                table.schedule_name or f"Backup-{table.table_name}"[:64],
                table.schedule_expression
                or _spread(table.frequency or "daily", named.index(table), len(named), backups.spread_minutes),
                table.schedule_time_zone,
                backups.flexible_window_minutes,
                table,
            )
            for table in backups.tables
        ]

    def replica_bucket_name(self, region: str) -> str:
        """Return the bucket of the copies in a Region."""
        return f"{self.backups.replica_bucket_prefix or self.backups.bucket_name}-{region}"

    @property
    def audit_bucket_name(self) -> str:
        """Return the bucket of the audit trail."""
        return self.audit.bucket_name or f"{self.backups.bucket_name}-audit"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.audit.enabled and len(self.audit_bucket_name) > 63:
            raise ValueError(
                f"[audit] bucket_name: {self.audit_bucket_name!r} is longer than S3's 63 characters; set one"
            )
        if any(copy.region == self.region for rule in self.vault.rules for copy in rule.copies):
            raise ValueError(
                f"[vault] rules.copies.region: {self.region} is where the vault is; a copy there protects from nothing"
            )
        self._check_fleet()
        if self.monitoring.enabled:
            timings = {
                f"backup of {plan.table_name}": (plan.expression, plan.time_zone) for plan in self.backed_up_tables
            }
            timings["drill"] = (self.drills.schedule_expression, self.drills.schedule_time_zone)
            for what, (expression, zone) in timings.items():
                try:
                    schedules.hours_of_silence(expression, zone, 0, timedelta(0))
                except schedules.ScheduleError as error:
                    raise ValueError(f"the schedule of the {what}: {error}") from None
        if self.snapshots.destination_region == self.region:
            raise ValueError(
                f"[snapshots] destination_region: {self.region} is where the databases are; name another Region"
            )
        return self


def load(path: Path) -> Settings:
    """Read and check one environment file.

    Raises:
        SettingsError: with one line per fault: file, key, value, why, what to write instead.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is no TOML: {error}") from None
    if "name" in values:
        raise SettingsError(f"{path}: name: the file's name is the environment's name; remove the key")
    try:
        return Settings.model_validate({"name": path.stem, **values})
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(path, fault) for fault in error.errors())) from None


def load_all(folder: Path = ENVIRONMENTS) -> list[Settings]:
    """Read every environment of a folder, by name.

    Raises:
        SettingsError: a file is not usable, or there is none.
    """
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise SettingsError(f"{folder}: no environment here; copy environments/workshop.toml and change it")
    return [load(file) for file in files]


def _sentence(path: Path, fault: Any) -> str:
    key = ".".join(str(part) for part in fault["loc"]) or "(whole file)"
    if fault["type"] == "extra_forbidden":
        return f"{path}: {key}: no such setting; remove it, or see docs/settings.md for the names"
    if fault["type"] == "missing":
        return f"{path}: {key}: is missing; {_describe(fault['loc'])}"
    reason = fault["msg"].removeprefix("Value error, ")
    value = "" if isinstance(fault["input"], dict | BaseModel) else f" = {fault['input']!r}"
    return f"{path}: {key}{value}: {reason}. {_describe(fault['loc'])}".rstrip()


def _describe(location: tuple[Any, ...]) -> str:
    model: Any = Settings
    description = ""
    for part in location:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            break
        description, model = field.description or "", field.annotation
    return f"It is: {description}" if description else ""
