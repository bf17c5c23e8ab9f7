"""The process of the embedded AWS: MiniStack, and what it leaves out. `python -m infra.emulator.server`.

The package's docstring names the differences. Set `GATEWAY_PORT`, `STATE_DIR` and the other variables of MiniStack's;
`ops/local.py` does.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4
from xml.sax.saxutils import escape

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from hypercorn.config import Config as ServerConfig
from ministack import app
from ministack.core import iam_actions, iam_evaluator, responses
from ministack.core.responses import get_account_id, json_response
from ministack.services import (
    apigateway_v1,
    cloudtrail,
    cloudwatch,
    cloudwatch_logs,
    eventbridge,
    iam,
    lambda_svc,
    s3,
    scheduler,
    sqs,
    sts,
)

from infra.emulator import control
from infra.emulator import dynamodb as complete_dynamodb
from infra.emulator import s3 as complete_s3

_SWEEP_SECONDS = 1
# A connection that is closed just as a request comes loses the answer, and the client asks again: IAM then says that
# the role, made by the first request, exists. The AWS provider keeps one for 90 seconds.
_KEEP_ALIVE_SECONDS = 120
# Where a test puts what AWS's own services put on the default bus; PutEvents refuses their names, as on AWS.
SERVICE_EVENTS = "/_rollbook/service-events"
_logger = logging.getLogger("ministack")
_apply_patch = apigateway_v1._apply_patch
_tag_v1_resource = apigateway_v1._tag_v1_resource
_untag_v1_resource = apigateway_v1._untag_v1_resource
_invoke_target = eventbridge._invoke_target
_put_permission = eventbridge._put_permission
_create_schedule = scheduler._create_schedule
_create_trail = cloudtrail._create_trail
_describe_alarms = cloudwatch._describe_alarms
_emit_lambda_logs = lambda_svc._emit_lambda_logs
_route_async_failure = lambda_svc._route_async_failure
_authenticate = iam_evaluator.authenticate
_dynamodb_resource_arns = iam_actions.dynamodb_resource_arns
_extract_resource_arn = iam_actions.extract_resource_arn
_ses_resource_arn = iam_actions._ses_v2_resource_arn
_fetch_origin = s3.serve_cloudfront_origin_fetch
_resolve_condition_key = iam_evaluator._resolve_condition_key
_serve = app.app

_made_schedules: dict[tuple[Any, ...], Any] = {}
_body: ContextVar[bytes] = ContextVar("body", default=b"")

Scope = MutableMapping[str, Any]


class Refused(RuntimeError):
    """The schedule's role may not do what the target needs; the message says what."""


async def put_service_events(receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """Put events on the default bus as AWS's services do: `POST {"Region": …, "Entries": [as PutEvents has them]}`."""
    body = b""
    while (part := await receive()).get("more_body"):
        body += part["body"]
    wanted = json.loads(body + part["body"])
    responses.set_request_region(wanted.pop("Region"))
    status, headers, answer = eventbridge._put_events(wanted, allow_aws_source=True)
    sent = [(name.encode(), str(value).encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": answer if isinstance(answer, bytes) else answer.encode()})


async def behind_tls(
    scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Serve a request as if a proxy had ended its TLS, unless it says itself how it came."""
    if scope["type"] == "http" and scope["path"] == SERVICE_EVENTS:
        await put_service_events(receive, send)
        return
    if scope["type"] == "http" and not any(name == b"x-forwarded-proto" for name, _ in scope["headers"]):
        scope["headers"] = [*scope["headers"], (b"x-forwarded-proto", b"https")]
    await _serve(scope, receive, send)


def authenticate(access_key_id: str, account_id: str) -> Any:
    """Check a request's signature, and keep its body for the condition keys that are in it."""
    request = iam_evaluator._signed_request.get()
    if request is not None:
        _body.set(request.body)
    return _authenticate(access_key_id, account_id)


def resolve_condition_key(key: str, context: iam_evaluator.EvalContext) -> Any:
    """Return a condition key's value, with `ses:FromAddress`, and with a function's role as `aws:PrincipalArn`.

    Sources: IAM User Guide, "AWS global condition context keys"; Service Authorization Reference, "Amazon SES".
    """
    if key.lower() == "ses:fromaddress":
        return json.loads(_body.get() or b"{}").get("FromEmailAddress")
    value = _resolve_condition_key(key, context)
    if key.lower() == "aws:principalarn" and isinstance(value, str) and ":assumed-role/" in value:
        _, _, _, _, account, resource = value.split(":", 5)
        return f"arn:aws:iam::{account}:role/{resource.split('/')[1]}"
    return value


def dynamodb_resource_arns(body: bytes, region: str, account_id: str) -> list[str]:
    """Return the tables that a request names, by name or, as the tagging calls do, by ARN."""
    arn = json.loads(body or b"{}").get("ResourceArn")
    return [arn] if isinstance(arn, str) else _dynamodb_resource_arns(body, region, account_id)


def extract_resource_arn(
    service: str,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    query_params: dict[str, Any],
    region: str,
    account_id: str,
) -> str:
    """Return what a request is about; MiniStack knows no database snapshots, schedule groups, vaults and plans."""
    parts = path.strip("/").split("/")
    if service == "scheduler" and parts[0] == "schedules" and len(parts) == 2:
        group = iam_actions._query_param(query_params, "groupName") or json.loads(body or b"{}").get("GroupName")
        return f"arn:aws:scheduler:{region}:{account_id}:schedule/{group or 'default'}/{parts[1]}"
    if service == "backup" and parts[0] == "backup-vaults" and len(parts) > 1:
        return f"arn:aws:backup:{region}:{account_id}:backup-vault:{parts[1]}"
    if service == "backup" and parts[:2] == ["backup", "plans"] and len(parts) > 2:
        return f"arn:aws:backup:{region}:{account_id}:backup-plan:{parts[2]}"
    for field, kind in (("DBSnapshotIdentifier", "snapshot"), ("DBClusterSnapshotIdentifier", "cluster-snapshot")):
        name = iam_actions._query_param(query_params, field) or iam_actions._query_param(query_params, f"Target{field}")
        if service == "rds" and name:
            return name if name.startswith("arn:") else f"arn:aws:rds:{region}:{account_id}:{kind}:{name}"
    return str(_extract_resource_arn(service, method, path, headers, body, query_params, region, account_id))


def ses_resource_arn(method: str, path: str, body: bytes, region: str, account_id: str) -> str:
    """Return the identity that a request is about; for a mail it is the sender's."""
    sender = json.loads(body or b"{}").get("FromEmailAddress") if path.endswith("/outbound-emails") else None
    if sender:
        return f"arn:aws:ses:{region}:{account_id}:identity/{sender}"
    return str(_ses_resource_arn(method, path, body, region, account_id))


def put_permission(data: dict[str, Any]) -> Any:
    """Set a bus's policy; MiniStack takes single statements alone."""
    if "Policy" not in data:
        return _put_permission(data)
    eventbridge._event_bus_policies[data.get("EventBusName", "default")] = json.loads(data["Policy"])
    return json_response({})


def fetch_origin(
    bucket: str, key: str, method: str, headers: dict[str, str], source_arn: str = "", oai_id: str = ""
) -> Any:
    """Fetch an object for CloudFront; one that is missing is a 404 to who may list the bucket, as S3 has it.

    Source: S3 API reference, GetObject, "Permissions".
    """
    answer = _fetch_origin(bucket, key, method, headers, source_arn, oai_id)
    policy = s3._bucket_policies.get_scoped(get_account_id(), None, bucket)
    if answer[0] != 403 or not policy:
        return answer
    if not _may(policy, "cloudfront.amazonaws.com", "s3:ListBucket", f"arn:aws:s3:::{bucket}", source_arn):
        return answer
    return s3._error("NoSuchKey", "The specified key does not exist.", 404, f"/{bucket}/{key}")


def _may(policy: Any, service: str, action: str, resource_arn: str, source_arn: str) -> bool:
    """Return whether a resource's policy lets a service do something."""
    context = iam_evaluator.EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action=action,
        resource_arn=resource_arn,
        region="",
        service_context={"aws:sourcearn": source_arn},
    )
    return bool(iam_evaluator.evaluate_resource_policy(policy, context, service=service).decision == "Allow")


def invoke_target(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
    """Deliver an event: those of schedules as EventBridge Scheduler does, all others as MiniStack does."""
    if ":logs:" in target["Arn"]:
        _write_log(target["Arn"], event, rule, view)
        return
    if event.get("Source") != "aws.scheduler" or ":lambda:" not in target["Arn"]:
        _invoke_target(target, event, rule, view)
        return
    threading.Thread(target=_deliver, args=(target, event, rule), daemon=True).start()


def _write_log(log_arn: str, event: dict[str, Any], rule: dict[str, Any], view: Any) -> None:
    """Write an event into a log group, if a log policy of the account lets EventBridge."""
    group = log_arn.partition(":log-group:")[2].removesuffix(":*")
    stream = str(uuid4())
    resource = f"{log_arn.removesuffix(':*')}:log-stream:{stream}"
    answer = json.loads(cloudwatch_logs._describe_resource_policies({})[2])
    policies = [found["policyDocument"] for found in answer["resourcePolicies"]]
    for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        if not any(_may(found, "events.amazonaws.com", action, resource, rule["Arn"]) for found in policies):
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


def route_async_failure(target_arn: str, name: str, event: dict[str, Any], result: dict[str, Any]) -> None:
    """Put what failed where Lambda does: into its destination, and into its dead-letter queue.

    The queue gets the event itself, with the error in attributes (Lambda Developer Guide, "Dead-letter queues").
    MiniStack serves one of the two, and writes into the queue what a destination gets.
    """
    _, config, _ = lambda_svc._get_func_record_for_ref(name)
    queue_arn = ((config or {}).get("DeadLetterConfig") or {}).get("TargetArn", "")
    if target_arn != queue_arn:
        _route_async_failure(target_arn, name, event, result)
    queue = sqs._queue_by_arn(queue_arn) if queue_arn else None
    if queue is None:
        return
    error = result.get("body")
    reason = error.get("errorMessage", "") if isinstance(error, dict) else str(error)
    body, now = json.dumps(event), time.time()
    attributes = {"RequestID": str(uuid4()), "ErrorCode": "200", "ErrorMessage": reason[:1024] or "Unhandled"}
    message = {
        "id": str(uuid4()),
        "body": body,
        "md5_body": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "sent_at": now,
        "visible_at": now,
        "receive_count": 0,
        "message_attributes": {key: {"DataType": "String", "StringValue": value} for key, value in attributes.items()},
        "sys": {"SenderId": get_account_id(), "SentTimestamp": str(int(now * 1000))},
    }
    unset = ("receipt_handle", "first_receive_at", "group_id", "dedup_id", "dedup_cache_key", "seq")
    queue["messages"].append(message | dict.fromkeys(unset) | {"md5_attrs": ""})


def emit_lambda_logs(function: Any, request_id: str, log_text: str, *details: Any, **named: Any) -> None:
    """Write a function's log, and put the metrics that are embedded in it.

    Source: CloudWatch User Guide, "Specification: Embedded metric format".
    """
    _emit_lambda_logs(function, request_id, log_text, *details, **named)
    for line in (log_text or "").splitlines():
        if not line.startswith('{"_aws"'):
            continue
        record = json.loads(line)
        for directive in record["_aws"]["CloudWatchMetrics"]:
            data = [
                {
                    "MetricName": metric["Name"],
                    "Unit": metric["Unit"],
                    "Timestamp": record["_aws"]["Timestamp"] / 1000,
                    "Value": value,
                    "Dimensions": [{"Name": name, "Value": record[name]} for name in names],
                }
                for names in directive["Dimensions"]
                for metric in directive["Metrics"]
                for value in _list(record[metric["Name"]])
            ]
            wanted = {"Namespace": directive["Namespace"], "MetricData": data}
            cloudwatch._put_metric_data({}, wanted, False, is_json=True)


def describe_alarms(params: Any, body: Any, is_cbor: bool, is_json: bool = False) -> Any:
    """Describe alarms; as XML MiniStack leaves most of them out, so every plan would change them."""
    if is_cbor or is_json:
        return _describe_alarms(params, body, is_cbor, is_json)
    names = [value for name, value in sorted(params.items()) if name.startswith("AlarmNames.member.")]
    wanted = {"AlarmNames": [_list(name)[0] for name in names]} if names else {}
    found = json.loads(_describe_alarms({}, wanted, False, True)[2])
    return cloudwatch._xml(200, "DescribeAlarmsResponse", f"<DescribeAlarmsResult>{_xml(found)}</DescribeAlarmsResult>")


def _xml(value: Any) -> str:
    """Return JSON as AWS's query protocol has it."""
    match value:
        case dict():
            told = {
                name: _iso(inner) if name.endswith("Timestamp") else inner
                for name, inner in value.items()
                if inner is not None
            }
            return "".join(f"<{name}>{_xml(inner)}</{name}>" for name, inner in told.items())
        case list():
            return "".join(f"<member>{_xml(inner)}</member>" for inner in value)
        case bool():
            return str(value).lower()
        case _:
            return escape(str(value))


def _iso(seconds: Any) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def create_schedule(name: str, body: dict[str, Any]) -> Any:
    """Make a schedule; the same request once more, as a client sends it whose answer was late, is no conflict."""
    request = (body.get("GroupName", "default"), name, body.get("ClientToken"))
    if request[2] and request in _made_schedules:
        return _made_schedules[request]
    answer = _create_schedule(name, body)
    if answer[0] == 200:
        _made_schedules[request] = answer
    return answer


def create_trail(body: dict[str, Any]) -> Any:
    """Make a trail, with its tags."""
    answer = _create_trail(body)
    if answer[0] == 200 and body.get("TagsList"):
        arn = json.loads(answer[2])["TrailARN"]
        cloudtrail._trail_tags[arn] = {tag["Key"]: tag.get("Value", "") for tag in body["TagsList"]}
    return answer


def apply_patch(part: dict[str, Any], operations: list[dict[str, Any]]) -> Any:
    """Patch a part of an API: a path may be escaped (RFC 6901), and a limit that is sent as a text is a number."""
    for operation in operations:
        path = operation.get("path", "")
        if re.fullmatch(r"/(throttle|quota)/(burstLimit|rateLimit|limit|offset)", path):
            number = float(operation["value"])
            operation["value"] = int(number) if number.is_integer() else number
        if "~" in path:
            *parents, name = (key.replace("~1", "/").replace("~0", "~") for key in path.lstrip("/").split("/"))
            target = part
            for key in parents:
                target = target.setdefault(key, {})
            if operation["op"] == "remove":
                target.pop(name, None)
            else:
                target[name] = operation.get("value")
        else:
            _apply_patch(part, [operation])
    return part


def tag_api(resource_arn: str, body: dict[str, Any]) -> Any:
    """Tag a part of an API, so that asking for the part shows it."""
    answer = _tag_v1_resource(resource_arn, body)
    if answer[0] < 300:
        _api_part(resource_arn).setdefault("tags", {}).update(body.get("tags", {}))
    return answer


def untag_api(resource_arn: str, names: list[str]) -> Any:
    """Take tags off a part of an API."""
    answer = _untag_v1_resource(resource_arn, names)
    if answer[0] < 300:
        for name in names:
            _api_part(resource_arn).get("tags", {}).pop(name, None)
    return answer


def _api_part(resource_arn: str) -> dict[str, Any]:
    _, kind, id_, *stage = resource_arn.split(":", 5)[5].split("/")
    if stage:
        return apigateway_v1._stages_v1[id_][stage[1]]  # type: ignore[no-any-return]
    parts = {
        "restapis": apigateway_v1._rest_apis,
        "apikeys": apigateway_v1._api_keys,
        "usageplans": apigateway_v1._usage_plans,
        "domainnames": apigateway_v1._domain_names,
    }
    return parts[kind][id_]  # type: ignore[no-any-return]


def fill_in(text: str, *, schedule_arn: str, scheduled_time: datetime, execution_id: str, attempt: int) -> str:
    """Return a target's input with the context attributes filled in.

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
    # A cron expression names minutes, so the minute is the time that the run was scheduled for.
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
    _bury(target, rule, payload, error)


def _is_final(error: Exception) -> bool:
    if isinstance(error, Refused):
        return True
    return isinstance(error, ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] in {400, 403, 404}


def _bury(target: dict[str, Any], rule: dict[str, Any], payload: str, error: Exception | None) -> None:
    queue_arn = (target.get("DeadLetterConfig") or {}).get("Arn")
    if not queue_arn:
        _logger.error("Schedule %s: dropped, as it has no dead-letter queue: %s", rule["Arn"], error)
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
        _logger.exception("Schedule %s: its dead-letter queue did not take it", rule["Arn"])


def _queue_url(arn: str) -> str:
    _, _, _, _, account, name = arn.split(":")
    return f"{_endpoint()}/{account}/{name}"


def _assume(role_arn: str, rule: dict[str, Any]) -> Callable[[str], Any]:
    """Return a maker of clients with the role's permissions.

    Raises:
        Refused: there is no such role, or it does not trust EventBridge Scheduler for this schedule group.
    """
    _, _, _, region, account, _ = rule["Arn"].split(":", 5)
    name = role_arn.rpartition("/")[2]
    role = iam._roles.get_scoped(account, None, name)
    if role is None:
        raise Refused(f"there is no role {role_arn}")
    group_arn = rule["Arn"].replace(":schedule/", ":schedule-group/").rpartition("/")[0]
    context = iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:iam::{account}:root",
        principal_type="Root",
        principal_account=account,
        action="sts:AssumeRole",
        resource_arn=role_arn,
        region=region,
        service_context={"aws:sourceaccount": account, "aws:sourcearn": group_arn},
    )
    trust = role["AssumeRolePolicyDocument"]
    services = [
        service
        for statement in (json.loads(trust) if isinstance(trust, str) else trust)["Statement"]
        for service in _list(statement["Principal"].get("Service", []))
    ]
    if "scheduler.amazonaws.com" not in services or not iam_evaluator.evaluate_trust_policy(
        trust, context.principal_arn, context
    ):
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


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _endpoint() -> str:
    return f"http://127.0.0.1:{app._resolve_port()}"


def main() -> None:
    """Run MiniStack with the additions, until it is told to stop."""
    eventbridge._invoke_target = invoke_target
    eventbridge._put_permission = put_permission
    apigateway_v1._apply_patch = apply_patch
    apigateway_v1._tag_v1_resource = tag_api
    apigateway_v1._untag_v1_resource = untag_api
    cloudtrail._DISPATCH["CreateTrail"] = create_trail
    cloudwatch._describe_alarms = describe_alarms
    lambda_svc._emit_lambda_logs = emit_lambda_logs
    lambda_svc._route_async_failure = route_async_failure
    eventbridge._dispatch_to_lambda = dispatch_to_lambda
    iam_actions.dynamodb_resource_arns = dynamodb_resource_arns
    iam_actions.extract_resource_arn = extract_resource_arn
    iam_actions._ses_v2_resource_arn = ses_resource_arn
    iam_evaluator.authenticate = authenticate
    iam_evaluator._resolve_condition_key = resolve_condition_key
    s3.serve_cloudfront_origin_fetch = fetch_origin
    scheduler._create_schedule = create_schedule
    scheduler._SCHEDULE_TICK_INTERVAL = _SWEEP_SECONDS
    ServerConfig.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    app.app = behind_tls
    complete_s3.install()
    complete_dynamodb.install()
    control.install()
    app.main()


if __name__ == "__main__":
    main()
