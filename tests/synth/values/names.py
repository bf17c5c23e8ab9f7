"""The names and ARNs that the settings give the parts of an environment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from infra.settings import Settings
from tests.synth.values.view import ACCOUNT

# Of the handlers: its queue is the backup function's with this behind it.
_EXPORTS = "-exports"


@dataclass(frozen=True)
class Names:
    """ARNs by name, in the environment's Region where no other is given."""

    settings: Settings

    def arn(self, service: str, rest: str, region: str | None = None) -> str:
        return f"arn:aws:{service}:{self.settings.region if region is None else region}:{ACCOUNT}:{rest}"

    def function(self, name: str) -> str:
        return self.arn("lambda", f"function:{name}")

    def queue(self, name: str) -> str:
        return self.arn("sqs", name)

    def table(self, name: str) -> str:
        return self.arn("dynamodb", f"table/{name}")

    def rule(self, name: str) -> str:
        return self.arn("events", f"rule/{name}")

    def log_group(self, name: str) -> str:
        return self.arn("logs", f"log-group:{name}")

    def role(self, name: str) -> str:
        return self.arn("iam", f"role/{name}", region="")

    @property
    def topic(self) -> str:
        return self.arn("sns", self.settings.alerts.topic_name)

    @property
    def bus(self) -> str:
        return self.arn("events", f"event-bus/{self.settings.events.bus_name}")

    @property
    def store(self) -> str:
        return f"arn:aws:s3:::{self.settings.backups.bucket_name}"

    @property
    def history(self) -> str:
        return self.table(self.settings.backups.history_table_name)

    @property
    def records(self) -> str:
        return self.table(self.settings.records.table_name)

    @property
    def site_url(self) -> str:
        domain = f"arn:aws:cloudfront::{ACCOUNT}:distribution/SITE#domain_name"
        if self.settings.emulated:
            return f'http://<element(split(".", {domain}), 0)>.cloudfront.localhost:<var.emulator_port>'
        return f"https://{domain}"

    @property
    def exports_queue(self) -> str:
        return self.settings.backups.dead_letter_queue_name + _EXPORTS


@dataclass(frozen=True)
class Function:
    """What a function is to be. `queue` has its dead letters; without one it is only called synchronously."""

    name: str
    role: str
    handler: str
    memory: int
    timeout: int
    queue: str | None
    variables: dict[str, Any]
    disk: int = 512
    concurrency: int = -1
    told: str | None = None


def functions(settings: Settings) -> dict[str, Function]:
    """Return the environment's functions by name."""
    s, b, n = settings, settings.backups, Names(settings)
    mail = {"SENDER_EMAIL": s.mail.sender, "RECIPIENT_EMAIL": s.mail.recipient}
    # A row of the history outlives its backup and the backup's noncurrent version.
    longest = max(plan.options.expire_after_days for plan in s.backed_up_tables) + b.noncurrent_expire_days
    history = {"HISTORY_TABLE_NAME": b.history_table_name, "HISTORY_DAYS": str(max(b.history_days, longest))}
    bus, bucket = {"EVENT_BUS_NAME": s.events.bus_name}, {"S3_BUCKET_NAME": b.bucket_name}
    table, origin = {"TABLE_NAME": s.records.table_name}, {"ALLOWED_ORIGIN": n.site_url}
    reporting = table | bucket | mail | history | bus
    objectives = {"RPO_HOURS": f"{s.objectives.rpo_hours:g}", "RTO_MINUTES": f"{s.objectives.rto_minutes:g}"}
    engine = {
        "FULL_EVERY_DAYS": str(b.full_every_days),
        "ENGINE": b.engine,
        "FORMAT": b.format,
        "COMPRESSION": b.compression,
        "EXPORT_TYPE": b.export_type,
        "DOUBTFUL_CHANGE_PERCENT": f"{b.doubtful_change_percent:g}",
        "DOUBTFUL_CHANGE_ITEMS": str(b.doubtful_change_items),
        "EXPIRE_AFTER_DAYS": "0" if b.retention else str(b.expire_after_days),
    }
    school, way_back, weekly = s.functions, s.restores, s.weekly_report
    found = [
        Function(
            school.get_name,
            f"{school.get_name}Role",
            "handlers.students.get.handler",
            school.memory_mb,
            school.timeout_seconds,
            None,
            table | origin,
            concurrency=school.reserved_concurrency,
        ),
        Function(
            school.insert_name,
            f"{school.insert_name}Role",
            "handlers.students.insert.handler",
            school.memory_mb,
            school.timeout_seconds,
            None,
            table | origin | bus | mail | {"MAX_BODY_BYTES": str(s.api.max_body_bytes)},
            concurrency=school.reserved_concurrency,
        ),
        Function(
            b.function_name,
            b.role_name,
            "handlers.backup.handler",
            b.memory_mb,
            b.timeout_seconds,
            b.dead_letter_queue_name,
            reporting
            | origin
            | engine
            | {"KEY_PREFIX": b.key_prefix, "TIME_ZONE": s.time_zone, "SEGMENTS": str(b.segments)},
            disk=b.ephemeral_storage_mb,
            concurrency=b.reserved_concurrency,
        ),
        Function(
            b.finish_function_name,
            f"{b.finish_function_name}Role",
            "handlers.finish_export.handler",
            128,
            60,
            n.exports_queue,
            reporting | {"EXPORT_LIMIT_HOURS": f"{b.export_limit_hours:g}"},
        ),
        Function(
            way_back.verify_function_name,
            f"{way_back.verify_function_name}Role",
            "handlers.verify.handler",
            way_back.memory_mb,
            way_back.timeout_seconds,
            None,
            bucket | {"HISTORY_TABLE_NAME": b.history_table_name},
            disk=way_back.ephemeral_storage_mb,
        ),
        Function(
            way_back.restore_function_name,
            f"{way_back.restore_function_name}Role",
            "handlers.restore.handler",
            way_back.memory_mb,
            way_back.timeout_seconds,
            None,
            bucket | history | bus | {"RESTORED_PREFIX": f"{s.records.table_name}-{way_back.restored_suffix}-"},
            disk=way_back.ephemeral_storage_mb,
        ),
        Function(
            s.checks.function_name,
            f"{s.checks.function_name}Role",
            "handlers.check_backups.handler",
            s.checks.memory_mb,
            s.checks.timeout_seconds,
            s.checks.dead_letter_queue_name,
            bucket | mail | history | bus | {"WITHIN_DAYS": str(s.checks.within_days)},
        ),
        Function(
            s.drills.function_name,
            f"{s.drills.function_name}Role",
            "handlers.drill.handler",
            s.drills.memory_mb,
            s.drills.timeout_seconds,
            s.drills.dead_letter_queue_name,
            reporting | objectives | {"SCRATCH_PREFIX": f"{s.records.table_name}-{s.drills.scratch_suffix}-"},
            disk=s.drills.ephemeral_storage_mb,
        ),
        Function(
            s.signups.function_name,
            f"{s.signups.function_name}Role",
            "handlers.users.welcome.handler",
            s.signups.memory_mb,
            s.signups.timeout_seconds,
            s.signups.dead_letter_queue_name,
            {
                "SENDER_EMAIL": s.mail.sender,
                "SITE_URL": n.site_url,
                "IDEMPOTENCY_TABLE_NAME": s.signups.idempotency_table_name,
            },
        ),
        Function(
            s.audit.function_name,
            f"{s.audit.function_name}Role",
            "handlers.audit.alert.handler",
            128,
            30,
            s.audit.dead_letter_queue_name,
            bucket
            | {
                "TOPIC_ARN": n.topic,
                "EXPECTED_ROLE_ARNS": {n.role(name) for name in expected_at_backups(s)},
                "ALERT_REFUSED": "yes" if s.audit.alert_refused else "",
            },
        ),
        Function(
            weekly.function_name,
            f"{weekly.function_name}Role",
            "handlers.weekly_report.handler",
            weekly.memory_mb,
            120,
            weekly.dead_letter_queue_name,
            bucket
            | mail
            | {
                "HISTORY_TABLE_NAME": b.history_table_name,
                "SCHEDULE_GROUP": b.schedule_group,
                "TIME_ZONE": s.time_zone,
                "RPO_HOURS": f"{s.objectives.rpo_hours:g}",
                "RTO_MINUTES": f"{s.objectives.rto_minutes:g}",
                "DAYS": str(weekly.days),
                "VAULT_NAME": s.vault.vault_name,
                "PLAN_NAME": s.vault.plan_name,
            },
        ),
    ]
    if destination := s.snapshots.destination_region:
        found.append(
            Function(
                s.snapshots.function_name,
                f"{s.snapshots.function_name}Role",
                "handlers.snapshots.copy.handler",
                128,
                120,
                s.snapshots.dead_letter_queue_name,
                {
                    "COPY_PREFIX": s.snapshots.copy_prefix,
                    "DESTINATION_REGION": destination,
                    "RETENTION_DAYS": str(s.snapshots.retention_days),
                },
                told=n.topic,
            )
        )
    if retained := {plan.table_name: plan for plan in s.backed_up_tables if plan.options.retention}:
        policies = {name: plan.options.retention.model_dump() for name, plan in retained.items()}
        order = ("keep_last", "daily", "weekly", "monthly", "yearly")
        texts = {
            name: [retained[name].key_prefix, *(policy[count] for count in order)] for name, policy in policies.items()
        }
        found.append(
            Function(
                b.retention_function_name,
                f"{b.retention_function_name}Role",
                "handlers.retention.handler",
                way_back.memory_mb,
                way_back.timeout_seconds,
                b.retention_dead_letter_queue_name,
                bucket
                | history
                | {"TIME_ZONE": s.time_zone, "RETAINED_TABLES": json.dumps(texts, separators=(",", ":"))},
                disk=way_back.ephemeral_storage_mb,
            )
        )
    testing = s.vault.restore_testing
    if testing.enabled:
        found.append(
            Function(
                testing.function_name,
                f"{testing.function_name}Role",
                "handlers.validate.handler",
                testing.memory_mb,
                900,
                testing.dead_letter_queue_name,
                bucket | {"KEY_PREFIX": b.key_prefix},
            )
        )
    return {each.name: each for each in found}


def expected_at_backups(s: Settings) -> set[str]:
    """Return the roles that read, write or copy backups in their work. Access by any other role is reported."""
    functions_ = [
        s.backups.finish_function_name,
        s.restores.verify_function_name,
        s.restores.restore_function_name,
        s.checks.function_name,
        s.drills.function_name,
    ]
    if any(plan.options.retention for plan in s.backed_up_tables):
        functions_.append(s.backups.retention_function_name)
    if s.vault.restore_testing.enabled:
        functions_.append(s.vault.restore_testing.function_name)
    replication = [s.backups.replication_role_name] if any(p.options.replicate_to for p in s.backed_up_tables) else []
    return {s.backups.role_name, *(f"{name}Role" for name in functions_), *replication}


def undelivered(s: Settings) -> dict[str, tuple[str, str]]:
    """Return the rules that call a function: each rule's function and the queue of what could not be delivered."""
    found = {s.audit.trail_name: (s.audit.function_name, s.audit.undelivered_queue_name)}
    found[f"{s.events.bus_name}-check-backup"] = (s.checks.function_name, s.checks.undelivered_queue_name)
    b = s.backups
    found[f"{s.events.bus_name}-backup-continues"] = (b.function_name, b.continue_undelivered_queue_name)
    found[f"{s.events.bus_name}-user-signup"] = (s.signups.function_name, s.signups.undelivered_queue_name)
    if any(plan.options.retention for plan in s.backed_up_tables):
        found[f"{s.events.bus_name}-backup-completed"] = (b.retention_function_name, b.retention_undelivered_queue_name)
    if s.snapshots.destination_region:
        found[s.snapshots.rule_name] = (s.snapshots.function_name, s.snapshots.undelivered_queue_name)
    watch = (s.backups.finish_function_name, f"{s.backups.dead_letter_queue_name}-watch")
    found[f"{s.backups.finish_function_name}-watch"] = watch
    testing = s.vault.restore_testing
    if testing.enabled:
        found[f"{testing.plan_name}-restored"] = (testing.function_name, testing.undelivered_queue_name)
    return found


def scheduled(s: Settings) -> dict[str, tuple[str, str, str]]:
    """Return the schedules: each one's function, execution role and dead-letter queue."""
    b, c, d, w = s.backups, s.checks, s.drills, s.weekly_report
    backup = (b.function_name, b.schedule_role_name, b.schedule_dead_letter_queue_name)
    return {plan.schedule_name: backup for plan in s.backed_up_tables} | {
        c.schedule_name: (c.function_name, c.schedule_role_name, c.schedule_dead_letter_queue_name),
        d.schedule_name: (d.function_name, d.schedule_role_name, d.schedule_dead_letter_queue_name),
        **{
            f"Drill-{plan.table_name}": (d.function_name, d.schedule_role_name, d.schedule_dead_letter_queue_name)
            for plan in s.backed_up_tables[1:]
        },
        w.schedule_name: (w.function_name, w.schedule_role_name, w.schedule_dead_letter_queue_name),
        w.measure_schedule_name: (w.function_name, w.schedule_role_name, w.schedule_dead_letter_queue_name),
    }


def queues(s: Settings) -> set[str]:
    """Return the names of all queues."""
    dead = {each.queue for each in functions(s).values() if each.queue}
    return dead | {queue for _, queue in undelivered(s).values()} | {queue for _, _, queue in scheduled(s).values()}
