"""The events that Rollbook puts on its bus. Each event is a class, and the class is the schema of its detail."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

Correlation = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        description="The execution or request that the event belongs to.",
        examples=["schedule#studentData#2026-02-10T00:00:00Z"],
    ),
]
Table = Annotated[str, msgspec.Meta(min_length=1, description="The table's name.", examples=["studentData"])]
Bucket = Annotated[
    str, msgspec.Meta(min_length=1, description="The bucket of the backups.", examples=["student-backup"])
]
Key = Annotated[
    str,
    msgspec.Meta(
        description="The backup's key; empty if there is none.", examples=["students-backup-20260210T0700.json"]
    ),
]
Items = Annotated[int, msgspec.Meta(ge=0, description="How many items.", examples=[395])]
Reason = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=2000, description="What went wrong.", examples=["Corrupted: item 3 is damaged"]
    ),
]
Seconds = Annotated[float, msgspec.Meta(ge=0, description="Seconds.", examples=[1.5])]


class Event(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Something that happened."""

    SOURCE: ClassVar[str]
    DETAIL_TYPE: ClassVar[str]

    correlation_id: Correlation


class StudentSaved(Event):
    """A record was created or changed. The event does not contain the record."""

    SOURCE: ClassVar[str] = "rollbook.students"
    DETAIL_TYPE: ClassVar[str] = "student saved"

    table: Table
    studentid: Annotated[str, msgspec.Meta(min_length=1, description="The record's key.", examples=["SV001"])]
    created: Annotated[bool, msgspec.Meta(description="Whether the record is new.", examples=[True])]


class BackupCompleted(Event):
    """A backup is complete."""

    SOURCE: ClassVar[str] = "rollbook.backups"
    DETAIL_TYPE: ClassVar[str] = "backup completed"

    table: Table
    bucket: Bucket
    key: Key
    trigger: Annotated[
        str, msgspec.Meta(description="What started it: `schedule`, `api` or `manual`.", examples=["schedule"])
    ]
    engine: Annotated[str, msgspec.Meta(description="`scan` or `export`.", examples=["scan"])]
    format: Annotated[str, msgspec.Meta(description="`json` or `dynamodb-export`.", examples=["json"])]
    items: Items
    bytes: Annotated[int, msgspec.Meta(ge=0, description="Bytes in S3.", examples=[106_650])]
    started_at: Annotated[
        str, msgspec.Meta(description="When it began, ISO 8601.", examples=["2026-02-10T00:00:03.120Z"])
    ]
    ended_at: Annotated[
        str, msgspec.Meta(description="When it ended, ISO 8601.", examples=["2026-02-10T00:00:04.480Z"])
    ]
    run_at: Annotated[
        str,
        msgspec.Meta(
            description="The time of the schedule or request for which it was made, ISO 8601; empty if unknown.",
            examples=["2026-02-10T00:00:00.000Z"],
        ),
    ] = ""
    read_from: Annotated[
        str,
        msgspec.Meta(description="Its data is of this time or later, ISO 8601.", examples=["2026-02-10T00:00:03.200Z"]),
    ] = ""
    read_until: Annotated[
        str,
        msgspec.Meta(
            description="Its data is of this time or earlier, ISO 8601.", examples=["2026-02-10T00:00:04.100Z"]
        ),
    ] = ""
    doubt: Annotated[
        str,
        msgspec.Meta(description="Why the backup is not called good; empty if it is.", examples=["the table is empty"]),
    ] = ""


class BackupContinues(Event):
    """A scan did not fit into an invocation. The event starts the next one, which continues the scan."""

    SOURCE: ClassVar[str] = "rollbook.backups"
    DETAIL_TYPE: ClassVar[str] = "backup continues"

    table: Table


class BackupFailed(Event):
    """A backup failed. It left no visible object."""

    SOURCE: ClassVar[str] = "rollbook.backups"
    DETAIL_TYPE: ClassVar[str] = "backup failed"

    table: Table
    bucket: Bucket
    error: Reason


class BackupDamaged(Event):
    """A stored backup was read again, and it is damaged, or it was replaced or deleted."""

    SOURCE: ClassVar[str] = "rollbook.backups"
    DETAIL_TYPE: ClassVar[str] = "backup damaged"

    bucket: Bucket
    key: Key
    error: Reason


class RestoreCompleted(Event):
    """A backup was restored, and the table was compared with it."""

    SOURCE: ClassVar[str] = "rollbook.backups"
    DETAIL_TYPE: ClassVar[str] = "restore completed"

    table: Table
    bucket: Bucket
    key: Key
    items: Items
    written: Annotated[int, msgspec.Meta(ge=0, description="How many items had to be written.", examples=[395])]
    seconds: Seconds


class DrillPassed(Event):
    """The newest backup was restored into a scratch table, and all items are equal."""

    SOURCE: ClassVar[str] = "rollbook.drills"
    DETAIL_TYPE: ClassVar[str] = "drill passed"

    table: Table
    bucket: Bucket
    key: Key
    items: Items
    rto_seconds: Annotated[float, msgspec.Meta(ge=0, description="Duration of the restore.", examples=[2.4])]
    rpo_seconds: Annotated[float, msgspec.Meta(ge=0, description="Age of the backup.", examples=[86_400.0])]


class DrillFailed(Event):
    """The newest backup could not be restored."""

    SOURCE: ClassVar[str] = "rollbook.drills"
    DETAIL_TYPE: ClassVar[str] = "drill failed"

    table: Table
    bucket: Bucket
    key: Key
    error: Reason


CATALOGUE: tuple[type[Event], ...] = (
    StudentSaved,
    BackupCompleted,
    BackupContinues,
    BackupFailed,
    BackupDamaged,
    RestoreCompleted,
    DrillPassed,
    DrillFailed,
)
_KINDS = {(kind.SOURCE, kind.DETAIL_TYPE): kind for kind in CATALOGUE}


class NotInCatalogue(ValueError):
    """An event is not in the catalogue, or its detail does not match its schema."""


def parse(source: str, detail_type: str, detail: Any) -> Event:
    """Parse an event and check it against its schema.

    Arguments:
        detail: the decoded JSON.

    Raises:
        NotInCatalogue: the event is unknown or its detail is invalid. The message names the wrong field.
    """
    kind = _KINDS.get((source, detail_type))
    if kind is None:
        known = "; ".join(f"{source}, {detail_type}" for source, detail_type in _KINDS)
        raise NotInCatalogue(f"there is no event of source {source!r} and type {detail_type!r}; there are: {known}")
    try:
        return msgspec.convert(detail, kind)
    except msgspec.ValidationError as error:
        raise NotInCatalogue(f"the detail of {detail_type!r} is wrong: {error}") from None
