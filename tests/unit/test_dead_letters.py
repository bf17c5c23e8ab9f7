"""`rollbook events dead` reads every queue whose alarm sends the operator to it."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from infra.settings import ENVIRONMENTS, load
from ops.__main__ import app
from ops.cloud import Cloud
from ops.events import dead_letters
from ops.exits import Exit
from tests.synth.values import names

ENVIRONMENTS_HERE = ("local", "production", "workshop")


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    settings = load(ENVIRONMENTS / "production.toml")
    with mock_aws():
        clients = {name: boto3.client(name, region_name=settings.region) for name in ("sqs", "lambda")}
        for name in names.queues(settings):
            clients["sqs"].create_queue(QueueName=name)
        made = SimpleNamespace(settings=settings, client=lambda name, **_: clients[name])
        monkeypatch.setattr(Cloud, "of", lambda _env: made)
        yield made


def put(cloud: SimpleNamespace, queue: str, body: str, **attributes: str) -> str:
    sqs: Any = cloud.client("sqs")
    sent = sqs.send_message(
        QueueUrl=sqs.get_queue_url(QueueName=queue)["QueueUrl"],
        MessageBody=body,
        MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
    )
    return str(sent["MessageId"])


@pytest.mark.parametrize("name", ENVIRONMENTS_HERE)
def test_every_queue_of_an_environment_is_read(name: str) -> None:
    settings = load(ENVIRONMENTS / f"{name}.toml")
    failed, undelivered = dead_letters.queues(settings)
    assert failed == {each.queue: each.name for each in names.functions(settings).values() if each.queue}
    of_rules = {queue: function for function, queue in names.undelivered(settings).values()}
    of_schedules = {queue: function for function, _, queue in names.scheduled(settings).values()}
    assert undelivered == of_rules | of_schedules


def test_an_export_of_a_further_table_alone_has_its_queues() -> None:
    settings = load(ENVIRONMENTS / "local.toml")
    backups = settings.backups
    [other] = backups.tables
    others = [other.model_copy(update={"engine": "export"})]
    backups = backups.model_copy(update={"engine": "scan", "tables": others})
    failed, undelivered = dead_letters.queues(settings.model_copy(update={"backups": backups}))
    assert failed[f"{backups.dead_letter_queue_name}-exports"] == backups.finish_function_name
    assert undelivered[f"{backups.dead_letter_queue_name}-watch"] == backups.finish_function_name


@pytest.mark.parametrize(
    ("queue", "attribute"),
    [("student-check-dead-letters", "ErrorMessage"), ("student-backup-schedule-dead-letters", "ERROR_MESSAGE")],
)
def test_a_message_is_listed_with_its_reason(cloud: SimpleNamespace, queue: str, attribute: str) -> None:
    put(cloud, queue, "{}", **{attribute: "the role is gone"})
    found = CliRunner().invoke(app, ["events", "dead", "--env", "production"])
    assert found.exit_code == Exit.FINDINGS
    assert "the role is gone" in found.output


def test_an_event_that_was_not_delivered_is_not_sent_as_it_is(cloud: SimpleNamespace) -> None:
    message = put(cloud, "student-check-undelivered", '{"detail": {"key": "a"}}', ERROR_MESSAGE="no permission")
    refused = CliRunner().invoke(app, ["events", "redrive", message, "--env", "production"])
    assert refused.exit_code == Exit.FAILED
    assert "--body" in refused.output
    done = CliRunner().invoke(app, ["events", "redrive", "all", "--env", "production"])
    assert done.exit_code == Exit.GOOD
    assert CliRunner().invoke(app, ["events", "dead", "--env", "production"]).exit_code == Exit.FINDINGS
