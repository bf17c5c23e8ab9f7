"""The bus on the embedded AWS: what is on it, checked; a file put on it; a replay."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner, Result

from ops.backups.function import make_drill
from ops.cloud import Cloud, fetch
from ops.events import bus_log, command
from ops.exits import Exit
from ops.local import aws as emulated
from rollbook.contract import events
from rollbook.messages.bus import Bus
from tests.conftest import Local
from tests.local.aws import mails, wait_for

Ops = Callable[..., Result]
RECORD = {"studentid": "EV-1", "name": "An", "class": "10A1", "birthdate": "2009-01-01", "email": "an@a.example"}


@pytest.fixture
def ops(local: Local, monkeypatch: pytest.MonkeyPatch) -> Ops:
    monkeypatch.setattr(Cloud, "of", lambda _: local.cloud)
    return lambda *arguments: CliRunner().invoke(command.app, list(arguments))


def on_the_bus(cloud: Cloud, kind: type[events.Event], **detail: Any) -> list[dict[str, Any]]:
    return [
        event
        for event in bus_log.read(cloud, datetime.now(UTC) - timedelta(hours=1))
        if event["detail-type"] == kind.DETAIL_TYPE and detail.items() <= event["detail"].items()
    ]


def test_every_event_of_the_system_is_in_the_catalogue(local: Local, ops: Ops) -> None:
    cloud = local.cloud
    saved = fetch(
        f"{cloud.site_url}/students",
        method="POST",
        headers={"Content-Type": "application/json"},
        body=json.dumps(RECORD).encode(),
    ).json()
    assert "warning" not in saved
    backup = fetch(f"{cloud.site_url}/backup", method="POST").json()
    drill = make_drill(cloud)
    wait_for(lambda: on_the_bus(cloud, events.StudentSaved, studentid="EV-1"))
    [completed] = wait_for(lambda: on_the_bus(cloud, events.BackupCompleted, key=backup["key"]))
    assert completed["detail"]["items"] == backup["items"]
    wait_for(lambda: on_the_bus(cloud, events.DrillPassed, key=drill["key"]))
    for event in bus_log.read(cloud, datetime.now(UTC) - timedelta(hours=1)):
        if event["source"].startswith("rollbook."):
            events.parse(event["source"], event["detail-type"], event["detail"])


def test_events_of_a_file_are_checked_sent_and_shown(ops: Ops, local: Local, tmp_path: Path) -> None:
    path = tmp_path / "event.json"
    detail = {"correlationId": "file", "table": "t", "studentid": "EV-2", "created": True}
    event = {"source": "rollbook.students", "detail-type": "student saved", "detail": detail}
    path.write_text(json.dumps([event, event | {"detail": detail | {"created": "yes"}}]))
    refused = ops("put", str(path))
    assert refused.exit_code == Exit.REFUSED
    assert "event 2: the detail of 'student saved' is wrong: Expected `bool`, got `str`" in " ".join(
        refused.stderr.split()
    )
    path.write_text(json.dumps(event))
    [id_] = [json.loads(line)["id"] for line in ops("put", str(path), "--json").stdout.splitlines()]

    def shown() -> list[str]:
        lines = ops("tail", "--once", "--json").stdout.splitlines()
        return [line for line in lines if json.loads(line)["id"] == id_]

    assert json.loads(wait_for(shown)[0])["detail"] == detail
    assert "student saved" in ops("tail", "--once").stdout


def test_archived_events_are_replayed(ops: Ops, local: Local, tmp_path: Path) -> None:
    path = tmp_path / "event.json"
    detail = {"correlationId": "replay", "table": "t", "studentid": "EV-3", "created": True}
    path.write_text(json.dumps({"source": "rollbook.students", "detail-type": "student saved", "detail": detail}))
    assert ops("put", str(path)).exit_code == 0
    wait_for(lambda: on_the_bus(local.cloud, events.StudentSaved, studentid="EV-3"))
    before = len(on_the_bus(local.cloud, events.StudentSaved, studentid="EV-3"))
    replayed = ops("replay", "--from", "1h")
    assert replayed.exit_code == 0, replayed.output
    wait_for(lambda: len(on_the_bus(local.cloud, events.StudentSaved, studentid="EV-3")) > before)
    assert ops("replay", "--from", "1h", "--to", "2h").exit_code == 1


def sign_up(cloud: Cloud, detail: Any) -> str:
    """Put an event as the AWS CLI does, and return its id."""
    entry = {
        "EventBusName": cloud.settings.events.bus_name,
        "Source": "myapp.userservice",
        "DetailType": "user_signup",
        "Detail": json.dumps(detail),
    }
    [answer] = cloud.client("events").put_events(Entries=[entry])["Entries"]
    return str(answer["EventId"])


def test_a_malformed_sign_up_becomes_a_dead_letter_and_is_welcomed_once_after_a_corrected_redrive(
    local: Local, ops: Ops, tmp_path: Path
) -> None:
    cloud = local.cloud
    sign_up(cloud, {"name": "Ánh <Nguyễn>", "email": "anh@a.example"})
    [mail] = wait_for(lambda: mails(local, "Welcome, Ánh <Nguyễn>"))
    assert (mail["Source"], mail["To"]) == (cloud.settings.mail.sender, ["anh@a.example"])
    assert "Hello Ánh <Nguyễn>," in mail["BodyText"]

    id_ = sign_up(cloud, {"name": "Bình"})

    def dead() -> list[dict[str, Any]]:
        return [letter for letter in json.loads(ops("dead", "--json").stdout) if id_ in letter["body"]]

    [letter] = wait_for(dead)
    assert letter["function"] == "SendWelcomeEmail"
    assert f"the sign-up {id_} is malformed: Object missing required field `email`" in letter["reason"]
    assert [again["id"] for again in dead()] == [letter["id"]]  # looking takes nothing out
    mended = json.loads(letter["body"])
    mended["detail"]["email"] = "binh@a.example"
    path = tmp_path / "mended.json"
    path.write_text(json.dumps(mended))
    redriven = ops("redrive", letter["id"], "--body", str(path))
    assert redriven.exit_code == 0, redriven.output
    [mail] = wait_for(lambda: mails(local, "Welcome, Bình"))
    assert mail["To"] == ["binh@a.example"]
    assert dead() == []
    cloud.client("lambda").invoke(FunctionName="SendWelcomeEmail", Payload=path.read_text())
    assert len(mails(local, "Welcome, Bình")) == 1
    assert ops("redrive", "not-there").exit_code == 1


@pytest.fixture
def alerts(local: Local) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the alert topic tells, read from a queue that listens to it."""
    sqs, sns = local.cloud.client("sqs"), local.cloud.client("sns")
    queue = sqs.create_queue(QueueName=f"alerts-{uuid.uuid4()}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    [topic] = [found["TopicArn"] for found in sns.list_topics()["Topics"] if "student-backup" in found["TopicArn"]]
    allow = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    sqs.set_queue_attributes(
        QueueUrl=queue, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [allow]})}
    )
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)["SubscriptionArn"]
    heard: list[dict[str, Any]] = []

    def read() -> list[dict[str, Any]]:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            heard.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return heard

    yield read
    sns.unsubscribe(SubscriptionArn=subscription)
    sqs.delete_queue(QueueUrl=queue)


def put_of_aws(cloud: Cloud, source: str, detail_type: str, detail: dict[str, Any]) -> None:
    """Put an event on the default bus as an AWS service does."""
    entry = {"Source": source, "DetailType": detail_type, "Detail": json.dumps(detail)}
    body = json.dumps({"Region": cloud.settings.region, "Entries": [entry]}).encode()
    port = urlsplit(cloud.site_url).port
    answer = fetch(f"http://127.0.0.1:{port}/_rollbook/service-events", method="POST", body=body).json()
    assert answer["FailedEntryCount"] == 0, answer


def logged(cloud: Cloud, group: str, needle: str) -> bool:
    pages = cloud.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
    return any(needle in event["message"] for page in pages for event in page["events"])


def test_an_unexpected_read_of_a_backup_is_reported_and_logged(
    local: Local, alerts: Callable[[], list[dict[str, Any]]]
) -> None:
    cloud, user, own = local.cloud, f"binh-{uuid.uuid4().hex[:8]}", f"binhs-own-{uuid.uuid4()}"
    account, bucket = cloud.client("sts").get_caller_identity()["Account"], cloud.settings.backups.bucket_name
    key = fetch(f"{cloud.site_url}/backup", method="POST").json()["key"]  # the backup role's work
    of_user = user_of(cloud, user, ["s3:GetObject", "s3:GetObjectTagging", "s3:PutObject"])
    cloud.client("s3").create_bucket(
        Bucket=own, CreateBucketConfiguration={"LocationConstraint": cloud.settings.region}
    )
    try:
        of_user.get_object(Bucket=bucket, Key=key)["Body"].read()
        of_user.copy_object(Bucket=own, Key="kept.json", CopySource={"Bucket": bucket, "Key": key})
        with pytest.raises(ClientError, match="AccessDenied"):
            of_user.delete_object(Bucket=bucket, Key=key)

        def of_this_user() -> list[dict[str, Any]]:
            return [alert for alert in alerts() if user in alert["Message"]]

        heard = wait_for(lambda: found if len(found := of_this_user()) >= 3 else [])
        for action in ("GetObject", "CopyObject", "DeleteObject"):
            wait_for(lambda action=action: logged(cloud, "/aws/events/student-backup-audit", f'"{action}"'))
    finally:
        cloud.client("s3").delete_object(Bucket=own, Key="kept.json")
        cloud.client("s3").delete_bucket(Bucket=own)
        remove_user(cloud, user)
    by = f", by the user {user} (arn:aws:iam::{account}:user/{user})"
    wanted = ["A backup was not deleted: refused", "A backup was read", "A backup was read"]
    assert sorted(alert["Subject"] for alert in heard) == [(text + by)[:99] for text in wanted]
    assert all(key in alert["Message"] for alert in heard)
    assert not [alert for alert in alerts() if "role" in alert["Subject"]], "the backup role did its work"


def user_of(cloud: Cloud, name: str, actions: list[str]) -> Any:
    """Make an IAM user, and return its client of S3."""
    iam = cloud.client("iam")
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="s3", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    port = urlsplit(cloud.site_url).port
    assert port is not None
    return emulated.client(
        "s3",
        port,
        cloud.settings.region,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )


def remove_user(cloud: Cloud, name: str) -> None:
    iam = cloud.client("iam")
    for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName=name, PolicyName="s3")
    iam.delete_user(UserName=name)


def test_a_snapshot_that_cannot_be_copied_is_dead_and_the_operator_is_told(
    local: Local, ops: Ops, alerts: Callable[[], list[dict[str, Any]]]
) -> None:
    name = f"theirs-{uuid.uuid4()}"
    arn = f"arn:aws:rds:{local.cloud.settings.region}:444455556666:snapshot:{name}"
    detail = {"EventID": "RDS-EVENT-0042", "SourceArn": arn, "SourceIdentifier": name}
    put_of_aws(local.cloud, "aws.rds", "RDS DB Snapshot Event", detail)
    [told] = wait_for(lambda: [alert for alert in alerts() if name in alert["Message"]])
    assert "shared by the account 444455556666" in told["Message"]
    [letter] = wait_for(lambda: [dead for dead in json.loads(ops("dead", "--json").stdout) if name in dead["body"]])
    assert letter["function"] == "CopyDatabaseSnapshot"
    assert "shared by the account 444455556666" in letter["reason"]
    assert logged(local.cloud, "/aws/events/database-snapshots", name)


class Flaky:
    """EventBridge, which at first does not take the third, the seventh and the last entry of each call."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.calls = 0

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.calls += 1
        failing = {2, 6, len(Entries) - 1} if len(Entries) > 3 else set()
        taken = [entry for number, entry in enumerate(Entries) if number not in failing]
        answers = iter(self._client.put_events(Entries=taken)["Entries"])
        failure = {"ErrorCode": "InternalFailure", "ErrorMessage": "try again"}
        return {"Entries": [failure if number in failing else next(answers) for number in range(len(Entries))]}


def test_twenty_five_events_of_one_call_arrive_as_twenty_five(local: Local) -> None:
    cloud = local.cloud
    client, run = Flaky(cloud.client("events")), str(uuid.uuid4())
    published = [
        events.StudentSaved(correlation_id=run, table="t", studentid=f"EV-{number:02}", created=True)
        for number in range(25)
    ]
    ids = Bus(client, cloud.settings.events.bus_name, sleep=lambda _: None).put(*published)
    assert len(set(ids)) == 25
    assert client.calls > 3  # three batches, and what was not taken again

    def arrived() -> list[str]:
        return sorted(
            event["detail"]["studentid"] for event in on_the_bus(cloud, events.StudentSaved, correlationId=run)
        )

    found = wait_for(lambda: arrived() if len(arrived()) >= 25 else [])
    assert found == [f"EV-{number:02}" for number in range(25)]
