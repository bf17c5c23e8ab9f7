"""The settings of the event bus, of the welcome mails and of the copies of database snapshots."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from infra.settings.fields import (
    KEY_ARN,
    FunctionName,
    QueueName,
    Region,
    RetentionDays,
    ScheduleName,
    Section,
    TableName,
)


class Events(Section):
    """The event bus."""

    # The archive has the same name, which has at most 48 characters (EventBridge API reference, CreateArchive).
    bus_name: str = Field(
        "student-events",
        pattern=r"^[.\-_A-Za-z0-9]{1,48}$",
        description="Bus of all events, and its archive (EventBridge: up to 48 characters).",
    )
    log_retention_days: RetentionDays = Field(7, description="Days for which the bus's log group keeps each event.")
    archive_days: int = Field(30, ge=1, description="Days for which the archive keeps each event for a replay.")

    @model_validator(mode="after")
    def _is_ours(self) -> Self:
        if self.bus_name == "default":
            raise ValueError("bus_name = 'default' is the bus that every account has; choose another name")
        return self


class SignUps(Section):
    """Welcome mails for users of another application, which publishes an event for each sign-up."""

    enabled: bool = Field(True, description="Send a welcome mail.")
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
        "user-signup-undelivered", description="Queue of the sign-ups that EventBridge could not deliver."
    )


class Snapshots(Section):
    """Copies of the account's database snapshots in another Region."""

    destination_region: Region | None = Field(None, description="Region of the copies; leave out for none.")
    retention_days: int = Field(35, ge=1, description="Days until a copy is deleted.")
    copy_prefix: str = Field("rollbook", pattern=r"^[a-z][a-z0-9]{0,29}$", description="Beginning of each copy's name.")
    kms_key_arn: str | None = Field(
        None, pattern=KEY_ARN, description="KMS key of that Region for the copies; by default one is created."
    )
    source_key_arns: list[Annotated[str, Field(pattern=KEY_ARN)]] = Field(
        default_factory=list, description="Customer-managed keys that encrypt the databases."
    )
    option_group_name: str | None = Field(
        None, min_length=1, description="Option group of that Region, for databases that need one to be restored."
    )
    function_name: FunctionName = Field("CopyDatabaseSnapshot", description="Function that copies the snapshots.")
    rule_name: ScheduleName = Field("database-snapshots", description="Rule on RDS's events, and its log group.")
    log_retention_days: RetentionDays = Field(30, description="Days for which the log group keeps an event.")
    dead_letter_queue_name: QueueName = Field(
        "database-snapshot-dead-letters", description="Queue of the snapshots that could not be copied."
    )
    undelivered_queue_name: QueueName = Field(
        "database-snapshot-undelivered", description="Queue of the events that EventBridge could not deliver."
    )

    @model_validator(mode="after")
    def _key_is_there(self) -> Self:
        if self.kms_key_arn and self.kms_key_arn.split(":")[3] != self.destination_region:
            raise ValueError("kms_key_arn must be a key in destination_region; a key works only in its own Region")
        return self
