"""Alarms and the dashboard. The most important alarms fire when a backup is missing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cdktf_cdktf_provider_aws.cloudwatch_dashboard import CloudwatchDashboard
from constructs import Construct

from infra import prices
from infra.constructs.alarm import Alarm, Condition, Metric
from infra.constructs.function import Function
from infra.constructs.queue import DeadLetterQueue
from infra.constructs.rule import Rule
from infra.observability.alerts import Alerts
from infra.observability.weekly_report import MEASURE_HOURS
from infra.settings import Settings
from infra.settings.observability import ALARM_LIMIT
from rollbook.contract import schedules

# The namespace of rollbook/messages/metrics.py, whose dimension is Table.
_NAMESPACE = "Rollbook"
_HOUR, _DAY = 3600, 86_400
# The metrics of rollbook/reports/ages.py, for schedules that are too rare for an alarm on their successes.
_AGES = {"BackupsCompleted": "BackupAgeSeconds", "DrillsPassed": "DrillAgeSeconds"}
_LAST_GOOD = (
    "filter `detail-type` = 'backup completed' and not (ispresent(detail.doubt) and detail.doubt != '')"
    " | fields detail.table as table, toMillis(@timestamp) / 1000 as at"
    " | stats latest(detail.endedAt) as last, (now() - max(at)) / 3600 as hours by table"
)


@dataclass(frozen=True)
class RecurringRun:
    """A backup or drill that must succeed regularly.

    Arguments:
        table: the table of the backup or drill.
        metric: the metric in the namespace `Rollbook` that counts the successes.
        expression, time_zone, window_minutes: of its schedule.
    """

    table: str
    metric: str
    expression: str
    time_zone: str
    window_minutes: int

    def silence(self, settings: Settings) -> timedelta:
        """Return the time without a success after which the run is overdue."""
        grace = timedelta(hours=settings.monitoring.grace_hours)
        return schedules.longest_silence(self.expression, self.time_zone, self.window_minutes, grace)


def recurring_runs(settings: Settings) -> list[RecurringRun]:
    """Return the backups and, if enabled, the drills of an environment."""
    backups = [
        RecurringRun(plan.table_name, "BackupsCompleted", plan.expression, plan.time_zone, plan.window_minutes)
        for plan in settings.backed_up_tables
    ]
    drills = [
        RecurringRun(plan.job.table_name, "DrillsPassed", plan.expression, plan.time_zone, plan.window_minutes)
        for plan in settings.drill_plans
    ]
    return [*backups, *drills]


class Monitoring(Construct):
    """Alarms and the dashboard.

    Arguments:
        functions, queues: those that get alarms.
        runs: the runs that get an alarm on missing successes.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        alerts: Alerts,
        functions: Sequence[Function],
        queues: Sequence[DeadLetterQueue],
        runs: Sequence[RecurringRun],
    ) -> None:
        super().__init__(scope, id_)
        self._topic_arn = alerts.topic_arn
        self._settings = settings
        self._alarms: list[Alarm] = []
        for function in functions:
            self._watch_function(function)
        self._alarm(
            "throttles",
            name="functions-throttled",
            description="Lambda could not start functions: all concurrency of this account is in use.",
            metric=Metric("AWS/Lambda", "Throttles", "Sum"),
            condition=Condition(at_least=1),
        )
        for queue in queues:
            self._watch_queue(queue)
        self._watch_schedules()
        for run in runs:
            self._watch_run(run)
        for table in sorted({run.table for run in runs if run.metric == "BackupsCompleted"}):
            self._alarm(
                f"backup-in-doubt-{table}",
                name=f"{table}-backup-in-doubt",
                description=f'The number of items of {table} is unusual. docs/runbook.md, "A backup is in doubt".',
                metric=Metric(_NAMESPACE, "BackupsDoubtful", "Sum", {"Table": table}),
                condition=Condition(at_least=1),
            )
        for table in sorted({run.table for run in runs if run.metric == "DrillsPassed"}):
            self._alarm(
                f"drill-failed-{table}",
                name=f"{table}-drill-failed",
                description=f'A drill of {table} failed. docs/runbook.md, "A drill failed".',
                metric=Metric(_NAMESPACE, "DrillsFailed", "Sum", {"Table": table}),
                condition=Condition(at_least=1),
            )
        if settings.vault.enabled:
            self._watch_vault(alerts)
        CloudwatchDashboard(
            self,
            "dashboard",
            dashboard_name=settings.monitoring.dashboard_name,
            dashboard_body=json.dumps({"widgets": list(self._widgets(functions, runs))}),
        )

    def _alarm(self, id_: str, name: str, description: str, metric: Metric, condition: Condition) -> None:
        alarm = Alarm(
            self,
            id_,
            name=name,
            description=description,
            metric=metric,
            condition=condition,
            topic_arn=self._topic_arn,
        )
        self._alarms.append(alarm)

    def _watch_function(self, function: Function) -> None:
        name, limit = function.plain_name, function.timeout_seconds
        self._alarm(
            f"errors-{name}",
            name=f"{name}-errors",
            description=f"{name} failed. Its log group has the reason.",
            metric=Metric("AWS/Lambda", "Errors", "Sum", {"FunctionName": name}),
            condition=Condition(at_least=1),
        )
        part = self._settings.monitoring.duration_percent / 100
        self._alarm(
            f"duration-{name}",
            name=f"{name}-duration",
            description=f"{name} took {part:.0%} or more of its time limit of {limit} s. More memory makes it faster.",
            metric=Metric("AWS/Lambda", "Duration", "Maximum", {"FunctionName": name}),
            condition=Condition(at_least=limit * 1000 * part),
        )

    def _watch_queue(self, queue: DeadLetterQueue) -> None:
        self._alarm(
            f"depth-{queue.plain_name}",
            name=f"{queue.plain_name}-depth",
            description=f"The dead-letter queue {queue.plain_name} has messages. List them: "
            f"rollbook events dead --env {self._settings.name}",
            metric=Metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", {"QueueName": queue.plain_name}),
            condition=Condition(at_least=1),
        )

    def _watch_schedules(self) -> None:
        """Add alarms on the invocations that the Scheduler could not start (EventBridge Scheduler metrics)."""
        group = self._settings.backups.schedule_group
        for metric, what in (
            ("TargetErrorCount", "could not invoke its function and retries"),
            ("InvocationDroppedCount", "stopped retrying an invocation"),
            ("InvocationsFailedToBeSentToDeadLetterCount", "could not send an invocation to its dead-letter queue"),
        ):
            self._alarm(
                metric,
                name=f"{group}-{metric}",
                description=f'A schedule of {group} {what}. docs/runbook.md, "No backup came".',
                metric=Metric("AWS/Scheduler", metric, "Sum", {"ScheduleGroup": group}),
                condition=Condition(at_least=1),
            )

    def _watch_run(self, run: RecurringRun) -> None:
        """Add an alarm that fires when a run is overdue. It fires on missing data, too."""
        is_drill = run.metric == "DrillsPassed"
        what = "drill" if is_drill else "backup"
        help_ = 'docs/runbook.md, "A drill failed".' if is_drill else 'docs/runbook.md, "No backup came".'
        silence = run.silence(self._settings)
        hours = math.ceil(silence / timedelta(hours=1))
        dimensions = {"Table": run.table}
        if silence <= ALARM_LIMIT:
            metric = Metric(_NAMESPACE, run.metric, "Sum", dimensions)
            condition = Condition(below=1, period_seconds=_HOUR, periods=hours, missing_is_bad=True)
        else:
            metric = Metric(_NAMESPACE, _AGES[run.metric], "Minimum", dimensions)
            # Two periods: measurements may be early or late, so that a single period may have none.
            condition = Condition(
                at_least=silence.total_seconds(),
                period_seconds=MEASURE_HOURS * _HOUR,
                periods=2,
                missing_is_bad=True,
            )
        self._alarm(
            f"no-{what}-{run.table}",
            f"{run.table}-no-{what}",
            f"No {what} of {run.table} succeeded in the last {hours} hours, and one was due. {help_}",
            metric,
            condition,
        )

    def _watch_vault(self, alerts: Alerts) -> None:
        """Publish AWS Backup's failed jobs (AWS Backup Developer Guide, "Monitoring events using EventBridge")."""
        for kind, field, states in (
            ("Backup", "state", ["FAILED", "ABORTED", "EXPIRED"]),
            ("Copy", "state", ["FAILED"]),
            ("Restore", "status", ["FAILED", "ABORTED"]),
        ):
            rule = Rule(
                self,
                f"{kind.lower()}-jobs",
                name=f"failed-{kind.lower()}-jobs",
                description=f"AWS Backup's unsuccessful {kind.lower()} jobs",
                pattern={
                    "source": ["aws.backup"],
                    "detail-type": [f"{kind} Job State Change"],
                    "detail": {field: states},
                },
            )
            rule.notify(self._topic_arn)
        alerts.allow_rules()

    def _widgets(self, functions: Sequence[Function], runs: Sequence[RecurringRun]) -> Iterator[dict[str, Any]]:
        tables = sorted({run.table for run in runs})
        region = self._settings.region

        def graph(title: str, metrics: Iterable[list[Any]], stat: str, **more: Any) -> dict[str, Any]:
            known = {"title": title, "region": region, "stat": stat, "period": _DAY, "metrics": list(metrics)}
            return {"type": "metric", "width": 8, "height": 6, "properties": known | more}

        def of_tables(name: str) -> list[list[Any]]:
            return [[_NAMESPACE, name, "Table", table] for table in tables]

        def success_rate(number: int, table: str) -> Iterator[list[Any]]:
            good, bad = f"good{number}", f"bad{number}"
            yield [_NAMESPACE, "BackupsCompleted", "Table", table, {"id": good, "visible": False}]
            yield [_NAMESPACE, "BackupsFailed", "Table", table, {"id": bad, "visible": False}]
            rate = f"100 * FILL({good}, 0) / (FILL({good}, 0) + FILL({bad}, 0))"
            yield [{"expression": rate, "label": table, "id": f"rate{number}"}]

        def cost(number: int, function: Function) -> Iterator[list[Any]]:
            name, seconds = function.plain_name, f"seconds{number}"
            price = prices.of(region)[f"lambda_{self._settings.functions.architecture}_gb_second"]
            yield ["AWS/Lambda", "Duration", "FunctionName", name, {"id": seconds, "visible": False}]
            dollars = f"{seconds} / 1000 * {function.memory_mb / 1024:g} * {price:.10f}"
            yield [{"expression": dollars, "label": name, "id": f"cost{number}"}]

        yield {
            "type": "log",
            "width": 12,
            "height": 6,
            "properties": {
                "title": "Last good backup and its age in hours",
                "region": region,
                "view": "table",
                "query": f"SOURCE '/aws/events/{self._settings.events.bus_name}' | {_LAST_GOOD}",
            },
        }
        yield {
            "type": "alarm",
            "width": 12,
            "height": 6,
            "properties": {"title": "Alarms", "alarms": [alarm.arn for alarm in self._alarms]},
        }
        yield graph("Backups per day", of_tables("BackupsCompleted"), "Sum", view="bar")
        rates = (line for number, table in enumerate(tables) for line in success_rate(number, table))
        yield graph("Success rate, %", rates, "Sum", yAxis={"left": {"min": 0, "max": 100}})
        yield graph("Items", of_tables("BackupItems"), "Maximum")
        yield graph("Bytes", of_tables("BackupBytes"), "Maximum")
        yield graph("Duration, s", of_tables("BackupSeconds"), "Maximum")
        yield graph("Duration of a drill's restore (RTO), s", of_tables("DrillRtoSeconds"), "Maximum")
        costs = (line for number, function in enumerate(functions) for line in cost(number, function))
        yield graph("Lambda, dollars per day", costs, "Sum", view="timeSeries", stacked=True)
