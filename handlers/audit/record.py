"""Parses a CloudTrail record about an S3 object: who did what to which backup, from where, with which result."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec

# Actions that neither read nor change a backup: they list objects, read metadata, or prepare an upload that only
# CompleteMultipartUpload makes visible. Any other action counts as access, including actions that S3 adds later.
# Source: S3 User Guide, "CloudTrail data events".
_HARMLESS = frozenset(
    {
        "CreateMultipartUpload",
        "GetObjectAcl",
        "GetObjectAttributes",
        "GetObjectLockLegalHold",
        "GetObjectLockRetention",
        "GetObjectTagging",
        "HeadBucket",
        "HeadObject",
        "ListMultipartUploads",
        "ListObjects",
        "ListObjectsV2",
        "ListObjectVersions",
        "ListParts",
        "UploadPart",
    }
)
_WRITES = frozenset({"PutObject", "CopyObject", "CompleteMultipartUpload"})
_COPIES = frozenset({"CopyObject", "UploadPartCopy"})


class Malformed(ValueError):
    """An event is not a CloudTrail record. The message names the wrong field."""


class _Issuer(msgspec.Struct):
    type: str = ""
    arn: str = ""


class _Session(msgspec.Struct, rename="camel"):
    session_issuer: _Issuer = msgspec.field(default_factory=_Issuer)


class Identity(msgspec.Struct, rename="camel"):
    """The element `userIdentity` of a record (CloudTrail User Guide, "userIdentity element")."""

    type: str = "Unknown"
    principal_id: str = ""
    arn: str = ""
    account_id: str = ""
    user_name: str = ""
    invoked_by: str = ""
    session_context: _Session = msgspec.field(default_factory=_Session)

    @property
    def role_arn(self) -> str:
        """Return the ARN of the assumed role, or an empty text. For a role of another account, CloudTrail omits it."""
        issuer = self.session_context.session_issuer
        return issuer.arn if self.type == "AssumedRole" and issuer.type == "Role" else ""

    def __str__(self) -> str:
        match self.type:
            case "Root":
                who = f"the root user of the account {self.account_id}"
            case "IAMUser":
                who = f"the user {self.user_name} ({self.arn})"
            case "AssumedRole":
                who = f"the role {self.role_arn or '(unknown)'} as {self.arn}"
            case "AWSAccount" if self.account_id in {"", "anonymous", "ANONYMOUS_PRINCIPAL"}:
                who = "an anonymous user"
            case "AWSAccount":
                who = f"the principal {self.principal_id} of the account {self.account_id}"
            case "AWSService":
                return f"the AWS service {self.invoked_by}"
            case _:
                who = f"{self.type} {self.arn or self.principal_id}".rstrip()
        return f"{who}, through {self.invoked_by}" if self.invoked_by else who


class _Resource(msgspec.Struct):
    arn: str = msgspec.field(default="", name="ARN")


class _Record(msgspec.Struct, rename="camel"):
    event_time: str
    event_name: str
    user_identity: Identity
    aws_region: str
    event_id: str = msgspec.field(name="eventID")
    source_ip_address: str = msgspec.field(default="", name="sourceIPAddress")
    user_agent: str = ""
    error_code: str = ""
    request_parameters: dict[str, Any] | None = None
    resources: list[_Resource] | None = None


@dataclass(frozen=True)
class Access:
    """An access to backups, successful or refused.

    Arguments:
        operation: `read`, `overwritten`, `deleted` or `changed`.
        keys: of the backups; empty if the record names none, as for a batch deletion.
        refusal: S3's error code; empty if the request succeeded.
    """

    who: Identity
    operation: str
    action: str
    keys: tuple[str, ...]
    time: str
    region: str
    address: str
    agent: str
    refusal: str
    event_id: str


def parse(detail: Any, bucket: str) -> Access | None:
    """Return the access to backups that a record reports, or None if it reports none.

    Arguments:
        detail: the record, decoded from JSON.
        bucket: of the backups.

    Raises:
        Malformed: it is not a CloudTrail record.
    """
    try:
        record = msgspec.convert(_without_nulls(detail), _Record)
    except msgspec.ValidationError as error:
        raise Malformed(f"this is not a CloudTrail record: {error}") from None
    if record.event_name in _HARMLESS:
        return None
    parameters = record.request_parameters or {}
    source = unquote(str(parameters.get("x-amz-copy-source", ""))).lstrip("/").partition("?")[0]
    copied = record.event_name in _COPIES and source.startswith(f"{bucket}/")
    written = parameters.get("bucketName") == bucket
    if record.event_name == "UploadPartCopy" and not copied:
        return None  # a part of an upload, like UploadPart
    return Access(
        who=record.user_identity,
        operation=_operation(record.event_name, is_source=copied and not written),
        action=record.event_name,
        keys=_keys(record, bucket, source if copied and not written else ""),
        time=record.event_time,
        region=record.aws_region,
        address=record.source_ip_address,
        agent=record.user_agent,
        refusal=record.error_code,
        event_id=record.event_id,
    )


def is_alarming(access: Access, expected_roles: Collection[str], *, refused_too: bool) -> bool:
    """Return whether an access requires an alert.

    Arguments:
        expected_roles: ARNs of the roles that may access backups.
        refused_too: whether requests that S3 refused require an alert, too.
    """
    if access.who.role_arn in expected_roles:
        return False
    return refused_too or not access.refusal


def _operation(action: str, *, is_source: bool) -> str:
    if is_source or action.startswith(("Get", "Select")):
        return "read"
    if action.startswith("Delete") and action != "DeleteObjectTagging":
        return "deleted"
    return "overwritten" if action in _WRITES else "changed"


def _keys(record: _Record, bucket: str, source: str) -> tuple[str, ...]:
    if source:
        return (source.removeprefix(f"{bucket}/"),)
    parameters = record.request_parameters or {}
    if parameters.get("bucketName") == bucket and "key" in parameters:
        return (str(parameters["key"]),)
    prefix = f"arn:aws:s3:::{bucket}/"
    arns = [resource.arn for resource in record.resources or []]
    return tuple(arn.removeprefix(prefix) for arn in arns if arn.startswith(prefix) and arn != prefix)


def _without_nulls(value: Any) -> Any:
    """Return a record without its null fields, which mean the same as missing fields."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return value
