"""Verifies a backup: reads it whole, and checks that it has each key once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rollbook.engine import fingerprints, stored
from rollbook.engine.comparison import Comparison, Duplicate
from rollbook.engine.dynamodb import definitions
from rollbook.engine.formats import incremental
from rollbook.engine.formats.lines import Corrupted, Verified
from rollbook.engine.stored import StoredBackup


def verify(backup: StoredBackup, counted: Callable[[], None] = lambda: None) -> tuple[Verified, bool]:
    """Return the totals of a backup, and whether its keys were checked.

    The keys of a backup without the table's definition are unknown. Then only its items and digests are checked.

    Arguments:
        counted: called after each item.

    Raises:
        Corrupted: the backup is damaged, or it has a key twice.
    """
    if backup.table is None or "keySchema" not in backup.table:
        return stored.verify(backup, counted), False
    names = definitions.key_names(backup.table)
    fingerprint = (incremental.fingerprint_of if backup.change_of else fingerprints.fingerprint_of)(names)
    totals: list[Verified] = []

    def read() -> Iterator[fingerprints.Fingerprint]:
        reading = backup.items()
        number = 0
        while True:
            try:
                item = next(reading)
            except StopIteration as end:
                totals.append(end.value)
                return
            number += 1
            try:
                yield fingerprint(item)
            except ValueError as fault:
                raise Corrupted(f"item {number:,} is damaged: {fault}") from None
            counted()

    with Comparison() as comparison:
        comparison.read(read())
        try:
            comparison.check_unique()
        except Duplicate as error:
            raise Corrupted(str(error)) from None
    return totals[0], True
