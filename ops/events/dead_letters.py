"""`rollbook events dead` and `redrive`: events that failed three times or were not delivered, and another attempt."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError

from infra.settings import Settings
from ops import console, tables
from ops.cloud import Cloud
from ops.commands import command
from ops.exits import Exit
from ops.failures import OperatorError, explain
from ops.options import EnvOrLocal, Json

# SQS returns up to 10 messages a call, and may return none while there are some (SQS API Reference, ReceiveMessage).
_MESSAGES, _EMPTY_ANSWERS = 10, 3
# A message that was read stays hidden so long, so that the next call returns other messages.
_HIDDEN_SECONDS = 20
# The attribute with the reason: of a failed asynchronous invocation (Lambda Developer Guide, "Adding a dead-letter
# queue"), and of an event that EventBridge did not deliver (EventBridge User Guide, "Using dead-letter queues to
# process undelivered events").
_REASON = {True: "ErrorMessage", False: "ERROR_MESSAGE"}


@dataclass(frozen=True)
class DeadLetter:
    """A message of a dead-letter queue.

    Arguments:
        function: the name of the function that failed, or that could not be started.
        reason: the error message of Lambda or EventBridge.
        body: the event of the invocation; EventBridge's message if the function was not started.
        was_started: whether the function was started.
    """

    id: str
    function: str
    queue_url: str
    receipt: str
    reason: str
    body: str
    was_started: bool = True


def register(app: typer.Typer) -> None:
    """Add the commands to a group."""
    command(
        app,
        "dead",
        example="rollbook events dead --env production",
        codes={Exit.GOOD: "the queues are empty", Exit.FINDINGS: "there are messages in the queues"},
    )(dead)
    command(app, "redrive", example="rollbook events redrive ID --env production")(redrive)


def dead(env: EnvOrLocal = "local", as_json: Json = False) -> None:
    """List the messages in the dead-letter queues: events that failed three times, and those that were not delivered.

    Each is shown with its error and stays in its queue.
    """
    found = read(Cloud.of(env))
    if as_json:
        console.say_json(
            [
                {"id": m.id, "function": m.function, "reason": m.reason, "body": m.body, "wasStarted": m.was_started}
                for m in found
            ]
        )
    elif found:
        rows = [tables.Row((m.id, m.function, m.reason or "-", m.body)) for m in found]
        tables.show(("Id", "Function", "Reason", "Event"), rows)
    else:
        console.done("the dead-letter queues are empty")
    if found:
        raise typer.Exit(Exit.FINDINGS)


def redrive(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Id from `events dead`, or `all`.")],
    body: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON file to send instead of the event; - for stdin.")
    ] = None,
    env: EnvOrLocal = "local",
    as_json: Json = False,
) -> None:
    """Send a dead letter to its function again.

    It leaves the queue after Lambda accepted it. An event that was not delivered needs --body.
    """
    if body and id_ == "all":
        raise OperatorError("--body replaces one event; give the id of that event")
    replacement = _json(body) if body else None
    cloud = Cloud.of(env)
    chosen = [m for m in read(cloud) if m.id == id_ or (id_ == "all" and m.was_started)]
    if not chosen and id_ != "all":
        raise OperatorError(f"there is no dead letter {id_}; list them with: rollbook events dead --env {env}")
    if replacement is None and any(not message.was_started for message in chosen):
        raise OperatorError(
            f"{id_} was not delivered to {chosen[0].function}, so its text may not be the function's event; give the "
            'event with --body: docs/runbook.md, "A dead-letter queue has messages"'
        )
    for message in chosen:
        try:
            cloud.client("lambda").invoke(
                FunctionName=message.function, InvocationType="Event", Payload=replacement or message.body
            )
            cloud.client("sqs").delete_message(QueueUrl=message.queue_url, ReceiptHandle=message.receipt)
        except (BotoCoreError, ClientError) as error:
            raise OperatorError(f"{message.id} was not sent to {message.function}: {explain(error)}") from None
        if not as_json:
            console.done(f"redrove {message.id} to {message.function}")
    if as_json:
        console.say_json([{"id": message.id, "function": message.function} for message in chosen])
    elif not chosen:
        console.done("the dead-letter queues are empty")


def read(cloud: Cloud) -> list[DeadLetter]:
    """Return the messages in the dead-letter queues; they stay in the queues.

    Raises:
        OperatorError: a queue cannot be read.
    """
    failed, undelivered = queues(cloud.settings)
    sqs = cloud.client("sqs")
    try:
        return [
            letter
            for functions, was_started in ((failed, True), (undelivered, False))
            for queue, function in functions.items()
            for letter in _of(sqs, queue, function, was_started=was_started)
        ]
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(f"a dead-letter queue cannot be read: {explain(error)}") from None


def queues(settings: Settings) -> tuple[dict[str, str], dict[str, str]]:
    """Return the queues of an environment with their functions: of failed events, and of events not delivered."""
    backups, checks, drills = settings.backups, settings.checks, settings.drills
    signups, audit, weekly = settings.signups, settings.audit, settings.weekly_report
    snapshots, testing = settings.snapshots, settings.vault.restore_testing
    failed = {backups.dead_letter_queue_name: backups.function_name}
    undelivered = {backups.schedule_dead_letter_queue_name: backups.function_name}
    engines = {plan.options.engine for plan in settings.backed_up_tables}
    if engines != {"export"}:
        undelivered[backups.continue_undelivered_queue_name] = backups.function_name
    if engines != {"scan"}:
        failed[f"{backups.dead_letter_queue_name}-exports"] = backups.finish_function_name
        undelivered[f"{backups.dead_letter_queue_name}-watch"] = backups.finish_function_name
    if settings.retained_tables:
        failed[backups.retention_dead_letter_queue_name] = backups.retention_function_name
        undelivered[backups.retention_undelivered_queue_name] = backups.retention_function_name
    failed |= {
        part.dead_letter_queue_name: part.function_name
        for part in (checks, drills, signups, audit, weekly)
        if part.enabled
    }
    undelivered |= {
        part.schedule_dead_letter_queue_name: part.function_name for part in (checks, drills, weekly) if part.enabled
    }
    undelivered |= {
        part.undelivered_queue_name: part.function_name for part in (checks, signups, audit) if part.enabled
    }
    if snapshots.destination_region:
        failed[snapshots.dead_letter_queue_name] = snapshots.function_name
        undelivered[snapshots.undelivered_queue_name] = snapshots.function_name
    if settings.vault.enabled and testing.enabled:
        failed[testing.dead_letter_queue_name] = testing.function_name
        undelivered[testing.undelivered_queue_name] = testing.function_name
    return failed, undelivered


def _of(sqs: Any, queue: str, function: str, *, was_started: bool) -> list[DeadLetter]:
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    found: dict[str, DeadLetter] = {}
    empty = 0
    while empty < _EMPTY_ANSWERS:
        messages = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=_MESSAGES,
            MessageAttributeNames=["All"],
            VisibilityTimeout=_HIDDEN_SECONDS,
        ).get("Messages", [])
        empty = 0 if messages else empty + 1
        for message in messages:
            attributes = message.get("MessageAttributes", {})
            reason = attributes.get(_REASON[was_started], {}).get("StringValue", "")
            receipt, id_ = message["ReceiptHandle"], message["MessageId"]
            found[id_] = DeadLetter(id_, function, url, receipt, reason, message["Body"], was_started)
    # The messages were only read, so they become visible at once.
    for letter in found.values():
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=letter.receipt, VisibilityTimeout=0)
    return list(found.values())


def _json(path: Path) -> str:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text()
        json.loads(text)
    except (OSError, ValueError) as error:
        raise OperatorError(f"{path} cannot be read: {error}") from None
    return text
