"""Formats durations and sizes for people."""

from __future__ import annotations

from datetime import timedelta


def span(span: timedelta) -> str:
    """Return a duration as text: `3 h`, `2 d 4 h`, `12 min`."""
    minutes = int(span.total_seconds() // 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    return f"{hours} h" if hours else f"{minutes} min"


def size_of(count: float) -> str:
    """Return a number of bytes as text: `18.5 KB`."""
    units = ["B", "KB", "MB", "GB"]
    while count >= 1000 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f"{count:,.0f} B" if units[0] == "B" else f"{count:,.1f} {units[0]}"
