"""Creates CloudTrail's record of a call: the caller, the operation and the result.

Sources: CloudTrail User Guide, "CloudTrail record contents" and "CloudTrail userIdentity element"; S3 User Guide,
"Amazon S3 CloudTrail events".
"""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

from ministack.core import iam_actions, iam_evaluator, responses, router
from ministack.services import iam, s3, sts

from infra.emulator import s3_operations
from infra.emulator.cloudtrail_values import SIGNATURES, Call, elements_of, form_of, object_of, one_of, recorded

GLOBAL_REGION = "us-east-1"
# Calls of these services are recorded in us-east-1 (CloudTrail User Guide, "Global service events").
GLOBAL_SERVICES = {"cloudfront", "iam"}
_ITEMS = (
    "BatchExecuteStatement BatchGetItem BatchWriteItem DeleteItem ExecuteStatement ExecuteTransaction GetItem PutItem "
    "Query Scan TransactGetItems TransactWriteItems UpdateItem"
)
_MESSAGES = (
    "ChangeMessageVisibility ChangeMessageVisibilityBatch DeleteMessage DeleteMessageBatch ReceiveMessage SendMessage "
    "SendMessageBatch"
)
# Operations that are data events, by service (CloudTrail User Guide, "Logging data events"). For S3 see `_is_data`.
_DATA = {
    "dynamodb": ("AWS::DynamoDB::Table", frozenset(_ITEMS.split())),
    "lambda": ("AWS::Lambda::Function", frozenset({"Invoke"})),
    "sns": ("AWS::SNS::Topic", frozenset({"Publish", "PublishBatch"})),
    "sqs": ("AWS::SQS::Queue", frozenset(_MESSAGES.split())),
}
_S3_BUCKET_DATA = {"DeleteObjects", "HeadBucket", "ListObjects", "ListObjectVersions"}
# Operations that CloudTrail does not record, or only for selectors that MiniStack does not have.
_UNRECORDED = {
    "events": {"PutEvents"},
    "logs": {"FilterLogEvents", "GetLogEvents", "PutLogEvents"},
    "monitoring": {"GetMetricData", "GetMetricStatistics", "GetMetricWidgetImage", "ListMetrics", "PutMetricData"},
    "ses": {"SendBulkEmail", "SendEmail", "SendRawEmail"},
}
# Event names that differ from the operation's name.
_EVENT_NAMES = {
    ("lambda", "InvokeFunction"): "Invoke",
    ("s3", "DeletePublicAccessBlock"): "DeleteBucketPublicAccessBlock",
    ("s3", "GetPublicAccessBlock"): "GetBucketPublicAccessBlock",
    ("s3", "ListObjectsV2"): "ListObjects",
    ("s3", "PutPublicAccessBlock"): "PutBucketPublicAccessBlock",
}
# Names of Lambda's events end with the API version (Lambda Developer Guide, "Logging AWS Lambda API calls using
# CloudTrail").
_LAMBDA_VERSIONS = {
    "AddPermission": "20150331v2",
    "CreateEventSourceMapping": "20150331",
    "CreateFunction": "20150331",
    "DeleteEventSourceMapping": "20150331",
    "DeleteFunction": "20150331",
    "GetFunction": "20150331v2",
    "PublishVersion": "20150331",
    "PutFunctionConcurrency": "20171031",
    "RemovePermission": "20150331v2",
    "TagResource": "20170331v2",
    "UntagResource": "20170331v2",
    "UpdateEventSourceMapping": "20150331",
    "UpdateFunctionCode": "20150331v2",
    "UpdateFunctionConfiguration": "20150331v2",
}
_READS = re.compile(r"(Describe|Get|Head|List|BatchGet|Lookup|Query|Scan|Select|Simulate|AssumeRole)")
# Error codes of requests without a known caller, which are not recorded (S3 User Guide, "Amazon S3 CloudTrail events").
_NOT_AUTHENTICATED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}


def record(call: Call) -> dict[str, Any] | None:
    """Return CloudTrail's record of a call, or None if it is not recorded."""
    operation = _operation(call)
    code, message = _error(call)
    if not operation or operation in _UNRECORDED.get(call.service, ()) or code in _NOT_AUTHENTICATED:
        return None
    identity = _identity(call)
    if identity is None:
        return None
    name = _EVENT_NAMES.get((call.service, operation), operation)
    name += _LAMBDA_VERSIONS.get(name, "") if call.service == "lambda" else ""
    account, data = responses.get_account_id(), _is_data(call.service, name)
    read_only = bool(_READS.match(name))
    parameters = _parameters(call, name, data)
    event: dict[str, Any] = {
        "eventVersion": "1.11",
        "userIdentity": identity,
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "eventSource": f"{call.service}.amazonaws.com",
        "eventName": name,
        "awsRegion": _region(call),
        "sourceIPAddress": call.invoked_by or responses.get_request_client_ip(),
        "userAgent": call.invoked_by or f"[{call.headers.get('user-agent', '')}]",
    }
    if code:
        event |= {"errorCode": code, "errorMessage": message}
    event |= {
        "requestParameters": parameters or None,
        "responseElements": None if read_only or code else elements_of(call),
        "requestID": call.request_id,
        "eventID": str(uuid4()),
        "readOnly": read_only,
        "eventType": "AwsApiCall",
        "managementEvent": not data,
        "recipientAccountId": account,
        "eventCategory": "Data" if data else "Management",
    }
    if resources := _resources(call, name, parameters, data):
        event["resources"] = resources
    if call.service == "s3":
        event["additionalEventData"] = {
            "SignatureVersion": "SigV2" if "AWSAccessKeyId" in call.query else "SigV4",
            "AuthenticationMethod": "QueryString" if SIGNATURES & {*call.query} else "AuthHeader",
            "bytesTransferredIn": len(call.body),
            "bytesTransferredOut": len(call.answer),
        }
    return event


def _operation(call: Call) -> str:
    if call.service == "s3":
        return s3_operations.operation(call.method, unquote(call.path), call.query, call.headers)
    if "/operation/" in call.path:
        return call.path.rpartition("/operation/")[2]
    parameters = dict(call.query)
    if call.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        parameters |= dict(parse_qsl(call.body.decode(errors="replace"), keep_blank_values=True))
    if call.service in {"apigateway", "ses"} and "Action" not in parameters:
        return iam_actions._match_rest_action(call.service, call.method, call.path, parameters) or ""
    action = iam_actions.extract_iam_action(
        call.service, call.method, call.path, dict(call.headers), call.body, parameters
    )
    return (action or "").partition(":")[2]


def _region(call: Call) -> str:
    """Return the Region in which a call is recorded. For a bucket, it is the bucket's Region."""
    if call.service in GLOBAL_SERVICES:
        return GLOBAL_REGION
    bucket = unquote(call.path).lstrip("/").partition("/")[0]
    return str(s3.bucket_region(bucket)) if call.service == "s3" and bucket in s3._buckets else responses.get_region()


def _is_data(service: str, name: str) -> bool:
    if service == "s3":
        return name in _S3_BUCKET_DATA or (
            bool(re.search("Object|Part|MultipartUpload$", name))
            and (name not in {"GetObjectLockConfiguration", "PutObjectLockConfiguration"})
        )
    return service in _DATA and name in _DATA[service][1]


def _identity(call: Call) -> dict[str, Any] | None:
    """Return the caller, or None if the credentials do not exist."""
    if call.invoked_by:
        return {"type": "AWSService", "invokedBy": call.invoked_by}
    key, account = router.extract_access_key_id(dict(call.headers), dict(call.query)), responses.get_account_id()
    if not key:
        return {"type": "AWSAccount", "principalId": "", "accountId": "ANONYMOUS_PRINCIPAL"}
    found = iam_evaluator.resolve_credential(key, account)
    if isinstance(found, iam_evaluator.CredentialResolutionError):
        return None
    kind = {"User": "IAMUser"}.get(found.principal_type, found.principal_type)
    who: dict[str, Any] = {
        "type": kind,
        "principalId": found.principal_id,
        "arn": found.principal_arn,
        "accountId": found.account_id,
        "accessKeyId": key,
    }
    if kind == "IAMUser":
        who["userName"] = found.principal_name
    if kind == "AssumedRole":
        who |= _of_role(who, found.principal_arn, float(sts._sessions[key].get("IssuedAt", 0)))
    return who


def _of_role(who: dict[str, Any], session_arn: str, issued_at: float) -> dict[str, Any]:
    _, name, session = session_arn.split(":", 5)[5].split("/", 2)
    role = iam._roles.get_scoped(who["accountId"], None, name) or {}
    issuer = {
        "type": "Role",
        "principalId": role.get("RoleId", ""),
        "arn": role.get("Arn", f"arn:aws:iam::{who['accountId']}:role/{name}"),
        "accountId": who["accountId"],
        "userName": name,
    }
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(issued_at))
    attributes = {"creationDate": created, "mfaAuthenticated": "false"}
    return {
        "principalId": f"{issuer['principalId']}:{session}",
        "sessionContext": {"sessionIssuer": issuer, "attributes": attributes},
    }


def _error(call: Call) -> tuple[str, str]:
    """Return the error code and message of a response; empty texts if it is not an error."""
    if call.status < 400:
        return "", ""
    text = call.answer.decode(errors="replace")
    if not text:
        return {403: "AccessDenied", 404: "NoSuchKey"}.get(call.status, str(call.status)), ""
    if text.lstrip().startswith("<"):
        code, message = re.search(r"<Code>([^<]*)", text), re.search(r"<Message>([^<]*)", text)
        return code[1] if code else str(call.status), message[1] if message else ""
    error = object_of(call.answer)
    code_text = error.get("__type") or error.get("code") or call.answer_headers.get("x-amzn-errortype") or call.status
    return str(code_text).rpartition("#")[2].partition(":")[0], str(error.get("message", error.get("Message", "")))


def _parameters(call: Call, name: str, data: bool) -> dict[str, Any]:
    if call.service == "s3":
        bucket, _, key = unquote(call.path).lstrip("/").partition("/")
        found = {"bucketName": bucket, "Host": call.headers.get("host", ""), "key": key}
        found |= {
            parameter: one_of(value)
            for parameter, value in call.query.items()
            if not parameter.startswith("X-Amz-") and parameter not in SIGNATURES
        }
        if "x-amz-copy-source" in call.headers:
            found["x-amz-copy-source"] = call.headers["x-amz-copy-source"]
        return {parameter: value for parameter, value in found.items() if value or parameter in call.query}
    given = {**form_of(call), **object_of(call.body)} if call.body else {k: one_of(v) for k, v in call.query.items()}
    if call.service == "lambda" and (function := re.search(r"/functions/([^/]+)", call.path)):
        given = {"functionName": unquote(function[1])} if data else given | {"functionName": unquote(function[1])}
    if call.service == "dynamodb" and data:
        # The attributes of an item are not recorded (DynamoDB Developer Guide, "Logging DynamoDB operations").
        given = {parameter: given[parameter] for parameter in given if parameter in {"TableName", "Key", "IndexName"}}
    if call.service in {"sns", "sqs"} and data:
        given = {parameter: given[parameter] for parameter in given if parameter in {"TopicArn", "QueueUrl"}}
    return recorded(given)


def _resources(call: Call, name: str, parameters: dict[str, Any], data: bool) -> list[dict[str, Any]]:
    account = responses.get_account_id()
    if call.service == "s3" and "bucketName" in parameters:
        arn = f"arn:aws:s3:::{parameters['bucketName']}"
        bucket = {"accountId": account, "type": "AWS::S3::Bucket", "ARN": arn}
        if not data:
            return [bucket]
        if name in _S3_BUCKET_DATA:
            return [{"type": "AWS::S3::Object", "ARNPrefix": f"{arn}/"}, bucket]
        objects = [f"{arn}/{parameters['key']}"]
        if "x-amz-copy-source" in parameters:
            objects.append(f"arn:aws:s3:::{unquote(parameters['x-amz-copy-source']).lstrip('/').partition('?')[0]}")
            return [{"type": "AWS::S3::Object", "ARN": object_arn} for object_arn in objects]
        return [{"type": "AWS::S3::Object", "ARN": objects[0]}, bucket]
    if call.service not in _DATA or not data:
        return []
    kind = _DATA[call.service][0]
    region = responses.get_region()
    arn = {
        "dynamodb": f"arn:aws:dynamodb:{region}:{account}:table/{parameters.get('tableName', '')}",
        "lambda": f"arn:aws:lambda:{region}:{account}:function:{parameters.get('functionName', '').rpartition(':')[2]}",
        "sns": str(parameters.get("topicArn", "")),
        "sqs": f"arn:aws:sqs:{region}:{account}:{str(parameters.get('queueUrl', '')).rpartition('/')[2]}",
    }[call.service]
    return [{"accountId": account, "type": kind, "ARN": arn}]
