"""A DynamoDB table."""

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
    {"CKV_AWS_119": "encrypted with the AWS managed key, which cannot be scheduled for deletion"},
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
    """Create an on-demand, encrypted table with point-in-time recovery.

    Arguments:
        key: the partition key, of type text.
        expires_by: the attribute with an item's expiry time in seconds since 1970; None if items do not expire.
        is_protected: whether DynamoDB refuses to delete the table.
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
