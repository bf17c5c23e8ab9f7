"""The requests for backups, and the keys that they give to the objects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from dateutil import tz

from rollbook.contract.jobs import BackupJob

# The Scheduler retries for hours, and a dead letter may be sent again after days. The data of such a run is of now.
_ON_TIME = timedelta(hours=1)
# Longer than the hours that a clock change repeats.
_CLOCK_CHANGE = timedelta(hours=3)


@dataclass(frozen=True)
class Request:
    """A request for a backup.

    Arguments:
        id: identifies the execution. A second request with the same id belongs to the same execution.
        source: `schedule`, `api` or `manual`.
        name: the object's key without its suffix.
        run_at: the time of the schedule, or of the request (aware).
    """

    id: str
    source: str
    name: str
    run_at: datetime


def scheduled(job: BackupJob, time_zone: str, scheduled_time: datetime) -> Request:
    """Return the request of a scheduled run. It is the same for every retry of the run."""
    zone = _zone(time_zone)
    universal = scheduled_time.astimezone(UTC)
    is_repeated = _is_repeated(universal, zone)
    stamp = f"{universal:%Y%m%dT%H%MZ}" if is_repeated else f"{universal.astimezone(zone):%Y%m%dT%H%M}"
    moment = universal.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Request(f"schedule#{job.table_name}#{moment}", "schedule", f"{job.key_prefix}{stamp}", scheduled_time)


def manual(job: BackupJob, time_zone: str, source: str, request_id: str, now: datetime, mark: str = "") -> Request:
    """Return the request of a manual run. Its key contains the request's id and the mark."""
    stamp = now.astimezone(_zone(time_zone)).strftime("%Y%m%dT%H%M%S")
    marked = f"-{mark}" if mark else ""
    return Request(f"{source}#{request_id}", source, f"{job.key_prefix}{stamp}-{request_id[:8]}{marked}", now)


def _is_repeated(moment: datetime, zone: tzinfo) -> bool:
    """Return whether another moment has the same local time, because a clock change repeats the hour."""
    local = moment.astimezone(zone)
    # `tz.datetime_ambiguous` misses zones whose winter time is the exception, such as Africa/Casablanca.
    for beside in (moment - _CLOCK_CHANGE, moment + _CLOCK_CHANGE):
        offset = beside.astimezone(zone).utcoffset() or timedelta()
        other = (local.replace(tzinfo=None) - offset).replace(tzinfo=UTC)
        if other != moment and other.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
            return True
    return False


def _zone(name: str) -> tzinfo:
    # dateutil, which botocore needs, has its own zone files; the Lambda runtime may have none.
    zone: tzinfo | None = tz.gettz(name)
    if zone is None:
        raise ValueError(f"there is no time zone {name!r}; TIME_ZONE must be an IANA name")
    return zone


def name_at(request: Request, now: datetime) -> str:
    """Return the key without its suffix. The data of a late run is of now, and its name says so."""
    is_late = request.source == "schedule" and now - request.run_at > _ON_TIME
    return name_as_of(request.name, now) if is_late else request.name


def name_as_of(name: str, now: datetime) -> str:
    """Return the name of a backup whose data is not of the time in its name."""
    return f"{name}-as-of-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
