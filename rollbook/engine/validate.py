"""Validates a table that AWS Backup restored: compares each item with the source table and a backup of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollbook.engine import fingerprints, stored
from rollbook.engine.comparison import Comparison
from rollbook.engine.deadline import Deadline
from rollbook.engine.dynamodb import definitions, scan
from rollbook.engine.fingerprints import Fingerprint

# The parts of the definition that a restore must reproduce. AWS Backup does not restore billing, tags and stream.
_SCHEMA = ("keySchema", "attributeDefinitions", "globalSecondaryIndexes", "localSecondaryIndexes")
_INDEX = ("IndexName", "KeySchema", "Projection")
# The number of the newest backups that are searched for an earlier one of the same table.
_SEARCHED = 20
_NAMED = 5


@dataclass(frozen=True)
class Restored:
    """A finished restore job.

    Arguments:
        source: the table of the recovery point.
        table: the restored table.
        taken_at: when the recovery point was created (aware).
    """

    source: str
    table: str
    taken_at: datetime


@dataclass(frozen=True)
class Verdict:
    """Whether the restored table is valid, and why."""

    is_valid: bool
    reason: str


class Validation:
    """Validates restored tables.

    The source table may change after the recovery point was created. So an item may differ from the source, if it is
    equal to the item in the newest backup before the recovery point. An item that differs from both is damaged.

    Arguments:
        dynamodb: a client of `wire.client`.
        bucket, key_prefix: where the backups are.
    """

    def __init__(self, dynamodb: Any, s3: Any, *, bucket: str, key_prefix: str) -> None:
        self._dynamodb = dynamodb
        self._s3 = s3
        self._bucket = bucket
        self._key_prefix = key_prefix

    def validate(self, restored: Restored, deadline: Deadline) -> Verdict:
        """Compare the schema and every item.

        Raises:
            OutOfTime: the tables are too large for the remaining time.
            Corrupted: the backup used for the comparison is damaged.
        """
        source = definitions.describe(self._dynamodb, restored.source)
        found = definitions.describe(self._dynamodb, restored.table)
        for part in _SCHEMA:
            if _schema(source.definition, part) != _schema(found.definition, part):
                return Verdict(False, f"the {part} of {restored.table} differs from that of {restored.source}")
        names = definitions.key_names(source.definition)
        with Comparison() as comparison:

            def read(table_name: str) -> Iterator[Fingerprint]:
                for number, item in enumerate(scan.items(self._dynamodb, table_name, is_consistent=True)):
                    if number % 10_000 == 0:
                        deadline.check(f"the validation of {table_name} was still running")
                    yield fingerprints.fingerprint_of(names)(item)

            comparison.read(read(restored.table))
            now = comparison.compare(read(restored.source))
            if now.is_equal:
                return Verdict(True, f"{now.first} items, all equal to the source table's current items")
            differing = {difference.key for difference in comparison.differences()}
            earlier = self._earlier_backup(restored)
            if earlier is None:
                return Verdict(
                    False,
                    f"{len(differing)} of {now.first} items differ from the source table, and without a backup from "
                    f"before {restored.taken_at:%Y-%m-%dT%H:%MZ} a change cannot be distinguished from damage: "
                    f"{_listed(differing)}",
                )
            key, backup = earlier
            comparison.compare(map(fingerprints.fingerprint_of(names), backup.items()))
            damaged = differing & {difference.key for difference in comparison.differences()}
        if damaged:
            return Verdict(
                False,
                f"{len(damaged)} of {now.first} items differ from the source table and from the earlier backup {key}: "
                f"{_listed(damaged)}",
            )
        return Verdict(
            True,
            f"{now.first} items; {len(differing)} of them have changed in the source table since, and are equal to "
            f"the earlier backup {key}",
        )

    def _earlier_backup(self, restored: Restored) -> tuple[str, stored.StoredBackup] | None:
        """Return the newest full backup of the source that was completed before the recovery point was created."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._key_prefix)
        candidates = [
            (found["LastModified"], found["Key"])
            for page in pages
            for found in page.get("Contents", [])
            if "/AWSDynamoDB/" not in found["Key"] and found["LastModified"] <= restored.taken_at
        ]
        for _, key in sorted(candidates, reverse=True)[:_SEARCHED]:
            backup = stored.open_backup(self._s3, self._bucket, key)
            if backup.table and backup.table.get("name") == restored.source and not backup.change_of:
                return key, backup
        return None


def _schema(definition: dict[str, Any], part: str) -> Any:
    value = definition.get(part) or []
    if part == "attributeDefinitions":
        return sorted(value, key=lambda attribute: str(attribute["AttributeName"]))
    if part.endswith("Indexes"):
        return sorted(
            ({name: index.get(name) for name in _INDEX} for index in value), key=lambda i: str(i["IndexName"])
        )
    return value


def _listed(keys: set[str]) -> str:
    named = sorted(keys)[:_NAMED]
    more = len(keys) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
