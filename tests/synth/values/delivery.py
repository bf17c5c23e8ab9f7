"""Functions, queues, topics, schedules: who calls whom, how often it is tried, and where what failed goes."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Any

from infra.settings import Settings
from ops.console import ROOT
from rollbook.contract import schedules
from rollbook.contract.fields import to_texts
from tests.synth.values.names import Names, functions, queues, scheduled, undelivered
from tests.synth.values.requests import OTHER_ACCOUNT, Request, answer
from tests.synth.values.view import ACCOUNT, View, check, differs

_DAY = 86_400
# SQS keeps a message for 14 days at most (SQS API reference, SetQueueAttributes).
_LONGEST_SECONDS = 14 * _DAY
# Lambda tries an event three times, over 6 hours at most (Lambda Developer Guide, "Asynchronous invocation").
_ASYNCHRONOUS = {"maximum_retry_attempts": 2, "maximum_event_age_in_seconds": 6 * 3600}
# EventBridge tries for a day by default; after 6 hours an operator should know ("Retrying event delivery").
RULES_RETRY = {"maximum_retry_attempts": 16, "maximum_event_age_in_seconds": 6 * 3600}
_MONDAY = datetime(2025, 1, 6, tzinfo=UTC)
# When the schedules fire from that Monday on. These times are not derived from the expressions.
_FIRINGS = {
    "DailyDynamoDBBackup": ["2025-01-06 00:00", "2025-01-07 00:00", "2025-01-08 00:00"],
    "DailyBackupCheck": ["2025-01-06 04:00", "2025-01-07 04:00", "2025-01-08 04:00"],
    "WeeklyRestoreDrill": ["2025-01-12 03:00", "2025-01-19 03:00", "2025-01-26 03:00"],
    "Drill-welcomed-users": ["2025-01-12 03:00", "2025-01-19 03:00", "2025-01-26 03:00"],
    "WeeklyBackupReport": ["2025-01-06 06:00", "2025-01-13 06:00", "2025-01-20 06:00"],
    "Backup-welcomed-users": ["2025-01-06 00:00", "2025-01-06 01:00", "2025-01-06 02:00"],
}
# What EventBridge Scheduler fills in (User Guide, "Adding context attributes").
_MESSAGE = {
    "source": "schedule",
    "schedule": "<aws.scheduler.schedule-arn>",
    "scheduledTime": "<aws.scheduler.scheduled-time>",
    "executionId": "<aws.scheduler.execution-id>",
    "attempt": "<aws.scheduler.attempt-number>",
}


@cache
def firings(expression: str, zone: str, since: datetime, count: int) -> list[str]:
    """Return the next times that a schedule fires, as UTC."""
    before = datetime.fromtimestamp(since.timestamp() - 1, UTC)
    return [f"{each:%Y-%m-%d %H:%M}" for each in islice(schedules.parse(expression, zone).after(before), count)]


@check
def each_function_has_its_limits_its_role_and_its_settings(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    found, wanted = view.by("aws_lambda_function", "function_name"), functions(s)
    yield from differs("the functions", sorted(found), sorted(wanted))
    for name, function in wanted.items():
        given = dict(found[name])
        variables = dict(given.pop("environment")["variables"])
        code = given.pop("filename").rsplit("/", 1)[1]
        if s.emulated:
            # Its functions run as processes of the machine that synthesizes.
            if not re.fullmatch(r"python3\.1[1-3]", given.pop("runtime")):
                yield f"{name}'s Python is none of Lambda's"
            if given.pop("architectures") not in (["arm64"], ["x86_64"]):
                yield f"{name}'s processor is none of Lambda's"
        else:
            yield from differs(f"{name}'s Python", given.pop("runtime"), s.functions.runtime)
            yield from differs(f"{name}'s processors", given.pop("architectures"), [s.functions.architecture])
        yield from differs(
            name,
            given,
            {
                "function_name": name,
                "role": n.role(function.role),
                "handler": function.handler,
                "memory_size": function.memory,
                "timeout": function.timeout,
                "ephemeral_storage": {"size": function.disk},
                "reserved_concurrent_executions": function.concurrency,
            }
            | ({"dead_letter_config": {"target_arn": n.queue(function.queue)}} if function.queue else {}),
        )
        yield from differs(f"{name}'s zip", code, f"{function.handler.removesuffix('.handler')}.zip")
        yield from differs(f"{name}'s variables", *_variables(variables, function.variables, s))


def _variables(found: dict[str, Any], wanted: dict[str, Any], s: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a function's variables and the wanted ones in forms that can be compared."""
    wanted = {name: value for name, value in wanted.items() if value != ""}
    if "EXPECTED_ROLE_ARNS" in found:
        found["EXPECTED_ROLE_ARNS"] = set(found["EXPECTED_ROLE_ARNS"].split(","))
    if "PRICES" in found:
        table = tomllib.loads((ROOT / "infra" / "prices.toml").read_text())
        own = table.get("regions", {}).get(s.region, {})
        found["PRICES"] = json.loads(found["PRICES"])
        wanted["PRICES"] = table["base"] | own
        wanted["PRICES_AS_OF"] = table["as_of"]
        wanted["PRICES_REGION"] = s.region if own else table["base_region"]
    if "KEY_ARN" in found:
        wanted["KEY_ARN"] = f"arn:aws_kms_key:{s.snapshots.destination_region}:Copies of database snapshots"
    return found, wanted


@check
def what_lambda_cannot_do_is_tried_again_and_kept(view: View) -> Iterator[str]:
    wanted = {each.name: each for each in functions(view.settings).values() if each.queue}
    found = view.by("aws_lambda_function_event_invoke_config", "function_name")
    yield from differs("the functions that are called asynchronously", sorted(found), sorted(wanted))
    for name, function in wanted.items():
        told = {"destination_config": {"on_failure": {"destination": function.told}}} if function.told else {}
        yield from differs(name, found[name], {"function_name": name, **_ASYNCHRONOUS, **told})


@check
def each_function_can_be_called_by_what_calls_it_and_by_nobody_else(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    routes = {"GET/students": s.functions.get_name, "POST/students": s.functions.insert_name}
    routes["POST/backup"] = s.backups.function_name
    wanted = {
        (
            name,
            "apigateway.amazonaws.com",
            f"arn:aws_api_gateway_rest_api:{s.region}:{s.api.name}#execution_arn/{s.api.stage}/{route}",
            None,
        )
        for route, name in routes.items()
    } | {(name, "events.amazonaws.com", n.rule(rule), None) for rule, (name, _) in undelivered(s).items()}
    wanted.add((s.backups.finish_function_name, "s3.amazonaws.com", n.store, ACCOUNT))
    found = set()
    for each in view.all("aws_lambda_permission").values():
        yield from differs("a permission's action", each["action"], "lambda:InvokeFunction")
        found.add((each["function_name"], each["principal"], each["source_arn"], each.get("source_account")))
    yield from differs("the permissions", sorted(map(str, found)), sorted(map(str, wanted)))


@check
def dead_letters_wait_as_long_as_sqs_keeps_them_and_encrypted(view: View) -> Iterator[str]:
    found = view.by("aws_sqs_queue", "name")
    yield from differs("the queues", sorted(found), sorted(queues(view.settings)))
    for name, queue in found.items():
        wanted = {"name": name, "message_retention_seconds": _LONGEST_SECONDS, "sqs_managed_sse_enabled": True}
        yield from differs(name, queue, wanted)


@check
def a_queue_takes_messages_from_its_sender_alone_and_by_tls(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    senders: dict[str, list[Request]] = {name: [] for name in queues(s)}
    strangers: dict[str, list[Request]] = {name: [] for name in queues(s)}
    for rule, (_, queue) in undelivered(s).items():
        for to, source in ((senders, n.rule(rule)), (strangers, n.rule("other")), (strangers, n.rule(f"{rule}-2"))):
            context = (("aws:sourcearn", source),)
            to[queue].append(Request("sqs:SendMessage", n.queue(queue), "events.amazonaws.com", context))
    for _, role, queue in scheduled(s).values():
        senders[queue].append(Request("sqs:SendMessage", n.queue(queue), n.role(role)))
        strangers[queue].append(Request("sqs:ReceiveMessage", n.queue(queue), n.role(role)))
    policies = {each["queue_url"]: each["policy"] for each in view.all("aws_sqs_queue_policy").values()}
    urls = {f"{n.queue(name)}#url": name for name in queues(s)}
    yield from differs("the queues with policies", sorted(policies), sorted(urls))
    for url, name in urls.items():
        policy, arn = policies[url], n.queue(name)
        strangers[name].append(Request("sqs:SendMessage", arn, "sns.amazonaws.com"))
        strangers[name].append(Request("sqs:SendMessage", arn, n.role("stranger")))
        for request in senders[name]:
            if answer(policy, request) != "Allow":
                yield f"refused, but needed: {request}"
        for request in strangers[name]:
            if answer(policy, request) == "Allow":
                yield f"allowed, and not needed: {request}"
        for action in ("sqs:SendMessage", "sqs:ReceiveMessage", "sqs:PurgeQueue"):
            yield from tls_only(policy, Request(action, arn))


def tls_only(policy: str, request: Request) -> Iterator[str]:
    """Yield a fault where an unencrypted request is not refused, or an encrypted one is."""
    unencrypted = Request(request.action, request.resource, request.by, request.context, secure=False)
    if answer(policy, unencrypted) != "Deny":
        yield f"not refused: {unencrypted}"
    if answer(policy, request) == "Deny":
        yield f"refused: {request}"


@check
def the_topic_takes_alerts_from_aws_of_this_account_alone(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    [topic], [policy] = view.all("aws_sns_topic").values(), view.all("aws_sns_topic_policy").values()
    yield from differs("the topic", topic, {"name": s.alerts.topic_name})
    yield from differs("the policy's topic", policy["arn"], n.topic)
    [mail] = view.all("aws_sns_topic_subscription").values()
    endpoint = s.alerts.recipient or s.mail.recipient
    yield from differs("who is told", mail, {"protocol": "email", "endpoint": endpoint, "topic_arn": n.topic})
    ours, other = (("aws:sourceaccount", ACCOUNT),), (("aws:sourceaccount", OTHER_ACCOUNT),)
    wanted = [("cloudwatch.amazonaws.com", ours)]
    wanted += [("backup.amazonaws.com", ours)] if s.vault.enabled else []
    # EventBridge sends neither the rule nor the account to SNS (EventBridge User Guide, "Amazon SNS permissions").
    wanted += [("events.amazonaws.com", ())] if s.vault.enabled else []
    of_bucket = ("aws:sourcearn", f"arn:aws:s3:::{s.backups.bucket_name}")
    if any(plan.options.replicate_to for plan in s.backed_up_tables):
        wanted.append(("s3.amazonaws.com", (of_bucket, *ours)))
    unwanted = [("cloudwatch.amazonaws.com", other), ("backup.amazonaws.com", other), ("s3.amazonaws.com", other)]
    of_other = ("aws:sourcearn", f"arn:aws:s3:::{s.site.bucket_name}")
    unwanted += [("s3.amazonaws.com", (of_bucket, *other)), ("s3.amazonaws.com", (of_other, *ours))]
    for by, context in wanted:
        request = Request("sns:Publish", n.topic, by, context)
        if answer(policy["policy"], request) != "Allow":
            yield f"refused, but needed: {request}"
    for by, context in unwanted:
        request = Request("sns:Publish", n.topic, by, context)
        if answer(policy["policy"], request) == "Allow":
            yield f"allowed, and not needed: {request}"
    yield from tls_only(policy["policy"], Request("sns:Publish", n.topic))


@check
def schedules_fire_when_they_should_and_are_tried_again(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    [group] = view.all("aws_scheduler_schedule_group").values()
    yield from differs("the schedule group", group, {"name": s.backups.schedule_group})
    found, wanted = view.by("aws_scheduler_schedule", "name"), scheduled(s)
    yield from differs("the schedules", sorted(found), sorted(wanted))
    timed = {plan.schedule_name: (plan.expression, plan.time_zone) for plan in s.backed_up_tables}
    timed |= {plan.schedule_name: (plan.expression, plan.time_zone) for plan in s.drill_plans}
    timed[s.checks.schedule_name] = (s.checks.schedule_expression, s.checks.schedule_time_zone)
    timed[s.weekly_report.schedule_name] = (s.weekly_report.schedule_expression, s.weekly_report.schedule_time_zone)
    timed[s.weekly_report.measure_schedule_name] = ("rate(6 hours)", "UTC")
    windows = {plan.schedule_name: plan.window_minutes for plan in s.backed_up_tables}
    windows |= {plan.schedule_name: s.drills.flexible_window_minutes for plan in s.drill_plans}
    windows[s.checks.schedule_name] = 15
    windows[s.weekly_report.schedule_name] = 15
    windows[s.weekly_report.measure_schedule_name] = 15
    messages: dict[str, dict[str, Any]] = {name: {} for name in wanted}
    messages |= {plan.schedule_name: {"table": to_texts(plan.job)} for plan in s.backed_up_tables[1:]}
    messages |= {
        f"Drill-{plan.table_name}": {
            "table": {
                "table_name": plan.table_name,
                "scratch_prefix": f"{plan.table_name}-{s.drills.scratch_suffix}-",
                "rpo_hours": f"{s.objectives.rpo_hours:g}",
                "rto_minutes": f"{s.objectives.rto_minutes:g}",
                "kms_key_arn": table.kms_key_arn or "",
            }
        }
        for plan, table in zip(s.backed_up_tables[1:], s.backups.tables, strict=True)
    }
    messages[s.weekly_report.measure_schedule_name] = {"measure": "ages"}
    for name, (function, role, queue) in wanted.items():
        given = dict(found[name])
        expression, zone = given.pop("schedule_expression"), given.pop("schedule_expression_timezone")
        fires = firings(expression, zone, _MONDAY, 3)
        yield from differs(f"{name}'s firings", fires, _FIRINGS.get(name, firings(*timed[name], _MONDAY, 3)))
        # The change to summer time and the leap year show what a zone and a date field mean.
        for since in (datetime(2028, 2, 28, tzinfo=UTC), datetime(2025, 3, 29, tzinfo=UTC)):
            fires = firings(expression, zone, since, 30)
            yield from differs(f"{name}'s firings", fires, firings(*timed[name], since, 30))
        yield from differs(f"{name}'s time zone", zone, timed[name][1])
        message = json.loads(given["target"].pop("input"))
        if name in (s.weekly_report.schedule_name, s.weekly_report.measure_schedule_name):
            yield from differs(f"{name}'s tables", message.pop("tables"), _reported(s))
        yield from differs(f"{name}'s message", message, _MESSAGE | messages[name])
        window = windows[name]
        flexible = {"mode": "FLEXIBLE", "maximum_window_in_minutes": window} if window else {"mode": "OFF"}
        retries = s.backups.retry_attempts, int(s.backups.retry_hours * 3600)
        yield from differs(f"{name} is on", given.pop("state", "not said"), "ENABLED")
        yield from differs(
            name,
            given,
            {
                "name": name,
                "group_name": s.backups.schedule_group,
                "flexible_time_window": flexible,
                "target": {
                    "arn": n.function(function),
                    "role_arn": n.role(role),
                    "dead_letter_config": {"arn": n.queue(queue)},
                    "retry_policy": {"maximum_retry_attempts": retries[0], "maximum_event_age_in_seconds": retries[1]},
                },
            },
        )


def _reported(s: Settings) -> list[dict[str, Any]]:
    found = []
    for plan in s.backed_up_tables:
        how = plan.options
        begins = {"STANDARD": 0, "STANDARD_IA": how.infrequent_access_after_days, "GLACIER": how.glacier_after_days}
        steps = [(name, day) for name, day in begins.items() if day is not None]
        ends = [*(day for _, day in steps[1:]), how.expire_after_days]
        found.append(
            {
                "table_name": plan.table_name,
                "schedule_name": plan.schedule_name,
                "expression": plan.expression,
                "time_zone": plan.time_zone,
                "window_minutes": plan.window_minutes,
                "days": {name: end - day for (name, day), end in zip(steps, ends, strict=True)},
                "replicated_to": how.replicate_to or "",
                "memory_mb": s.backups.memory_mb,
                "architecture": s.functions.architecture,
                "moves_small": s.backups.move_small_backups,
            }
        )
    return found


@check
def logs_are_kept_as_long_as_the_settings_say(view: View) -> Iterator[str]:
    s = view.settings
    wanted = {f"/aws/lambda/{name}": s.functions.log_retention_days for name in functions(s)}
    wanted[f"/aws/apigateway/{s.api.name}"] = s.api.log_retention_days
    wanted[f"/aws/events/{s.events.bus_name}"] = s.events.log_retention_days
    wanted[f"/aws/events/{s.audit.trail_name}"] = s.audit.log_retention_days
    if s.snapshots.destination_region:
        wanted[f"/aws/events/{s.snapshots.rule_name}"] = s.snapshots.log_retention_days
    found = {each["name"]: each for each in view.all("aws_cloudwatch_log_group").values()}
    yield from differs("the log groups", sorted(found), sorted(wanted))
    for name, days in wanted.items():
        yield from differs(name, found[name], {"name": name, "retention_in_days": days})


@check
def mail_has_its_verified_addresses(view: View) -> Iterator[str]:
    found = {each["email_identity"] for each in view.all("aws_sesv2_email_identity").values()}
    yield from differs(
        "the addresses", sorted(found), sorted({view.settings.mail.sender, view.settings.mail.recipient})
    )
