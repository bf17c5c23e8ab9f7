"""The backup settings of one table, and the settings that a report needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Engine = Literal["auto", "scan", "export"]
Format = Literal["json", "dynamodb-export"]
Compression = Literal["none", "gzip", "zstd"]
ExportType = Literal["full", "incremental"]


@dataclass(frozen=True, kw_only=True)
class BackupJob:
    """The backup settings of one table. They are variables of the backup function and part of a schedule's message.

    Arguments:
        key_prefix: the beginning of every backup's key.
        segments: how many parts of the table a scan reads in parallel.
        read_units_per_second: limit of a scan; None for no limit.
        full_every_days: age at which a chain of incremental exports begins again with a full one.
        object_tags: tags of the objects as a query string, `key=value&…`.
        consistent_reads: whether a scan uses strongly consistent reads.
        doubtful_change_percent, doubtful_change_items: a backup whose number of items differs from the usual by more
            than both is not called good.
        expire_after_days: when S3 deletes the backup; 0 if it does not expire by age.
    """

    table_name: str
    key_prefix: str = ""
    engine: Engine
    format: Format
    compression: Compression
    export_type: ExportType
    segments: int
    read_units_per_second: float | None = None
    full_every_days: int = 7
    object_tags: str = ""
    consistent_reads: bool = False
    doubtful_change_percent: float = 30.0
    doubtful_change_items: int = 10
    expire_after_days: int = 0


@dataclass(frozen=True, kw_only=True)
class DrillJob:
    """The drill of one table. The values are variables of the drill function and part of a schedule's message.

    Arguments:
        scratch_prefix: the beginning of the name of a scratch table.
        rpo_hours: the greatest allowed age of the newest backup's data.
        rto_minutes: the greatest allowed duration of its restore.
        kms_key_arn: the customer managed key of the table, which encrypts the scratch table, too; empty for AWS's key.
    """

    table_name: str
    scratch_prefix: str
    rpo_hours: float
    rto_minutes: float
    kms_key_arn: str = ""


@dataclass(frozen=True)
class ReportedTable:
    """The settings of a backed-up table that a report compares with the facts.

    Arguments:
        days: days that a backup of 128 KB or more spends in each storage class, in order.
        moves_small: whether smaller backups move to Glacier too; otherwise they stay in Standard.
        replicated_to: Region of the copies; empty for no copies.
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
