"""A dead-letter queue."""

from __future__ import annotations

from typing import Self

from cdktf_cdktf_provider_aws.sqs_queue import SqsQueue
from cdktf_cdktf_provider_aws.sqs_queue_policy import SqsQueuePolicy
from constructs import Construct

from infra.constructs import policy

# SQS's maximum retention: 14 days (SQS Developer Guide, "Message quotas").
_RETENTION_SECONDS = 14 * 24 * 3600


class DeadLetterQueue(Construct):
    """An encrypted queue that keeps messages for 14 days and requires TLS."""

    def __init__(self, scope: Construct, id_: str, *, name: str) -> None:
        super().__init__(scope, id_)
        self._queue = SqsQueue(
            self, "queue", name=name, message_retention_seconds=_RETENTION_SECONDS, sqs_managed_sse_enabled=True
        )
        self.plain_name = name  # a plain text at synth
        self.arn = self._queue.arn
        self.url = self._queue.url

    @classmethod
    def of_function(cls, scope: Construct, id_: str, *, name: str) -> Self:
        """Return the queue of a function. The function's role has the permission to send."""
        queue = cls(scope, id_, name=name)
        queue._policy()
        return queue

    def allow_role(self, role_arn: str) -> None:
        """Allow one role to send, in the queue's policy. The role's own policy needs no permission for it."""
        self._policy(
            policy.Statement("Send", ["sqs:SendMessage"], [self.arn], principals={"AWS": [role_arn]}),
        )

    def allow_rule(self, rule_arn: str) -> None:
        """Allow EventBridge to send the events that it could not deliver to a rule's target."""
        self._policy(
            policy.Statement(
                "SendUndelivered",
                ["sqs:SendMessage"],
                [self.arn],
                principals={"Service": ["events.amazonaws.com"]},
                conditions={"ArnEquals": {"aws:SourceArn": rule_arn}},
            )
        )

    def _policy(self, *statements: policy.Statement) -> None:
        tls_only = policy.Statement(
            "TlsOnly",
            ["sqs:*"],
            [self.arn],
            effect="Deny",
            principals="*",
            conditions={"Bool": {"aws:SecureTransport": "false"}},
        )
        SqsQueuePolicy(self, "policy", queue_url=self.url, policy=policy.document(*statements, tls_only))
