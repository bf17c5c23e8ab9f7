"""Event patterns, matched by EventBridge's rules against recorded events that must and must not match."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ministack.services import eventbridge

from infra.settings import Settings
from tests.synth.values.delivery import RULES_RETRY
from tests.synth.values.names import Names, undelivered
from tests.synth.values.requests import OTHER_ACCOUNT, Request, answer
from tests.synth.values.view import ACCOUNT, View, check, differs

# After AWS's examples: AWS Backup Developer Guide, "Monitoring AWS Backup events using Amazon EventBridge"; Amazon RDS
# User Guide, "Overview of events for Amazon RDS"; CloudTrail User Guide, "CloudTrail record contents"; EventBridge User
# Guide, "AWS service events delivered via CloudTrail".
_RECORDED = Path(__file__).with_name("recorded.json")
# Amazon RDS User Guide, "Amazon RDS event categories and event messages": finished, and merely begun.
_FINISHED = {"database snapshot": ("0042", "0091"), "database cluster snapshot": ("0075", "0169")}
_OF_THE_BUS = ("log", "user-signup", "backup-completed", "backup-continues", "check-backup")
_BEGUN = {"database snapshot": ("0040", "0090"), "database cluster snapshot": ("0074", "0168")}

Event = dict[str, Any]


def matches(pattern: str, event: Event) -> bool:
    """Return whether EventBridge's rules match an event to a pattern.

    Raises:
        ValueError: EventBridge takes no such pattern.
    """
    request = {"EventPattern": pattern, "Event": json.dumps(event)}
    status, _, body = eventbridge._test_event_pattern(request)
    if status != 200:
        raise ValueError(f"no event pattern: {body!r}")
    return bool(json.loads(body)["Result"])


@cache
def _texts() -> dict[str, str]:
    return {name: json.dumps(event) for name, event in json.loads(_RECORDED.read_text("utf-8")).items()}


def recorded(name: str, s: Settings, **changes: Any) -> Event:
    """Return a recorded event of an environment, with other values at paths, such as `detail__state`."""
    event: Event = json.loads(_texts()[name].replace("{store}", s.backups.bucket_name))
    for path, value in changes.items():
        *parents, last = path.replace("detail_type", "detail-type").split("__")
        place = event
        for parent in parents:
            place = place[parent]
        if value is None:
            place.pop(last, None)
        else:
            place[last] = copy.deepcopy(value)
    return event


def _failed(name: str, field: str, states: tuple[str, ...], fine: tuple[str, ...], s: Settings) -> tuple[Any, Any]:
    """Return the job events of AWS Backup that are reported, and those that are not."""
    key = f"detail__{field}"
    other = {"backup failed": "copy failed", "copy failed": "backup failed", "restore failed": "copy failed"}[name]
    return [recorded(name, s, **{key: state}) for state in states], [
        *(recorded(name, s, **{key: state}) for state in fine),
        recorded(other, s),
        recorded(name, s, source="aws.backup2"),
        recorded(name, s, **{key: None}),
    ]


def cases(s: Settings) -> dict[str, tuple[list[Event], list[Event]]]:
    """Return for each rule the events that must match and those that must not."""
    store = s.backups.bucket_name
    listing = {"detail__requestParameters": {"bucketName": store}, "detail__resources": None}
    only_arn = {"detail__requestParameters": {}, "detail__eventName": "DeleteObjects"}
    other = {
        "detail__requestParameters": {"bucketName": "other"},
        "detail__resources": [{"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::other/key"}],
    }
    longer = {
        "detail__requestParameters": {"bucketName": f"{store}-audit"},
        "detail__resources": [{"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::{store}-audit/key"}],
    }
    found: dict[str, tuple[list[Event], list[Event]]] = {
        s.audit.trail_name: (
            [
                recorded("backup read", s),
                recorded("backup read", s, detail__eventName="PutObject"),
                recorded("backup read", s, **listing),
                recorded("backup read", s, **only_arn),
            ],
            [
                recorded("backup read", s, **other),
                recorded("backup read", s, **longer),
                recorded("backup read", s, detail__eventCategory="Management"),
                recorded("backup read", s, detail__eventSource="sts.amazonaws.com"),
                recorded("backup read", s, detail_type="Object Created"),
                recorded("backup read", s, source="aws.s3control"),
            ],
        ),
        f"{s.events.bus_name}-log": ([recorded(name, s) for name in _texts()], []),
    }
    done = "backup completed"
    found[f"{s.events.bus_name}-check-backup"] = (
        [recorded(done, s), recorded(done, s, detail__table="other")],
        [recorded(done, s, detail_type="backup failed"), recorded(done, s, source="rollbook.drills")],
    )
    found[f"{s.events.bus_name}-backup-continues"] = (
        [recorded("backup continues", s), recorded("backup continues", s, detail__table="other")],
        [recorded(done, s), recorded("backup continues", s, source="rollbook.drills")],
    )
    if s.signups.enabled:
        signed_up = {"source": s.signups.source, "detail_type": s.signups.detail_type}
        found[f"{s.events.bus_name}-user-signup"] = (
            [recorded("user signed up", s, **signed_up)],
            [
                recorded("user signed up", s, **signed_up | {"source": "myapp.other"}),
                recorded("user signed up", s, **signed_up | {"detail_type": "user_login"}),
            ],
        )
    if retained := [plan.table_name for plan in s.backed_up_tables if plan.options.retention]:
        found[f"{s.events.bus_name}-backup-completed"] = (
            [recorded(done, s, detail__table=table) for table in retained],
            [
                recorded(done, s, detail__table="other"),
                recorded(done, s, detail_type="backup failed"),
                recorded(done, s, source="rollbook.drills"),
            ],
        )
    if s.snapshots.destination_region:
        found[s.snapshots.rule_name] = (
            [recorded(name, s, detail__EventID=f"RDS-EVENT-{n}") for name, ids in _FINISHED.items() for n in ids],
            [
                *(recorded(name, s, detail__EventID=f"RDS-EVENT-{n}") for name, ids in _BEGUN.items() for n in ids),
                recorded("database snapshot", s, detail_type="RDS DB Instance Event"),
                recorded("database snapshot", s, source="aws.docdb"),
            ],
        )
    if s.vault.enabled:
        fine = ("CREATED", "PENDING", "RUNNING", "COMPLETED")
        found["failed-backup-jobs"] = _failed("backup failed", "state", ("FAILED", "ABORTED", "EXPIRED"), fine, s)
        found["failed-copy-jobs"] = _failed("copy failed", "state", ("FAILED",), ("CREATED", "RUNNING", "COMPLETED"), s)
        found["failed-restore-jobs"] = _failed(
            "restore failed", "status", ("FAILED", "ABORTED"), ("PENDING", "RUNNING", "COMPLETED"), s
        )
    if s.vault.restore_testing.enabled:
        test = "restore test completed"
        found[f"{s.vault.restore_testing.plan_name}-restored"] = (
            # AWS Backup names the type so where its advanced features are on, as they are in new accounts.
            [recorded(test, s), recorded(test, s, detail__resourceType="DynamoDB.FullyManaged")],
            [
                recorded(test, s, detail__status="RUNNING"),
                recorded(test, s, detail__resourceType="S3"),
                recorded(test, s, detail__restoreTestingPlanArn=None),
                recorded(test, s, detail_type="Backup Job State Change"),
                recorded(test, s, source="aws.backup2"),
            ],
        )
    return found


@check
def every_rule_matches_what_it_should_and_nothing_else(view: View) -> Iterator[str]:
    s = view.settings
    rules, wanted = view.by("aws_cloudwatch_event_rule", "name"), cases(s)
    # A failed export is noticed within 15 minutes.
    watch = rules.pop(f"{s.backups.finish_function_name}-watch")
    timed = {"event_pattern": None, "schedule_expression": "rate(5 minutes)", "event_bus_name": "default"}
    yield from differs("the watch of the exports", {name: watch.get(name) for name in timed}, timed)
    yield from differs("the rules", sorted(rules), sorted(wanted))
    of_the_bus = {f"{s.events.bus_name}-{what}" for what in _OF_THE_BUS}
    for name, (right, wrong) in wanted.items():
        rule = rules[name]
        for events, should in ((right, True), (wrong, False)):
            for event in events:
                if matches(rule["event_pattern"], event) is not should:
                    yield f"{name} {'does not match' if should else 'matches'} {json.dumps(event)[:300]}"
        yield from differs(f"{name} is on", rule.get("state", "ENABLED"), "ENABLED")
        bus = s.events.bus_name if name in of_the_bus else "default"
        yield from differs(f"{name}'s bus", rule["event_bus_name"], bus)


@check
def every_rule_hands_its_events_to_its_targets(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    bus, logged = s.events.bus_name, {f"{s.events.bus_name}-log": s.events.bus_name, s.audit.trail_name: ""}
    if s.snapshots.destination_region:
        logged[s.snapshots.rule_name] = ""
    wanted = []
    for rule, (function, queue) in undelivered(s).items():
        target = {
            "arn": n.function(function),
            "dead_letter_config": {"arn": n.queue(queue)},
            "retry_policy": RULES_RETRY,
        }
        if rule == f"{bus}-user-signup":
            paths = {"detail": "$.detail", "id": "$.id"}
            target["input_transformer"] = {"input_paths": paths, "input_template": '{"id": <id>, "detail": <detail>}'}
        if rule == f"{bus}-check-backup":
            target["input_transformer"] = {"input_paths": {"key": "$.detail.key"}, "input_template": '{"key": <key>}'}
        wanted.append((rule, target))
    wanted += [(rule, {"arn": n.log_group(f"/aws/events/{name or rule}")}) for rule, name in logged.items()]
    if s.vault.enabled:
        wanted += [(f"failed-{kind}-jobs", {"arn": n.topic}) for kind in ("backup", "copy", "restore")]
    found = {(each["rule"], each["arn"]): each for each in view.all("aws_cloudwatch_event_target").values()}
    yield from differs("the targets", sorted(found), sorted((rule, str(target["arn"])) for rule, target in wanted))
    for rule, target in wanted:
        of_bus = bus if rule.startswith(f"{bus}-") else "default"
        given = found[(rule, str(target["arn"]))]
        yield from differs(f"a target of {rule}", given, target | {"rule": rule, "event_bus_name": of_bus})


@check
def eventbridge_may_write_the_logs_of_its_rules_alone(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    groups = {f"{s.events.bus_name}-log": s.events.bus_name, s.audit.trail_name: s.audit.trail_name}
    if s.snapshots.destination_region:
        groups[s.snapshots.rule_name] = s.snapshots.rule_name
    policies = [each["policy_document"] for each in view.all("aws_cloudwatch_log_resource_policy").values()]
    yield from differs("the log policies", len(policies), len(groups))

    def may(action: str, group: str, rule: str, by: str) -> bool:
        resource = f"{n.log_group(f'/aws/events/{group}')}:log-stream:example"
        request = Request(action, resource, by, (("aws:sourcearn", n.rule(rule)),))
        return any(answer(policy, request) == "Allow" for policy in policies)

    for rule, group in groups.items():
        for by in ("events.amazonaws.com", "delivery.logs.amazonaws.com"):
            for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
                if not may(action, group, rule, by):
                    yield f"{by} may not {action} on {group}"
            for what, args in {"other": (group, "other"), "another group": ("other", rule)}.items():
                if may("logs:PutLogEvents", *args, by):
                    yield f"{by} may write {group} for {what}"
        if may("logs:PutLogEvents", group, rule, "s3.amazonaws.com"):
            yield f"another service may write {group}"


@check
def the_bus_keeps_every_event_and_takes_those_of_the_account(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    [bus], [archive] = view.all("aws_cloudwatch_event_bus").values(), view.all("aws_cloudwatch_event_archive").values()
    [policy] = view.all("aws_cloudwatch_event_bus_policy").values()
    yield from differs("the bus", bus, {"name": s.events.bus_name})
    kept = {"event_source_arn": n.bus, "name": s.events.bus_name, "retention_days": s.events.archive_days}
    yield from differs("the archive", archive, kept)
    yield from differs("the policy's bus", policy["event_bus_name"], s.events.bus_name)
    ours = Request("events:PutEvents", n.bus, f"arn:aws:iam::{ACCOUNT}:root")
    if answer(policy["policy"], ours) != "Allow":
        yield f"refused, but needed: {ours}"
    for request in (
        Request("events:PutEvents", n.bus, f"arn:aws:iam::{OTHER_ACCOUNT}:root"),
        Request("events:PutRule", n.bus, f"arn:aws:iam::{ACCOUNT}:root"),
    ):
        if answer(policy["policy"], request) == "Allow":
            yield f"allowed, and not needed: {request}"
