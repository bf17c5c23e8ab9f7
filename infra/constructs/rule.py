"""A rule of an event bus and its targets: a function, a topic, a log group."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cdktf_cdktf_provider_aws.cloudwatch_event_rule import CloudwatchEventRule
from cdktf_cdktf_provider_aws.cloudwatch_event_target import (
    CloudwatchEventTarget,
    CloudwatchEventTargetDeadLetterConfig,
    CloudwatchEventTargetInputTransformer,
    CloudwatchEventTargetRetryPolicy,
)
from cdktf_cdktf_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from cdktf_cdktf_provider_aws.cloudwatch_log_resource_policy import CloudwatchLogResourcePolicy
from cdktf_cdktf_provider_aws.lambda_permission import LambdaPermission
from constructs import Construct

from infra.constructs import policy
from infra.constructs.function import Function
from infra.constructs.queue import DeadLetterQueue

# The bus of the events of AWS services.
DEFAULT_BUS = "default"
# EventBridge's default is 185 tries in 24 hours (User Guide, "Retry policy"). Lambda accepts an event within seconds.
_ATTEMPTS = 16
_AGE_SECONDS = 6 * 3600
_LOG_WRITERS = {"Service": ["events.amazonaws.com", "delivery.logs.amazonaws.com"]}


@dataclass(frozen=True)
class Transformer:
    """Replaces the event that the function receives.

    Arguments:
        paths: JSON paths in the event, by name.
        template: the function's input. `<name>` is replaced by the value of the path.
    """

    paths: Mapping[str, str]
    template: str


class Rule(Construct):
    """A rule. It has no effect without a target.

    Arguments:
        pattern: of the events; None for a rule that fires by a schedule.
        schedule: `rate(…)` or `cron(…)`, only on the default bus.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        description: str,
        pattern: Mapping[str, Any] | None = None,
        schedule: str | None = None,
        bus_name: str = DEFAULT_BUS,
    ) -> None:
        super().__init__(scope, id_)
        self._bus_name = bus_name
        self._rule = CloudwatchEventRule(
            self,
            "rule",
            name=name,
            description=description,
            event_bus_name=bus_name,
            event_pattern=json.dumps(pattern) if pattern else None,
            schedule_expression=schedule,
        )
        self.name = self._rule.name
        self.arn = self._rule.arn

    def invoke(
        self, function: Function, *, undelivered_queue_name: str, transformer: Transformer | None = None
    ) -> None:
        """Invoke a function with each event, and add the permission. Undeliverable events go to a queue."""
        permission = LambdaPermission(
            self,
            "permission",
            function_name=function.name,
            action="lambda:InvokeFunction",
            principal="events.amazonaws.com",
            source_arn=self.arn,
        )
        undelivered = DeadLetterQueue(self, "undelivered", name=undelivered_queue_name)
        undelivered.allow_rule(self.arn)
        CloudwatchEventTarget(
            self,
            "target",
            rule=self.name,
            event_bus_name=self._bus_name,
            arn=function.arn,
            input_transformer=CloudwatchEventTargetInputTransformer(
                input_paths=dict(transformer.paths), input_template=transformer.template
            )
            if transformer
            else None,
            retry_policy=CloudwatchEventTargetRetryPolicy(
                maximum_retry_attempts=_ATTEMPTS, maximum_event_age_in_seconds=_AGE_SECONDS
            ),
            dead_letter_config=CloudwatchEventTargetDeadLetterConfig(arn=undelivered.arn),
            depends_on=[permission],
        )

    def notify(self, topic_arn: str) -> None:
        """Publish each event to a topic. The topic's policy must allow this rule."""
        CloudwatchEventTarget(self, "topic-target", rule=self.name, event_bus_name=self._bus_name, arn=topic_arn)

    def log(self, group_name: str, *, retention_days: int) -> None:
        """Write each event into a log group of its own, `/aws/events/<group_name>`."""
        group = CloudwatchLogGroup(self, "log", name=f"/aws/events/{group_name}", retention_in_days=retention_days)
        # A log group has no policy, and EventBridge uses no role for it: the account's log policies grant access.
        permission = CloudwatchLogResourcePolicy(
            self,
            "log-policy",
            policy_name=f"{group_name}-log",
            policy_document=policy.document(
                # EventBridge names the rule in PutLogEvents alone (hashicorp/terraform-provider-aws issue 26628).
                policy.Statement(
                    "EventsStartAStream", ["logs:CreateLogStream"], [f"{group.arn}:*"], principals=_LOG_WRITERS
                ),
                policy.Statement(
                    "EventsWriteTheirLog",
                    ["logs:PutLogEvents"],
                    [f"{group.arn}:*"],
                    principals=_LOG_WRITERS,
                    conditions={"ArnEquals": {"aws:SourceArn": self.arn}},
                ),
            ),
        )
        CloudwatchEventTarget(
            self,
            "log-target",
            rule=self.name,
            event_bus_name=self._bus_name,
            arn=group.arn,
            depends_on=[permission],
        )
