"""The function that reads stored backups again."""

from __future__ import annotations

from constructs import Construct

from infra.backups.notifications import Notifications
from infra.constructs.function import Function, FunctionSettings, Limits
from infra.constructs.queue import DeadLetterQueue
from infra.constructs.rule import Rule, Transformer
from infra.constructs.schedule import Group, Invoker, InvokeSchedules, Schedule, Timing
from infra.platform import Aws
from rollbook.contract import environment


class Checks(Construct):
    """Reads each backup after it was made, and a share of all backups every day."""

    def __init__(
        self, scope: Construct, id_: str, *, platform: Aws, notifications: Notifications, group: Group
    ) -> None:
        super().__init__(scope, id_)
        checks = platform.settings.checks
        function = Function(
            self,
            "function",
            platform.runtime,
            FunctionSettings(
                name=checks.function_name,
                entry="handlers.check_backups.handler",
                variables=environment.CheckBackups(
                    notifications=notifications.variables(), within_days=checks.within_days
                ).variables(),
                limits=Limits(checks.memory_mb, checks.timeout_seconds),
            ),
            dead_letters=DeadLetterQueue.of_function(self, "dead-letters", name=checks.dead_letter_queue_name),
        )
        notifications.grant(function)
        notifications.store.grant_read(function)
        notifications.store.grant_proof(function)
        rule = Rule(
            self,
            "rule",
            name=f"{notifications.events.bus_name}-check-backup",
            description="Completed backups, which are read once more",
            bus_name=notifications.events.bus_name,
            pattern={"source": ["rollbook.backups"], "detail-type": ["backup completed"]},
        )
        rule.invoke(
            function,
            undelivered_queue_name=checks.undelivered_queue_name,
            transformer=Transformer({"key": "$.detail.key"}, '{"key": <key>}'),
        )
        schedules = InvokeSchedules(
            self,
            "schedule",
            group=group,
            function=function,
            invoker=Invoker(checks.schedule_role_name, "InvokeCheck", checks.schedule_dead_letter_queue_name),
        )
        timing = Timing(checks.schedule_expression, checks.schedule_time_zone, window_minutes=15)
        description = "Read the backups that were not read for the longest time, and compare them with the history."
        schedules.add("schedule", Schedule(checks.schedule_name, description, timing))
