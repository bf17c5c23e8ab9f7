"""The topic that tells the operator when something is wrong."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.sns_topic import SnsTopic
from cdktf_cdktf_provider_aws.sns_topic_policy import SnsTopicPolicy
from cdktf_cdktf_provider_aws.sns_topic_subscription import SnsTopicSubscription
from constructs import Construct

from infra.constructs import policy
from infra.constructs.accepted import accept
from infra.constructs.function import Function
from infra.platform import Aws

accept(
    "aws_sns_topic",
    {"CKV_AWS_26": "CloudWatch alarms cannot publish to a topic with AWS's key, and alerts hold no record"},
)


class Alerts(Construct):
    """An SNS topic with a subscription by mail, which its reader confirms once. `complete` writes its policy.

    It is not encrypted with a key: what it says leaves by mail, and no student's data is in it.
    """

    def __init__(self, scope: Construct, id_: str, *, platform: Aws) -> None:
        super().__init__(scope, id_)
        settings = platform.settings
        self._topic = SnsTopic(self, "topic", name=settings.alerts.topic_name)
        self.topic_arn = self._topic.arn
        SnsTopicSubscription(
            self,
            "mail",
            topic_arn=self.topic_arn,
            protocol="email",
            endpoint=settings.alerts.recipient or settings.mail.recipient,
        )
        self._account_id = platform.account_id
        self._has_rules = False
        self._policy: SnsTopicPolicy | None = None
        self._buckets: list[str] = []

    def allow_rules(self) -> None:
        """Let rules of EventBridge publish; `complete` writes it into the policy."""
        self._has_rules = True

    def allow_bucket(self, bucket_arn: str) -> None:
        """Let S3 publish the events of a bucket; `complete` writes it into the policy."""
        self._buckets.append(bucket_arn)

    def grant_publish(self, function: Function) -> None:
        """Let a function alert."""
        function.allow("Alert", ["sns:Publish"], [self.topic_arn])

    @property
    def policy(self) -> SnsTopicPolicy:
        """Return the topic's policy.

        Raises:
            RuntimeError: `complete` has not written it yet.
        """
        if self._policy is None:
            raise RuntimeError("complete the alerts before the parts that depend on the topic's policy")
        return self._policy

    def complete(self) -> None:
        """Write the topic's policy, which is one resource: alarms, all that was allowed, and TLS only."""
        # EventBridge names neither rule nor account to SNS, so a condition would refuse it (EventBridge User Guide,
        # "Using resource-based policies", Amazon SNS permissions).
        rules = [
            policy.Statement(
                "RulesPublish",
                ["sns:Publish"],
                [self.topic_arn],
                principals={"Service": ["events.amazonaws.com"]},
            )
        ]
        buckets = [
            policy.Statement(
                "BucketsPublish",
                ["sns:Publish"],
                [self.topic_arn],
                principals={"Service": ["s3.amazonaws.com"]},
                conditions={
                    "ArnLike": {"aws:SourceArn": self._buckets},
                    "StringEquals": {"aws:SourceAccount": self._account_id},
                },
            )
        ]
        self._policy = SnsTopicPolicy(
            self,
            "policy",
            arn=self.topic_arn,
            policy=policy.document(
                policy.Statement(
                    "AlarmsPublish",
                    ["sns:Publish"],
                    [self.topic_arn],
                    principals={"Service": ["cloudwatch.amazonaws.com"]},
                    conditions={"StringEquals": {"aws:SourceAccount": self._account_id}},
                ),
                # That AWS Backup says whose vault it speaks for is not documented.
                policy.Statement(
                    "VaultsPublish",
                    ["sns:Publish"],
                    [self.topic_arn],
                    principals={"Service": ["backup.amazonaws.com"]},
                    conditions={"StringEqualsIfExists": {"aws:SourceAccount": self._account_id}},
                ),
                *(rules if self._has_rules else []),
                *(buckets if self._buckets else []),
                policy.Statement(
                    "TlsOnly",
                    ["sns:Publish"],
                    [self.topic_arn],
                    effect="Deny",
                    principals="*",
                    conditions={"Bool": {"aws:SecureTransport": "false"}},
                ),
            ),
        )
