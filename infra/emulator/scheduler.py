"""EventBridge Scheduler: the schedule's role, context attributes, retries and the dead-letter queue."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from ministack import app
from ministack.services import eventbridge, iam, scheduler, sts

from infra.emulator.iam_propagation import propagated
from infra.emulator.replacing import Original
from infra.emulator.service_access import trusts

_SWEEP_SECONDS = 1
_logger = logging.getLogger("ministack")
_create_schedule = Original(scheduler, "_create_schedule")
_invoke_target = Original(eventbridge, "_invoke_target")
_made_schedules: dict[tuple[Any, ...], Any] = {}


def install() -> None:
    """Complete MiniStack's EventBridge Scheduler."""
    _create_schedule.replace(create_schedule)
    _invoke_target.replace(invoke_target)
    scheduler._SCHEDULE_TICK_INTERVAL = _SWEEP_SECONDS


class Refused(RuntimeError):
    """The schedule's role is missing or cannot be assumed. The message says why."""


def create_schedule(name: str, body: dict[str, Any]) -> Any:
    """Create a schedule. A repeated request with the same client token is not a conflict."""
    request = (body.get("GroupName", "default"), name, body.get("ClientToken"))
    if request[2] and request in _made_schedules:
        return _made_schedules[request]
    answer = _create_schedule(name, body)
    if answer[0] == 200:
        _made_schedules[request] = answer
    return answer


def invoke_target(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
    """Invoke a schedule's function with the schedule's role and with retries."""
    if event.get("Source") != "aws.scheduler" or ":lambda:" not in target["Arn"]:
        _invoke_target(target, event, rule, view)
        return
    threading.Thread(target=_deliver, args=(target, event, rule), daemon=True).start()


def fill_in(text: str, *, schedule_arn: str, scheduled_time: datetime, execution_id: str, attempt: int) -> str:
    """Return a target's input with the values of the context attributes.

    Source: EventBridge Scheduler User Guide, "Adding context attributes".
    """
    values = {
        "schedule-arn": schedule_arn,
        "scheduled-time": scheduled_time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "execution-id": execution_id,
        "attempt-number": str(attempt),
    }
    return re.sub(r"<aws\.scheduler\.([a-z-]+)>", lambda match: values.get(match[1], match[0]), text)


def _deliver(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any]) -> None:
    arn = rule["Arn"]
    # A cron expression names minutes, so the scheduled time has no seconds.
    scheduled_time = datetime.fromtimestamp(event["Time"], UTC).replace(second=0, microsecond=0)
    execution_id = str(uuid4())
    attempts = 1 + int((target.get("RetryPolicy") or {}).get("MaximumRetryAttempts", 185))
    payload = ""
    error: Exception | None = None
    for attempt in range(1, attempts + 1):
        payload = fill_in(
            target.get("Input") or "{}",
            schedule_arn=arn,
            scheduled_time=scheduled_time,
            execution_id=execution_id,
            attempt=attempt,
        )
        try:
            session = _assume(target["RoleArn"], rule)
            session("lambda").invoke(FunctionName=target["Arn"], InvocationType="Event", Payload=payload)
        except (BotoCoreError, ClientError, Refused) as refusal:
            error = refusal
            _logger.warning("Schedule %s, attempt %d: %s", arn, attempt, refusal)
            if _is_final(refusal):
                break
            time.sleep(min(2**attempt, 60))
        else:
            return
    _send_dead_letter(target, rule, payload, error)


def _is_final(error: Exception) -> bool:
    if isinstance(error, Refused):
        return True
    return isinstance(error, ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] in {400, 403, 404}


def _send_dead_letter(target: dict[str, Any], rule: dict[str, Any], payload: str, error: Exception | None) -> None:
    queue_arn = (target.get("DeadLetterConfig") or {}).get("Arn")
    if not queue_arn:
        _logger.error("Schedule %s: the run is dropped, because there is no dead-letter queue: %s", rule["Arn"], error)
        return
    try:
        _assume(target["RoleArn"], rule)("sqs").send_message(
            QueueUrl=_queue_url(queue_arn),
            MessageBody=payload,
            MessageAttributes={
                "ERROR_MESSAGE": {"DataType": "String", "StringValue": str(error)[:1024]},
                "SCHEDULE_ARN": {"DataType": "String", "StringValue": rule["Arn"]},
                "TARGET_ARN": {"DataType": "String", "StringValue": target["Arn"]},
            },
        )
    except (BotoCoreError, ClientError, Refused):
        _logger.exception("Schedule %s: the run could not be sent to the dead-letter queue", rule["Arn"])


def _queue_url(arn: str) -> str:
    _, _, _, _, account, name = arn.split(":")
    return f"{_endpoint()}/{account}/{name}"


def _assume(role_arn: str, rule: dict[str, Any]) -> Callable[[str], Any]:
    """Return a function that creates clients with the role's permissions.

    Raises:
        Refused: there is no such role, or it does not trust EventBridge Scheduler for this schedule group.
    """
    _, _, _, region, account, _ = rule["Arn"].split(":", 5)
    name = role_arn.rpartition("/")[2]
    with propagated():
        role = iam._roles.get_scoped(account, None, name)
    if role is None:
        raise Refused(f"there is no role {role_arn}")
    group_arn = rule["Arn"].replace(":schedule/", ":schedule-group/").rpartition("/")[0]
    keys = {"aws:sourceaccount": account, "aws:sourcearn": group_arn}
    if not trusts(role["AssumeRolePolicyDocument"], "scheduler.amazonaws.com", role_arn, account, keys):
        raise Refused(f"{role_arn} does not trust scheduler.amazonaws.com for {group_arn}")
    key = f"ASIA{uuid4().hex[:16].upper()}"
    secret, token = uuid4().hex, uuid4().hex
    sts.register_session(
        key,
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{name}/scheduler",
            "UserId": f"{name}:scheduler",
            "SecretAccessKey": secret,
            "SessionToken": token,
        },
    )
    session = boto3.Session(key, secret, token, region_name=region)

    def client(service: str) -> Any:
        return session.client(service, endpoint_url=_endpoint(), config=Config(retries={"max_attempts": 0}))

    return client


def _endpoint() -> str:
    return f"http://127.0.0.1:{app._resolve_port()}"
