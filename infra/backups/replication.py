"""S3 replication of the backups to other Regions, within minutes and with metrics."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.iam_role import IamRole
from cdktf_cdktf_provider_aws.iam_role_policy import IamRolePolicy
from cdktf_cdktf_provider_aws.s3_bucket_replication_configuration import (
    S3BucketReplicationConfigurationA,
    S3BucketReplicationConfigurationRule,
    S3BucketReplicationConfigurationRuleDeleteMarkerReplication,
    S3BucketReplicationConfigurationRuleDestination,
    S3BucketReplicationConfigurationRuleDestinationMetrics,
    S3BucketReplicationConfigurationRuleDestinationMetricsEventThreshold,
    S3BucketReplicationConfigurationRuleDestinationReplicationTime,
    S3BucketReplicationConfigurationRuleDestinationReplicationTimeTime,
    S3BucketReplicationConfigurationRuleFilter,
)
from constructs import Construct

from infra.backups.store import BackupStore, lifecycle_rule_of
from infra.constructs import policy
from infra.constructs.accepted import accept
from infra.constructs.bucket import PrivateBucket
from infra.constructs.lifecycle import expire
from infra.platform import Aws
from infra.settings import Settings
from infra.settings.backups import TablePlan

accept("aws_s3_bucket", {"CKV2_AWS_62": "the source bucket notifies about its objects"}, path="replicas/*")


# S3 Replication Time Control copies 99.9 % of objects within 15 minutes and reports later ones (S3 User Guide).
_MINUTES = 15


class Replicas(Construct):
    """A bucket in each Region with copies, and the replication rules."""

    def __init__(self, scope: Construct, id_: str, *, platform: Aws, store: BackupStore) -> None:
        super().__init__(scope, id_)
        settings = platform.settings
        plans = [plan for plan in settings.backed_up_tables if plan.options.replicate_to]
        regions = sorted({str(plan.options.replicate_to) for plan in plans})
        buckets = {
            region: self._bucket(platform, settings, region, [p for p in plans if p.options.replicate_to == region])
            for region in regions
        }
        role = IamRole(
            self,
            "role",
            name=settings.backups.replication_role_name,
            # No condition: S3's documentation names none for this role ("Setting up permissions for live replication").
            # A replication configuration can only name a role that its author may pass.
            assume_role_policy=policy.trust("s3.amazonaws.com"),
        )
        objects = [f"{store.bucket_arn}/{plan.key_prefix}*" for plan in plans]
        read = ["s3:GetObjectVersionAcl", "s3:GetObjectVersionForReplication", "s3:GetObjectVersionTagging"]
        write = ["s3:ReplicateDelete", "s3:ReplicateObject", "s3:ReplicateTags"]
        granted = [
            IamRolePolicy(
                self,
                statement.sid,
                name=statement.sid,
                role=role.id,
                policy=policy.document(statement),
            )
            for statement in (
                policy.Statement(
                    "ReadConfiguration", ["s3:GetReplicationConfiguration", "s3:ListBucket"], [store.bucket_arn]
                ),
                policy.Statement("ReadVersions", read, objects),
                policy.Statement("WriteCopies", write, [f"{bucket.arn}/*" for bucket in buckets.values()]),
            )
        ]
        store.add_reader(role.arn)
        S3BucketReplicationConfigurationA(
            self,
            "replication",
            bucket=store.bucket_id,
            role=role.arn,
            rule=[
                S3BucketReplicationConfigurationRule(
                    id=rule_id(plan),
                    priority=number,
                    status="Enabled",
                    filter=S3BucketReplicationConfigurationRuleFilter(prefix=plan.key_prefix),
                    # A backup deleted in the source remains in the copy until it expires there.
                    delete_marker_replication=S3BucketReplicationConfigurationRuleDeleteMarkerReplication(
                        status="Disabled"
                    ),
                    destination=S3BucketReplicationConfigurationRuleDestination(
                        bucket=buckets[str(plan.options.replicate_to)].arn,
                        metrics=S3BucketReplicationConfigurationRuleDestinationMetrics(
                            status="Enabled",
                            event_threshold=S3BucketReplicationConfigurationRuleDestinationMetricsEventThreshold(
                                minutes=_MINUTES
                            ),
                        ),
                        replication_time=S3BucketReplicationConfigurationRuleDestinationReplicationTime(
                            status="Enabled",
                            time=S3BucketReplicationConfigurationRuleDestinationReplicationTimeTime(minutes=_MINUTES),
                        ),
                    ),
                )
                for number, plan in enumerate(plans, start=1)
            ],
            depends_on=[store.versioning, *granted, *(bucket.versioning for bucket in buckets.values())],
        )

    def _bucket(self, platform: Aws, settings: Settings, region: str, plans: list[TablePlan]) -> PrivateBucket:
        bucket = PrivateBucket(
            self,
            f"bucket-{region}",
            name=settings.replica_bucket_name(region),
            force_destroy=settings.force_destroy,
            provider=platform.provider_of(region),
        )
        bucket.restrict([])
        rules = [lifecycle_rule_of(plan, settings.backups.noncurrent_expire_days) for plan in plans]
        expire(
            self,
            f"lifecycle-{region}",
            bucket,
            rules,
            provider=platform.provider_of(region),
            moves_small=settings.backups.move_small_backups,
        )
        return bucket


def rule_id(plan: TablePlan) -> str:
    """Return the id of a table's replication rule, which is a dimension of the rule's metrics."""
    return f"copy-{plan.table_name}"
