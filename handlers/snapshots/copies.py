"""Copies database snapshots to another Region. Each is copied once, identified by tags, and deleted after a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from handlers.snapshots.event import Snapshot

_SOURCE_TAG, _MAKER_TAG = "rollbook:copy-of", "rollbook:copied-by"
# A snapshot's identifier has up to 255 characters (RDS API reference, CopyDBSnapshot).
_NAME_LENGTH = 255


class Refused(RuntimeError):
    """A snapshot cannot be copied. The message says why and what to do."""


class CopyFailed(RuntimeError):
    """Copies that were started earlier have failed. The message names them."""


@dataclass(frozen=True)
class _Kind:
    """RDS's names for a kind of snapshot: of an instance or of a cluster."""

    noun: str
    calls: str
    encrypted: str
    missing: str
    exists: str

    @property
    def name(self) -> str:
        return f"{self.noun}Identifier"

    @property
    def arn(self) -> str:
        return f"{self.noun}Arn"


_INSTANCE = _Kind("DBSnapshot", "db_snapshot", "Encrypted", "DBSnapshotNotFoundFault", "DBSnapshotAlreadyExistsFault")
_CLUSTER = _Kind(
    "DBClusterSnapshot",
    "db_cluster_snapshot",
    "StorageEncrypted",
    "DBClusterSnapshotNotFoundFault",
    "DBClusterSnapshotAlreadyExistsFault",
)


class Copies:
    """Makes and deletes the copies of one function.

    Arguments:
        source: a boto3 `rds` client of the snapshots' Region.
        destination: a boto3 `rds` client of the copies' Region.
        account_id: the account that owns the snapshots.
        maker: the function's name, which becomes a tag of each copy.
        prefix: the beginning of a copy's name.
        key_arn: KMS key in the destination Region that encrypts the copies.
        option_group: in the destination Region, for databases that cannot be restored without one; empty for none.
    """

    def __init__(
        self,
        source: Any,
        destination: Any,
        *,
        account_id: str,
        maker: str,
        prefix: str,
        key_arn: str,
        option_group: str = "",
    ) -> None:
        self._source = source
        self._destination = destination
        self._account_id = account_id
        self._maker = maker
        self._prefix = prefix
        self._key_arn = key_arn
        self._option_group = option_group

    def make(self, snapshot: Snapshot) -> str | None:
        """Start the copy of a snapshot unless it was started before. Return the copy's name.

        RDS needs minutes or hours to complete a copy; `check` reports failures later.

        Returns:
            The copy's name, or None if AWS Backup made the snapshot.

        Raises:
            Refused: the snapshot belongs to another account, is gone, or is of an unencrypted cluster; or another
                snapshot has the copy's name.
            botocore.exceptions.ClientError: RDS refused.
        """
        if snapshot.name.startswith("awsbackup:"):
            return None
        if snapshot.account_id != self._account_id:
            raise Refused(
                f"{snapshot.arn} is shared by the account {snapshot.account_id}, and RDS cannot copy a shared snapshot "
                "to another Region; first copy it into this account within its Region"
            )
        kind = _CLUSTER if snapshot.of_cluster else _INSTANCE
        name = self.name_of(snapshot)
        if self._is_started(kind, name, snapshot):
            return name
        original = self._describe(self._source, kind, snapshot.name)
        if original is None:
            raise Refused(f"{snapshot.arn} does not exist any more; it cannot be copied")
        if kind is _CLUSTER and not original[kind.encrypted]:
            raise Refused(
                f"{snapshot.arn} is not encrypted, and RDS cannot encrypt the copy of a cluster's snapshot; restore it "
                "into an encrypted cluster, whose snapshots can be copied"
            )
        options = {"OptionGroupName": self._option_group} if self._option_group and kind is _INSTANCE else {}
        # Only AWS services can set tags that begin with `aws:`.
        tags = [tag for tag in original.get("TagList", []) if not tag["Key"].startswith(("aws:", "rollbook:"))]
        tags += [{"Key": _SOURCE_TAG, "Value": snapshot.arn}, {"Key": _MAKER_TAG, "Value": self._maker}]
        try:
            getattr(self._destination, f"copy_{kind.calls}")(
                **{f"Source{kind.name}": snapshot.arn, f"Target{kind.name}": name},
                KmsKeyId=self._key_arn,
                Tags=tags,
                SourceRegion=snapshot.region,
                **options,
            )
        except self._error(kind.exists):
            # Another invocation started it, or another snapshot has the name.
            self._is_started(kind, name, snapshot)
        return name

    def name_of(self, snapshot: Snapshot) -> str:
        """Return the name of a snapshot's copy. It is unique, because it says whether the snapshot is automated.

        Raises:
            Refused: the name would be longer than RDS's limit.
        """
        automated = snapshot.name.startswith("rds:")
        name = f"{self._prefix}-{'automated' if automated else 'manual'}-{snapshot.name.removeprefix('rds:')}"
        if len(name) > _NAME_LENGTH:
            raise Refused(f"the copy of {snapshot.arn} would be named {name!r}, longer than {_NAME_LENGTH} characters")
        return name

    def expire(self, retention: timedelta, now: datetime) -> list[str]:
        """Delete this function's copies that are older than the retention, and return their names."""
        expired = []
        for kind, copy in self._own():
            made = copy.get("SnapshotCreateTime")
            if copy["Status"] == "available" and made is not None and made < now - retention:
                getattr(self._destination, f"delete_{kind.calls}")(**{kind.name: copy[kind.name]})
                expired.append(str(copy[kind.name]))
        return expired

    def check(self) -> None:
        """Check the copies that were started.

        Raises:
            CopyFailed: RDS could not complete some of them. The message names them.
        """
        failed = [f"{copy[kind.name]} of {_tags(copy)[_SOURCE_TAG]}" for kind, copy in self._own() if _failed(copy)]
        if failed:
            raise CopyFailed(
                f"RDS could not complete {', '.join(failed)}; fix the cause, delete the copy and redrive the event"
            )

    def _own(self) -> Iterator[tuple[_Kind, dict[str, Any]]]:
        for kind in (_INSTANCE, _CLUSTER):
            pages = self._destination.get_paginator(f"describe_{kind.calls}s").paginate(SnapshotType="manual")
            for page in pages:
                for copy in page[f"{kind.noun}s"]:
                    if copy[kind.name].startswith(f"{self._prefix}-") and _tags(copy).get(_MAKER_TAG) == self._maker:
                        yield kind, copy

    def _is_started(self, kind: _Kind, name: str, snapshot: Snapshot) -> bool:
        """Return whether the copy was started. A failed copy is deleted, so that it can be started again."""
        copy = self._describe(self._destination, kind, name)
        if copy is None:
            return False
        tags = _tags(copy)
        if (tags.get(_SOURCE_TAG), tags.get(_MAKER_TAG)) != (snapshot.arn, self._maker):
            raise Refused(
                f"{copy[kind.arn]} is not a copy of {snapshot.arn} but has the name of one; rename or delete it"
            )
        if _failed(copy):
            getattr(self._destination, f"delete_{kind.calls}")(**{kind.name: name})
            return False
        return True

    def _describe(self, client: Any, kind: _Kind, name: str) -> dict[str, Any] | None:
        try:
            found = getattr(client, f"describe_{kind.calls}s")(**{kind.name: name})[f"{kind.noun}s"]
        except getattr(client.exceptions, kind.missing):
            return None
        return dict(found[0]) if found else None

    def _error(self, name: str) -> Any:
        return getattr(self._destination.exceptions, name)


def _tags(copy: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in copy.get("TagList", [])}


def _failed(copy: dict[str, Any]) -> bool:
    return str(copy["Status"]).startswith(("failed", "incompatible"))
