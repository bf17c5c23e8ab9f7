"""The resources that every execution uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rollbook.engine.deadline import Clock
from rollbook.engine.history import History


@dataclass(frozen=True)
class Resources:
    """The clients, the bucket of the backups, the history and the clock.

    Arguments:
        dynamodb: a client of `raw.Aws`.
        s3: a boto3 S3 client.
        clock: returns the time now (aware).
    """

    dynamodb: Any
    s3: Any
    bucket: str
    history: History
    clock: Clock
