"""The stack: the parts of Rollbook and how they depend on each other."""

from __future__ import annotations

from cdktf import TerraformOutput, TerraformStack
from cdktf_cdktf_provider_aws.scheduler_schedule_group import SchedulerScheduleGroup
from constructs import Construct

from infra.backups.checks import Checks
from infra.backups.database_snapshots import Snapshots
from infra.backups.function import Backups
from infra.backups.notifications import Notifications
from infra.backups.replication import Replicas
from infra.backups.restore_testing import RestoreTesting
from infra.backups.restores import Drills, Restores
from infra.backups.retention import Retention
from infra.backups.store import BackupStore
from infra.backups.vault import Vault
from infra.constructs.function import Function
from infra.constructs.queue import DeadLetterQueue
from infra.constructs.schedule import Group
from infra.emulator.platform import EmulatedAws
from infra.observability.alerts import Alerts
from infra.observability.audit import Audit
from infra.observability.events import Events
from infra.observability.monitoring import Monitoring, recurring_runs
from infra.observability.weekly_report import WeeklyReport
from infra.platform import Aws
from infra.school.api import Api, Route
from infra.school.api_answers import STUDENT_SCHEMA
from infra.school.mail import Mail
from infra.school.records import Records
from infra.school.signups import SignUps
from infra.school.site import Site
from infra.school.students import Students
from infra.settings import Settings


class RollbookStack(TerraformStack):
    """One environment of Rollbook."""

    def __init__(self, scope: Construct, settings: Settings) -> None:
        super().__init__(scope, settings.name)
        platform = (EmulatedAws if settings.emulated else Aws)(self, settings)
        platform.configure()

        records = Records(self, "records", settings.records)
        mail = Mail(self, "mail", settings.mail)
        alerts = Alerts(self, "alerts", platform=platform)
        events = Events(self, "events", platform=platform, events=settings.events)
        api = Api(self, "api", platform=platform, api=settings.api)
        site = Site(self, "site", platform=platform, api=api)
        students = Students(
            self, "students", platform=platform, records=records, mail=mail, events=events, origin=site.url
        )

        store = BackupStore(self, "store", settings=settings)
        notifications = Notifications(store, events, mail)
        group = self._schedule_group(platform)
        backups = Backups(
            self,
            "backups",
            platform=platform,
            records=records,
            notifications=notifications,
            group=group,
            origin=site.url,
        )
        Restores(self, "restores", platform=platform, records=records, notifications=notifications)
        if settings.checks.enabled:
            Checks(self, "checks", platform=platform, notifications=notifications, group=group)
        if settings.drills.enabled:
            Drills(self, "drills", platform=platform, records=records, notifications=notifications, group=group)
        if settings.retained_tables:
            Retention(self, "retention", platform=platform, notifications=notifications)
        if settings.signups.enabled:
            SignUps(self, "signups", platform=platform, mail=mail, events=events, site=site.url)
        if destination := settings.snapshots.destination_region:
            Snapshots(self, "snapshots", platform=platform, alerts=alerts, destination=destination)
        if settings.vault.enabled:
            vault = Vault(self, "vault", platform=platform, alerts=alerts)
            if settings.vault.restore_testing.enabled:
                RestoreTesting(self, "restore-testing", platform=platform, vault=vault, records=records, store=store)
        if any(plan.options.replicate_to for plan in settings.backed_up_tables):
            Replicas(self, "replicas", platform=platform, store=store)
            backups.publish_copy_failures(alerts)
        if settings.weekly_report.enabled:
            WeeklyReport(self, "report", platform=platform, notifications=notifications, group=group)
        api.serve(
            origin=site.url,
            routes=[
                Route("GET", "/students", students.get),
                Route("POST", "/students", students.insert, schema=STUDENT_SCHEMA),
                Route("POST", "/backup", backups.function),
            ],
        )

        # All functions and grants are defined now. The parts that list them come first, then the policies.
        if settings.audit.enabled:
            Audit(self, "audit", platform=platform, store=store, alerts=alerts)
        if settings.monitoring.enabled:
            self._monitor(settings, alerts, backups)
        store.complete()
        alerts.complete()
        backups.complete(alerts)
        api.complete()
        platform.complete()
        self._outputs(settings, {"site_url": site.url, "api_url": api.url, "api_key_id": api.key_id})

    def _schedule_group(self, platform: Aws) -> Group:
        group = SchedulerScheduleGroup(self, "schedules", name=platform.settings.backups.schedule_group)
        return Group(group.name, group.arn, platform.account_id)

    def _monitor(self, settings: Settings, alerts: Alerts, backups: Backups) -> None:
        watches_all = settings.monitoring.watch == "all"
        parts = (self if watches_all else backups).node.find_all()
        Monitoring(
            self,
            "monitoring",
            settings=settings,
            alerts=alerts,
            functions=[part for part in parts if isinstance(part, Function)],
            queues=[part for part in parts if isinstance(part, DeadLetterQueue)],
            runs=recurring_runs(settings),
        )

    def _outputs(self, settings: Settings, values: dict[str, str]) -> None:
        if settings.account_wide:
            values = values | {"account_wide": settings.account_wide}
        for name, value in values.items():
            TerraformOutput(self, name, value=value).override_logical_id(name)
