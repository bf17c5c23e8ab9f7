"""The requests that API Gateway accepts, its own responses, and its access log."""

from __future__ import annotations

# API Gateway checks only this much of a body before it invokes the function. The function checks the fields, because
# its message can name the fault of each field (docs/decisions/0005).
STUDENT_SCHEMA = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "title": "Student",
    "type": "object",
    "minProperties": 1,
    "maxProperties": 200,
}


PREFLIGHT_TEMPLATE = '{"statusCode": 204}'


PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Max-Age": "600",
    "Vary": "Origin",
}


ACCESS_LOG = {
    "requestId": "$context.requestId",
    "time": "$context.requestTime",
    "method": "$context.httpMethod",
    "path": "$context.resourcePath",
    "status": "$context.status",
    "error": "$context.error.message",
    "validation": "$context.error.validationErrorString",
    "bytes": "$context.responseLength",
    "milliseconds": "$context.responseLatency",
    "functionMilliseconds": "$context.integrationLatency",
    "keyId": "$context.identity.apiKeyId",
    "sourceIp": "$context.identity.sourceIp",
}


# API Gateway's own responses in the format of this API. The messages of 5xx responses do not reveal the cause.
GATEWAY_RESPONSES: dict[str, tuple[str | None, str]] = {
    "DEFAULT_4XX": (None, '{"message":$context.error.messageString}'),
    "DEFAULT_5XX": (None, '{"message":"The service failed. Try again."}'),
    "BAD_REQUEST_BODY": (
        "400",
        '{"message":"The body is empty, is not JSON or is not an object; send the attributes of one student '
        'record as a JSON object."}',
    ),
    "INTEGRATION_TIMEOUT": (
        "504",
        '{"message":"The request takes longer than the API waits. It continues; a mail will report the result."}',
    ),
    "MISSING_AUTHENTICATION_TOKEN": ("403", '{"message":"There is no such path or method."}'),
}
