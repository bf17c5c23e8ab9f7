"""Times as Rollbook and AWS's manifests write them."""

from __future__ import annotations

from datetime import UTC, datetime


def to_text(when: datetime) -> str:
    """Return a time (aware) in UTC with milliseconds: `2025-07-08T00:00:03.000Z`."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
