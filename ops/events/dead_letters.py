"""`rollbook events dead` and `redrive`: events that failed three times, and another attempt."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError

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


@dataclass(frozen=True)
class DeadLetter:
    """A message that a function failed to process.

    Arguments:
        function: its name.
        reason: the error message from Lambda.
        body: the event of the invocation.
    """

    id: str
    function: str
    queue_url: str
    receipt: str
    reason: str
    body: str


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
    """List the messages in the dead-letter queues.

    Each is shown with its error and stays in its queue.
    """
    found = read(Cloud.of(env))
    if as_json:
        console.say_json([{"id": m.id, "function": m.function, "reason": m.reason, "body": m.body} for m in found])
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

    It leaves the queue after Lambda accepted it.
    """
    if body and id_ == "all":
        raise OperatorError("--body replaces one event; give the id of that event")
    replacement = _json(body) if body else None
    cloud = Cloud.of(env)
    chosen = [message for message in read(cloud) if id_ in {"all", message.id}]
    if not chosen and id_ != "all":
        raise OperatorError(f"there is no dead letter {id_}; list them with: rollbook events dead --env {env}")
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
    """Return the messages in the dead-letter queues of the functions; they stay in the queues.

    Raises:
        OperatorError: a queue cannot be read.
    """
    settings = cloud.settings
    backups, snapshots, testing = settings.backups, settings.snapshots, settings.vault.restore_testing
    functions = {backups.dead_letter_queue_name: backups.function_name}
    if backups.engine != "scan":
        functions[f"{backups.dead_letter_queue_name}-exports"] = backups.finish_function_name
    for part in (settings.drills, settings.signups, settings.audit, settings.weekly_report):
        if part.enabled:
            functions[part.dead_letter_queue_name] = part.function_name
    if snapshots.destination_region:
        functions[snapshots.dead_letter_queue_name] = snapshots.function_name
    if settings.vault.enabled and testing.enabled:
        functions[testing.dead_letter_queue_name] = testing.function_name
    try:
        return [letter for queue, function in functions.items() for letter in _of(cloud.client("sqs"), queue, function)]
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(f"a dead-letter queue cannot be read: {explain(error)}") from None


def _of(sqs: Any, queue: str, function: str) -> list[DeadLetter]:
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
            reason = attributes.get("ErrorMessage", {}).get("StringValue", "")
            receipt, id_ = message["ReceiptHandle"], message["MessageId"]
            found[id_] = DeadLetter(id_, function, url, receipt, reason, message["Body"])
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
