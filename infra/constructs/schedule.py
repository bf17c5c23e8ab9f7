"""Schedules that invoke one function. Their role has no other permission."""

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
from constructs import Construct

from infra.constructs import policy
from infra.constructs.accepted import accept
from infra.constructs.function import Function
from infra.constructs.queue import DeadLetterQueue

accept(
    "aws_scheduler_schedule",
    {"CKV_AWS_297": "a schedule contains only names, and the Scheduler encrypts it with its own key"},
)


@dataclass(frozen=True)
class Timing:
    """When a schedule fires and how it retries.

    Arguments:
        expression, time_zone: in the syntax of EventBridge Scheduler.
        window_minutes: the flexible window within which a run may start; 0 for exactly on time.
        retry_attempts, retry_hours: how often and for how long the Scheduler retries.
    """

    expression: str
    time_zone: str
    window_minutes: int
    retry_attempts: int = 5
    retry_hours: float = 2


@dataclass(frozen=True)
class Schedule:
    """One schedule.

    Arguments:
        description: shown in the console (Scheduler: up to 512 characters).
        message: fields that the function receives in addition to the scheduled time.
    """

    name: str
    description: str
    timing: Timing
    message: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Group:
    """A schedule group in an account."""

    name: str
    arn: str
    account_id: str


@dataclass(frozen=True)
class Invoker:
    """The names of the role, its policy and the dead-letter queue of one function's schedules."""

    role_name: str
    policy_name: str
    dead_letter_queue_name: str


class InvokeSchedules(Construct):
    """The schedules of one function, with their role and the dead-letter queue of runs that could not start.

    The function receives the scheduled time, which is the same for every retry of a run.
    """

    def __init__(self, scope: Construct, id_: str, *, group: Group, function: Function, invoker: Invoker) -> None:
        super().__init__(scope, id_)
        self._group = group
        self._function = function
        role = IamRole(
            self,
            "role",
            name=invoker.role_name,
            assume_role_policy=policy.trust(
                "scheduler.amazonaws.com",
                {
                    "StringEquals": {
                        "aws:SourceAccount": group.account_id,
                        "aws:SourceArn": group.arn,
                    }
                },
            ),
        )
        self._role = role
        name = invoker.policy_name
        self._invoke = IamRolePolicy(
            self,
            "invoke",
            name=name,
            role=role.id,
            policy=policy.document(policy.Statement(name, ["lambda:InvokeFunction"], [function.arn])),
        )
        # The queue's policy allows the role to send, so the role's own policy allows only one action.
        self._dead_letters = DeadLetterQueue(self, "dead-letters", name=invoker.dead_letter_queue_name)
        self._dead_letters.allow_role(role.arn)

    def add(self, id_: str, schedule: Schedule) -> None:
        """Add a schedule that invokes the function."""
        timing = schedule.timing
        window = timing.window_minutes
        SchedulerSchedule(
            self,
            id_,
            name=schedule.name,
            description=schedule.description,
            # Explicit, so that the next plan shows a schedule that someone disabled.
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
                        **(schedule.message or {}),
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
