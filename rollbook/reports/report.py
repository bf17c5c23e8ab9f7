"""The structure of a report: the state of each table and of the vault, the costs and the objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from rollbook.contract.jobs import ReportedTable


class Point(msgspec.Struct, frozen=True, rename="camel"):
    """One backup, for the charts."""

    at: datetime
    bytes: int
    items: int
    seconds: float


class Cost(msgspec.Struct, frozen=True, rename="camel"):
    """A component of the cost, in dollars per month."""

    component: str
    dollars: float
    how: str


class Objective(msgspec.Struct, frozen=True, rename="camel"):
    """An objective and the measured value, which is None if it is unknown."""

    target_seconds: float = msgspec.field(name="wantedSeconds")
    reached_seconds: float | None
    is_met: bool | None


class TableReport(msgspec.Struct, frozen=True, rename="camel"):
    """The state of a table. `state` is `on time`, `late by …` or `unknown`; `why` is its reason."""

    table: str
    state: str
    why: str
    is_late: bool | None
    last_key: str | None
    last_at: datetime | None
    next_at: datetime | None
    expression: str | None
    is_scheduled: bool | None
    executions: dict[str, int] | None
    success_rate: float | None
    items: int | None
    bytes: int | None
    growth_bytes: int | None
    median_seconds: float | None
    slowest_seconds: float | None
    rpo: Objective
    rto: Objective
    last_errors: list[str]
    points: list[Point]
    costs: list[Cost]
    advice: list[str]


class VaultReport(msgspec.Struct, frozen=True, rename="camel"):
    """The state of AWS Backup. A field is None if it is unknown."""

    jobs: dict[str, int] | None
    recovery_points: int | None
    newest_at: datetime | None
    next_expiry_at: datetime | None
    bytes: int | None
    next_runs: dict[str, datetime | None] | None
    costs: list[Cost]


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """The whole report. `unknown` lists what could not be read and why."""

    at: datetime
    since: datetime
    is_good: bool
    tables: list[TableReport]
    vault: VaultReport | None
    unknown: list[str]
    monthly_dollars: float
    prices_as_of: str
    prices_region: str


class Objectives(msgspec.Struct, frozen=True):
    """The objectives and prices of the settings."""

    tables: Sequence[ReportedTable]
    rpo: timedelta
    rto: timedelta
    prices: Mapping[str, float]
    prices_as_of: str
    prices_region: str
    uses_vault: bool
