"""Copies each finished RDS snapshot to another Region, encrypted with a key of that Region."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.kms_alias import KmsAlias
from cdktf_cdktf_provider_aws.kms_key import KmsKey
from constructs import Construct

from infra.constructs.accepted import accept
from infra.constructs.function import Function, FunctionSettings, Limits
from infra.constructs.queue import DeadLetterQueue
from infra.constructs.rule import Rule
from infra.observability.alerts import Alerts
from infra.platform import Aws
from infra.settings import Settings
from rollbook.contract import environment

accept(
    "aws_cloudwatch_log_group",
    {"CKV_AWS_338": "it has RDS's events about snapshots, and the copies themselves are the lasting evidence"},
    path="snapshots/*",
)

# A manual or an automated snapshot of an instance was created (0042, 0091), or of a cluster (0075, 0169).
# Source: RDS User Guide and Aurora User Guide, "Amazon RDS event categories and event messages".
_FINISHED = ("RDS-EVENT-0042", "RDS-EVENT-0091", "RDS-EVENT-0075", "RDS-EVENT-0169")


class Snapshots(Construct):
    """The rule on RDS's events, the function that copies, and the key of the copies."""

    def __init__(self, scope: Construct, id_: str, *, platform: Aws, alerts: Alerts, destination: str) -> None:
        super().__init__(scope, id_)
        settings = platform.settings
        snapshots = settings.snapshots
        key_arn = snapshots.kms_key_arn or self._key(platform, destination, snapshots.copy_prefix)
        function = Function(
            self,
            "function",
            platform.runtime,
            FunctionSettings(
                name=snapshots.function_name,
                entry="handlers.snapshots.copy.handler",
                variables=environment.CopySnapshot(
                    destination_region=destination,
                    copy_prefix=snapshots.copy_prefix,
                    key_arn=key_arn,
                    retention_days=snapshots.retention_days,
                    option_group_name=snapshots.option_group_name or "",
                ).variables(),
                limits=Limits(memory_mb=128, timeout_seconds=120),
            ),
            dead_letters=DeadLetterQueue.of_function(self, "dead-letters", name=snapshots.dead_letter_queue_name),
            failure_topic_arn=alerts.topic_arn,
        )
        self._allow(function, platform, settings, destination, key_arn)
        rule = Rule(
            self,
            "rule",
            name=snapshots.rule_name,
            description="Finished snapshots of databases",
            pattern={
                "source": ["aws.rds"],
                "detail-type": ["RDS DB Snapshot Event", "RDS DB Cluster Snapshot Event"],
                "detail": {"EventID": list(_FINISHED)},
            },
        )
        rule.invoke(function, undelivered_queue_name=snapshots.undelivered_queue_name)
        rule.log(snapshots.rule_name, retention_days=snapshots.log_retention_days)

    def _key(self, platform: Aws, destination: str, name: str) -> str:
        provider = platform.provider_of(destination)
        key = KmsKey(
            self,
            "key",
            description="Copies of database snapshots",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            provider=provider,
        )
        KmsAlias(self, "alias", name=f"alias/{name}-snapshots", target_key_id=key.id, provider=provider)
        return key.arn

    @staticmethod
    def _allow(function: Function, platform: Aws, settings: Settings, destination: str, key_arn: str) -> None:
        """Allow the function to copy snapshots, and to delete its own copies, which have its tag."""
        snapshots = settings.snapshots

        def arns(region: str, name: str) -> list[str]:
            return [
                f"arn:aws:rds:{region}:{platform.account_id}:{kind}:{name}" for kind in ("snapshot", "cluster-snapshot")
            ]

        originals, copies = arns(settings.region, "*"), arns(destination, f"{snapshots.copy_prefix}-*")
        own = {"StringEquals": {"aws:ResourceTag/rollbook:copied-by": snapshots.function_name}}
        described = [*originals, *arns(destination, "*")]
        function.allow("LookAtSnapshots", ["rds:DescribeDBSnapshots", "rds:DescribeDBClusterSnapshots"], described)
        copy = ["rds:CopyDBSnapshot", "rds:CopyDBClusterSnapshot"]
        function.allow("CopyFrom", copy, originals)
        groups = (
            [f"arn:aws:rds:{destination}:{platform.account_id}:og:{snapshots.option_group_name}"]
            if snapshots.option_group_name
            else []
        )
        function.allow("CopyTo", [*copy, "rds:AddTagsToResource"], [*copies, *groups])
        function.allow("DeleteCopies", ["rds:DeleteDBSnapshot", "rds:DeleteDBClusterSnapshot"], copies, own)
        # RDS encrypts with a grant that it creates with the caller's permissions (RDS User Guide, "Copying a DB
        # snapshot").
        function.allow("DescribeKeys", ["kms:DescribeKey"], [key_arn, *snapshots.source_key_arns])
        function.allow(
            "GrantKeys",
            ["kms:CreateGrant"],
            [key_arn, *snapshots.source_key_arns],
            {"Bool": {"kms:GrantIsForAWSResource": "true"}},
        )
