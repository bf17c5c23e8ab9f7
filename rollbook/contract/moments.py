"""Formats times as Rollbook and AWS's export manifests write them."""

from __future__ import annotations

from datetime import UTC, datetime


def to_text(when: datetime) -> str:
    """Return an aware time as UTC text with milliseconds: `2025-07-08T00:00:03.000Z`."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
