"""A table of DynamoDB."""

from __future__ import annotations

from collections.abc import Mapping

from cdktf_cdktf_provider_aws.dynamodb_table import (
    DynamodbTable,
    DynamodbTableAttribute,
    DynamodbTablePointInTimeRecovery,
    DynamodbTableServerSideEncryption,
    DynamodbTableTtl,
)
from constructs import Construct

from infra.constructs.accepted import accept

accept(
    "aws_dynamodb_table",
    {"CKV_AWS_119": "encrypted with DynamoDB's own key in KMS, which nobody can schedule for deletion"},
)


def table(
    scope: Construct,
    id_: str,
    *,
    name: str,
    key: str,
    expires_by: str | None = None,
    is_protected: bool | None = None,
    tags: Mapping[str, str] | None = None,
) -> DynamodbTable:
    """Return a table, on demand, encrypted, with point-in-time recovery.

    Arguments:
        key: the partition key, a text.
        expires_by: attribute with the time (seconds since 1970) from which on an item is deleted; None for never.
        is_protected: DynamoDB refuses to delete it.
    """
    return DynamodbTable(
        scope,
        id_,
        name=name,
        billing_mode="PAY_PER_REQUEST",
        hash_key=key,
        attribute=[DynamodbTableAttribute(name=key, type="S")],
        ttl=DynamodbTableTtl(attribute_name=expires_by, enabled=True) if expires_by else None,
        point_in_time_recovery=DynamodbTablePointInTimeRecovery(enabled=True),
        server_side_encryption=DynamodbTableServerSideEncryption(enabled=True),
        deletion_protection_enabled=is_protected,
        tags=dict(tags) if tags else None,
    )
