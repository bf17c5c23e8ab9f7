"""Which engine, format, compression and kind of export go together. A test compares the table with the settings."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from rollbook.contract.jobs import BackupJob, Compression, Engine, ExportType, Format
from tests.unit.engine import JOB


class Combination(NamedTuple):
    """How a table is backed up."""

    engine: Engine
    format: Format
    compression: Compression
    export_type: ExportType

    def job(self, **values: object) -> BackupJob:
        """Return the job of the backup function."""
        return replace(JOB, **self._asdict(), **values)  # type: ignore[arg-type]


VALID = (
    Combination("scan", "json", "none", "full"),
    Combination("scan", "json", "gzip", "full"),
    Combination("scan", "dynamodb-export", "none", "full"),
    Combination("scan", "dynamodb-export", "gzip", "full"),
    Combination("scan", "dynamodb-export", "zstd", "full"),
    Combination("auto", "json", "none", "full"),
    Combination("auto", "json", "gzip", "full"),
    Combination("auto", "dynamodb-export", "none", "full"),
    Combination("auto", "dynamodb-export", "gzip", "full"),
    Combination("auto", "dynamodb-export", "zstd", "full"),
    # What is not scanned has DynamoDB's own compression; the setting is of what a scan writes.
    Combination("export", "dynamodb-export", "none", "full"),
    Combination("export", "dynamodb-export", "gzip", "full"),
    Combination("export", "dynamodb-export", "zstd", "full"),
    Combination("export", "dynamodb-export", "none", "incremental"),
    Combination("export", "dynamodb-export", "gzip", "incremental"),
    Combination("export", "dynamodb-export", "zstd", "incremental"),
)
