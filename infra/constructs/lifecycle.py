"""The lifecycle of a bucket's objects: transitions to cheaper storage classes, and expiry."""

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
    S3BucketLifecycleConfigurationRuleFilterAnd,
    S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration,
    S3BucketLifecycleConfigurationRuleTransition,
)
from constructs import Construct

from infra.constructs.accepted import accept
from infra.constructs.bucket import PrivateBucket

accept(
    "aws_s3_bucket_lifecycle_configuration",
    {"CKV_AWS_300": "the rules abort incomplete uploads under all prefixes; checkov expects a rule without a prefix"},
)


@dataclass(frozen=True)
class LifecycleRule:
    """The lifecycle of the objects under a prefix, in days after they were written.

    Arguments:
        id: of the rule.
        expire_days: None to keep the objects. Delete markers without versions are removed in any case.
        classes: the day of the transition, by storage class.
        noncurrent_days: how many days an overwritten or deleted version is kept; None to keep it.
        tags: the rule applies only to objects with these tags.
    """

    id: str
    prefix: str
    expire_days: int | None
    noncurrent_days: int | None
    classes: dict[str, int] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def expire(
    scope: Construct,
    id_: str,
    bucket: PrivateBucket,
    rules: Sequence[LifecycleRule],
    provider: TerraformProvider | None = None,
    *,
    moves_small: bool = False,
) -> None:
    """Set the lifecycle rules of a bucket. A bucket has one configuration, so call this once per bucket.

    Arguments:
        moves_small: whether objects under 128 KB move to Glacier, too. By default, S3 does not move them.
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
        filter=[_filter(rule)],
        transition=[
            S3BucketLifecycleConfigurationRuleTransition(days=days, storage_class=storage_class)
            for storage_class, days in rule.classes.items()
        ],
        expiration=[
            S3BucketLifecycleConfigurationRuleExpiration(days=rule.expire_days)
            if rule.expire_days is not None
            else S3BucketLifecycleConfigurationRuleExpiration(expired_object_delete_marker=True)
        ],
        noncurrent_version_expiration=None
        if rule.noncurrent_days is None
        else [S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration(noncurrent_days=rule.noncurrent_days)],
        # The parts of an incomplete upload cost as much as an object, and lists of objects do not show them. They have
        # no tags, so S3 refuses to abort them in a rule with tags (aws-samples/sample-spec-driven-presentation-maker
        # pull request 267).
        abort_incomplete_multipart_upload=None
        if rule.tags
        else [S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload(days_after_initiation=1)],
    )


def _filter(rule: LifecycleRule) -> S3BucketLifecycleConfigurationRuleFilter:
    if not rule.tags:
        return S3BucketLifecycleConfigurationRuleFilter(prefix=rule.prefix)
    return S3BucketLifecycleConfigurationRuleFilter(
        and_=[S3BucketLifecycleConfigurationRuleFilterAnd(prefix=rule.prefix, tags=rule.tags)]
    )
