"""Buckets and tables: who may touch them, how long what is in them is kept, and where its copies are."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from infra.settings import Settings
from tests.synth.values.delivery import tls_only
from tests.synth.values.names import Names
from tests.synth.values.requests import OTHER_ACCOUNT, Request, answer
from tests.synth.values.view import ACCOUNT, View, check, differs

# S3 deletes what was begun and never ended after this many days; an upload takes minutes.
_ABORT_DAYS = 1
_PRIVATE = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")


def buckets(s: Settings) -> dict[str, str]:
    """Return the buckets' Regions by their names."""
    found = {s.site.bucket_name: s.region, s.backups.bucket_name: s.region}
    for plan in s.backed_up_tables:
        if region := plan.options.replicate_to:
            found[s.replica_bucket_name(region)] = region
    if s.audit.enabled:
        found[s.audit_bucket_name] = s.region
    if s.vault.enabled and s.vault.audit_manager:
        found[f"{s.backups.bucket_name}-reports"] = s.region
    return found


_COPY_EVENTS = ("FailedReplication", "MissedThreshold", "NotTracked", "ReplicatedAfterThreshold")


def place_of(
    rules: list[dict[str, Any]], key: str, age: int, current: bool = True, tags: Mapping[str, str] | None = None
) -> str:
    """Return the storage class of an object of an age in days, or `deleted`.

    Source: S3 User Guide, "Lifecycle configuration elements": an action is due once so many days have passed.

    Arguments:
        rules: of the bucket's lifecycle.
        age: since it was made, or, of a version that is not current, since it was replaced.
    """
    place = "STANDARD"
    for rule in rules:
        [of_filter] = rule["filter"]
        [wanted] = of_filter.get("and", [of_filter])
        has_tags = wanted.get("tags", {}).items() <= (tags or {}).items()
        if rule["status"] != "Enabled" or not key.startswith(wanted["prefix"]) or not has_tags:
            continue
        if current:
            for step in sorted(rule["transition"], key=lambda each: each["days"]):
                place = step["storage_class"] if age >= step["days"] else place
            if any(age >= each.get("days", math.inf) for each in rule["expiration"]):
                return "deleted"
        elif any(age >= each["noncurrent_days"] for each in rule.get("noncurrent_version_expiration", [])):
            return "deleted"
    return place


def _of_bucket(view: View, kind: str) -> dict[str, dict[str, Any]]:
    return view.by(kind, "bucket")


@check
def every_bucket_is_private_versioned_and_encrypted(view: View) -> Iterator[str]:
    s, wanted = view.settings, buckets(view.settings)
    region_of = dict(wanted)
    forms: dict[str, Any] = {
        "aws_s3_bucket": {"force_destroy": s.force_destroy},
        "aws_s3_bucket_public_access_block": dict.fromkeys(_PRIVATE, True),
        "aws_s3_bucket_ownership_controls": {"rule": {"object_ownership": "BucketOwnerEnforced"}},
        "aws_s3_bucket_versioning": {"versioning_configuration": {"status": "Enabled"}},
        "aws_s3_bucket_server_side_encryption_configuration": {
            "rule": [{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}]
        },
    }
    for kind, form in forms.items():
        found = _of_bucket(view, kind)
        yield from differs(kind, sorted(found), sorted(wanted))
        for name, resource in found.items():
            given = {key: value for key, value in resource.items() if key != "provider"}
            yield from differs(f"{kind} of {name}", given, {"bucket": name} | form)
            yield from differs(f"the Region of {kind} of {name}", view.region(resource), region_of.get(name))


def _requests(s: Settings, n: Names) -> dict[str, tuple[list[Request], list[Request]]]:
    """Return for each bucket what its policy itself allows, and what it must not."""
    site, store = f"arn:aws:s3:::{s.site.bucket_name}", n.store
    front = (("aws:sourcearn", f"arn:aws:cloudfront::{ACCOUNT}:distribution/SITE"),)
    stranger = (("aws:sourcearn", f"arn:aws:cloudfront::{OTHER_ACCOUNT}:distribution/SITE"),)
    cloudfront = "cloudfront.amazonaws.com"
    found: dict[str, tuple[list[Request], list[Request]]] = {
        s.site.bucket_name: (
            [
                Request("s3:GetObject", f"{site}/index.html", cloudfront, front),
                Request("s3:ListBucket", site, cloudfront, front),
            ],
            [
                Request("s3:GetObject", f"{site}/index.html", cloudfront, stranger),
                Request("s3:ListBucket", site, cloudfront, stranger),
                Request("s3:PutObject", f"{site}/index.html", cloudfront, front),
                Request("s3:GetObject", f"{site}/index.html"),
                Request("s3:GetObject", f"{site}/index.html", "s3.amazonaws.com", front),
            ],
        ),
        s.backups.bucket_name: ([], [Request("s3:GetObject", f"{store}/example")]),
    }
    if s.audit.enabled:
        bucket = f"arn:aws:s3:::{s.audit_bucket_name}"
        trail = ("aws:sourcearn", n.arn("cloudtrail", f"trail/{s.audit.trail_name}"))
        other = ("aws:sourcearn", n.arn("cloudtrail", "trail/other"))
        owner = ("s3:x-amz-acl", "bucket-owner-full-control")
        by, key = "cloudtrail.amazonaws.com", f"{bucket}/AWSLogs/{ACCOUNT}/example"
        found[s.audit_bucket_name] = (
            [
                Request("s3:GetBucketAcl", bucket, by, (trail,)),
                Request("s3:PutObject", key, by, (trail, owner)),
            ],
            [
                Request("s3:GetBucketAcl", bucket, by, (other,)),
                Request("s3:PutObject", key, by, (other, owner)),
                Request("s3:PutObject", key, by, (trail,)),
                Request("s3:PutObject", f"{bucket}/AWSLogs/{OTHER_ACCOUNT}/example", by, (trail, owner)),
                Request("s3:PutObject", key, "s3.amazonaws.com", (trail, owner)),
                Request("s3:GetObject", key, by, (trail,)),
            ],
        )
    for name in buckets(s).keys() - found.keys():
        found[name] = ([], [Request("s3:GetObject", f"arn:aws:s3:::{name}/example")])
    return found


@check
def every_bucket_answers_requests_as_it_should(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    policies = _of_bucket(view, "aws_s3_bucket_policy")
    yield from differs("the buckets with policies", sorted(policies), sorted(buckets(s)))
    for name, (right, wrong) in _requests(s, n).items():
        policy, arn = policies[name]["policy"], f"arn:aws:s3:::{name}"
        yield from differs(f"the Region of {name}'s policy", view.region(policies[name]), buckets(s)[name])
        for request in right:
            if answer(policy, request) != "Allow":
                yield f"refused, but needed: {request}"
        for request in wrong:
            if answer(policy, request) == "Allow":
                yield f"allowed, and not needed: {request}"
        for request in (Request("s3:GetObject", f"{arn}/example"), Request("s3:ListBucket", arn)):
            yield from tls_only(policy, request)
        for action in ("s3:DeleteObjectVersion", "s3:PutObjectAcl"):
            yield from tls_only(policy, Request(action, f"{arn}/example"))


@check
def only_the_backup_writes_backups(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    policy = _of_bucket(view, "aws_s3_bucket_policy")[s.backups.bucket_name]["policy"]
    writers = {s.backups.role_name, f"{s.backups.finish_function_name}Role"}
    for name in (*writers, f"{s.restores.restore_function_name}Role", "Administrator"):
        request = Request("s3:PutObject", f"{n.store}/example", n.role(name))
        if (answer(policy, request) == "Deny") is (name in writers):
            yield f"{'refused' if name in writers else 'not refused'}: {request}"
    reports = f"{s.backups.bucket_name}-reports"
    if reports in buckets(s):
        policy = _of_bucket(view, "aws_s3_bucket_policy")[reports]["policy"]
        service = "aws-service-role/reports.backup.amazonaws.com/AWSServiceRoleForBackupReports"
        own = (("s3:x-amz-acl", "bucket-owner-full-control"),)
        key = f"arn:aws:s3:::{reports}/example"
        if answer(policy, Request("s3:PutObject", key, n.role(service), own)) != "Allow":
            yield "AWS Backup cannot write its reports"
        for request in (
            Request("s3:PutObject", key, n.role(service)),
            Request("s3:PutObject", key, n.role("stranger"), own),
            Request("s3:GetObject", key, n.role(service), own),
        ):
            if answer(policy, request) == "Allow":
                yield f"allowed, and not needed: {request}"


@check
def objects_are_where_they_should_be_on_each_day(view: View) -> Iterator[str]:
    s = view.settings
    found = _of_bucket(view, "aws_s3_bucket_lifecycle_configuration")
    wanted = _kept(s)
    yield from differs("the buckets with a lifecycle", sorted(found), sorted({bucket for bucket, _ in wanted}))
    for bucket, lifecycle in found.items():
        yield from differs(f"the Region of {bucket}'s lifecycle", view.region(lifecycle), buckets(s).get(bucket))
        count = len([prefix for of, prefix in wanted if of == bucket])
        if bucket == s.backups.bucket_name:
            count += 2 * len(_retained(s))  # for the mark, and for smoke tests
        yield from differs(f"the number of {bucket}'s rules", len(lifecycle["rule"]), count)
        smallest = "varies_by_storage_class" if _moves_small(s, bucket) else "all_storage_classes_128K"
        yield from differs(f"{bucket}'s smallest", lifecycle["transition_default_minimum_object_size"], smallest)
        for rule in lifecycle["rule"]:
            days = [each["days_after_initiation"] for each in rule.get("abort_incomplete_multipart_upload", [])]
            should = [] if "and" in rule["filter"][0] else [_ABORT_DAYS]  # S3 refuses it with tags
            yield from differs(f"{bucket}, {rule['id']}: uploads are aborted after", days, should)
    for (bucket, prefix), (steps, noncurrent) in wanted.items():
        rules = found[bucket]["rule"]
        places = [("STANDARD", 0), *steps]
        for number, (place, day) in enumerate(places):
            before = places[number - 1][0] if number else place
            for age, should in ((day - 1, before), (day, place)):
                if age >= 0:
                    is_at = place_of(rules, f"{prefix}example", age)
                    yield from differs(f"{bucket}/{prefix} on day {age}", is_at, should)
        is_retained = bucket == s.backups.bucket_name and prefix in _retained(s)
        for age, should in ((noncurrent - 1, "STANDARD"), (noncurrent, "STANDARD" if is_retained else "deleted")):
            is_at = place_of(rules, f"{prefix}example", age, current=False)
            yield from differs(f"an old version in {bucket}/{prefix} on day {age}", is_at, should)
        if prefix:
            is_at = place_of(rules, "~other/example", 40_000)
            yield from differs(f"another key of {bucket}", is_at, "STANDARD")


@check
def only_marked_backups_are_deleted(view: View) -> Iterator[str]:
    s = view.settings
    rules = _of_bucket(view, "aws_s3_bucket_lifecycle_configuration")[s.backups.bucket_name]["rule"]
    days = s.backups.noncurrent_expire_days
    for prefix in _retained(s):
        for tags, should in (
            ({}, {"kept"}),
            ({"rollbook-expired": "no"}, {"kept"}),
            ({"rollbook-pinned": "yes"}, {"kept"}),
            ({"rollbook-expired": "yes", "a": "b"}, {"deleted"}),
        ):
            places = {
                place_of(rules, f"{prefix}20250708T0700.json", 40_000, current, tags) for current in (True, False)
            }
            found = {"deleted" if place == "deleted" else "kept" for place in places}
            yield from differs(f"what becomes of {prefix} with {tags}", found, should)
        marked = {"rollbook-expired": "yes"}
        for age, current, gone in ((0, True, False), (1, True, True), (days - 1, False, False), (days, False, True)):
            place = place_of(rules, f"{prefix}example", age, current, marked)
            yield from differs(f"a marked object of {prefix} is deleted on day {age}", place == "deleted", gone)
        for current in (True, False):
            is_at = place_of(rules, f"{prefix}smoke-example.json", 1, current)
            yield from differs(f"a smoke test's upload to {prefix} on day 1", is_at, "deleted")
        markers = [each.get("expired_object_delete_marker") for rule in rules for each in rule["expiration"]]
        yield from differs("whether lone delete markers are removed", True in markers, True)


@check
def only_the_retention_marks_and_pins(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    if not _retained(s):
        return
    policy = _of_bucket(view, "aws_s3_bucket_policy")[s.backups.bucket_name]["policy"]
    retention, backup = f"{s.backups.retention_function_name}Role", s.backups.role_name
    uploads_tags = any(plan.options.tags for plan in s.backed_up_tables)
    for role in (retention, backup, f"{s.restores.restore_function_name}Role", "Administrator"):
        for tag in ("rollbook-expired", "rollbook-pinned"):
            of_tag = (("s3:requestobjecttagkeys", tag),)
            is_pinned = (("s3:existingobjecttag/rollbook-pinned", "yes"),)
            for action, context, may in (
                ("s3:PutObjectTagging", of_tag, role == retention),
                ("s3:PutObject", of_tag, False),
                ("s3:PutObjectTagging", is_pinned, role == retention),
                ("s3:PutObjectTagging", (), role == retention or (role == backup and uploads_tags)),
                ("s3:DeleteObjectTagging", (), False),
                ("s3:DeleteObjectVersionTagging", (), False),
                ("s3:PutObjectVersionTagging", (), False),
                ("s3:ReplicateTags", (), False),
                ("s3:GetObjectTagging", (), True),
            ):
                request = Request(action, f"{n.store}/example", n.role(role), context)
                if (answer(policy, request) == "Deny") is may:
                    yield f"{'refused' if may else 'not refused'}: {request}"


def _retained(s: Settings) -> list[str]:
    return [plan.key_prefix for plan in s.backed_up_tables if plan.options.retention]


def _moves_small(s: Settings, bucket: str) -> bool:
    of_backups = {s.backups.bucket_name, *(s.replica_bucket_name(r) for r in _copied_to(s))}
    return s.backups.move_small_backups and bucket in of_backups


def _copied_to(s: Settings) -> set[str]:
    return {plan.options.replicate_to for plan in s.backed_up_tables if plan.options.replicate_to}


def _kept(s: Settings) -> dict[tuple[str, str], tuple[list[tuple[str, int]], int]]:
    """Return by bucket and prefix where objects go on which day, and when an old version is deleted."""
    b = s.backups
    found: dict[tuple[str, str], tuple[list[tuple[str, int]], int]] = {}
    for plan in s.backed_up_tables:
        how = plan.options
        steps = [
            (place, day)
            for place, day in (
                ("STANDARD_IA", how.infrequent_access_after_days),
                ("GLACIER", how.glacier_after_days),
                ("deleted", how.expire_after_days),
            )
            if day is not None
        ]
        in_time = [step for step in steps if not (how.retention and step[0] == "deleted")]
        found[(b.bucket_name, plan.key_prefix)] = (in_time, b.noncurrent_expire_days)
        if how.replicate_to:
            found[(s.replica_bucket_name(how.replicate_to), plan.key_prefix)] = (steps, b.noncurrent_expire_days)
    if s.audit.enabled:
        found[(s.audit_bucket_name, "AWSLogs/")] = ([("deleted", s.audit.expire_after_days)], 30)
    if s.vault.enabled and s.vault.audit_manager:
        found[(f"{b.bucket_name}-reports", "")] = ([("deleted", 365)], 30)
    return found


@check
def backups_are_copied_to_the_other_region(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    plans = [plan for plan in s.backed_up_tables if plan.options.replicate_to]
    found = list(view.all("aws_s3_bucket_replication_configuration").values())
    yield from differs("replications", len(found), 1 if plans else 0)
    for replication in found:
        yield from differs("whose objects are copied", replication["bucket"], s.backups.bucket_name)
        yield from differs("who copies them", replication["role"], n.role(s.backups.replication_role_name))
        rules = {rule["id"]: rule for rule in replication["rule"]}
        yield from differs("what is copied", sorted(rules), sorted(f"copy-{plan.table_name}" for plan in plans))
        priorities = [rule["priority"] for rule in replication["rule"]]
        yield from differs("the priorities", priorities, list(range(1, len(plans) + 1)))
        for plan in plans:
            rule = dict(rules[f"copy-{plan.table_name}"])
            rule.pop("priority")
            yield from differs(
                f"the copies of {plan.table_name}",
                rule,
                {
                    "id": f"copy-{plan.table_name}",
                    "status": "Enabled",
                    "filter": {"prefix": plan.key_prefix},
                    # What is deleted here stays there.
                    "delete_marker_replication": {"status": "Disabled"},
                    "destination": {
                        "bucket": f"arn:aws:s3:::{s.replica_bucket_name(str(plan.options.replicate_to))}",
                        # S3 offers 15 minutes and nothing else ("Meeting compliance requirements with S3 RTC").
                        "metrics": {"status": "Enabled", "event_threshold": {"minutes": 15}},
                        "replication_time": {"status": "Enabled", "time": {"minutes": 15}},
                    },
                },
            )


@check
def a_manifest_wakes_the_function_that_finishes_exports(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    [notification] = view.all("aws_s3_bucket_notification").values()
    yield from differs("the bucket that notifies", notification["bucket"], s.backups.bucket_name)
    called = list(notification["lambda_function"])
    for plan in s.backed_up_tables:
        for name, should in (("AWSDynamoDB/01-a/manifest-summary.json", True), ("data/a.json.gz", False)):
            key = f"{plan.key_prefix}{name}"
            woken = {each["lambda_function_arn"] for each in called if _notifies(each, key)}
            wanted = {n.function(s.backups.finish_function_name)} if should else set()
            yield from differs(f"what {key} wakes", sorted(woken), sorted(wanted))


@check
def the_topic_is_told_of_copies_that_are_late_or_fail(view: View) -> Iterator[str]:
    """S3 User Guide, "Receiving replication failure events with Amazon S3 Event Notifications"."""
    s, n = view.settings, Names(view.settings)
    [notification] = view.all("aws_s3_bucket_notification").values()
    events = [f"s3:Replication:Operation{what}" for what in _COPY_EVENTS]
    copied = any(plan.options.replicate_to for plan in s.backed_up_tables)
    wanted = [{"topic_arn": n.topic, "events": events}] if copied else []
    yield from differs("events of replication", notification.get("topic", []), wanted)


def _notifies(configuration: Mapping[str, Any], key: str) -> bool:
    """S3 User Guide, "Supported event types", and "Configuring event notifications using object key name filtering"."""
    created = {"s3:ObjectCreated:*", "s3:ObjectCreated:Put", "s3:ObjectCreated:CompleteMultipartUpload"}
    return (
        bool(created & set(configuration["events"]))
        and key.startswith(configuration.get("filter_prefix", ""))
        and key.endswith(configuration.get("filter_suffix", ""))
    )


@check
def tables_are_recoverable_encrypted_and_protected(view: View) -> Iterator[str]:
    s = view.settings
    safe = {
        "billing_mode": "PAY_PER_REQUEST",
        "point_in_time_recovery": {"enabled": True},
        "server_side_encryption": {"enabled": True},
    }

    def table(name: str, key: str, **more: Any) -> dict[str, Any]:
        return safe | {"name": name, "hash_key": key, "attribute": [{"name": key, "type": "S"}]} | more

    def expiring(attribute: str) -> dict[str, Any]:
        return {"ttl": {"enabled": True, "attribute_name": attribute}}

    protected = {"deletion_protection_enabled": s.records.deletion_protection}
    wanted = [
        table(s.records.table_name, "studentid", **protected),
        table(s.signups.idempotency_table_name, "id", **expiring("expiration")),
        table(s.backups.history_table_name, "id", **expiring("expiresAt"), **protected),
    ]
    found = view.by("aws_dynamodb_table", "name")
    yield from differs("the tables", sorted(found), sorted(each["name"] for each in wanted))
    for each in wanted:
        yield from differs(each["name"], found[each["name"]], each)


@check
def the_trail_records_reads_and_writes_of_the_backups(view: View) -> Iterator[str]:
    s, n = view.settings, Names(view.settings)
    [trail] = view.all("aws_cloudtrail").values()
    [selector] = trail["advanced_event_selector"]
    fields = {each["field"]: {k: v for k, v in each.items() if k != "field"} for each in selector["field_selector"]}
    wanted = {
        "eventCategory": {"equals": ["Data"]},
        "resources.type": {"equals": ["AWS::S3::Object"]},
        "resources.ARN": {"starts_with": [f"{n.store}/"]},
    }
    yield from differs("what is recorded", fields, wanted)
    rest = {name: value for name, value in trail.items() if name != "advanced_event_selector"}
    yield from differs(
        "the trail",
        rest,
        {
            "name": s.audit.trail_name,
            "s3_bucket_name": s.audit_bucket_name,
            "enable_log_file_validation": True,
            "include_global_service_events": False,
        },
    )


@check
def json_texts_are_json_and_policies_of_the_current_version(view: View) -> Iterator[str]:
    """What is no JSON is refused. With the version of 2008, policies have no variables (IAM User Guide, "Version")."""
    for kind, resources in view.stack["resource"].items():
        for name, resource in resources.items():
            for attribute in ("policy", "assume_role_policy", "event_pattern", "policy_document", "schema"):
                if attribute in resource:
                    document = json.loads(resource[attribute])
                    if "policy" in attribute:
                        yield from differs(f"{kind}.{name}'s version", document.get("Version"), "2012-10-17")
                        for statement in document["Statement"]:
                            needed = {"Effect", "Action"} | (
                                {"Resource"} if attribute != "assume_role_policy" else set()
                            )
                            yield from (f"{kind}.{name} has no {part}" for part in sorted(needed - statement.keys()))
