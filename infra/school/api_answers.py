"""What API Gateway itself accepts, answers and logs."""

from __future__ import annotations

from infra.constructs.accepted import accept

accept(
    "aws_api_gateway_stage",
    {
        "CKV2_AWS_29": "requests come through CloudFront, with a key, and are throttled",
        "CKV2_AWS_4": "the access log has every request; the execution log would have bodies, which are records",
        "CKV2_AWS_51": "a client certificate is for an HTTP backend; behind this are functions, by IAM",
        "CKV_AWS_120": "an answer from a cache would show a record that was changed; a cache is paid by the hour",
        "CKV_AWS_73": "one call, one function; its log line has the durations",
    },
)
accept(
    "aws_api_gateway_method_settings", {"CKV_AWS_225": "an answer from a cache would show a record that was changed"}
)
accept("aws_api_gateway_method", {"CKV2_AWS_53": "there is no body to validate; POST /students has its schema"})

# What a body must be before a function is woken for it. The function names the faults field by field, which API
# Gateway's own message cannot, so the schema leaves the fields to it (docs/decisions/0005).
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


# API Gateway's own answers in this API's form. The 5xx ones keep what went wrong to the log.
GATEWAY_RESPONSES: dict[str, tuple[str | None, str]] = {
    "DEFAULT_4XX": (None, '{"message":$context.error.messageString}'),
    "DEFAULT_5XX": (None, '{"message":"The service failed; the request may be tried again."}'),
    "BAD_REQUEST_BODY": (
        "400",
        '{"message":"The body is empty, is no JSON or is not one JSON object; send the attributes of one student '
        'record as an object."}',
    ),
    "INTEGRATION_TIMEOUT": (
        "504",
        '{"message":"It takes longer than this answer can wait; it goes on, and the mail will tell."}',
    ),
    "MISSING_AUTHENTICATION_TOKEN": ("403", '{"message":"There is no such path or method."}'),
}
