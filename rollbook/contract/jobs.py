"""How one table is backed up, and what a report expects of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Engine = Literal["auto", "scan", "export"]
Format = Literal["json", "dynamodb-export"]
Compression = Literal["none", "gzip", "zstd"]
ExportType = Literal["full", "incremental"]


@dataclass(frozen=True, kw_only=True)
class BackupJob:
    """How one table is backed up: variables of the backup function, and what a schedule sends for its own table.

    Arguments:
        key_prefix: what the key of each of its backups begins with.
        segments: parts of the table that a scan reads at a time.
        read_units_per_second: ceiling of a scan; None for none.
        object_tags: tags of the objects as a query string, `key=value&…`.
    """

    table_name: str
    key_prefix: str = ""
    engine: Engine
    format: Format
    compression: Compression
    export_type: ExportType
    segments: int
    read_units_per_second: float | None = None
    object_tags: str = ""


@dataclass(frozen=True)
class ReportedTable:
    """The settings of a backed-up table; a report compares what happened with them.

    Arguments:
        days: days that a backup of 128 KB or more spends in each storage class, in order.
        moves_small: smaller backups move to Glacier too; otherwise they stay in Standard.
        replicated_to: Region of the copies; empty for none.
        memory_mb, architecture: of the backup function.
    """

    table_name: str
    schedule_name: str
    expression: str
    time_zone: str
    window_minutes: int
    days: dict[str, int]
    replicated_to: str
    memory_mb: int
    architecture: str
    moves_small: bool = False
