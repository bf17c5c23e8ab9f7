"""Reads one stored backup, compares it with the history, and records the result there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import ClientError

from rollbook.contract import moments
from rollbook.engine import announcements, recorded, stored, verification
from rollbook.engine.executions import Row
from rollbook.engine.formats.lines import Corrupted
from rollbook.engine.recorded import PREFIX, Recorded
from rollbook.engine.resources import Resources

# Objects of these classes can be read only after a retrieval, which takes hours and costs money (S3 User Guide,
# "Understanding S3 Glacier storage classes").
_COLD = {"GLACIER", "DEEP_ARCHIVE"}
_GONE = {"404", "NoSuchKey", "NoSuchVersion"}


@dataclass(frozen=True)
class Examined:
    """What the reading of a backup showed.

    Arguments:
        known: what the history records of it; None if it does not know it. Then `fault` can only name damage that the
            backup shows by its own digests.
        fault: why it is not what its execution wrote; empty if there is no fault.
        is_cold: whether it was not read, because its storage class cannot be read at once.
    """

    key: str
    known: Recorded | None
    fault: str = ""
    is_cold: bool = False


def examine(resources: Resources, key: str, counted: Callable[[], None] = lambda: None) -> Examined:
    """Read a backup. Nothing is recorded.

    Arguments:
        counted: called after each item.

    Raises:
        botocore.exceptions.ClientError: access is denied, or AWS cannot answer.
    """
    known: Recorded | None = None
    try:
        known = recorded.find(resources.history, key)
        backup = stored.open_backup(resources.s3, resources.bucket, key, known)
        if fault := stored.replaced(resources.s3, resources.bucket, backup):
            return Examined(key, known, fault)
        if _is_cold(resources, key):
            return Examined(key, known, is_cold=True)
        verification.verify(backup, counted)
    except Corrupted as damage:
        return Examined(key, known, str(damage))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "InvalidObjectState":
            return Examined(key, known, is_cold=True)
        if code not in _GONE:
            raise
        wrote = known.execution if known else "a backup"
        return Examined(key, known, f"S3 has no object {key}, and not the version that {wrote} wrote")
    return Examined(key, known)


def record(resources: Resources, found: Examined) -> None:
    """Record the result in the row of the backup and in the row of the execution that made it, and keep both rows.

    An unknown backup gets a row that has only the time of the reading. Damage that was repaired and comes back is
    announced again.
    """
    history, now = resources.history, moments.to_text(resources.clock())
    # When no newer backup is made, nothing else keeps the rows from expiring before the backup.
    kept: Row = {"expiresAt": history.expires_at(resources.clock())}
    values = kept | {"checkedAt": now}
    if found.known:
        of_execution = dict(kept)
        if found.fault:
            values["damage"], of_execution["damagedAt"] = found.fault[:2000], now
        elif not found.is_cold:
            values |= {"verifiedAt": now, "damage": ""}
            of_execution |= {"verifiedAt": now, "damagedAt": ""}
        history.update(found.known.execution, of_execution, "attribute_exists(id)", {})
    history.remember(PREFIX + found.key, values)
    if not found.fault and not found.is_cold:
        announcements.end(history, announcements.of_damage(found.key))


def is_absent(resources: Resources, key: str) -> bool:
    """Return whether S3 has no current object of a key."""
    try:
        stored.current_object(resources.s3, resources.bucket, key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _GONE:
            raise
        return True
    return False


def _is_cold(resources: Resources, key: str) -> bool:
    found = resources.s3.head_object(Bucket=resources.bucket, Key=key)
    return found.get("StorageClass") in _COLD
