"""The topic that notifies the operator of problems."""

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
    {"CKV_AWS_26": "CloudWatch alarms cannot publish to a topic with the AWS managed key; alerts contain no records"},
)


class Alerts(Construct):
    """An SNS topic with a mail subscription, which the recipient confirms once. `complete` writes its policy.

    The topic is not encrypted with KMS: its messages are sent by mail, and they contain no student data.
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
        """Allow EventBridge rules to publish. `complete` writes it into the policy."""
        self._has_rules = True

    def allow_bucket(self, bucket_arn: str) -> None:
        """Allow S3 to publish the events of a bucket. `complete` writes it into the policy."""
        self._buckets.append(bucket_arn)

    def grant_publish(self, function: Function) -> None:
        """Allow a function to publish alerts."""
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
        """Write the topic's policy: alarms, all allowed rules and buckets, and TLS only."""
        # EventBridge sends SNS neither the rule's ARN nor the account, so a condition on them would deny it
        # (EventBridge User Guide, "Using resource-based policies", Amazon SNS permissions).
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
                # It is not documented whether AWS Backup sends the account, so the condition is optional.
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
