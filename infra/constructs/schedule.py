"""A schedule that invokes one function, under a role that can do nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cdktf_cdktf_provider_aws.iam_role import IamRole
from cdktf_cdktf_provider_aws.iam_role_policy import IamRolePolicy
from cdktf_cdktf_provider_aws.scheduler_schedule import (
    SchedulerSchedule,
    SchedulerScheduleFlexibleTimeWindow,
    SchedulerScheduleTarget,
    SchedulerScheduleTargetDeadLetterConfig,
    SchedulerScheduleTargetRetryPolicy,
)
from cdktf_cdktf_provider_aws.scheduler_schedule_group import SchedulerScheduleGroup
from constructs import Construct

from infra.constructs import policy
from infra.constructs.accepted import accept
from infra.constructs.function import Function
from infra.constructs.queue import DeadLetterQueue

accept(
    "aws_scheduler_schedule", {"CKV_AWS_297": "a schedule holds names only; the Scheduler encrypts it with its own key"}
)


@dataclass(frozen=True)
class Timing:
    """When a schedule fires and how it is tried again.

    Arguments:
        expression, time_zone: as EventBridge Scheduler has them.
        window_minutes: within which a run may start; 0 for on time.
        retry_attempts, retry_hours: how often and how long the Scheduler tries.
    """

    expression: str
    time_zone: str
    window_minutes: int
    retry_attempts: int = 5
    retry_hours: float = 2


class InvokeSchedule(Construct):
    """A schedule, its role and the queue of the runs that it could not start.

    The function is sent the scheduled time, which does not change from one try to the next.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        group: SchedulerScheduleGroup,
        role_name: str,
        policy_name: str,
        dead_letter_queue_name: str,
        account_id: str,
        function: Function,
        timing: Timing,
        description: str,
        message: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(scope, id_)
        self._group = group
        self._function = function
        role = IamRole(
            self,
            "role",
            name=role_name,
            assume_role_policy=policy.trust(
                "scheduler.amazonaws.com",
                {
                    "StringEquals": {
                        "aws:SourceAccount": account_id,
                        "aws:SourceArn": group.arn,
                    }
                },
            ),
        )
        self._role = role
        self._invoke = IamRolePolicy(
            self,
            "invoke",
            name=policy_name,
            role=role.id,
            policy=policy.document(policy.Statement(policy_name, ["lambda:InvokeFunction"], [function.arn])),
        )
        # The queue admits the role, so that the role's own policy says one thing: invoke the function.
        self._dead_letters = DeadLetterQueue(self, "dead-letters", name=dead_letter_queue_name)
        self._dead_letters.allow_role(role.arn)
        self.add("schedule", name=name, timing=timing, description=description, message=message)

    def add(
        self,
        id_: str,
        *,
        name: str,
        timing: Timing,
        description: str,
        message: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a schedule that invokes the same function under the same role.

        Arguments:
            description: shown in the console (Scheduler: up to 512 characters).
            message: what the function is sent besides the scheduled time.
        """
        window = timing.window_minutes
        SchedulerSchedule(
            self,
            id_,
            name=name,
            description=description,
            # Written out, so that a schedule that somebody disabled shows as a change in the next plan.
            state="ENABLED",
            group_name=self._group.name,
            schedule_expression=timing.expression,
            schedule_expression_timezone=timing.time_zone,
            flexible_time_window=SchedulerScheduleFlexibleTimeWindow(mode="FLEXIBLE", maximum_window_in_minutes=window)
            if window
            else SchedulerScheduleFlexibleTimeWindow(mode="OFF"),
            target=SchedulerScheduleTarget(
                arn=self._function.arn,
                role_arn=self._role.arn,
                input=json.dumps(
                    {
                        "source": "schedule",
                        "schedule": "<aws.scheduler.schedule-arn>",
                        "scheduledTime": "<aws.scheduler.scheduled-time>",
                        "executionId": "<aws.scheduler.execution-id>",
                        "attempt": "<aws.scheduler.attempt-number>",
                        **(message or {}),
                    }
                ),
                retry_policy=SchedulerScheduleTargetRetryPolicy(
                    maximum_retry_attempts=timing.retry_attempts,
                    maximum_event_age_in_seconds=round(timing.retry_hours * 3600),
                ),
                dead_letter_config=SchedulerScheduleTargetDeadLetterConfig(arn=self._dead_letters.arn),
            ),
            depends_on=[self._invoke],
        )
