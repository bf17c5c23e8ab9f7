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
    """Return whether this failure of a table is the first one since its last backup."""
    values = {"failingSince": moments.to_text(now)}
    return history.update(latest(table_name), values, "attribute_not_exists(failingSince)", {}).granted


def begin_damage(history: History, key: str, *, now: datetime) -> bool:
    """Return whether the damage of a backup was not told yet."""
    values = {"damageToldAt": moments.to_text(now)}
    return history.update(PREFIX + key, values, "attribute_not_exists(damageToldAt)", {}).granted


def release_damage(history: History, key: str) -> None:
    """Record that the damage was not told, so that the next check tells it."""
    history.update(PREFIX + key, {}, "attribute_exists(damageToldAt)", {}, remove="damageToldAt")


def release_incident(history: History, table_name: str) -> None:
    """Record that the first failure was not told, so that the next one is."""
    history.update(latest(table_name), {}, "attribute_exists(failingSince)", {}, remove="failingSince")
