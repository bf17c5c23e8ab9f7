"""The resources that every execution uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rollbook.engine import recorded, stored
from rollbook.engine.deadline import Clock
from rollbook.engine.history import History
from rollbook.engine.stored import StoredBackup


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

    def open_backup(self, key: str, *, reads_all: bool = True) -> StoredBackup:
        """Open a backup together with what the history records of it.

        Arguments:
            reads_all: see `recorded.find`.

        Raises:
            Corrupted: the object is not a backup, or its beginning is damaged.
            botocore.exceptions.ClientError: the object does not exist, or access is denied.
        """
        return stored.open_backup(self.s3, self.bucket, key, recorded.find(self.history, key, reads_all=reads_all))
