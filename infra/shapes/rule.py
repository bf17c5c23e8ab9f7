"""A rule of an event bus that invokes a function."""

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
from cdktf_cdktf_provider_aws.lambda_permission import LambdaPermission
from constructs import Construct

from infra.shapes.function import Function
from infra.shapes.queue import DeadLetterQueue

# EventBridge's own default is 185 tries in 24 hours (User Guide, "Retry policy"); Lambda takes an event within seconds.
_ATTEMPTS = 16
_AGE_SECONDS = 6 * 3600


@dataclass(frozen=True)
class Transformer:
    """What the function is handed instead of the event.

    Arguments:
        paths: name to JSON path in the event.
        template: the function's input, with `<name>` where the path's value goes.
    """

    paths: Mapping[str, str]
    template: str


class InvokeRule(Construct):
    """A rule, the permission to invoke its function, and a queue for what could not be handed over."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        description: str,
        bus_name: str,
        pattern: Mapping[str, Any],
        function: Function,
        undelivered_queue_name: str,
        transformer: Transformer | None = None,
    ) -> None:
        super().__init__(scope, id_)
        rule = CloudwatchEventRule(
            self,
            "rule",
            name=name,
            description=description,
            event_bus_name=bus_name,
            event_pattern=json.dumps(pattern),
        )
        permission = LambdaPermission(
            self,
            "permission",
            function_name=function.name,
            action="lambda:InvokeFunction",
            principal="events.amazonaws.com",
            source_arn=rule.arn,
        )
        undelivered = DeadLetterQueue(self, "undelivered", name=undelivered_queue_name)
        undelivered.allow_rule(rule.arn)
        CloudwatchEventTarget(
            self,
            "target",
            rule=rule.name,
            event_bus_name=bus_name,
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
