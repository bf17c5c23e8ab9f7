"""The settings that say which backups are kept."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from infra.settings.fields import Section
from rollbook.contract.retention import RetainedTable, to_text

# What was marked by mistake must outlast a holiday.
FEWEST_NONCURRENT_DAYS = 14

# Of the 4 KB of a function's variables (Lambda quotas); the rest is for the other variables and the logger's.
_MOST_BYTES = 3000


class Retention(Section):
    """Which backups are kept. Everything else is marked, and S3 deletes it after `backups.noncurrent_expire_days`."""

    keep_last: int = Field(ge=1, description="The newest backups; at least one.")
    daily: int = Field(0, ge=0, description="Days of which the newest backup is kept; days without one do not count.")
    weekly: int = Field(0, ge=0, description="Weeks of which the newest backup is kept; they begin on Monday.")
    monthly: int = Field(0, ge=0, description="Months of which the newest backup is kept.")
    yearly: int = Field(0, ge=0, description="Years of which the newest backup is kept.")


def check_retained(tables: Mapping[str, RetainedTable]) -> None:
    """Refuse retentions that do not fit into a function's variables.

    Raises:
        ValueError: they do not fit.
    """
    size = len(to_text(tables))
    if size > _MOST_BYTES:
        raise ValueError(
            f"[[backups.tables]]: the retentions of {len(tables)} tables have {size:,} bytes; a function's variables "
            f"have 4 KB in total, so at most {_MOST_BYTES:,} fit. Remove the retention of some tables"
        )
