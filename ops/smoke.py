"""`python -m ops smoke`: proves a deployed environment by use, step by step, and takes away what it may."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar
from uuid import uuid4

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.table import Table
from rich.text import Text

from ops import backups, events, local
from ops.cloud import Cloud, fetch
from ops.console import OperatorError, command, err, out
from rollbook.engine import stored
from rollbook.engine.formats.document import Corrupted

T = TypeVar("T")
# The exit code when a step failed; 1 is for what could not be begun.
FAILED = 2
_POLL_SECONDS = 1.0
# How long each thing may take. EventBridge and SES answer within seconds; CloudWatch reads metrics out of a log within
# minutes; CloudTrail needs 5 minutes on average (CloudTrail User Guide, "How CloudTrail works").
_EVENT_SECONDS = 90
_MAIL_SECONDS = 90
_METRIC_SECONDS = 300
_AUDIT_SECONDS = 900
# What a dead-man's alarm looks back at most (CloudWatch API Reference, PutMetricAlarm).
# CloudWatch keeps data by the hour for 455 days (API reference, GetMetricStatistics).
_LOOKS_BACK = timedelta(days=455)
_PAGE = 1000


class StepFailed(RuntimeError):
    """A step found something that is not as it should be; the message says what."""


@dataclass(frozen=True)
class Outcome:
    """What came of a step.

    Arguments:
        seconds: that it took.
        found: in a sentence.
        look_at: what to look at if it failed.
    """

    name: str
    state: Literal["passed", "failed", "not tried"]
    seconds: float
    found: str
    look_at: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as the command prints it for machines."""
        values = asdict(self)
        return values | {"lookAt": values.pop("look_at")}


@dataclass
class Smoke:
    """One smoke test of an environment.

    Arguments:
        patience: the longest wait for one thing, seconds.
    """

    cloud: Cloud
    patience: float = _AUDIT_SECONDS
    id: str = field(default_factory=lambda: uuid4().hex[:8])
    key: str = ""
    uploaded: str = ""
    left: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = datetime.now(UTC)
        self.studentid = f"SMOKE-{self.id}"
        self._is_saved = False
        self._warning = ""
        self._sent_before: float | None = None
        self._raised_before: list[dict[str, Any]] | None = None

    def record(self) -> str:
        """Save a marked record through the site and read it back."""
        cloud = self.cloud
        try:
            # A backup and a drill of this run would end the silence that an alarm tells of.
            self._raised_before = self._raised()
        except (BotoCoreError, ClientError):
            self._raised_before = None  # the step `alarms` says why
        try:
            self._sent_before = self._sent()
        except (BotoCoreError, ClientError):
            self._sent_before = None  # only the step `mail` needs it
        student = {
            "studentid": self.studentid,
            "name": "Smoke Test",
            "class": "smoke",
            "birthdate": "2008-01-01",
            "email": cloud.settings.mail.recipient,
        }
        self._is_saved = True  # also when the answer is lost
        answer = fetch(
            f"{cloud.site_url}/students",
            method="POST",
            headers={"Content-Type": "application/json"},
            body=json.dumps(student).encode(),
        )
        if answer.status != 201:
            raise StepFailed(f"POST {cloud.site_url}/students answered {answer.status}: {answer.body[:300]!r}")
        warning = answer.json().get("warning", "")
        self._warning = str(warning)
        if not any(student.items() <= found.items() for found in self._students()):
            raise StepFailed(f"{self.studentid} was saved, and GET {cloud.site_url}/students does not have it")
        return f"{self.studentid} went in through {cloud.site_url} and came back" + (f"; {warning}" if warning else "")

    def _students(self) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            page = fetch(f"{self.cloud.site_url}/students?limit={_PAGE}" + (f"&next={token}" if token else ""))
            if page.status != 200:
                raise StepFailed(f"GET {self.cloud.site_url}/students answered {page.status}: {page.body[:300]!r}")
            yield from page.json()["students"]
            token = page.json()["next"] or ""
            if not token:
                return

    def mail(self) -> str:
        """See that the mail of the record was sent."""
        settings = self.cloud.settings
        if not settings.mail.on_save:
            return "mail.on_save is off: no mail is sent of a record"
        subject = f"Student created: {self.studentid}"
        if "mail" in self._warning:
            raise StepFailed(self._warning)
        port = self.cloud.port
        if port is not None:
            self._wait(
                lambda: any(mail["Subject"] == subject for mail in local.mails(port)),
                _MAIL_SECONDS,
                f"no mail {subject!r} came",
            )
            return f"the mail {subject!r} came to {settings.mail.recipient}"
        if self._sent_before is None:
            self._sent()  # it says why SES's count could not be read
        self._wait(
            lambda: self._sent() > (self._sent_before or 0), _MAIL_SECONDS, "SES has sent no mail since the record"
        )
        return f"SES took a mail; see that {subject!r} is in the inbox of {settings.mail.recipient}"

    def _sent(self) -> float:
        return float(self.cloud.client("sesv2").get_account()["SendQuota"]["SentLast24Hours"])

    def event(self) -> str:
        """See that the bus's log group has the event of the record."""
        since = self.began - timedelta(minutes=1)

        def is_there() -> bool:
            return any(event["detail"].get("studentid") == self.studentid for event in events.read(self.cloud, since))

        group = f"/aws/events/{self.cloud.settings.events.bus_name}"
        self._wait(is_there, _EVENT_SECONDS, f"the log group {group} has no event of {self.studentid}")
        return f"the event 'student saved' is in {group}"

    def upload(self) -> str:
        """Have the backup's own role upload an object of several parts, and compare what S3 has of it."""
        backup = self.cloud.settings.backups
        done = backups.invoke(self.cloud, backup.function_name, {"smoke": self.id})
        if "key" not in done or "crc32" not in done:
            raise StepFailed(f"{backup.function_name} does not know the request; deploy the present code: {done}")
        self.uploaded = str(done["key"])
        where = f"s3://{backup.bucket_name}/{self.uploaded}"
        found = self.cloud.client("s3").head_object(
            Bucket=backup.bucket_name, Key=self.uploaded, ChecksumMode="ENABLED"
        )
        there = (found["ContentLength"], found.get("ChecksumCRC32"))
        if there != (done["bytes"], done["crc32"]):
            raise StepFailed(f"{where} has {there[0]} bytes and CRC32 {there[1]}, sent were {done}")
        return f"{done['bytes']:,} bytes by the role of {backup.function_name}, with the CRC32 that was sent"

    def backup(self) -> str:
        """Make a marked backup, which stays. The marked record is gone before, so that no restore brings it back."""
        self._remove_record()
        answer = backups.invoke(self.cloud, self.cloud.settings.backups.function_name, {"mark": f"smoke-{self.id}"})
        self.key = str(answer["key"])
        self.left.append(f"the backup s3://{self.cloud.settings.backups.bucket_name}/{self.key}, which stays")
        if "items" not in answer:
            self._wait(self._is_exported, self.patience, f"the export of {self.key} did not end")
        return f"{self.key}"

    def _is_exported(self) -> bool:
        history = self.cloud.settings.backups.history_table_name
        pages = (
            self.cloud.client("dynamodb")
            .get_paginator("scan")
            .paginate(
                TableName=history,
                FilterExpression="#key = :key AND #status = :completed",
                ExpressionAttributeNames={"#key": "key", "#status": "status"},
                ExpressionAttributeValues={":key": {"S": self.key}, ":completed": {"S": "completed"}},
            )
        )
        return any(page["Items"] for page in pages)

    def whole(self) -> str:
        """Read the backup again and check every item."""
        return whole(self.cloud, self.key)

    def drill(self) -> str:
        """Restore the newest backup into a scratch table, compare it and delete that table."""
        if not self.cloud.settings.drills.enabled:
            return "drills are off"
        return drilled(backups.make_drill(self.cloud))

    def metric(self) -> str:
        """See that the backup's metric arrived."""
        table = self.cloud.settings.records.table_name
        name = f"Rollbook/BackupsCompleted of {table}"

        def arrived() -> bool:
            return bool(self._datapoints("Rollbook", "BackupsCompleted", [{"Name": "Table", "Value": table}]))

        self._wait(arrived, _METRIC_SECONDS, f"{name} has no data since {self.began:%H:%M:%S}Z")
        return f"{name} counted the backup"

    def _datapoints(
        self, namespace: str, name: str, dimensions: list[dict[str, str]], *, before: bool = False
    ) -> list[dict[str, Any]]:
        """Return a metric's data of this run, or of the days before it."""
        # CloudWatch keeps a minute's data under the minute's beginning.
        begin = self.began.replace(second=0, microsecond=0)
        start, end = (begin - _LOOKS_BACK, begin) if before else (begin, datetime.now(UTC) + timedelta(minutes=1))
        found = self.cloud.client("cloudwatch").get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=dimensions,
            StartTime=start,
            EndTime=end,
            Period=86_400 if before else 60,
            Statistics=["Sum"],
        )
        return list(found["Datapoints"])

    def alarms(self) -> str:
        """See that no alarm of the stack is raised, but those that wait for a first success."""
        if not self.cloud.settings.monitoring.enabled:
            return "monitoring is off"
        ours = self._alarms()
        if not ours:
            raise StepFailed(f"no alarm tells the topic {self.cloud.settings.alerts.topic_name}")
        now = [alarm for alarm in ours if alarm["StateValue"] == "ALARM"]
        raised = list({alarm["AlarmName"]: alarm for alarm in [*(self._raised_before or []), *now]}.values())
        waiting = [alarm for alarm in raised if self._waits_for_a_first_success(alarm)]
        wrong = [alarm for alarm in raised if alarm not in waiting]
        if wrong:
            raise StepFailed("; ".join(f"{alarm['AlarmName']}: {alarm.get('StateReason', '')}" for alarm in wrong))
        if muted := [alarm["AlarmName"] for alarm in ours if not alarm.get("ActionsEnabled", True)]:
            raise StepFailed(f"the actions of these alarms are switched off: {', '.join(muted)}")
        names = ", ".join(alarm["AlarmName"] for alarm in waiting)
        said = f"; these wait for their first success or measurement, and say so until then: {names}" if names else ""
        return f"{len(ours)} alarms, none is raised by a fault{said}"

    def _alarms(self) -> list[dict[str, Any]]:
        topic = f":{self.cloud.settings.alerts.topic_name}"
        pages = self.cloud.client("cloudwatch").get_paginator("describe_alarms").paginate()
        return [
            alarm
            for page in pages
            for alarm in page["MetricAlarms"]
            if any(action.endswith(topic) for action in alarm.get("AlarmActions", []))
        ]

    def _raised(self) -> list[dict[str, Any]]:
        if not self.cloud.settings.monitoring.enabled:
            return []
        return [alarm for alarm in self._alarms() if alarm["StateValue"] == "ALARM"]

    def _waits_for_a_first_success(self, alarm: dict[str, Any]) -> bool:
        """Return whether an alarm is raised by silence alone, in which there was nothing before this run."""
        if alarm.get("TreatMissingData") != "breaching" or "MetricName" not in alarm:
            return False
        return not self._datapoints(alarm["Namespace"], alarm["MetricName"], alarm["Dimensions"], before=True)

    def audit(self) -> str:
        """See that reading the backup, which `whole` did, is in the audit's log group."""
        audit = self.cloud.settings.audit
        if not audit.enabled:
            return "the audit is off"
        logs, group = self.cloud.client("logs"), f"/aws/events/{audit.trail_name}"
        since = int(self.began.timestamp() * 1000)

        def is_there() -> bool:
            pages = logs.get_paginator("filter_log_events").paginate(
                logGroupName=group, startTime=since, filterPattern=f'"{self.key}"'
            )
            return any('"GetObject"' in event["message"] for page in pages for event in page["events"])

        self._wait(is_there, _AUDIT_SECONDS, f"the log group {group} has no record that {self.key} was read")
        return f"who read {self.key} is in {group}; the operator gets an alert of it"

    def clean(self) -> None:
        """Take away the record and the upload, if this caller may; what stays is named in `left`."""
        settings, cloud = self.cloud.settings, self.cloud
        table = settings.records.table_name
        try:
            self._remove_record()
        except (BotoCoreError, ClientError) as error:
            self.left.append(f"the record {self.studentid} in {table}, delete it: {error}")
        if self.uploaded:
            try:
                cloud.client("s3").delete_object(Bucket=settings.backups.bucket_name, Key=self.uploaded)
            except (BotoCoreError, ClientError) as error:
                days = settings.backups.expire_after_days
                where = f"s3://{settings.backups.bucket_name}/{self.uploaded}"
                self.left.append(f"the upload {where}, which expires in {days} days: {error}")

    def _remove_record(self) -> None:
        if not self._is_saved:
            return
        self.cloud.client("dynamodb").delete_item(
            TableName=self.cloud.settings.records.table_name, Key={"studentid": {"S": self.studentid}}
        )
        self._is_saved = False

    def _wait(self, look: Callable[[], bool], seconds: float, fault: str) -> None:
        limit = min(seconds, self.patience)
        deadline = time.monotonic() + limit
        while not look():
            if time.monotonic() > deadline:
                raise StepFailed(f"{fault} after {limit:g} s")
            time.sleep(_POLL_SECONDS)


@dataclass(frozen=True)
class Step:
    """A step of the smoke test.

    Arguments:
        needs: the step without which it cannot be tried, if any.
        look_at: what to look at when it fails, with `{…}` for names of the environment.
    """

    name: str
    run: Callable[[Smoke], str]
    look_at: str
    needs: str = ""


STEPS = (
    Step(
        "record",
        Smoke.record,
        "the log groups /aws/lambda/{insert} and /aws/lambda/{get}; that CloudFront is deployed; the API's key",
    ),
    Step(
        "mail",
        Smoke.mail,
        "the point SES of `python -m ops preflight --env {env}`, and the log group /aws/lambda/{insert}",
        needs="record",
    ),
    Step(
        "event",
        Smoke.event,
        "the account's log policies (`aws logs describe-resource-policies`): events.amazonaws.com has to have "
        "logs:CreateLogStream without a condition on aws:SourceArn; the metric FailedInvocations of the rule {bus}-log",
        needs="record",
    ),
    Step(
        "upload",
        Smoke.upload,
        "the log group /aws/lambda/{backup}: InvalidPart or InvalidRequest is a matter of the uploader's checksums, "
        "AccessDenied one of the role or the bucket's policy",
    ),
    Step(
        "backup",
        Smoke.backup,
        'docs/runbook.md, "No backup came"; the log group /aws/lambda/{backup}',
    ),
    Step("verification", Smoke.whole, 'docs/runbook.md, "Read a backup"', needs="backup"),
    Step("drill", Smoke.drill, 'docs/runbook.md, "A drill failed"', needs="backup"),
    Step(
        "metric",
        Smoke.metric,
        "the log group /aws/lambda/{backup} for a line that begins with _aws; the CloudWatch namespace Rollbook",
        needs="backup",
    ),
    Step("alarms", Smoke.alarms, "the dashboard {dashboard}, and the description of each alarm"),
    Step(
        "audit",
        Smoke.audit,
        "that the trail {trail} logs (`aws cloudtrail get-trail-status`), its rule, and the log policy {trail}-log",
        needs="verification",
    ),
)


@command
def smoke(
    env: Annotated[str, typer.Option("--env", metavar="ENV", help="Environment.")] = "local",
    patience: Annotated[
        int, typer.Option(min=1, metavar="SECONDS", help="The longest wait for one thing.")
    ] = _AUDIT_SECONDS,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Prove a deployed environment by use; ends with 0 if every step passed and with 2 if one failed.

    It saves a marked record, makes a marked backup, which stays, and takes away the rest if the caller may.
    """
    test = Smoke(Cloud.of(env), patience)
    outcomes = []
    try:
        with _stoppable():
            for outcome in run(test):
                outcomes.append(outcome)
                if not as_json:
                    show(outcome)
    except KeyboardInterrupt:
        for what in test.left:
            err.print(f"  left: {what}", highlight=False, markup=False, soft_wrap=True)
        raise
    is_good = all(outcome.state == "passed" for outcome in outcomes)
    if as_json:
        steps = [outcome.as_json() for outcome in outcomes]
        print(json.dumps({"environment": env, "id": test.id, "isGood": is_good, "steps": steps, "left": test.left}))
    else:
        for what in test.left:
            out.print(f"  left: {what}", highlight=False, markup=False, soft_wrap=True)
        counts = Counter(outcome.state for outcome in outcomes)
        told = f"{counts['failed']} of {len(outcomes)} failed, {counts['not tried']} not tried"
        out.print("[green]✓[/] every step passed" if is_good else f"[bold red]{told}[/]")
    if not is_good:
        raise typer.Exit(FAILED)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Clean up also when a job is cancelled or its terminal is closed."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(test: Smoke) -> Iterator[Outcome]:
    """Make every step that can be tried, and clean up, also when it is interrupted."""
    passed: set[str] = set()
    names = _names(test.cloud)
    try:
        for step in STEPS:
            look_at = step.look_at.format(**names)
            if step.needs and step.needs not in passed:
                yield Outcome(step.name, "not tried", 0.0, f"it needs the step {step.needs}", look_at)
                continue
            began = time.monotonic()
            try:
                with err.status(f"{step.name}, since {datetime.now(UTC):%H:%M:%S}Z"):
                    found = step.run(test)
            except (BotoCoreError, ClientError, OperatorError, StepFailed, Corrupted) as error:
                yield Outcome(step.name, "failed", round(time.monotonic() - began, 1), str(error), look_at)
            except (KeyError, ValueError) as error:
                found = f"an answer is not of the expected form: {error!r}"
                yield Outcome(step.name, "failed", round(time.monotonic() - began, 1), found, look_at)
            else:
                passed.add(step.name)
                yield Outcome(step.name, "passed", round(time.monotonic() - began, 1), found)
    finally:
        test.clean()


def _names(cloud: Cloud) -> dict[str, str]:
    settings = cloud.settings
    return {
        "env": settings.name,
        "insert": settings.functions.insert_name,
        "get": settings.functions.get_name,
        "backup": settings.backups.function_name,
        "bus": settings.events.bus_name,
        "dashboard": settings.monitoring.dashboard_name,
        "trail": settings.audit.trail_name,
    }


def show(outcome: Outcome) -> None:
    """Print what came of a step."""
    marks = {"passed": "[green]✓[/]", "failed": "[bold red]✗[/]", "not tried": "[yellow]-[/]"}
    grid = Table.grid(padding=(0, 1))
    grid.add_row(marks[outcome.state], f"{outcome.name:12}", f"{outcome.seconds:6.1f} s", Text(outcome.found))
    if outcome.state == "failed" and outcome.look_at:
        grid.add_row("", "", "", Text(f"→ check {outcome.look_at}"))
    out.print(grid)


def whole(cloud: Cloud, key: str) -> str:
    """Read a backup again and check every item, its counts and digests.

    Raises:
        Corrupted: it is damaged, and where.
    """
    backup = stored.open_backup(cloud.client("s3"), cloud.settings.backups.bucket_name, key)
    found = stored.verify(backup)
    return f"s3://{cloud.settings.backups.bucket_name}/{key} is whole: {found.items:,} items, {found.bytes:,} bytes"


def drilled(answer: dict[str, Any]) -> str:
    """Return a drill's answer in a sentence."""
    return (
        f"the drill brought {answer['key']} back into a table of its own in {answer['rtoSeconds']:.1f} s, compared all "
        f"{answer['items']} records and deleted that table"
    )
