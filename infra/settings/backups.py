"""The settings of Rollbook's own backups."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated, Literal, Self
from urllib.parse import urlencode

from annotated_types import MaxLen
from pydantic import Field, field_validator, model_validator

from infra.settings.fields import (
    KEY_ARN,
    NEVER,
    BucketName,
    FunctionName,
    QueueName,
    Region,
    RoleName,
    ScheduleExpression,
    ScheduleName,
    Section,
    TableName,
    TimeZone,
    check_window,
)
from infra.settings.retention import FEWEST_NONCURRENT_DAYS, Retention
from rollbook.contract.jobs import BackupJob, Compression, Engine, ExportType, Format
from rollbook.contract.retention import MOST_OTHER_TAGS, OWN_TAGS, Policy, RetainedTable


class TableBackups(Section):
    """How a table is backed up, and how long its backups are kept."""

    engine: Engine = Field(
        "auto",
        description="`scan`: the function reads the table. `export`: DynamoDB exports it, at any size, without read "
        "units; needs point-in-time recovery. `auto`: scan if the time is enough, otherwise export.",
    )
    format: Format = Field(
        "json",
        description="What a scan writes: one JSON document, or AWS's export layout, which ImportTable, Athena and "
        "Glue read. An export always has AWS's layout.",
    )
    compression: Compression = Field(
        "none", description="Compression of what a scan writes; `zstd` only in the export layout."
    )
    export_type: ExportType = Field(
        "full",
        description="Kind of export. `incremental`: the changes since the last export, 15 minutes to 24 hours "
        "(DynamoDB's limits); full, if they cannot continue the last export.",
    )
    full_every_days: int = Field(
        7,
        ge=1,
        description="Age of the last full export at which the next incremental one is full. At most half of the days "
        "until backups expire or move to Glacier, so that the base of a chain outlives its increments.",
    )
    segments: int = Field(
        2,
        ge=1,
        le=64,
        description="Parts of the table that a scan reads in parallel; each needs memory for a page (1 MB).",
    )
    read_units_per_second: float | None = Field(
        None, gt=0, description="Limit of a scan, in read units a second (8 KB each); leave out for none."
    )
    consistent_reads: bool = Field(
        False, description="Scan with strongly consistent reads, which cost twice the read units."
    )
    doubtful_change_percent: float = Field(
        30,
        ge=0,
        le=1_000_000,
        description="A backup whose number of items differs from the median of the last 28 days by more than this, "
        "percent, is not called good.",
    )
    doubtful_change_items: int = Field(10, ge=0, description="It must differ by more than this number of items, too.")
    infrequent_access_after_days: Annotated[int | None, NEVER] = Field(
        30, ge=30, description="Days until a backup moves to Standard-IA (S3: 30 or more); 0 for never."
    )
    glacier_after_days: Annotated[int | None, NEVER] = Field(
        90, ge=1, description="Days until it moves to Glacier Flexible Retrieval; 0 for never."
    )
    expire_after_days: int = Field(
        365, ge=1, description="Days until a backup is deleted; with a `retention`, only the copies in another Region."
    )
    retention: Retention | None = Field(
        None, description="Which backups are kept, by number instead of age; leave out to delete them by age."
    )
    tags: dict[
        Annotated[str, Field(max_length=128, pattern=r"^(?:[A-Za-z0-9 _.:/=+@-])+$")],
        Annotated[str, Field(max_length=256, pattern=r"^[A-Za-z0-9 _.:/=+@-]*$")],
    ] = Field(
        default_factory=dict,
        description="Tags of the objects that a scan writes, up to 8; DynamoDB's own export takes none.",
    )
    replicate_to: Region | None = Field(
        None, description="Region to which S3 copies each backup within minutes; leave out for none."
    )

    @field_validator("tags")
    @classmethod
    def _leave_room(cls, tags: dict[str, str]) -> dict[str, str]:
        if len(tags) > MOST_OTHER_TAGS:
            raise ValueError(
                f"{len(tags)} tags are too many; S3 accepts 10 on an object, and two are reserved for the mark and the "
                f"pin of the retention: write {MOST_OTHER_TAGS} or fewer"
            )
        if own := OWN_TAGS.intersection(tags):
            raise ValueError(f"the tag {min(own)} is reserved for the retention; choose another name")
        return tags

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.retention and not self.replicate_to and "expire_after_days" in self.model_fields_set:
            raise ValueError(
                "expire_after_days has no effect with retention, because the backups have no copies in another Region; "
                "remove expire_after_days, or set replicate_to"
            )
        if self.engine == "export" and self.format != "dynamodb-export":
            raise ValueError('engine = "export" writes AWS\'s layout; set format = "dynamodb-export", too')
        if self.export_type == "incremental" and self.engine != "export":
            raise ValueError('export_type = "incremental" needs engine = "export"; set both')
        ends = {"expire_after_days": self.expire_after_days, "glacier_after_days": self.glacier_after_days}
        name, days = min(((name, days) for name, days in ends.items() if days is not None), key=lambda end: end[1])
        if self.export_type == "incremental" and 2 * self.full_every_days > days:
            raise ValueError(
                f"full_every_days = {self.full_every_days} must be at most half of {name} = {days}, because an "
                "increment needs its full export"
            )
        if self.compression == "zstd" and self.format == "json":
            raise ValueError(
                'compression = "zstd" needs format = "dynamodb-export"; a JSON document allows gzip or none'
            )
        steps = [
            (name, days)
            for name in ("infrequent_access_after_days", "glacier_after_days", "expire_after_days")
            if (days := getattr(self, name)) is not None
        ]
        for (earlier, day), (later, more) in itertools.pairwise(steps):
            if more <= day:
                raise ValueError(f"{later} = {more} must be more than {earlier} = {day}")
        cold = (self.infrequent_access_after_days, self.glacier_after_days)
        if None not in cold and (self.glacier_after_days or 0) < (self.infrequent_access_after_days or 0) + 30:
            raise ValueError("glacier_after_days must exceed infrequent_access_after_days by 30 or more (S3's minimum)")
        return self


@dataclass(frozen=True)
class TablePlan:
    """When and how a table is backed up."""

    table_name: str
    key_prefix: str
    schedule_name: str
    expression: str
    time_zone: str
    window_minutes: int
    options: TableBackups

    @property
    def job(self) -> BackupJob:
        """Return the job of the backup function for the table."""
        options = self.options
        return BackupJob(
            table_name=self.table_name,
            key_prefix=self.key_prefix,
            engine=options.engine,
            format=options.format,
            compression=options.compression,
            export_type=options.export_type,
            full_every_days=options.full_every_days,
            segments=options.segments,
            read_units_per_second=options.read_units_per_second,
            object_tags=urlencode(sorted(options.tags.items())),
            consistent_reads=options.consistent_reads,
            doubtful_change_percent=options.doubtful_change_percent,
            doubtful_change_items=options.doubtful_change_items,
            # With a retention, a backup has no last day, and its absence is damage unless it was marked.
            expire_after_days=0 if options.retention else options.expire_after_days,
        )

    @property
    def retained(self) -> RetainedTable | None:
        """Return the table for the function that marks backups; None if they are deleted by age."""
        if self.options.retention is None:
            return None
        return RetainedTable(self.table_name, self.key_prefix, Policy(**self.options.retention.model_dump()))


class FleetTable(TableBackups):
    """A further table of the account, backed up by the same function and schedule group."""

    table_name: TableName = Field(description="DynamoDB table, created elsewhere.")
    frequency: Literal["hourly", "daily", "weekly", "monthly"] | None = Field(
        None, description="How often; the tables are spread over time. Or give an expression."
    )
    schedule_expression: ScheduleExpression | None = Field(None, description="cron(…), rate(…) or at(…).")
    schedule_time_zone: TimeZone = Field("UTC", description="IANA zone in which the expression is read.")
    schedule_name: ScheduleName | None = Field(None, description="Schedule; by default `Backup-<table>`.")
    key_prefix: str | None = Field(
        None, pattern=r"^[A-Za-z0-9!_.*'()/-]{1,512}$", description="Beginning of each key; by default `<table>/`."
    )
    kms_key_arn: str | None = Field(
        None,
        pattern=KEY_ARN,
        description="Customer-managed KMS key that encrypts the table. The function gets permission to read with it. "
        "Leave out if the key is AWS's.",
    )
    drill_schedule_name: ScheduleName | None = Field(
        None, description="Schedule of the table's drill; by default `Drill-<table>`."
    )
    drill_schedule_expression: ScheduleExpression | None = Field(
        None, description="cron(…), rate(…) or at(…) of the table's drill; by default the expression of [drills]."
    )
    rpo_hours: float | None = Field(
        None,
        gt=0,
        description="Maximum loss, in hours of changes (RPO). By default that of [objectives], or the longest time "
        "between two backups if that is longer.",
    )
    rto_minutes: float | None = Field(
        None, gt=0, description="Maximum time of a restore, in minutes (RTO); by default that of [objectives]."
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
    reserved_concurrency: int = Field(
        -1, ge=-1, le=1000, description="Concurrent executions reserved for it; -1 for none."
    )

    @field_validator("reserved_concurrency")
    @classmethod
    def _may_run(cls, executions: int) -> int:
        if executions == 0:
            raise ValueError("0 prevents the function from running; write 1 or more, or -1 to reserve none")
        return executions

    finish_function_name: FunctionName = Field(
        "FinishStudentExport", description="Function that completes an export; its manifest invokes it."
    )
    export_limit_hours: float = Field(
        6, gt=0, le=168, description="Hours after which an export that is still running is reported as silent."
    )
    history_table_name: TableName = Field("backup-executions", description="Table with one row per execution.")
    history_days: int = Field(400, ge=1, le=3650, description="Days until a row of the history expires.")
    key_prefix: str = Field(
        "students-backup-", pattern=r"^[A-Za-z0-9!_.*'()/-]{0,512}$", description="Beginning of each backup's key."
    )
    schedule_name: ScheduleName = Field(description="Schedule (up to 64 characters).")
    schedule_group: ScheduleName = Field(description="Schedule group of this stack.")
    schedule_description: str = Field(
        "Back up the student records and send the result by email.",
        max_length=512,
        description="Description of the schedule (Scheduler: up to 512 characters).",
    )
    schedule_role_name: RoleName = Field(description="Execution role of the schedule; may invoke the function only.")
    schedule_expression: ScheduleExpression = Field(description="cron(…), rate(…) or at(…).")
    schedule_time_zone: TimeZone = Field("UTC", description="IANA zone in which the expression is read.")
    flexible_window_minutes: int = Field(
        5,
        ge=0,
        le=1440,
        description="Minutes within which a run may start; 0 for exactly on time (Scheduler: 1 to 1,440).",
    )
    retry_attempts: int = Field(5, ge=0, le=185, description="Retries of the Scheduler (0 to 185).")
    retry_hours: float = Field(2, ge=1 / 60, le=24, description="Hours for which it retries (60 seconds to 24 hours).")
    # The names of the exports' queues are this name with `-exports` and `-watch`, and a queue's name has at most 80
    # characters.
    dead_letter_queue_name: Annotated[QueueName, MaxLen(72)] = Field(
        "student-backup-dead-letters", description="Queue of the runs that failed three times."
    )
    schedule_dead_letter_queue_name: QueueName = Field(
        "student-backup-schedule-dead-letters", description="Queue of the runs that the Scheduler could not start."
    )
    noncurrent_expire_days: int = Field(
        30,
        ge=1,
        description="Days for which S3 keeps an overwritten or deleted version; with a `retention` 14 or more, "
        "because a mark can be undone for that long.",
    )
    retention_function_name: FunctionName = Field(
        "MarkExpiredBackups", description="Function that marks the backups which a `retention` does not keep."
    )
    retention_dead_letter_queue_name: QueueName = Field(
        "student-retention-dead-letters", description="Queue of the markings that failed three times."
    )
    retention_undelivered_queue_name: QueueName = Field(
        "student-retention-undelivered", description="Queue of the events that EventBridge could not deliver to it."
    )
    move_small_backups: bool = Field(
        False,
        description="Move backups under 128 KB to colder classes, too. By default S3 keeps them in Standard. Glacier "
        "bills 40 KB extra for each object, so small objects cost more there.",
    )
    spread_minutes: int = Field(
        60, ge=1, le=720, description="Minutes over which the tables with a `frequency` are spread."
    )
    replica_bucket_prefix: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9.-]{2,46}$",
        description="Bucket of a Region's copies is `<prefix>-<region>`; by default the prefix is this bucket's name.",
    )
    replication_role_name: RoleName = Field("BackupReplicationRole", description="Role that S3 uses to copy.")
    tables: list[FleetTable] = Field(default_factory=list, description="Further tables of the account.")

    @model_validator(mode="after")
    def _undoable(self) -> Self:
        is_retained = self.retention is not None or any(table.retention for table in self.tables)
        if is_retained and self.noncurrent_expire_days < FEWEST_NONCURRENT_DAYS:
            raise ValueError(
                f"noncurrent_expire_days = {self.noncurrent_expire_days} is too short for a retention: a mark can be "
                f"undone only for that time; write {FEWEST_NONCURRENT_DAYS} or more"
            )
        return self

    @model_validator(mode="after")
    def _fleet(self) -> Self:
        check_window(self.schedule_expression, self.schedule_time_zone, self.flexible_window_minutes)
        prefixes = [self.key_prefix, *(table.key_prefix or f"{table.table_name}/" for table in self.tables)]
        for one, other in itertools.permutations(prefixes, 2):
            if other.startswith(one):
                raise ValueError(
                    f"the key prefix {other!r} begins with {one!r} of another table, so the lifecycle rules of both "
                    "would apply to its backups; set key_prefix"
                )
        return self
