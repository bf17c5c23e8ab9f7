"""CloudTrail: records calls with their caller, and delivers the calls that a trail logs to EventBridge.

Sources: CloudTrail User Guide, "Logging management events", "Logging data events"; EventBridge User Guide, "AWS service
events delivered via AWS CloudTrail".
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ministack import app
from ministack.core import responses
from ministack.services import cloudtrail, eventbridge, s3

from infra.emulator.cloudtrail_records import GLOBAL_SERVICES, record
from infra.emulator.cloudtrail_values import Call
from infra.emulator.replacing import Original

_logger = logging.getLogger("ministack")
_create_trail = cloudtrail._create_trail
_dispatch = Original(app, "_dispatch_service_request")
_serve_bucket = Original(app, "_handle_s3_vhost_request")
_serve_ses = Original(app, "_handle_ses_v2_request")
_dispatch_event = Original(eventbridge, "_dispatch_event")
_fetch_origin = Original(s3, "serve_cloudfront_origin_fetch")
DETAIL_TYPE = "AWS API Call via CloudTrail"
_ALL_MANAGEMENT_EVENTS = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
# Larger events are not delivered (EventBridge User Guide, "AWS service events delivered via AWS CloudTrail").
_MOST_BYTES = 256 * 1024
# Operations that begin with Get but change something (EventBridge User Guide, "Receiving read-only management
# events").
_MUTATING_GETS = {"GetFederationToken", "GetSessionToken"}


def install() -> None:
    """Complete MiniStack's CloudTrail."""
    cloudtrail._DISPATCH["CreateTrail"] = create_trail
    _dispatch.replace(dispatch)
    _serve_bucket.replace(serve_bucket)
    _serve_ses.replace(serve_ses)
    _dispatch_event.replace(dispatch_event)
    _fetch_origin.replace(fetch_origin)


def create_trail(body: dict[str, Any]) -> Any:
    """Create a trail with its tags."""
    answer = _create_trail(body)
    if answer[0] == 200 and body.get("TagsList"):
        arn = json.loads(answer[2])["TrailARN"]
        cloudtrail._trail_tags[arn] = {tag["Key"]: tag.get("Value", "") for tag in body["TagsList"]}
    return answer


async def dispatch(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any], request_id: str
) -> Any:
    """Serve a call of a service, and record it."""
    answer = await _dispatch(method, path, headers, body, query, request_id)
    parameters = app._routing_params(method, path, headers, body, query)
    service = app.detect_service(method, path, headers, parameters)
    _record(Call(service, method, path, query, headers, body, request_id, *_parts(answer)))
    return answer


async def serve_ses(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any], request_id: str
) -> Any:
    """Serve a call of SES's API v2, and record it."""
    answer = await _serve_ses(method, path, headers, body, query, request_id)
    if answer is not None:
        _record(Call("ses", method, path, query, headers, body, request_id, *_parts(answer)))
    return answer


async def serve_bucket(
    host: str, path: str, method: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> Any:
    """Serve a call whose host name contains the bucket, and record it."""
    answer = await _serve_bucket(host, path, method, headers, body, query)
    if answer is not None:
        bucket, request_id = app._extract_s3_vhost_bucket(host), str(answer[1].get("x-amz-request-id", ""))
        _record(Call("s3", method, f"/{bucket}{path}", query, headers, body, request_id, *_parts(answer)))
    return answer


def fetch_origin(bucket: str, key: str, method: str, *details: Any, **named: Any) -> Any:
    """Fetch an object for CloudFront, and record CloudFront as the caller."""
    answer = _fetch_origin(bucket, key, method, *details, **named)
    request_id, path = str(answer[1].get("x-amz-request-id", "")), f"/{bucket}/{key}"
    _record(Call("s3", method, path, {}, {}, b"", request_id, *_parts(answer), invoked_by="cloudfront.amazonaws.com"))
    return answer


def _parts(answer: Any) -> tuple[int, dict[str, Any], bytes]:
    status, headers, body = answer
    if isinstance(body, str):
        body = body.encode()
    return status, headers, body if isinstance(body, bytes) else b""


def _record(call: Call) -> None:
    try:
        found = record(call)
        if found is None:
            return
        if found["managementEvent"]:
            _remember(found)
        if any(_logs(trail, selectors, found) for trail, selectors in _trails(found["awsRegion"])):
            _deliver(found)
    except Exception:  # a fault in the recording must not fail the recorded call
        _logger.exception("CloudTrail: %s %s was not recorded", call.method, call.path)


def _remember(found: dict[str, Any]) -> None:
    """Store a management event for LookupEvents, which works without a trail."""
    who = found["userIdentity"]
    kept = {
        "EventId": found["eventID"],
        "EventName": found["eventName"],
        "EventSource": found["eventSource"],
        "EventTime": time.time(),
        "Username": who.get("userName") or who.get("arn", "").rpartition("/")[2],
        "AccessKeyId": who.get("accessKeyId", ""),
        "ReadOnly": str(found["readOnly"]).lower(),
        "Resources": [
            {"ResourceType": resource["type"], "ResourceName": resource["ARN"].rpartition(":")[2]}
            for resource in found.get("resources", [])
        ],
        "CloudTrailEvent": json.dumps(found),
    }
    with _in_region(found["awsRegion"]):
        cloudtrail._get_event_queue().append(kept)


def _deliver(found: dict[str, Any]) -> None:
    entry = {
        "Source": f"aws.{found['eventSource'].partition('.')[0]}",
        "DetailType": DETAIL_TYPE,
        "Detail": json.dumps(found),
    }
    if len(entry["Detail"]) > _MOST_BYTES:
        return
    with _in_region(found["awsRegion"]):
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


@contextmanager
def _in_region(region: str) -> Iterator[None]:
    """Switch to another Region than the request's."""
    before = responses.get_region()
    responses.set_request_region(region)
    try:
        yield
    finally:
        responses.set_request_region(before)


def _trails(region: str) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Return the trails that log in a Region, with their selectors."""
    account = responses.get_account_id()
    for home, name, trail in cloudtrail._account_trail_items(account):
        if trail.get("IsLogging") and (home == region or trail.get("IsMultiRegionTrail")):
            yield (
                trail,
                cloudtrail._event_selectors.get_scoped(account, home, name, cloudtrail._DEFAULT_EVENT_SELECTORS),
            )


def _logs(trail: dict[str, Any], selectors: list[dict[str, Any]], found: dict[str, Any]) -> bool:
    """Return whether a trail logs a record."""
    service = found["eventSource"].partition(".")[0]
    if service in GLOBAL_SERVICES and not trail.get("IncludeGlobalServiceEvents", True):
        return False
    return any(
        _advanced(selector["FieldSelectors"], found) if "FieldSelectors" in selector else _basic(selector, found)
        for selector in selectors
    )


def _basic(selector: dict[str, Any], found: dict[str, Any]) -> bool:
    selected = selector.get("ReadWriteType", "All")
    if selected != "All" and (selected == "ReadOnly") != found["readOnly"]:
        return False
    if found["managementEvent"]:
        excluded = selector.get("ExcludeManagementEventSources") or []
        return selector.get("IncludeManagementEvents", True) and found["eventSource"] not in excluded
    arns = _values("resources.ARN", found)
    return any(
        arn.startswith(prefix)
        for resource in selector.get("DataResources") or []
        for prefix in resource.get("Values", [])
        for arn in arns
        if resource["Type"] in _values("resources.type", found)
    )


def _advanced(fields: list[dict[str, Any]], found: dict[str, Any]) -> bool:
    """Return whether all fields of an advanced selector match (CloudTrail API, AdvancedFieldSelector)."""
    return all(_field(field, _values(field["Field"], found)) for field in fields)


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "Equals": lambda value, operand: value == operand,
    "StartsWith": lambda value, operand: value.startswith(operand),
    "EndsWith": lambda value, operand: value.endswith(operand),
}


def _field(field: dict[str, Any], values: list[str]) -> bool:
    def holds(operator: str, operands: list[str]) -> bool:
        return any(_OPERATORS[operator](value, operand) for value in values for operand in operands)

    positive = [operator for operator in _OPERATORS if field.get(operator)]
    if positive and not any(holds(operator, field[operator]) for operator in positive):
        return False
    return not any(holds(operator, field.get(f"Not{operator}") or []) for operator in _OPERATORS)


def _values(field: str, found: dict[str, Any]) -> list[str]:
    """Return a record's values of a selector's field. A call on two objects has two ARNs."""
    match field:
        case "readOnly":
            return [str(found["readOnly"]).lower()]
        case "resources.type":
            # The first resource is the subject of the event. The object's bucket may follow as a second one.
            return [resource["type"] for resource in found.get("resources", [])[:1]]
        case "resources.ARN":
            kind = _values("resources.type", found)
            resources = [resource for resource in found.get("resources", []) if resource["type"] in kind]
            return [resource.get("ARN") or resource.get("ARNPrefix", "") for resource in resources]
        case "userIdentity.arn":
            return [found["userIdentity"].get("arn", "")]
        case _:
            return [str(found.get(field, ""))]


def dispatch_event(event: dict[str, Any], view: Any = None) -> None:
    """Match an event with the rules of its bus. Read-only management events match only rules that include them.

    Source: EventBridge User Guide, "Receiving read-only management events from AWS services".
    """
    view = view or eventbridge._pattern_event_view(event)
    states = {_ALL_MANAGEMENT_EVENTS} if _is_read_of_management(event, view) else {"ENABLED", _ALL_MANAGEMENT_EVENTS}
    path = set(event.get("_DispatchPath") or [])
    for key, rule in list(eventbridge._rules.items()):
        if rule.get("EventBusName", "default") != event.get("EventBusName", "default") or key in path:
            continue
        if rule.get("State") not in states or not rule.get("EventPattern"):
            continue
        if eventbridge._matches_pattern_view(rule["EventPattern"], view, f"rule {key}"):
            for target in eventbridge._targets.get(key, []):
                eventbridge._invoke_target(target, event, rule, view)


def _is_read_of_management(event: dict[str, Any], view: Any) -> bool:
    if event.get("DetailType") != DETAIL_TYPE:
        return False
    detail = view.event_with_detail()["detail"]
    name = detail.get("eventName", "")
    return (
        bool(detail.get("managementEvent"))
        and name.startswith(("Describe", "Get", "List"))
        and name not in _MUTATING_GETS
    )
