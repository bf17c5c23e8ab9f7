"""Ensures that one caller sends the mail of an execution, and one mail reports a table's failures."""

from __future__ import annotations

from datetime import datetime, timedelta

from rollbook.contract import moments
from rollbook.engine.history import History, latest
from rollbook.engine.recorded import PREFIX

# Sending a mail takes a second or two. Lambda's first retry comes after a minute (Lambda Developer Guide, "How Lambda
# handles errors and retries with asynchronous invocation"), and it must find the lease of a dead invocation expired.
_LEASE = timedelta(seconds=45)


def claim_mail(history: History, execution_id: str, *, now: datetime) -> bool:
    """Return whether the caller must send the execution's mail.

    One caller gets True. Another one does only if the first died or failed before it sent the mail.
    """
    return history.update(
        execution_id,
        {"mailLeaseUntil": int((now + _LEASE).timestamp())},
        condition="attribute_exists(id) AND attribute_not_exists(mailedAt)"
        " AND (attribute_not_exists(mailLeaseUntil) OR mailLeaseUntil < :now)",
        operands={":now": int(now.timestamp())},
    ).granted


def mailed(history: History, execution_id: str, *, now: datetime) -> None:
    """Record that the mail was sent."""
    history.update(execution_id, {"mailedAt": moments.to_text(now)}, "attribute_exists(id)", {})


def release_mail(history: History, execution_id: str) -> None:
    """Record that the mail was not sent, so that the next try may send it immediately."""
    history.update(execution_id, {"mailLeaseUntil": 0}, "attribute_exists(id)", {})


def begin_incident(history: History, table_name: str, *, now: datetime) -> bool:
    """Return whether the caller must tell this failure of a table, because none was told since its last backup."""
    return _begin(history, latest(table_name), "failingSince", now)


def incident_told(history: History, table_name: str, *, now: datetime) -> None:
    """Record that a failure of a table was told."""
    history.update(latest(table_name), {"failingSince": moments.to_text(now), "tellLeaseUntil": 0}, "", {})


def release_incident(history: History, table_name: str) -> None:
    """Record that the first failure was not told, so that the next one is."""
    _release(history, latest(table_name))


def begin_damage(history: History, key: str, *, now: datetime) -> bool:
    """Return whether the caller must tell the damage of a backup, because it was not told yet."""
    return _begin(history, PREFIX + key, "damageToldAt", now)


def damage_told(history: History, key: str, *, now: datetime) -> None:
    """Record that the damage of a backup was told."""
    told = {"damageToldAt": moments.to_text(now), "tellLeaseUntil": 0}
    history.update(PREFIX + key, told, "attribute_exists(id)", {})


def release_damage(history: History, key: str) -> None:
    """Record that the damage was not told, so that the next check tells it."""
    _release(history, PREFIX + key)


def end_damage(history: History, key: str) -> None:
    """Record that a backup is whole again, so that damage that comes back is told."""
    history.update(PREFIX + key, {}, "attribute_exists(damageToldAt)", {}, remove="damageToldAt")


def _begin(history: History, row_id: str, told: str, now: datetime) -> bool:
    """Claim a mail. If the caller dies before it records that it was sent, the next one sends it."""
    return history.update(
        row_id,
        {"tellLeaseUntil": int((now + _LEASE).timestamp())},
        condition=f"attribute_not_exists({told}) AND (attribute_not_exists(tellLeaseUntil) OR tellLeaseUntil < :now)",
        operands={":now": int(now.timestamp())},
    ).granted


def _release(history: History, row_id: str) -> None:
    history.update(row_id, {"tellLeaseUntil": 0}, "attribute_exists(id)", {})
