"""moto's AWS for the unit tests, with the tables as the synthesized JSON has them."""

from __future__ import annotations

from typing import Any

import boto3

from tests.conftest import Stacks

REGION = "ap-southeast-1"


def create_tables(stacks: Stacks, environment: str = "workshop") -> None:
    dynamodb = boto3.client("dynamodb")
    for table in stacks.resources(environment, "aws_dynamodb_table").values():
        dynamodb.create_table(
            TableName=table["name"],
            BillingMode=table["billing_mode"],
            KeySchema=[{"AttributeName": table["hash_key"], "KeyType": "HASH"}],
            AttributeDefinitions=[
                {"AttributeName": attribute["name"], "AttributeType": attribute["type"]}
                for attribute in table["attribute"]
            ],
            Tags=[{"Key": key, "Value": value} for key, value in table.get("tags", {}).items()],
        )


def create_bucket(name: str) -> Any:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return s3


def create_bus(name: str) -> None:
    boto3.client("events").create_event_bus(Name=name)


def proxy_event(method: str, body: str | None = None, **query: str) -> dict[str, Any]:
    return {
        "httpMethod": method,
        "headers": {"Content-Type": "application/json"} if body is not None else {},
        "queryStringParameters": query or None,
        "body": body,
        "isBase64Encoded": False,
        "requestContext": {"requestId": "11111111-2222-3333-4444-555555555555"},
    }


class Context:
    """What Lambda tells a handler of its invocation."""

    function_name = "function"
    memory_limit_in_mb = 128
    invoked_function_arn = "arn:aws:lambda:ap-southeast-1:123456789012:function:function"

    def __init__(self, request_id: str = "request-1", remaining_ms: int = 60_000) -> None:
        self.aws_request_id = request_id
        self._remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        return self._remaining_ms
