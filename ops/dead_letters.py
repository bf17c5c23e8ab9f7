"""`python -m ops events dead` and `redrive`: what failed three times, why, and another try."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.table import Table

from ops.cloud import Cloud
from ops.console import OperatorError, command, out

Environment = Annotated[str, typer.Option("--env", metavar="ENV", help="Environment.")]
# SQS hands out 10 messages at a time, and after a few empty answers there are none (SQS API reference, ReceiveMessage).
_MESSAGES, _EMPTY_ANSWERS = 10, 3
# So long a message that was looked at is kept from others, which then find the next ones.
_HIDDEN_SECONDS = 20


@dataclass(frozen=True)
class DeadLetter:
    """A message that a function could not deal with.

    Arguments:
        function: by name.
        reason: the error, as Lambda has it.
        body: the event that the function was given.
    """

    id: str
    function: str
    queue_url: str
    receipt: str
    reason: str
    body: str


@command
def dead(
    env: Environment = "local", as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List what is in the functions' dead-letter queues, with its reason; it stays there."""
    found = read(Cloud.of(env))
    if as_json:
        print(json.dumps([{"id": m.id, "function": m.function, "reason": m.reason, "body": m.body} for m in found]))
        return
    table = Table("Id", "Function", "Reason", "Event", box=None)
    for message in found:
        table.add_row(message.id, message.function, message.reason, message.body)
    out.print(table if found else "There is nothing in the dead-letter queues.")


@command
def redrive(
    id_: Annotated[str, typer.Argument(metavar="ID", help="From `events dead`; `all` for each that there is.")],
    body: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON to hand to the function instead; - for the input.")
    ] = None,
    env: Environment = "local",
) -> None:
    """Hand a dead letter to its function again, as it is or mended; it leaves the queue when Lambda has taken it."""
    if body and id_ == "all":
        raise OperatorError("--body is that of one event; name its id")
    mended = _json(body) if body else None
    cloud = Cloud.of(env)
    chosen = [message for message in read(cloud) if id_ in {"all", message.id}]
    if not chosen and id_ != "all":
        raise OperatorError(f"there is no dead letter {id_}; `python -m ops events dead --env {env}` lists them")
    if not chosen:
        out.print("There is nothing in the dead-letter queues.")
    for message in chosen:
        try:
            cloud.client("lambda").invoke(
                FunctionName=message.function, InvocationType="Event", Payload=mended or message.body
            )
            cloud.client("sqs").delete_message(QueueUrl=message.queue_url, ReceiptHandle=message.receipt)
        except (BotoCoreError, ClientError) as error:
            raise OperatorError(f"{message.id} could not be handed to {message.function}: {error}") from None
        out.print(f"[green]✓[/] {message.id} is with {message.function} again", highlight=False, soft_wrap=True)


def read(cloud: Cloud) -> list[DeadLetter]:
    """Return all that is in the dead-letter queues of the functions; it stays there.

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
        raise OperatorError(f"a dead-letter queue cannot be read: {error}") from None


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
    # Seen is not taken: whoever looks next finds them at once.
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
