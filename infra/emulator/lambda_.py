"""Lambda: checks that Lambda may assume the execution role, and sends failed asynchronous events to their targets."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from ministack.core.responses import error_response_json
from ministack.services import iam, lambda_svc

from infra.emulator import queues
from infra.emulator.iam_propagation import propagated
from infra.emulator.replacing import Original
from infra.emulator.service_access import trusts

_create_function = Original(lambda_svc, "_create_function")
_update_config = Original(lambda_svc, "_update_config")
_route_async_failure = Original(lambda_svc, "_route_async_failure")


def install() -> None:
    """Complete MiniStack's Lambda."""
    _route_async_failure.replace(route_async_failure)
    _create_function.replace(create_function)
    _update_config.replace(update_config)


def create_function(data: dict[str, Any]) -> Any:
    """Create a function, if Lambda may assume its role."""
    return _role_refused(data) or _create_function(data)


def update_config(name: str, data: dict[str, Any]) -> Any:
    """Change a function's configuration, if Lambda may assume its role."""
    return _role_refused(data) or _update_config(name, data)


def _role_refused(data: dict[str, Any]) -> Any:
    """Return the error for a role that does not exist, does not trust Lambda, or has not taken effect yet.

    Source of the error's text: Miserlou/Zappa issue 249, serverless/serverless issue 4384.
    """
    role_arn = data.get("Role")
    if not role_arn:
        return None
    account = role_arn.split(":")[4]
    with propagated():
        role = iam._roles.get_scoped(account, None, role_arn.rpartition("/")[2])
    if role and trusts(role["AssumeRolePolicyDocument"], "lambda.amazonaws.com", role_arn, account):
        return None
    text = "The role defined for the function cannot be assumed by Lambda."
    return error_response_json("InvalidParameterValueException", text, 400)


def route_async_failure(target_arn: str, name: str, event: dict[str, Any], result: dict[str, Any]) -> None:
    """Send a failed event to the function's destination and to its dead-letter queue.

    The queue receives the event, with the error in attributes (Lambda Developer Guide, "Dead-letter queues"). MiniStack
    serves only one of the two, and sends the destination's message to the queue.
    """
    _, config, _ = lambda_svc._get_func_record_for_ref(name)
    queue_arn = ((config or {}).get("DeadLetterConfig") or {}).get("TargetArn", "")
    if target_arn != queue_arn:
        _route_async_failure(target_arn, name, event, result)
    queue = queues.find(queue_arn)
    if queue is None:
        return
    error = result.get("body")
    reason = error.get("errorMessage", "") if isinstance(error, dict) else str(error)
    attributes = {"RequestID": str(uuid4()), "ErrorCode": "200", "ErrorMessage": reason[:1024] or "Unhandled"}
    queues.put(queue, json.dumps(event), attributes)
