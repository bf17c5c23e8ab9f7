"""Parses AWS schedule expressions, checks them and computes their times.

Syntax and limits: EventBridge Scheduler User Guide, "Schedule types in EventBridge Scheduler".
"""

from __future__ import annotations

import calendar
import functools
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil import tz

_MONTHS = {name: number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {name: number for number, name in enumerate(("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"), start=1)}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minutes", 0, 59, {}),
    ("hours", 0, 23, {}),
    ("day-of-month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day-of-week", 1, 7, _WEEKDAYS),
    ("year", 1970, 2199, {}),
)
_UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
_LAST_YEAR = 2199
# A fixed time: the result must not depend on when an expression is parsed.
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# The year has both changes of daylight saving time, and it is not a leap year.
_A_YEAR = datetime(2025, 1, 1, tzinfo=UTC)
_MANY = 2000


class ScheduleError(ValueError):
    """EventBridge Scheduler does not accept the expression. The message says why and what to write."""


@dataclass(frozen=True)
class Rate:
    """`rate(value unit)`: a fixed interval, counted from the schedule's creation."""

    interval: timedelta

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the firings after `moment`, which is treated as the schedule's creation."""
        while True:
            moment += self.interval
            yield moment


@dataclass(frozen=True)
class Cron:
    """`cron(minutes hours day-of-month month day-of-week year)`. Each field is the set of its values.

    The two day fields remain text: one of them is `?`, and the other may contain `L`, `W` or `#`.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: str
    months: frozenset[int]
    weekdays: str
    years: frozenset[int]
    zone: tzinfo

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the firings after `moment` (aware) in UTC, up to the expression's last year.

        A local time that daylight saving time skips does not fire. A local time that occurs twice fires once.
        """
        local = moment.astimezone(self.zone)
        day = local.date()
        while day.year <= min(max(self.years), _LAST_YEAR):
            if day.year in self.years and day.month in self.months and day.day in self._days_of(day.year, day.month):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        firing = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone)
                        instant = firing.astimezone(UTC)
                        exists = instant.astimezone(self.zone).replace(tzinfo=None) == firing.replace(tzinfo=None)
                        if exists and instant > moment:
                            yield instant
            day += timedelta(days=1)

    def _days_of(self, year: int, month: int) -> set[int]:
        last = calendar.monthrange(year, month)[1]
        if self.days != "?":
            return _month_days(self.days, year, month, last)
        return _week_days(self.weekdays, year, month, last)


@dataclass(frozen=True)
class At:
    """`at(yyyy-mm-ddThh:mm:ss)`: once."""

    moment: datetime

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the firing if it is after `moment`."""
        if self.moment > moment:
            yield self.moment


def parse(expression: str, time_zone: str = "UTC") -> Rate | Cron | At:
    """Parse a schedule expression.

    Arguments:
        expression: `cron(…)`, `rate(…)` or `at(…)`.
        time_zone: the IANA name of the time zone of cron and at expressions.

    Raises:
        ScheduleError: EventBridge Scheduler would refuse the expression, or it would never fire.
    """
    match = re.fullmatch(r"\s*(cron|rate|at)\((.*)\)\s*", expression)
    if not match:
        raise ScheduleError(
            f"{expression!r} is not a schedule expression; write cron(0 0 * * ? *), rate(12 hours) or at(…)"
        )
    kind, body = match.groups()
    if kind == "rate":
        return _rate(body)
    if kind == "at":
        try:
            return At(datetime.strptime(body, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=zone_of(time_zone)).astimezone(UTC))
        except ValueError:
            raise ScheduleError(f"at({body}) is not a time; write at(2026-01-31T07:00:00)") from None
    return _cron(body, zone_of(time_zone))


def zone_of(name: str) -> tzinfo:
    """Return a time zone. If the system has no zone files (as on Lambda), use those of dateutil, which botocore needs.

    Raises:
        ScheduleError: there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        found: tzinfo | None = tz.gettz(name)
    if found is None:
        raise ScheduleError(f"there is no time zone {name!r}")
    return found


@functools.cache
def shortest_interval(expression: str, time_zone: str = "UTC") -> timedelta | None:
    """Return the shortest time between two of the first 64 firings; None if it fires once at most."""
    schedule = parse(expression, time_zone)
    if isinstance(schedule, Rate):
        return schedule.interval
    firings: list[datetime] = []
    for firing in schedule.after(_BEGINNING):
        firings.append(firing)
        if len(firings) == 64:
            break
    return min((later - earlier for earlier, later in itertools.pairwise(firings)), default=None)


@functools.cache
def longest_interval(expression: str, time_zone: str = "UTC") -> timedelta | None:
    """Return the longest time between two firings within a year; None if it fires once at most."""
    schedule = parse(expression, time_zone)
    if isinstance(schedule, Rate):
        return schedule.interval
    return max((later - earlier for earlier, later in itertools.pairwise(_year_of(schedule))), default=None)


@functools.cache
def mean_interval(expression: str, time_zone: str = "UTC") -> timedelta | None:
    """Return the mean time between two firings within a year; None if it fires once at most."""
    schedule = parse(expression, time_zone)
    if isinstance(schedule, Rate):
        return schedule.interval
    firings = _year_of(schedule)
    return (firings[-1] - firings[0]) / (len(firings) - 1) if len(firings) > 1 else None


def _year_of(schedule: Cron | At) -> list[datetime]:
    """Return the firings of a year, at most `_MANY`: a schedule that fires so often repeats its pattern before that."""
    end = _A_YEAR + timedelta(days=366)
    return list(itertools.islice(itertools.takewhile(lambda firing: firing <= end, schedule.after(_A_YEAR)), _MANY))


def last_before(expression: str, time_zone: str, moment: datetime, *, since: datetime | None = None) -> datetime | None:
    """Return the last firing up to a moment, or None if there was none.

    Arguments:
        since: a known firing, from which a rate is counted. Without it, the result for a rate is None.
    """
    schedule = parse(expression, time_zone)
    if isinstance(schedule, Rate):
        if since is None or since > moment:
            return None
        return since + (moment - since) // schedule.interval * schedule.interval
    if isinstance(schedule, At):
        return schedule.moment if schedule.moment <= moment else None
    for days in (2, 40, 400, 4000):
        begin = moment - timedelta(days=days)
        found = None
        for found in itertools.takewhile(lambda firing: firing <= moment, schedule.after(begin)):  # noqa: B007
            pass
        if found is not None:
            return found
    return None


def longest_silence(expression: str, time_zone: str, window_minutes: int, grace: timedelta) -> timedelta:
    """Return the time without a success after which a run is overdue.

    Raises:
        ScheduleError: the schedule fires once at most.
    """
    longest = longest_interval(expression, time_zone)
    if longest is None:
        raise ScheduleError(f"{expression} fires once at most; an alarm on missing runs needs a recurring schedule")
    return longest + timedelta(minutes=window_minutes) + grace


def _rate(body: str) -> Rate:
    match = re.fullmatch(r"(\d+) (minute|hour|day)(s?)", body)
    if not match or int(match[1]) == 0:
        raise ScheduleError(f"rate({body}) is not a rate; write a number above 0 and a unit: rate(5 minutes)")
    value, unit, plural = int(match[1]), match[2], bool(match[3])
    if (value == 1) == plural:
        raise ScheduleError(f"rate({body}): AWS requires rate(1 {unit}) and rate(2 {unit}s)")
    return Rate(value * _UNITS[unit])


def _cron(body: str, zone: tzinfo) -> Cron:
    fields = body.split()
    if len(fields) != 6:
        raise ScheduleError(
            f"cron({body}) has {len(fields)} fields; AWS requires six: "
            "minutes hours day-of-month month day-of-week year, for example cron(0 0 * * ? *)"
        )
    if (fields[2] == "?") == (fields[4] == "?"):
        raise ScheduleError(f"cron({body}): exactly one of day-of-month and day-of-week must be ?")
    values = [
        frozenset() if name.startswith("day") else frozenset(_values(text, name, low, high, names))
        for text, (name, low, high, names) in zip(fields, _FIELDS, strict=True)
    ]
    cron = Cron(values[0], values[1], fields[2].upper(), values[3], fields[4].upper(), values[5], zone)
    cron._days_of(2024, 1)
    if next(cron.after(_BEGINNING), None) is None:
        raise ScheduleError(f"cron({body}) never fires")
    return cron


def _values(text: str, name: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, dash, final = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = _number(first, name, low, high, names)
            end = _number(final, name, low, high, names) if dash else (high if step else start)
        if step and not (step.isdigit() and int(step) > 0):
            raise ScheduleError(f"{name} {part!r}: the step after / must be a number above 0")
        if end < start:
            raise ScheduleError(f"{name} {part!r}: the range ends before it starts")
        found.update(range(start, end + 1, int(step or 1)))
    return found


def _number(text: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    number = names.get(text.capitalize(), int(text) if text.isdigit() else -1)
    if not low <= number <= high:
        known = f" or {', '.join(names).upper()}" if names else ""
        raise ScheduleError(f"{name} {text!r}: write {low} to {high}{known}")
    return number


def _month_days(text: str, year: int, month: int, last: int) -> set[int]:
    if text in {"L", "LW"}:
        return {_nearest_weekday(year, month, last, last) if text == "LW" else last}
    if match := re.fullmatch(r"(\d+)W", text):
        day = _number(match[1], "day-of-month", 1, 31, {})
        return {_nearest_weekday(year, month, day, last)} if day <= last else set()
    return {day for day in _values(text, "day-of-month", 1, 31, {}) if day <= last}


def _week_days(text: str, year: int, month: int, last: int) -> set[int]:
    def number(day: int) -> int:
        return date(year, month, day).isoweekday() % 7 + 1

    if match := re.fullmatch(r"(\w+)#([1-5])", text):
        weekday, nth = _number(match[1], "day-of-week", 1, 7, _WEEKDAYS), int(match[2])
        return set([day for day in range(1, last + 1) if number(day) == weekday][nth - 1 : nth])
    if match := re.fullmatch(r"(\w+)L", text):
        weekday = _number(match[1], "day-of-week", 1, 7, _WEEKDAYS)
        return set([day for day in range(1, last + 1) if number(day) == weekday][-1:])
    weekdays = {7} if text == "L" else _values(text, "day-of-week", 1, 7, _WEEKDAYS)
    return {day for day in range(1, last + 1) if number(day) in weekdays}


def _nearest_weekday(year: int, month: int, day: int, last: int) -> int:
    weekday = date(year, month, day).isoweekday()
    if weekday == 6:
        return day - 1 if day > 1 else day + 2
    if weekday == 7:
        return day + 1 if day < last else day - 2
    return day
