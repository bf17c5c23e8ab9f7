"""Lists the backups of a table from the bucket and the history, as the retention needs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from rollbook.contract.retention import MARK, PIN, SMOKE, YES, RetainedTable
from rollbook.engine import executions, stored
from rollbook.engine.executions import COMPLETED, Execution
from rollbook.engine.formats.description import Description
from rollbook.engine.formats.export_layout import FOLDER
from rollbook.engine.formats.lines import Corrupted
from rollbook.engine.retention import Backup, State
from rollbook.engine.s3 import download, tags

_ABSENT = frozenset({"404", "NoSuchKey"})
_deserialize = TypeDeserializer().deserialize


@dataclass(frozen=True)
class Entry:
    """A backup with what is needed to verify and to mark it.

    Arguments:
        objects: the keys of all its objects. The first one decides whether the backup has the mark.
        execution: its row of the history; None if there is none.
        expires_at: when the row expires, in seconds since 1970; 0 for never.
    """

    backup: Backup
    objects: tuple[str, ...]
    execution: Execution | None = None
    expires_at: int = 0


@dataclass
class _Stored:
    """The files of a backup. `modified` and `etag` are of the object that has the backup's key."""

    modified: datetime
    etag: str
    files: list[str] = field(default_factory=list)


class Inventory:
    """The backups of the tables of one bucket.

    Arguments:
        s3, dynamodb: boto3 clients.
    """

    def __init__(self, s3: Any, dynamodb: Any, bucket: str, history_table_name: str) -> None:
        self._s3 = s3
        self._dynamodb = dynamodb
        self._bucket = bucket
        self._history_table_name = history_table_name

    def of(self, table: RetainedTable) -> list[Entry]:
        """Return the backups of a table that are in the bucket.

        Raises:
            UnreadableRow: a row of the history cannot be read. Nothing can be decided then.
            botocore.exceptions.ClientError: AWS refused, or a tag cannot be read.
        """
        rows = self._rows(table.table_name)
        return [self._entry(key, found, rows.get(key, {})) for key, found in self._objects(table.key_prefix).items()]

    def _objects(self, prefix: str) -> dict[str, _Stored]:
        named: dict[str, _Stored] = {}
        files: dict[str, list[str]] = {}
        listed = self._s3.get_paginator("list_objects_v2")
        for page in listed.paginate(Bucket=self._bucket, Prefix=prefix):
            for found in page.get("Contents", []):
                key = found["Key"]
                if FOLDER in key:
                    files.setdefault(key.split(FOLDER)[0], []).append(key)
                elif not key.startswith(f"{prefix}{SMOKE}"):
                    named[key] = _Stored(found["LastModified"], found["ETag"].strip('"'))
        for key, one in named.items():
            one.files = files.get(key.removesuffix(".json"), [])
        return named

    def _rows(self, table_name: str) -> dict[str, dict[str, Any]]:
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._history_table_name,
            FilterExpression="kind = :kind AND tableName = :table AND #status = :completed",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={
                ":kind": {"S": "backup"},
                ":table": {"S": table_name},
                ":completed": {"S": COMPLETED},
            },
            ConsistentRead=True,
        )
        rows = ({name: _deserialize(value) for name, value in item.items()} for page in pages for item in page["Items"])
        return {str(row["key"]): row for row in rows if row.get("key")}

    def _entry(self, key: str, found: _Stored, row: Mapping[str, Any]) -> Entry:
        execution = executions.read(row) if row else None
        is_full, base, predecessor = True, "", ""
        if execution:
            is_full = execution.export_type != "incremental"
            base, predecessor = str(row.get("baseKey") or ""), str(row.get("predecessorKey") or "")
        elif found.files:
            is_full, base, predecessor = self._described(key)
        manifest = str(row.get("manifest") or "") or _manifest(found.files)
        objects = _in_order(key, manifest, found.files) if manifest else (key,)
        tagged = self._tags(objects[0])
        is_whole = tagged is not None and (not manifest or manifest in found.files)
        backup = Backup(
            key=key,
            taken_at=execution.started_at if execution else found.modified,
            state=_state(execution, row, found, is_whole=is_whole),
            is_full=is_full,
            base_key=base,
            predecessor_key=predecessor,
            is_pinned=self._is_pinned(key, objects[0], tagged),
            is_marked=(tagged or {}).get(MARK) == YES,
        )
        return Entry(backup, objects, execution, int(row.get("expiresAt") or 0))

    def _is_pinned(self, key: str, first: str, tagged: Mapping[str, str] | None) -> bool:
        of_key = tagged if key == first else self._tags(key)
        return (of_key or {}).get(PIN) == YES

    def _tags(self, key: str) -> dict[str, str] | None:
        """Return the tags of an object, or None if there is no such object."""
        try:
            return tags.read(self._s3, self._bucket, key)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _ABSENT:
                raise
            return None

    def _described(self, key: str) -> tuple[bool, str, str]:
        """Return whether an export without a row is full, its base and its predecessor, as far as it says so itself."""
        try:
            backup = stored.open_backup(self._s3, self._bucket, key)
            if backup.change_of is None:
                return True, "", ""
            body = b"".join(download.read(self._s3, bucket=self._bucket, key=key))
            described = msgspec.json.decode(body, type=Description)
        except (Corrupted, ClientError, msgspec.DecodeError):
            return False, "", ""
        base, predecessor = (getattr(described, name, None) or "" for name in ("base_key", "predecessor_key"))
        return False, str(base), str(predecessor)


def _state(execution: Execution | None, row: Mapping[str, Any], found: _Stored, *, is_whole: bool) -> State:
    # S3 keeps the version that the history names only for the noncurrent days once another one has replaced it.
    is_replaced = execution is not None and execution.etag not in {"", found.etag}
    if not is_whole or row.get("damagedAt") or is_replaced:
        return "damaged"
    if execution is None:
        return "unknown"
    # A backup in doubt is complete, and the policy must not count it as good.
    return "doubtful" if execution.doubt else "verified" if row.get("verifiedAt") else "completed"


def _manifest(files: list[str]) -> str:
    found = [file for file in files if file.endswith("/manifest-summary.json")]
    return found[-1] if found else ""


def _in_order(key: str, manifest: str, files: list[str]) -> tuple[str, ...]:
    """Return the manifest, then the other files, then the object with the backup's key.

    The files of tries that failed are under the same prefix. They go with the backup.
    """
    return (manifest, *(file for file in files if file != manifest), key)


def full_backups(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Yield the full backups that may be good, the newest first."""
    for entry in sorted(entries, key=lambda each: (each.backup.taken_at, each.backup.key), reverse=True):
        if entry.backup.is_full and entry.execution and entry.backup.state in {"verified", "completed"}:
            yield entry
