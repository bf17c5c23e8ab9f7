"""The stack: the parts of Rollbook and how they hang together."""

from __future__ import annotations

from cdktf import TerraformOutput, TerraformStack
from cdktf_cdktf_provider_aws.scheduler_schedule_group import SchedulerScheduleGroup
from constructs import Construct

from infra.backups.aws_backup import RestoreTesting, Vault
from infra.backups.database_snapshots import Snapshots
from infra.backups.function import Backups
from infra.backups.notifications import Reporting
from infra.backups.replication import Replicas
from infra.backups.restores import Drills, Restores
from infra.backups.store import BackupStore
from infra.constructs.function import Function
from infra.constructs.queue import DeadLetterQueue
from infra.emulator.platform import EmulatedAws
from infra.observability.alerts import Alerts
from infra.observability.audit import Audit
from infra.observability.events import Events
from infra.observability.monitoring import Monitoring, watched_by
from infra.observability.weekly_report import WeeklyReport
from infra.platform import Aws
from infra.school.api import STUDENT_SCHEMA, Api, Route
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
        alerts = Alerts(self, "alerts", platform=platform, settings=settings)
        events = Events(self, "events", platform=platform, events=settings.events)
        api = Api(self, "api", platform=platform, api=settings.api)
        site = Site(self, "site", platform=platform, settings=settings, api=api)
        students = Students(
            self,
            "students",
            platform=platform,
            settings=settings,
            records=records,
            mail=mail,
            events=events,
            origin=site.url,
        )
        store = BackupStore(self, "store", settings=settings)
        group = SchedulerScheduleGroup(self, "schedules", name=settings.backups.schedule_group)
        reporting = Reporting(settings, records, mail, events, store)
        backups = Backups(self, "backups", platform=platform, reporting=reporting, group=group, origin=site.url)
        Restores(self, "restores", platform=platform, reporting=reporting)
        if settings.drills.enabled:
            Drills(self, "drills", platform=platform, reporting=reporting, group=group)
        if settings.signups.enabled:
            SignUps(self, "signups", platform=platform, settings=settings, mail=mail, events=events, site=site.url)
        if destination := settings.snapshots.destination_region:
            Snapshots(self, "snapshots", platform=platform, settings=settings, alerts=alerts, destination=destination)
        if settings.vault.enabled:
            vault = Vault(self, "vault", platform=platform, settings=settings, alerts=alerts)
            if settings.vault.restore_testing.enabled:
                RestoreTesting(
                    self,
                    "restore-testing",
                    platform=platform,
                    settings=settings,
                    vault=vault,
                    records=records,
                    store=store,
                )
        is_copied = any(plan.how.replicate_to for plan in settings.backed_up_tables)
        if is_copied:
            alerts.allow_bucket(store.bucket_arn)
            Replicas(self, "replicas", platform=platform, settings=settings, store=store)
        if settings.weekly_report.enabled:
            WeeklyReport(self, "report", platform=platform, reporting=reporting, group=group)
        # After all that was granted the backups, which it expects, and before what watches every function.
        if settings.audit.enabled:
            Audit(self, "audit", platform=platform, settings=settings, store=store, alerts=alerts)
        if settings.monitoring.enabled:
            self._monitor(settings, alerts, backups)
        store.restrict()
        backups.notify(alerts if is_copied else None, topic_policy=alerts.restrict())
        api.serve(
            origin=site.url,
            routes=[
                Route("GET", "/students", students.get),
                Route("POST", "/students", students.insert, schema=STUDENT_SCHEMA),
                Route("POST", "/backup", backups.function),
            ],
        )

        for name, value in {"site_url": site.url, "api_url": api.url, "api_key_id": api.key_id}.items():
            TerraformOutput(self, name, value=value).override_logical_id(name)
        if settings.account_wide:
            TerraformOutput(self, "account_wide", value=settings.account_wide).override_logical_id("account_wide")
        platform.finish()

    def _monitor(self, settings: Settings, alerts: Alerts, backups: Backups) -> None:
        """Watch the functions and queues that there are by now."""
        watches_all = settings.monitoring.watch == "all"
        parts = (self if watches_all else backups).node.find_all()
        Monitoring(
            self,
            "monitoring",
            settings=settings,
            alerts=alerts,
            functions=[part for part in parts if isinstance(part, Function)],
            queues=[part for part in parts if isinstance(part, DeadLetterQueue)],
            watched=watched_by(settings),
        )
