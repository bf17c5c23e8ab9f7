"""Computes when tables are backed up, and how long a backup is in each storage class."""

from __future__ import annotations


def days_in_classes(infrequent: int | None, glacier: int | None, expire: int) -> dict[str, int]:
    """Return how many days a backup is in each storage class."""
    begins = {"STANDARD": 0, "STANDARD_IA": infrequent, "GLACIER": glacier}
    steps = [(name, day) for name, day in begins.items() if day is not None]
    ends = [*(day for _, day in steps[1:]), expire]
    return {name: end - day for (name, day), end in zip(steps, ends, strict=True)}


def spread(frequency: str, number: int, count: int, minutes: int) -> str:
    """Return the expression for one of `count` tables. The tables start at different times within `minutes`."""
    after = number * min(minutes, 60 if frequency == "hourly" else minutes) // count
    hour, minute = divmod(after, 60)
    return {
        "hourly": f"cron({minute} * * * ? *)",
        "daily": f"cron({minute} {hour} * * ? *)",
        "weekly": f"cron({minute} {hour} ? * SUN *)",
        "monthly": f"cron({minute} {hour} 1 * ? *)",
    }[frequency]
