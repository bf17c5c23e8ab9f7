"""The events of RDS that tell of a snapshot; the rule lets through those of finished ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Malformed(ValueError):
    """The event is not one of RDS about a snapshot; the message says why."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot in its own Region.

    Arguments:
        arn: of the snapshot.
        of_cluster: whether it is an Aurora or Multi-AZ cluster's.
    """

    arn: str
    of_cluster: bool

    @property
    def account_id(self) -> str:
        """Return the account that owns it."""
        return self.arn.split(":")[4]

    @property
    def region(self) -> str:
        """Return its Region."""
        return self.arn.split(":")[3]

    @property
    def name(self) -> str:
        """Return its identifier: `rds:…` of an automated one, `awsbackup:…` of AWS Backup's."""
        return self.arn.split(":", 6)[6]


def parse(event: Mapping[str, Any]) -> Snapshot:
    """Return the snapshot that an event tells of.

    Raises:
        Malformed: it tells of something else.
    """
    detail = event.get("detail") or {}
    arn = str(detail.get("SourceArn", ""))
    parts = arn.split(":", 6)
    if len(parts) != 7 or parts[2] != "rds" or parts[5] not in {"snapshot", "cluster-snapshot"}:
        raise Malformed(f"the event {event.get('id')} has no ARN of a snapshot as SourceArn: {arn!r}")
    return Snapshot(arn, of_cluster=parts[5] == "cluster-snapshot")
