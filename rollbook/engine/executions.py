"""The history row of one execution of a backup, restore or drill."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import msgspec

# While the status is EXPORTING, AWS runs the export. The arrival of its manifest completes the execution.
RUNNING, EXPORTING, COMPLETED, FAILED = "running", "exporting", "completed", "failed"
# The last invocation ended, and the next one continues the scan.
CONTINUING = "continuing"
# The longest invocation of Lambda. A running execution renews its lease far more often.
_LONGEST_SILENCE = timedelta(minutes=15)
# A scan may take so long. S3 deletes the parts of an upload that is not completed after a day
# (`infra/constructs/lifecycle.py`).
LONGEST_SCAN = timedelta(hours=20)
Row = dict[str, Any]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
# Field names of earlier releases, and the names of today.
_FORMER_NAMES = {"unlike": "differing", "besides": "extra"}


class UnreadableRow(ValueError):
    """A history row is invalid. The message names it and says why."""


class Execution(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A history row. A field that the row does not have is None or an empty text.

    Arguments:
        kind: `backup`, `restore` or `drill`.
        table_name: the table that was backed up or drilled, or that was restored into.
        holder: the invocation or process that runs the execution.
        lease_until: when the holder's lease ends, in seconds since 1970.
        claimed_at: when the execution was claimed for the first time; `started_at` is the time of its last try.
        tries: how often it was claimed.
        source: what started a backup: `schedule`, `api` or `manual`.
        run_at: the time of the schedule for which a backup was made; the data is of `read_from` to `read_until`.
        is_consistent: whether a scan used strongly consistent reads.
        doubtful_change_percent, doubtful_change_items: the limits of an export that is running.
        expire_after_days: when S3 deletes the backup; 0 if that is not known.
        doubt: why a completed backup is not called good; empty if it is.
        etag, version_id: of the backup's object in S3.
        reason: why this engine was chosen.
        bytes: size of the stored backup.
        scan_rate: bytes per second.
        exported_from, exported_until: the period of an export by AWS's clock; a full export has only the end.
        table_id: the id that DynamoDB assigned to the exported table.
        base_key: the full export with which the chain of an export begins; its own key if it is full.
        predecessor_key: the export that an incremental export continues.
        definition: the table's definition while an export is running.
        has_begun: whether a restore has begun to change its target.
        active_at: when the lease was last renewed; of a scan over several invocations, when it last progressed.
        table_id: the id of the table that a restore created.
        kept: the number of items that were saved during a restore and therefore left.
        kept_keys: the keys of the first of them.
        not_restored: what of the backup's table a restored table does not have.
        differing, extra: the number of items that differ from the backup after a restore, and of items that only the
            target has.
    """

    id: str
    kind: str
    table_name: str
    status: str
    started_at: _Moment
    ended_at: _Moment | None = None
    holder: str = ""
    lease_until: int = 0
    claimed_at: _Moment | None = None
    tries: int = 1
    source: str = ""
    run_at: _Moment | None = None
    read_from: _Moment | None = None
    read_until: _Moment | None = None
    is_consistent: bool = False
    doubt: str = ""
    doubtful_change_percent: float = 30.0
    doubtful_change_items: int = 10
    expire_after_days: int = 0
    key: str = ""
    engine: str = ""
    reason: str = ""
    format: str = ""
    manifest: str = ""
    items: int | None = None
    bytes: int | None = None
    sha256: str = ""
    crc32: str = ""
    etag: str = ""
    version_id: str = ""
    seconds: float | None = None
    read_units: float | None = None
    scan_rate: float | None = None
    export_arn: str = ""
    export_type: str = ""
    exported_from: _Moment | None = None
    exported_until: _Moment | None = None
    table_id: str = ""
    base_key: str = ""
    predecessor_key: str = ""
    definition: dict[str, Any] | None = None
    has_begun: bool = False
    active_at: _Moment | None = None
    kept: int = 0
    kept_keys: list[str] = []
    not_restored: list[str] = []
    written: int = 0
    differing: int | None = None
    extra: int | None = None
    rto_seconds: float | None = None
    rpo_seconds: float | None = None
    error: str = ""


def is_stopped(execution: Execution, now: datetime) -> bool:
    """Return whether an execution has no result and shows no progress any more."""
    last = max(execution.started_at, execution.active_at or execution.started_at)
    return execution.status in {RUNNING, CONTINUING} and now - last > _LONGEST_SILENCE


def read(row: Mapping[str, Any], default_table: str = "") -> Execution:
    """Read a row of the history, of this release or an earlier one.

    Arguments:
        row: the attributes as Python values.
        default_table: the table of rows that name none.

    Raises:
        UnreadableRow: the row is not that of an execution.
    """
    values = {name: _number(value) for name, value in row.items()}
    for former, name in _FORMER_NAMES.items():
        if former in values:
            values.setdefault(name, values.pop(former))
    table = values.pop("table", "")
    try:
        if row.get("kind") == "backup":
            values |= {"definition": msgspec.json.decode(table)} if table else {}
            table = ""
        values["tableName"] = values.get("tableName") or table or default_table
        return msgspec.convert(values, Execution, strict=False)
    except (msgspec.ValidationError, msgspec.DecodeError, TypeError) as error:
        raise UnreadableRow(f"the row {row.get('id')!r} of the history cannot be read: {error}") from None


def _number(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value
