"""How the objects of a bucket age: into cheaper classes, and away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cdktf import TerraformProvider
from cdktf_cdktf_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfiguration,
    S3BucketLifecycleConfigurationRule,
    S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload,
    S3BucketLifecycleConfigurationRuleExpiration,
    S3BucketLifecycleConfigurationRuleFilter,
    S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration,
    S3BucketLifecycleConfigurationRuleTransition,
)
from constructs import Construct

from infra.constructs.accepted import accept
from infra.constructs.bucket import PrivateBucket

accept(
    "aws_s3_bucket_lifecycle_configuration",
    {"CKV_AWS_300": "each rule aborts uploads under its prefix, where all uploads are; checkov wants one without"},
)


@dataclass(frozen=True)
class LifecycleRule:
    """What happens to the objects under a prefix, in days after they were written.

    Arguments:
        id: the rule's.
        classes: storage class to the day that they move there.
        noncurrent_days: how long an overwritten or deleted version is kept.
    """

    id: str
    prefix: str
    expire_days: int
    noncurrent_days: int
    classes: dict[str, int] = field(default_factory=dict)


def expire(
    scope: Construct,
    id_: str,
    bucket: PrivateBucket,
    rules: Sequence[LifecycleRule],
    provider: TerraformProvider | None = None,
    *,
    moves_small: bool = False,
) -> None:
    """Let the objects of a bucket age. A bucket has one configuration, so this is called once for it.

    Arguments:
        moves_small: objects under 128 KB move to Glacier, too; without it S3 moves none of them.
    """
    S3BucketLifecycleConfiguration(
        scope,
        id_,
        bucket=bucket.id,
        rule=[_rule(rule) for rule in rules],
        transition_default_minimum_object_size="varies_by_storage_class" if moves_small else "all_storage_classes_128K",
        depends_on=[bucket.versioning],
        provider=provider,
    )


def _rule(rule: LifecycleRule) -> S3BucketLifecycleConfigurationRule:
    return S3BucketLifecycleConfigurationRule(
        id=rule.id,
        status="Enabled",
        filter=[S3BucketLifecycleConfigurationRuleFilter(prefix=rule.prefix)],
        transition=[
            S3BucketLifecycleConfigurationRuleTransition(days=days, storage_class=storage_class)
            for storage_class, days in rule.classes.items()
        ],
        expiration=[S3BucketLifecycleConfigurationRuleExpiration(days=rule.expire_days)],
        noncurrent_version_expiration=[
            S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration(noncurrent_days=rule.noncurrent_days)
        ],
        # A part of an upload that died costs as much as an object, and nobody sees it.
        abort_incomplete_multipart_upload=[
            S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload(days_after_initiation=1)
        ],
    )
