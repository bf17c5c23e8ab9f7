"""The setup of the backup functions, done once when a function starts."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rollbook.contract import pauses
from rollbook.contract.environment import Notifications
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb.raw import Aws
from rollbook.engine.history import History
from rollbook.engine.notifier import Notifier
from rollbook.engine.resources import Resources


def now() -> datetime:
    """Return the time now (aware)."""
    return datetime.now(UTC)


def deadline_of(context: Any) -> Deadline:
    """Return when an invocation ends. All pauses of the process end before it."""
    deadline = Deadline.after(context.get_remaining_time_in_millis() / 1000, int(context.memory_limit_in_mb))
    pauses.end_at(deadline.ends_at)
    return deadline


def holder_of(context: Any) -> str:
    """Return what identifies an invocation. Two deliveries of one event have the same request id."""
    return f"{context.aws_request_id}/{secrets.token_hex(4)}"


@dataclass(frozen=True)
class Setup:
    """The clients, the history, the notifier and the bucket of a function."""

    aws: Aws
    history: History
    notifier: Notifier
    bucket: str

    @classmethod
    def of(cls, environment: Notifications, default_table: str = "") -> Setup:
        """Set up a function from its environment.

        Arguments:
            default_table: the table of old executions that name none.
        """
        aws = Aws()
        history = History(aws.dynamodb, environment.history_table_name, environment.history_days, default_table)
        notifier = Notifier(environment, history=history, client=aws.client, clock=now)
        return cls(aws, history, notifier, environment.s3_bucket_name)

    def resources(self, s3: Any) -> Resources:
        """Return the resources of an execution.

        Arguments:
            s3: a boto3 S3 client.
        """
        return Resources(self.aws.dynamodb, s3, self.bucket, self.history, now)
