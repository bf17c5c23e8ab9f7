from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest

from rollbook.contract import schedules

NOON = datetime(2026, 2, 10, 12, 0, tzinfo=UTC)


def firings(expression: str, zone: str = "UTC", count: int = 3) -> list[str]:
    found = itertools.islice(schedules.parse(expression, zone).after(NOON), count)
    return [f"{firing:%Y-%m-%d %H:%M}" for firing in found]


@pytest.mark.parametrize(
    ("expression", "zone", "expected"),
    [
        ("cron(0 0 * * ? *)", "UTC", ["2026-02-11 00:00", "2026-02-12 00:00", "2026-02-13 00:00"]),
        ("cron(0 7 * * ? *)", "Asia/Ho_Chi_Minh", ["2026-02-11 00:00", "2026-02-12 00:00", "2026-02-13 00:00"]),
        ("cron(0 0 ? * SUN *)", "UTC", ["2026-02-15 00:00", "2026-02-22 00:00", "2026-03-01 00:00"]),
        ("cron(15/20 12 10 FEB ? 2026)", "UTC", ["2026-02-10 12:15", "2026-02-10 12:35", "2026-02-10 12:55"]),
        ("cron(0 5 L * ? *)", "UTC", ["2026-02-28 05:00", "2026-03-31 05:00", "2026-04-30 05:00"]),
        ("cron(0 5 LW * ? *)", "UTC", ["2026-02-27 05:00", "2026-03-31 05:00", "2026-04-30 05:00"]),
        ("cron(0 5 1W * ? *)", "UTC", ["2026-03-02 05:00", "2026-04-01 05:00", "2026-05-01 05:00"]),
        ("cron(0 5 15W 8 ? *)", "UTC", ["2026-08-14 05:00", "2027-08-16 05:00", "2028-08-15 05:00"]),
        ("cron(0 5 ? * FRI#2 *)", "UTC", ["2026-02-13 05:00", "2026-03-13 05:00", "2026-04-10 05:00"]),
        ("cron(0 5 ? * 6L *)", "UTC", ["2026-02-27 05:00", "2026-03-27 05:00", "2026-04-24 05:00"]),
        ("cron(0 5 ? 2-3 MON-WED *)", "UTC", ["2026-02-11 05:00", "2026-02-16 05:00", "2026-02-17 05:00"]),
        ("rate(1 day)", "UTC", ["2026-02-11 12:00", "2026-02-12 12:00", "2026-02-13 12:00"]),
        ("rate(90 minutes)", "UTC", ["2026-02-10 13:30", "2026-02-10 15:00", "2026-02-10 16:30"]),
        ("at(2026-02-10T20:00:00)", "Asia/Ho_Chi_Minh", ["2026-02-10 13:00"]),
    ],
)
def test_an_expression_fires_when_aws_says(expression: str, zone: str, expected: list[str]) -> None:
    assert firings(expression, zone) == expected


def test_a_local_time_that_summer_time_skips_does_not_fire() -> None:
    before = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
    cron = schedules.parse("cron(30 2 * * ? *)", "Europe/Berlin")
    assert [f"{firing:%m-%d %H:%M}" for firing in itertools.islice(cron.after(before), 2)] == [
        "03-30 00:30",
        "03-31 00:30",
    ]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("0 0 * * SUN", "not a schedule expression"),
        ("cron(0 0 * * SUN)", "has 5 fields"),
        ("cron(0 0 * * * *)", "exactly one of day-of-month and day-of-week must be ?"),
        ("cron(0 0 ? * ? *)", "exactly one of day-of-month and day-of-week must be ?"),
        ("cron(60 0 * * ? *)", "minutes '60': write 0 to 59"),
        ("cron(0 24 * * ? *)", "hours '24'"),
        ("cron(0 0 32 * ? *)", "day-of-month '32'"),
        ("cron(0 0 ? * MOON *)", "day-of-week 'MOON': write 1 to 7 or SUN"),
        ("cron(0 5-3 * * ? *)", "ends before it starts"),
        ("cron(0/0 0 * * ? *)", "step"),
        ("cron(0 0 31 2 ? *)", "never fires"),
        ("rate(0 minutes)", "above 0"),
        ("rate(1 minutes)", "rate(1 minute)"),
        ("rate(5 minute)", "rate(2 minutes)"),
        ("at(tomorrow)", "is not a time"),
    ],
)
def test_an_expression_that_aws_refuses_is_refused_with_a_reason(expression: str, reason: str) -> None:
    with pytest.raises(schedules.ScheduleError) as refused:
        schedules.parse(expression)
    assert reason in str(refused.value)


def test_the_shortest_interval_is_that_of_the_closest_firings() -> None:
    assert schedules.shortest_interval("cron(0 6,7,20 * * ? *)") == timedelta(hours=1)
    assert schedules.shortest_interval("rate(5 minutes)") == timedelta(minutes=5)
    assert schedules.shortest_interval("at(2100-01-01T00:00:00)") is None


@lru_cache(maxsize=1)
def minutes_of(year: int, zone: str) -> list[tuple[datetime, datetime]]:
    """Every minute of a local year as UTC and as the clock on the wall shows it; an hour that comes twice, once."""
    begin = datetime(year, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    end = datetime(year + 1, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    first: dict[datetime, datetime] = {}
    while begin < end:
        first.setdefault(begin.astimezone(ZoneInfo(zone)).replace(tzinfo=None), begin)
        begin += timedelta(minutes=1)
    return [(moment, wall) for wall, moment in first.items()]


# One zone after the other, so that its minutes are made once.
@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Ho_Chi_Minh"], scope="module"
)
@pytest.mark.parametrize(
    ("expression", "is_due"),
    [
        ("cron(30 2 * * ? *)", lambda wall: (wall.hour, wall.minute) == (2, 30)),
        (
            "cron(15/20 1-3 ? * SUN,SAT *)",
            lambda wall: wall.weekday() > 4 and 1 <= wall.hour <= 3 and wall.minute in (15, 35, 55),
        ),
        ("cron(0 0 1 1/3 ? *)", lambda wall: (wall.day, wall.hour, wall.minute) == (1, 0, 0) and wall.month % 3 == 1),
        (
            "cron(0 3 ? * SUN#1 *)",
            lambda wall: wall.weekday() == 6 and wall.day <= 7 and (wall.hour, wall.minute) == (3, 0),
        ),
        (
            "cron(0 3 L * ? *)",
            lambda wall: (wall + timedelta(days=1)).day == 1 and (wall.hour, wall.minute) == (3, 0),
        ),
    ],
)
def test_a_year_of_firings_is_what_looking_at_every_minute_finds(
    expression: str, is_due: Callable[[datetime], bool], zone: str
) -> None:
    expected = [moment for moment, wall in minutes_of(2025, zone) if is_due(wall)]
    begin = datetime(2025, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    found = schedules.parse(expression, zone).after(begin - timedelta(seconds=1))
    end = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone))
    assert list(itertools.takewhile(lambda moment: moment < end, found)) == expected


@pytest.mark.parametrize(
    ("expression", "longest"),
    [
        ("cron(0 6,7,20 * * ? *)", timedelta(hours=13)),
        ("cron(0 6 ? * MON-FRI *)", timedelta(days=3)),
        ("cron(0 6 ? * SUN *)", timedelta(days=7)),
        ("cron(0 6 1 * ? *)", timedelta(days=31)),
        ("rate(5 minutes)", timedelta(minutes=5)),
    ],
)
def test_the_longest_interval_is_that_of_the_farthest_firings(expression: str, longest: timedelta) -> None:
    assert schedules.longest_interval(expression) == longest


def test_silence_is_as_long_as_a_run_may_be_late() -> None:
    grace, day = timedelta(hours=3), timedelta(days=1)
    window = timedelta(minutes=5)
    assert schedules.longest_silence("cron(0 0 * * ? *)", "UTC", 5, grace) == day + window + grace
    of_summer_time = schedules.longest_silence("cron(0 0 * * ? *)", "Europe/Berlin", 0, grace)
    assert of_summer_time == timedelta(hours=25) + grace
    assert schedules.longest_silence("cron(0 0 ? * SUN *)", "UTC", 5, grace) == 7 * day + window + grace
    with pytest.raises(schedules.ScheduleError, match="fires once at most"):
        schedules.longest_silence("at(2100-01-01T00:00:00)", "UTC", 0, grace)
