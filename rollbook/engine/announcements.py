"""Ensures that one caller sends a notification, and that another one sends it if that caller dies first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from rollbook.contract import moments
from rollbook.engine.deadline import Clock
from rollbook.engine.history import History, latest
from rollbook.engine.recorded import PREFIX

# Sending a mail takes a second or two. Lambda's first retry comes after a minute (Lambda Developer Guide, "How Lambda
# handles errors and retries with asynchronous invocation"), and it must find the lease of a dead invocation expired.
_LEASE = timedelta(seconds=45)


@dataclass(frozen=True)
class Announcement:
    """A notification that is sent once, and the attributes of the history that record it.

    Arguments:
        row: the id of the row.
        told: the attribute with the time at which the notification was sent.
        lease: the attribute with the time until which one caller sends it, in seconds since 1970.
        needs_row: whether the row must exist.
    """

    row: str
    told: str
    lease: str
    needs_row: bool = False


def of_execution(execution_id: str) -> Announcement:
    """Return the mail of an execution. The execution has a row."""
    return Announcement(execution_id, "mailedAt", "mailLeaseUntil", needs_row=True)


def of_incident(table_name: str) -> Announcement:
    """Return the mail about the first failure of a table since its last backup."""
    return Announcement(latest(table_name), "failingSince", "incidentLeaseUntil")


def of_damage(key: str) -> Announcement:
    """Return the mail about the damage of a backup."""
    return Announcement(PREFIX + key, "damageToldAt", "damageLeaseUntil")


@contextmanager
def once(history: History, announcement: Announcement, clock: Clock) -> Iterator[bool]:
    """Give True to the caller that must send the notification, within the block, and False to every other one.

    The notification counts as sent at the end of the block. If the block raises, the next caller may send it
    immediately; if the caller dies, the next one may after 45 seconds.
    """
    row, lease, told = announcement.row, announcement.lease, announcement.told
    now = int(clock().timestamp())
    claim = history.update(
        row,
        {lease: now + int(_LEASE.total_seconds())},
        condition=("attribute_exists(id) AND " if announcement.needs_row else "")
        + f"attribute_not_exists({told}) AND (attribute_not_exists({lease}) OR {lease} < :now)",
        operands={":now": now},
    )
    if not claim.granted:
        yield False
        return
    try:
        yield True
    except BaseException:
        history.update(row, {lease: 0}, "attribute_exists(id)", {})
        raise
    history.update(row, {told: moments.to_text(clock())}, "attribute_exists(id)", {}, remove=lease)


def end(history: History, announcement: Announcement) -> None:
    """Record that its reason is over, so that the next one is announced."""
    told = announcement.told
    history.update(announcement.row, {}, f"attribute_exists({told})", {}, remove=told)
