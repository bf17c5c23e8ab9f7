"""A dead-letter queue."""

from __future__ import annotations

from typing import Self

from cdktf_cdktf_provider_aws.sqs_queue import SqsQueue
from cdktf_cdktf_provider_aws.sqs_queue_policy import SqsQueuePolicy
from constructs import Construct

from infra.constructs import policy

# The longest that SQS keeps a message: 14 days (SQS Developer Guide, "Message quotas").
_RETENTION_SECONDS = 14 * 24 * 3600


class DeadLetterQueue(Construct):
    """A queue that keeps what failed for 14 days, encrypted, for TLS only."""

    def __init__(self, scope: Construct, id_: str, *, name: str) -> None:
        super().__init__(scope, id_)
        self._queue = SqsQueue(
            self, "queue", name=name, message_retention_seconds=_RETENTION_SECONDS, sqs_managed_sse_enabled=True
        )
        self.plain_name = name  # known at synth
        self.arn = self._queue.arn
        self.url = self._queue.url

    @classmethod
    def of_function(cls, scope: Construct, id_: str, *, name: str) -> Self:
        """Return the queue of a function, whose own role lets it send."""
        queue = cls(scope, id_, name=name)
        queue._policy()
        return queue

    def allow_role(self, role_arn: str) -> None:
        """Let one role send, by the queue's policy: the role's own policy needs no word of it."""
        self._policy(
            policy.Statement("Send", ["sqs:SendMessage"], [self.arn], principals={"AWS": [role_arn]}),
        )

    def allow_rule(self, rule_arn: str) -> None:
        """Let EventBridge send what it could not hand to a rule's target."""
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
