"""EventBridge: bus policies, log groups as targets, Lambda's retries, and events of AWS services."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from ministack.core import responses
from ministack.core.responses import json_response
from ministack.services import cloudwatch_logs, eventbridge, lambda_svc, sns

from infra.emulator import paths, queues
from infra.emulator.replacing import Original
from infra.emulator.service_access import may

_EVENTBRIDGE = "events.amazonaws.com"
_logger = logging.getLogger("ministack")
_invoke_target = Original(eventbridge, "_invoke_target")
_dispatch_to_lambda = Original(eventbridge, "_dispatch_to_lambda")
_put_permission = Original(eventbridge, "_put_permission")


def install() -> None:
    """Complete MiniStack's EventBridge."""
    _invoke_target.replace(invoke_target)
    _dispatch_to_lambda.replace(dispatch_to_lambda)
    _put_permission.replace(put_permission)
    # PutEvents refuses sources of AWS services, as on AWS, so tests need another way.
    paths.add("service-events", put_service_events)


def put_service_events(request: dict[str, Any]) -> Any:
    """Put events of AWS services on the default bus: `{"Region": …, "Entries": [entries of PutEvents]}`."""
    responses.set_request_region(request.pop("Region"))
    return json.loads(eventbridge._put_events(request, allow_aws_source=True)[2])


def put_permission(data: dict[str, Any]) -> Any:
    """Set a bus's policy. MiniStack accepts only single statements."""
    if "Policy" not in data:
        return _put_permission(data)
    eventbridge._event_bus_policies[data.get("EventBusName", "default")] = json.loads(data["Policy"])
    return json_response({})


def invoke_target(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
    """Deliver an event to a rule's target, if the target's policy allows it.

    If access is denied, the event goes to the target's dead-letter queue without retries (EventBridge User Guide,
    "Using dead-letter queues to process undelivered events"). MiniStack does not check policies, has no dead-letter
    queues for targets, and does not write to log groups.
    """
    arn, rule_arn = target["Arn"], rule["Arn"]
    service = arn.split(":")[2]
    view = view or eventbridge._pattern_event_view(event)
    refused = ""
    if service == "logs":
        refused = _write_log(arn, view, rule_arn)
    elif service in _ACTIONS and not target.get("RoleArn"):
        action, policy_of = _ACTIONS[service]
        refused = "" if may(policy_of(arn), _EVENTBRIDGE, action, arn, rule_arn) else action
    if refused:
        _send_dead_letter(target, view, rule_arn, f"not authorized to perform {refused} on {arn}")
    elif service != "logs":
        _invoke_target(target, event, rule, view)


def _write_log(log_arn: str, view: Any, rule_arn: str) -> str:
    """Write an event to a log group. Return the action that the account's log policies deny, or an empty text."""
    group = log_arn.partition(":log-group:")[2].removesuffix(":*")
    stream = str(uuid4())
    resource = f"{log_arn.removesuffix(':*')}:log-stream:{stream}"
    answer = json.loads(cloudwatch_logs._describe_resource_policies({})[2])
    policies = [found["policyDocument"] for found in answer["resourcePolicies"]]
    for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        if not any(may(found, _EVENTBRIDGE, action, resource, rule_arn) for found in policies):
            return action
    of_stream = {"logGroupName": group, "logStreamName": stream}
    cloudwatch_logs._create_log_stream(of_stream)
    message = json.dumps(view.event_with_detail())
    cloudwatch_logs._put_log_events(of_stream | {"logEvents": [{"message": message}]})
    return ""


def _send_dead_letter(target: dict[str, Any], view: Any, rule_arn: str, reason: str) -> None:
    queue_arn = (target.get("DeadLetterConfig") or {}).get("Arn", "")
    queue = queues.find(queue_arn)
    _logger.warning("EventBridge: rule %s: %s", rule_arn, reason)
    if queue is None or not may(_queue_policy(queue_arn), _EVENTBRIDGE, "sqs:SendMessage", queue_arn, rule_arn):
        _logger.error("EventBridge: the event %s is dropped", view.event_with_detail()["id"])
        return
    attributes = {
        "RULE_ARN": rule_arn,
        "TARGET_ARN": target["Arn"],
        "ERROR_CODE": "NO_PERMISSIONS",
        "ERROR_MESSAGE": reason,
        "RETRY_ATTEMPTS": "0",
    }
    queues.put(queue, json.dumps(view.event_with_detail()), attributes)


def _function_policy(arn: str) -> Any:
    found = lambda_svc.function_policy_for_arn(arn)
    return found[0] if found else None


def _queue_policy(arn: str) -> Any:
    queue = queues.find(arn)
    return queue["attributes"].get("Policy") if queue else None


def _topic_policy(arn: str) -> Any:
    topic = sns._topic_by_arn_any_scope(arn)
    return topic["attributes"].get("Policy") if topic else None


# The action on a target without a role, and a function that returns the policy that must allow it.
_ACTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "lambda": ("lambda:InvokeFunction", _function_policy),
    "sns": ("sns:Publish", _topic_policy),
    "sqs": ("sqs:SendMessage", _queue_policy),
}


def dispatch_to_lambda(arn: str, payload: str) -> None:
    """Invoke a rule's function asynchronously, with Lambda's retries and dead-letter queue."""
    function, config, name = lambda_svc._get_func_record_for_ref(arn)
    if not function or not config:
        _logger.warning("EventBridge: there is no function %s", name)
        return
    lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(function, config), json.loads(payload))
