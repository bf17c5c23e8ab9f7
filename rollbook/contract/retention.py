"""The tags that decide whether S3 may delete a backup, and the policy that decides about the tags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from rollbook.contract.environment import Environment

# The lifecycle of the bucket deletes only objects with the mark.
MARK, PIN, YES = "rollbook-expired", "rollbook-pinned", "yes"
OWN_TAGS = frozenset({MARK, PIN})
# S3 accepts 10 tags on an object (S3 User Guide, "Categorizing your objects using tags"). Two are the mark and the pin.
MOST_OTHER_TAGS = 8
# The keys of a smoke test's uploads begin with the prefix of the backups and this word. They are no backups,
# and have no mark (rollbook/engine/smoke.py). In tables with a retention they are deleted after some days.
SMOKE, SMOKE_DAYS = "smoke-", 1
# From the most to the least frequent.
PERIODS = ("daily", "weekly", "monthly", "yearly")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How many backups of a table are kept, with the meaning of restic's `forget`.

    Arguments:
        keep_last: the newest backups.
        daily, weekly, monthly, yearly: the number of days, weeks, … with a backup. The newest backup of each is kept.
    """

    keep_last: int
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0


@dataclass(frozen=True)
class RetainedTable:
    """A table whose backups are marked when its policy no longer keeps them."""

    table_name: str
    key_prefix: str
    policy: Policy


def to_text(tables: Mapping[str, RetainedTable]) -> str:
    """Return tables as a short JSON text, because the variables of a function have at most 4 KB in total."""
    return json.dumps(
        {name: [table.key_prefix, *asdict(table.policy).values()] for name, table in tables.items()},
        separators=(",", ":"),
    )


def from_text(text: str) -> dict[str, RetainedTable]:
    """Read what `to_text` returned."""
    names = [field.name for field in fields(Policy)]
    return {
        name: RetainedTable(name, prefix, Policy(**dict(zip(names, counts, strict=True))))
        for name, (prefix, *counts) in json.loads(text).items()
    }


@dataclass(frozen=True, kw_only=True)
class Variables(Environment):
    """Variables of the function that marks backups. `RETAINED_TABLES` is the text of `to_text`."""

    s3_bucket_name: str
    history_table_name: str
    history_days: int
    time_zone: str
    retained_tables: str
