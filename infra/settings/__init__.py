"""The settings of an environment. They are read from `environments/<name>.toml` and checked before synthesis."""

from __future__ import annotations

import itertools
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from infra.settings.backups import Backups, TablePlan
from infra.settings.drills import DrillPlan, Drills, drill_plans
from infra.settings.events import Events, SignUps, Snapshots
from infra.settings.fields import BucketName, Region, Section, TimeZone, check_window
from infra.settings.github import GitHub
from infra.settings.observability import ALARM_LIMIT, Alerts, Audit, Monitoring, Objectives, WeeklyReport
from infra.settings.restores import Checks, Restores
from infra.settings.retention import check_retained
from infra.settings.school import Api, Functions, Mail, Records, Site
from infra.settings.timing import days_in_classes, spread
from infra.settings.vault import Vault
from rollbook.contract import schedules
from rollbook.contract.jobs import ReportedTable
from rollbook.contract.retention import RetainedTable

# The exceptions of the plan guard, which are not an environment.
EXCEPTIONS = "exceptions.toml"
ENVIRONMENTS = Path(__file__).resolve().parents[2] / "environments"


class SettingsError(ValueError):
    """An environment file is invalid. The message names the file, the key, the value, the reason and the remedy."""


class State(Section):
    """Where Terraform stores the state. Without a bucket it is a file in the project's folder."""

    bucket: BucketName | None = Field(None, description="S3 bucket of the state; create it before `deploy`.")
    region: str | None = Field(None, description="Region of that bucket; by default the environment's.")


class Settings(Section):
    """All settings of one environment."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="The file's name without `.toml`.")
    region: Region = Field(description="AWS Region, for example ap-southeast-1.")
    time_zone: TimeZone = Field("UTC", description="IANA zone of the stamp in a backup's name.")
    emulated: bool = Field(False, description="The stack runs on the embedded AWS; see `infra/emulator/`.")
    force_destroy: bool = Field(
        False, description="Let `terraform destroy` delete buckets that still hold objects. Never in production."
    )
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of every resource.")
    records: Records
    functions: Functions
    api: Api = Api()
    site: Site
    mail: Mail
    backups: Backups
    restores: Restores = Restores()
    checks: Checks = Checks()
    drills: Drills = Drills()
    events: Events = Events()
    signups: SignUps = SignUps()
    alerts: Alerts = Alerts()
    audit: Audit = Audit()
    snapshots: Snapshots = Snapshots()
    vault: Vault = Vault()
    monitoring: Monitoring = Monitoring()
    objectives: Objectives = Objectives()
    weekly_report: WeeklyReport = WeeklyReport()
    state: State = State()
    github: GitHub = GitHub()

    def _check_fleet(self) -> None:
        plans = self.backed_up_tables
        for what, names in {
            "table": [plan.table_name for plan in plans],
            "schedule": [plan.schedule_name for plan in plans] + [plan.schedule_name for plan in self.drill_plans],
        }.items():
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"[[backups.tables]]: two tables have the {what} {name}; each must have its own")
        timed = {f"the schedule {plan.schedule_name}": (plan.expression, plan.time_zone) for plan in plans}
        if self.vault.enabled:
            timed |= {
                f"the rule {rule.name} of [vault]": (rule.expression, rule.time_zone) for rule in self.vault.rules
            }
        for what, (expression, zone) in timed.items():
            if next(schedules.parse(expression, zone).after(datetime.now(UTC)), None) is None:
                raise ValueError(f"{what}: {expression} will never fire again; nothing would be backed up")
        for table in self.backups.tables:
            if table.kms_key_arn and table.kms_key_arn.split(":")[3] != self.region:
                raise ValueError(
                    f"kms_key_arn of {table.table_name} is not a key in {self.region}; a table's key must be in the "
                    "table's Region"
                )
        for plan in plans:
            check_window(plan.expression, plan.time_zone, plan.window_minutes)
            region = plan.options.replicate_to
            if region == self.region:
                raise ValueError(
                    f"replicate_to = {region} of {plan.table_name} is the Region of the backups; name another Region"
                )
            if region and len(self.replica_bucket_name(region)) > 63:
                raise ValueError(
                    f"{self.replica_bucket_name(region)!r} is longer than S3's 63 characters; set "
                    "backups.replica_bucket_prefix"
                )

    def _check_names(self) -> None:
        """Refuse the same name for two buckets or tables, because both would share one resource."""
        buckets = {"site.bucket_name": self.site.bucket_name, "backups.bucket_name": self.backups.bucket_name}
        if self.audit.enabled:
            buckets["audit.bucket_name"] = self.audit_bucket_name
        if self.vault.audit_manager:
            buckets["the reports' bucket"] = self.reports_bucket_name
        if self.state.bucket:
            buckets["state.bucket"] = self.state.bucket
        for plan in self.backed_up_tables:
            if region := plan.options.replicate_to:
                buckets[f"the copies in {region}"] = self.replica_bucket_name(region)
        tables = {"backups.history_table_name": self.backups.history_table_name}
        tables |= {f"the table {plan.table_name}": plan.table_name for plan in self.backed_up_tables}
        for kind, named in (("bucket", buckets), ("table", tables)):
            for one, other in itertools.combinations(named, 2):
                if named[one] == named[other]:
                    raise ValueError(f"{one} and {other} are the same {kind}, {named[one]}; each needs its own")

    def _check_selected(self) -> None:
        """Refuse selections by tags that do not include the table of the records."""
        tag = {"backup": self.records.backup_tag}
        by_tags = [selection for selection in self.vault.selections if not selection.resources]
        if len(by_tags) < len(self.vault.selections) or not self.vault.enabled:
            return
        if not any(
            tag.items() & selection.any_tags.items()
            or (selection.all_tags and selection.all_tags.items() <= tag.items() | self.tags.items())
            for selection in by_tags
        ):
            raise ValueError(
                f"[vault] selections: none selects the tag backup = {self.records.backup_tag!r} of the records' table, "
                "so AWS Backup would not back it up; set records.backup_tag to a selected value"
            )

    def _check_monitoring(self) -> None:
        timings = {
            f"backup of {plan.table_name}": (plan.expression, plan.time_zone, plan.window_minutes)
            for plan in self.backed_up_tables
        }
        for drill in self.drill_plans:
            timings[f"drill of {drill.job.table_name}"] = (drill.expression, drill.time_zone, drill.window_minutes)
        grace = timedelta(hours=self.monitoring.grace_hours)
        for what, (expression, zone, window) in timings.items():
            try:
                silence = schedules.longest_silence(expression, zone, window, grace)
            except schedules.ScheduleError as error:
                raise ValueError(f"the schedule of the {what}: {error}") from None
            if timedelta(days=self.backups.history_days) < 2 * silence:
                raise ValueError(
                    f"[backups] history_days = {self.backups.history_days} is too short: the alarm on the {what} fires "
                    f"after {silence} without a success, and the history must be kept for twice that time"
                )
            if silence > ALARM_LIMIT and not self.weekly_report.enabled:
                raise ValueError(
                    f"the schedule of the {what}: with {expression}, the alarm fires after {silence} without a "
                    f"success, but a CloudWatch alarm covers {ALARM_LIMIT.days} days; set weekly_report.enabled = "
                    "true, which measures the ages for this alarm, or choose a shorter interval"
                )

    @property
    def stack_names(self) -> list[str]:
        """Return the names of the environment's stacks: the main stack, and the stack for access from GitHub."""
        return [self.name, self.github_stack_name] if self.github.repository else [self.name]

    @property
    def github_stack_name(self) -> str:
        """Return the name of the stack for access from GitHub."""
        return f"{self.name}-github"

    @property
    def account_wide(self) -> str:
        """Return a text about what the stack sets for the whole account and Region; empty if it sets nothing."""
        opted = [name for name, is_in in sorted(self.vault.region_opt_in.items()) if is_in]
        return f"AWS Backup is opted in for {', '.join(opted)}" if self.vault.enabled and opted else ""

    @property
    def retained_tables(self) -> dict[str, RetainedTable]:
        """Return the tables with a retention, by name."""
        return {table.table_name: table for plan in self.backed_up_tables if (table := plan.retained)}

    @property
    def reported_tables(self) -> list[ReportedTable]:
        """Return all backed-up tables in the form that reports need."""
        return [
            ReportedTable(
                table_name=plan.table_name,
                schedule_name=plan.schedule_name,
                expression=plan.expression,
                time_zone=plan.time_zone,
                window_minutes=plan.window_minutes,
                days=days_in_classes(
                    plan.options.infrequent_access_after_days,
                    plan.options.glacier_after_days,
                    plan.options.expire_after_days,
                ),
                replicated_to=plan.options.replicate_to or "",
                memory_mb=self.backups.memory_mb,
                architecture=self.functions.architecture,
                moves_small=self.backups.move_small_backups,
            )
            for plan in self.backed_up_tables
        ]

    @property
    def backed_up_tables(self) -> list[TablePlan]:
        """Return all tables that Rollbook's own engine backs up, the table of the records first."""
        backups = self.backups
        first = TablePlan(
            self.records.table_name,
            backups.key_prefix,
            backups.schedule_name,
            backups.schedule_expression,
            backups.schedule_time_zone,
            backups.flexible_window_minutes,
            backups,
        )
        named = [table for table in backups.tables if table.frequency]
        return [first] + [
            TablePlan(
                table.table_name,
                table.key_prefix or f"{table.table_name}/",
                table.schedule_name or f"Backup-{table.table_name}"[:64],
                table.schedule_expression
                or spread(table.frequency or "daily", named.index(table), len(named), backups.spread_minutes),
                table.schedule_time_zone,
                backups.flexible_window_minutes,
                table,
            )
            for table in backups.tables
        ]

    @property
    def drill_plans(self) -> list[DrillPlan]:
        """Return the drills of all backed-up tables; none if drills are off."""
        return drill_plans(self.drills, self.objectives, self.backed_up_tables)

    def replica_bucket_name(self, region: str) -> str:
        """Return the name of the bucket of the copies in a Region."""
        return f"{self.backups.replica_bucket_prefix or self.backups.bucket_name}-{region}"

    @property
    def audit_bucket_name(self) -> str:
        """Return the name of the audit trail's bucket."""
        return self.audit.bucket_name or f"{self.backups.bucket_name}-audit"

    @property
    def reports_bucket_name(self) -> str:
        """Return the name of the bucket of Backup Audit Manager's reports."""
        return f"{self.backups.bucket_name}-reports"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._check_names()
        if self.audit.enabled and len(self.audit_bucket_name) > 63:
            raise ValueError(
                f"[audit] bucket_name: {self.audit_bucket_name!r} is longer than S3's 63 characters; set a shorter name"
            )
        if self.vault.enabled and self.vault.audit_manager and len(self.reports_bucket_name) > 63:
            raise ValueError(
                f"[vault] audit_manager: the name of its bucket, {self.reports_bucket_name!r}, is longer than S3's 63 "
                "characters; shorten backups.bucket_name"
            )
        if any(copy.region == self.region for rule in self.vault.rules for copy in rule.copies):
            raise ValueError(
                f"[vault] rules.copies.region: {self.region} is the vault's own Region; name another Region"
            )
        if self.github.repository and self.state.bucket is None:
            raise ValueError(
                f"[github] repository: a workflow in {self.github.repository} needs a state in S3, because a local "
                "file does not outlive the workflow; name a bucket in [state]"
            )
        self._check_fleet()
        check_retained(self.retained_tables)
        self._check_selected()
        if self.monitoring.enabled:
            self._check_monitoring()
        if self.snapshots.destination_region == self.region:
            raise ValueError(
                f"[snapshots] destination_region: {self.region} is the databases' own Region; name another Region"
            )
        return self


def load(path: Path) -> Settings:
    """Read and check one environment file.

    Raises:
        SettingsError: the file is invalid. The message has one line per fault: file, key, value, reason and remedy.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not TOML: {error}") from None
    if "name" in values:
        raise SettingsError(f"{path}: name: the file's name is the environment's name; remove the key")
    try:
        return Settings.model_validate({"name": path.stem, **values})
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(path, fault) for fault in error.errors())) from None


def load_all(folder: Path = ENVIRONMENTS) -> list[Settings]:
    """Read all environments of a folder, sorted by name.

    Raises:
        SettingsError: a file is invalid, or there is no file.
    """
    files = sorted(path for path in folder.glob("*.toml") if path.name != EXCEPTIONS)
    if not files:
        raise SettingsError(f"{folder}: has no environment; copy environments/workshop.toml and change it")
    return [load(file) for file in files]


def _sentence(path: Path, fault: Any) -> str:
    key = ".".join(str(part) for part in fault["loc"]) or "(whole file)"
    if fault["type"] == "extra_forbidden":
        return f"{path}: {key}: no such setting; remove it, or see docs/settings.md for the names"
    if fault["type"] == "missing":
        return f"{path}: {key}: is missing; {_describe(fault['loc'])}"
    reason = fault["msg"].removeprefix("Value error, ")
    value = "" if isinstance(fault["input"], dict | BaseModel) else f" = {fault['input']!r}"
    return f"{path}: {key}{value}: {reason}. {_describe(fault['loc'])}".rstrip()


def _describe(location: tuple[Any, ...]) -> str:
    model: Any = Settings
    description = ""
    for part in location:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            break
        description, model = field.description or "", field.annotation
    return f"It is: {description}" if description else ""
