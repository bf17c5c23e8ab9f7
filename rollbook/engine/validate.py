"""Whether a table that AWS Backup restored is what its source was, item by item."""

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

# What of a table's definition a restore has to bring back; billing, tags and stream AWS Backup leaves to others.
_SCHEMA = ("keySchema", "attributeDefinitions", "globalSecondaryIndexes", "localSecondaryIndexes")
_INDEX = ("IndexName", "KeySchema", "Projection")
# How many of the newest backups are looked at for one of the table and of before.
_LOOKED_AT = 20
_NAMED = 5


@dataclass(frozen=True)
class Restored:
    """A finished restore job.

    Arguments:
        source: the table that the recovery point is of.
        table: the restored one.
        taken_at: when the recovery point was taken (aware).
    """

    source: str
    table: str
    taken_at: datetime


@dataclass(frozen=True)
class Verdict:
    """Whether the restored table is what its source was, and why."""

    is_valid: bool
    reason: str


class Validation:
    """Validates restored tables.

    The source goes on changing after the recovery point was taken. So an item may differ from the source's of now, if
    it is as the newest backup of before the recovery point has it; one that neither has was damaged.

    Arguments:
        dynamodb: a client of `wire.client`.
        bucket, key_prefix: where the backups are, which are the second witness.
    """

    def __init__(self, dynamodb: Any, s3: Any, *, bucket: str, key_prefix: str) -> None:
        self._dynamodb = dynamodb
        self._s3 = s3
        self._bucket = bucket
        self._key_prefix = key_prefix

    def validate(self, restored: Restored, deadline: Deadline) -> Verdict:
        """Compare the schema and every item.

        Raises:
            OutOfTime: the tables are too large for the time that is left.
            Corrupted: the backup that was to be the witness is damaged.
        """
        source = definitions.describe(self._dynamodb, restored.source)
        found = definitions.describe(self._dynamodb, restored.table)
        for part in _SCHEMA:
            if _schema(source.definition, part) != _schema(found.definition, part):
                return Verdict(False, f"the {part} of {restored.table} is not that of {restored.source}")
        names = definitions.key_names(source.definition)
        with Comparison() as comparison:

            def read(table_name: str) -> Iterator[Fingerprint]:
                for number, each in enumerate(scan.items(self._dynamodb, table_name)):
                    if number % 10_000 == 0:
                        deadline.check(f"validating {table_name}")
                    yield fingerprints.fingerprint_of(names)(each)

            comparison.read(read(restored.table))
            now = comparison.compare(read(restored.source))
            if now.is_equal:
                return Verdict(True, f"{now.first} items, all equal to the table's of now")
            differing = {difference.key for difference in comparison.differences()}
            witness = self._before(restored)
            if witness is None:
                return Verdict(
                    False,
                    f"{len(differing)} of {now.first} items are not as the table has them now, and there is no backup "
                    f"of before {restored.taken_at:%Y-%m-%dT%H:%MZ} to tell a change from damage: {_listed(differing)}",
                )
            key, backup = witness
            comparison.compare(map(fingerprints.fingerprint_of(names), backup.items()))
            damaged = differing & {difference.key for difference in comparison.differences()}
        if damaged:
            return Verdict(
                False,
                f"{len(damaged)} of {now.first} items are neither as the table has them now nor as the backup {key} of "
                f"before has them: {_listed(damaged)}",
            )
        return Verdict(
            True, f"{now.first} items, {len(differing)} changed in the table since, as the backup {key} shows"
        )

    def _before(self, restored: Restored) -> tuple[str, stored.StoredBackup] | None:
        """Return the newest whole backup of the source that was complete before the recovery point was taken."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._key_prefix)
        candidates = [
            (found["LastModified"], found["Key"])
            for page in pages
            for found in page.get("Contents", [])
            if "/AWSDynamoDB/" not in found["Key"] and found["LastModified"] <= restored.taken_at
        ]
        for _, key in sorted(candidates, reverse=True)[:_LOOKED_AT]:
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
