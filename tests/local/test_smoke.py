"""The smoke test on the embedded AWS: it passes, and it names what is broken."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ops.__main__ import app
from ops.backups import overview
from ops.cloud import Cloud
from ops.exits import Exit
from ops.smoke import steps
from ops.smoke.failure import StepFailed
from ops.smoke.run import Smoke
from tests.conftest import Local, Stacks
from tests.local.aws import keys, table, wait_for
from tests.local.test_events import remove_user, user_of

# By default, botocore since 1.36 sends a checksum with each part and none with the creation of the upload. The
# completion then lists checksums of parts, although the upload has no checksum.
_OLD_UPLOADER = """

def _flush_without_an_algorithm(self):
    if not self._upload_id:
        created = self._s3.create_multipart_upload(**self._target, ContentType=self._content_type)
        self._upload_id = created["UploadId"]
    number = len(self._parts) + 1
    body, self._buffer = self._buffer, bytearray()
    part = self._s3.upload_part(**self._target, UploadId=self._upload_id, PartNumber=number, Body=body)
    checksums = {name: part[name] for name in part if name.startswith("Checksum") and name != "ChecksumType"}
    self._parts.append({"PartNumber": number, "ETag": part["ETag"], **checksums})


_complete = Upload.complete


def _complete_without_an_algorithm(self):
    if not self._upload_id:
        return _complete(self)
    if self._buffer:
        self.flush()
    done = self._s3.complete_multipart_upload(
        **self._target, UploadId=self._upload_id, MultipartUpload={"Parts": self._parts}, IfNoneMatch="*"
    )
    return str(done["ETag"])


Upload.flush, Upload.complete = _flush_without_an_algorithm, _complete_without_an_algorithm
"""


@pytest.fixture
def cloud(local: Local, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """The local stack, as the command finds it."""
    monkeypatch.setattr(Cloud, "of", lambda _: local.cloud)
    return local.cloud


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Try some steps alone."""
    monkeypatch.setattr(steps, "STEPS", tuple(step for step in steps.STEPS if step.name in names))


def made(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["smoke", "--env", "local", "--json", *arguments])
    assert done.stdout, done.stderr
    return done.exit_code, json.loads(done.stdout)


def test_every_step_passes_and_only_the_backup_is_kept(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    # Other tests may have raised alarms, which are not this test's.
    monkeypatch.setattr(steps, "STEPS", tuple(step for step in steps.STEPS if step.name != "alarms"))
    code, run = made()
    assert (code, [step for step in run["steps"] if step["state"] != "passed"]) == (0, [])
    assert run["isGood"] is True
    assert [step["name"] for step in run["steps"]] == [step.name for step in steps.STEPS]
    assert f"SMOKE-{run['id']}" not in table(cloud)
    marked = [key for key in keys(cloud) if run["id"] in key]
    assert len(marked) == 1
    assert marked[0].endswith(f"-smoke-{run['id']}.json")
    assert run["left"] == [f"the backup s3://{cloud.settings.backups.bucket_name}/{marked[0]}, which is kept"]
    [row] = [row for row in overview.overview(cloud) if row["key"] == marked[0]]
    assert (row["status"], row["source"]) == ("completed", "manual")


@contextmanager
def log_policy(cloud: Cloud, name: str, document: dict[str, Any]) -> Iterator[None]:
    logs = cloud.client("logs")
    [kept] = [found for found in logs.describe_resource_policies()["resourcePolicies"] if found["policyName"] == name]
    logs.put_resource_policy(policyName=name, policyDocument=json.dumps(document))
    try:
        yield
    finally:
        logs.put_resource_policy(policyName=name, policyDocument=kept["policyDocument"])


def test_the_old_log_policy_is_named(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """With aws:SourceArn on both actions EventBridge never makes a stream, so no event reaches the log."""
    only(monkeypatch, "record", "mail", "event")
    bus, account = cloud.settings.events.bus_name, cloud.client("sts").get_caller_identity()["Account"]
    arn = f"arn:aws:events:{cloud.settings.region}:{account}:rule/{bus}/{bus}-log"
    old = {
        "Effect": "Allow",
        "Principal": {"Service": ["events.amazonaws.com", "delivery.logs.amazonaws.com"]},
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": [f"arn:aws:logs:{cloud.settings.region}:{account}:log-group:/aws/events/{bus}:*"],
        "Condition": {"ArnEquals": {"aws:SourceArn": arn}},
    }
    with log_policy(cloud, f"{bus}-log", {"Version": "2012-10-17", "Statement": [old]}):
        code, run = made("--patience", "5")
    assert code == Exit.FINDINGS
    [wrong] = [step for step in run["steps"] if step["state"] != "passed"]
    assert (wrong["name"], wrong["state"]) == ("event", "failed")
    assert "logs:CreateLogStream" in wrong["lookAt"]
    assert f"SMOKE-{run['id']}" not in table(cloud)


@contextmanager
def code_of(cloud: Cloud, function: str, code: bytes, kept: bytes) -> Iterator[None]:
    client = cloud.client("lambda")
    client.update_function_code(FunctionName=function, ZipFile=code)
    try:
        yield
    finally:
        client.update_function_code(FunctionName=function, ZipFile=kept)
        deadline = time.monotonic() + 30
        while client.get_function_configuration(FunctionName=function).get("LastUpdateStatus") == "InProgress":
            assert time.monotonic() < deadline
            time.sleep(0.1)


def with_the_old_uploader(archive: bytes) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename == "rollbook/engine/s3/upload.py":
                content += _OLD_UPLOADER.encode()
            target.writestr(entry, content)
    return written.getvalue()


def test_the_old_uploader_is_named(cloud: Cloud, stacks: Stacks, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "upload", "backup", "verification")
    name = cloud.settings.backups.function_name
    [function] = [
        found for found in stacks.resources("local", "aws_lambda_function").values() if found["function_name"] == name
    ]
    archive = Path(stacks.path("local"), function["filename"]).read_bytes()
    before = keys(cloud)
    with code_of(cloud, name, with_the_old_uploader(archive), archive):
        code, run = made()
    assert code == Exit.FINDINGS
    [wrong] = [step for step in run["steps"] if step["state"] != "passed"]
    assert (wrong["name"], "InvalidPart" in wrong["found"] or "InvalidRequest" in wrong["found"]) == ("upload", True)
    assert not [key for key in keys(cloud) - before if "smoke-" + run["id"] in key and key.endswith("smoke.json")]


def test_steps_that_need_a_failed_step_are_not_tried(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "record", "mail", "event", "upload")
    monkeypatch.setattr(cloud, "site_url", f"{cloud.site_url}/no-such-page")
    code, run = made()
    assert code == Exit.FINDINGS
    assert {step["name"]: step["state"] for step in run["steps"]} == {
        "record": "failed",
        "mail": "not tried",
        "event": "not tried",
        "upload": "passed",
    }


def test_the_smoke_test_names_what_it_may_not_delete(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "upload")
    bucket, user = cloud.settings.backups.bucket_name, f"chi-{uuid.uuid4().hex[:8]}"
    reader = user_of(cloud, user, ["s3:GetObject"])
    real = cloud.client
    monkeypatch.setattr(cloud, "client", lambda service, **given: reader if service == "s3" else real(service, **given))
    try:
        code, run = made()
    finally:
        remove_user(cloud, user)
    assert code == 0
    [left] = run["left"]
    assert f"students-backup-smoke-{run['id']}.json, which expires in 365 days" in left
    real("s3").delete_object(Bucket=bucket, Key=f"students-backup-smoke-{run['id']}.json")


def test_a_raised_alarm_fails_unless_it_waits_for_a_first_success(cloud: Cloud) -> None:
    cloudwatch = cloud.client("cloudwatch")
    topic = cloud.client("sns").create_topic(Name=cloud.settings.alerts.topic_name)["TopicArn"]
    names = ("smoke-test-broken", "smoke-test-waits")
    common = {
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "Statistic": "Sum",
        "AlarmActions": [topic],
        "ActionsEnabled": False,
    }

    def states(*asked: str) -> list[str]:
        return [alarm["StateValue"] for alarm in cloudwatch.describe_alarms(AlarmNames=list(asked))["MetricAlarms"]]

    # In the last whole period and in the current one.
    faults = [{"MetricName": "Faults", "Value": 5, "Timestamp": time.time() - before} for before in (300, 0)]
    cloudwatch.put_metric_data(Namespace="SmokeTest", MetricData=faults)
    cloudwatch.put_metric_alarm(
        AlarmName=names[0],
        Namespace="SmokeTest",
        MetricName="Faults",
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="notBreaching",
        **common | {"Period": 300},
    )
    cloudwatch.put_metric_alarm(
        AlarmName=names[1],
        Namespace="SmokeTest",
        MetricName="Successes",
        Dimensions=[{"Name": "Table", "Value": "t"}],
        ComparisonOperator="LessThanThreshold",
        TreatMissingData="breaching",
        **common,
    )
    try:
        wait_for(lambda: all(state == "ALARM" for state in states(*names)), 90)
        with pytest.raises(StepFailed) as raised:
            Smoke(cloud).alarms()
        assert names[0] in str(raised.value)
        assert names[1] not in str(raised.value)
    finally:
        cloudwatch.delete_alarms(AlarmNames=list(names))
