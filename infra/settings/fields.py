"""The building blocks of the settings: types with AWS's naming rules and limits, and the base class of all sections."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from rollbook.contract import schedules


def _bucket_name(name: str) -> str:
    if re.fullmatch(r"\d+\.\d+\.\d+\.\d+", name) or ".." in name or name.startswith(("xn--", "sthree-")):
        raise ValueError("S3 refuses names that look like an IP address, contain '..' or start with xn-- or sthree-")
    return name


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("no such IANA time zone; write for example Asia/Ho_Chi_Minh or UTC") from None
    return name


def _schedule(expression: str) -> str:
    schedules.parse(expression)
    return expression


def check_window(expression: str, time_zone: str, minutes: int) -> None:
    """Refuse a flexible window that is not shorter than the time between two runs."""
    interval = schedules.shortest_interval(expression, time_zone)
    if interval is not None and timedelta(minutes=minutes) >= interval:
        raise ValueError(
            f"flexible_window_minutes = {minutes} is not shorter than the {interval} between two runs of "
            "schedule_expression; make the window shorter or the interval longer"
        )


def _of_aws(region: str) -> str:
    # The stack contains ARNs of the partition `aws`.
    if region.startswith(("cn-", "us-gov-", "us-iso", "eusc-")):
        raise ValueError("Regions in China, in GovCloud and in other partitions than `aws` are not supported")
    return region


def _never(days: object) -> object:
    return None if days == 0 and not isinstance(days, bool) else days


# The log retentions that CloudWatch Logs accepts, in days (API reference, PutRetentionPolicy).
RetentionDays = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
]
BucketName = Annotated[
    str,
    Field(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$"),
    AfterValidator(_bucket_name),
]
Region = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$"), AfterValidator(_of_aws)]
# TOML has no null, so 0 means never where the default is a number of days.
NEVER = BeforeValidator(_never)
KEY_ARN = r"^arn:aws:kms:[a-z0-9-]+:\d{12}:key/.+$"
RoleName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w+=,.@-]+$")]
# A function's role is named `<function>Role`, and a role's name has at most 64 characters (IAM API reference,
# CreateRole).
FunctionName = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9_-]+$")]
TableName = Annotated[str, Field(min_length=3, max_length=255, pattern=r"^[A-Za-z0-9_.-]+$")]
ScheduleName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z_.-]+$")]
QueueName = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9_-]+$")]
Suffix = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9_.-]+$")]
Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s<>\"]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$")]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
ScheduleExpression = Annotated[str, AfterValidator(_schedule)]


class Section(BaseModel):
    """A section of an environment file. Unknown keys are refused, and values cannot be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
