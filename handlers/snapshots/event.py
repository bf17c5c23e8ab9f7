"""Parses RDS's events about snapshots. The rule matches only those of finished snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Malformed(ValueError):
    """The event is not about an RDS snapshot. The message says why."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot in its own Region.

    Arguments:
        arn: of the snapshot.
        of_cluster: whether it is of an Aurora cluster or a Multi-AZ cluster.
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
        """Return its identifier, which begins with `rds:` if automated, with `awsbackup:` if made by AWS Backup."""
        return self.arn.split(":", 6)[6]


def parse(event: Mapping[str, Any]) -> Snapshot:
    """Return the snapshot that an event names.

    Raises:
        Malformed: the event is not about a snapshot.
    """
    detail = event.get("detail") or {}
    arn = str(detail.get("SourceArn", ""))
    parts = arn.split(":", 6)
    if len(parts) != 7 or parts[2] != "rds" or parts[5] not in {"snapshot", "cluster-snapshot"}:
        raise Malformed(f"the SourceArn of the event {event.get('id')} is not the ARN of a snapshot: {arn!r}")
    return Snapshot(arn, of_cluster=parts[5] == "cluster-snapshot")
