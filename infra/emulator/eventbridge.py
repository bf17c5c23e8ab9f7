"""EventBridge: policies of buses, log groups as targets, Lambda's retries, and events of AWS services."""

from __future__ import annotations

import json
import logging
from typing import Any
from uuid import uuid4

from ministack.core import responses
from ministack.core.responses import json_response
from ministack.services import cloudwatch_logs, eventbridge, lambda_svc

from infra.emulator import paths
from infra.emulator.replacing import Original
from infra.emulator.service_access import may

_logger = logging.getLogger("ministack")
_invoke_target = Original(eventbridge, "_invoke_target")
_dispatch_to_lambda = Original(eventbridge, "_dispatch_to_lambda")
_put_permission = Original(eventbridge, "_put_permission")


def install() -> None:
    """Complete MiniStack's EventBridge."""
    _invoke_target.replace(invoke_target)
    _dispatch_to_lambda.replace(dispatch_to_lambda)
    _put_permission.replace(put_permission)
    # PutEvents refuses the names of AWS's own services, as on AWS.
    paths.add("service-events", put_service_events)


def put_service_events(wanted: dict[str, Any]) -> Any:
    """Put events on the default bus as AWS's services do: `{"Region": …, "Entries": [as PutEvents has them]}`."""
    responses.set_request_region(wanted.pop("Region"))
    return json.loads(eventbridge._put_events(wanted, allow_aws_source=True)[2])


def put_permission(data: dict[str, Any]) -> Any:
    """Set a bus's policy; MiniStack takes single statements alone."""
    if "Policy" not in data:
        return _put_permission(data)
    eventbridge._event_bus_policies[data.get("EventBusName", "default")] = json.loads(data["Policy"])
    return json_response({})


def invoke_target(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
    """Deliver an event: MiniStack does not write events into log groups."""
    if ":logs:" in target["Arn"]:
        _write_log(target["Arn"], event, rule, view)
    else:
        _invoke_target(target, event, rule, view)


def _write_log(log_arn: str, event: dict[str, Any], rule: dict[str, Any], view: Any) -> None:
    """Write an event into a log group, if a log policy of the account lets EventBridge."""
    group = log_arn.partition(":log-group:")[2].removesuffix(":*")
    stream = str(uuid4())
    resource = f"{log_arn.removesuffix(':*')}:log-stream:{stream}"
    answer = json.loads(cloudwatch_logs._describe_resource_policies({})[2])
    policies = [found["policyDocument"] for found in answer["resourcePolicies"]]
    for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        if not any(may(found, "events.amazonaws.com", action, resource, rule["Arn"]) for found in policies):
            _logger.warning("EventBridge may not %s on %s", action, group)
            return
    message = json.dumps((view or eventbridge._pattern_event_view(event)).event_with_detail())
    of_stream = {"logGroupName": group, "logStreamName": stream}
    cloudwatch_logs._create_log_stream(of_stream)
    cloudwatch_logs._put_log_events(of_stream | {"logEvents": [{"message": message}]})


def dispatch_to_lambda(arn: str, payload: str) -> None:
    """Invoke a rule's function as EventBridge does: asynchronously, with Lambda's retries and dead-letter queue."""
    function, config, name = lambda_svc._get_func_record_for_ref(arn)
    if not function or not config:
        _logger.warning("EventBridge: there is no function %s", name)
        return
    lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(function, config), json.loads(payload))
