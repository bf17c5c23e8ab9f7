"""The settings that say which backups are kept."""

from __future__ import annotations

from pydantic import Field

from infra.settings.fields import Section

# What was marked by mistake must outlast a holiday.
FEWEST_NONCURRENT_DAYS = 14


class Retention(Section):
    """Which backups are kept. Everything else is marked, and S3 deletes it after `backups.noncurrent_expire_days`."""

    keep_last: int = Field(ge=1, description="The newest backups; at least one.")
    daily: int = Field(0, ge=0, description="Days of which the newest backup is kept; days without one do not count.")
    weekly: int = Field(0, ge=0, description="Weeks of which the newest backup is kept; they begin on Monday.")
    monthly: int = Field(0, ge=0, description="Months of which the newest backup is kept.")
    yearly: int = Field(0, ge=0, description="Years of which the newest backup is kept.")
