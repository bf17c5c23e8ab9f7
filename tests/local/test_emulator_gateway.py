"""API Gateway on a bare emulator: usage plans, deployments, patches and tags."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from typing import Any

import pytest

from ops.cloud import fetch
from tests.local.bare import (
    ACCOUNT,
    REGION,
    Clients,
    a_function,
    a_name,
    eventually,
)


@pytest.fixture
def aws(bare_port: int) -> Clients:
    return Clients(bare_port)


class Api:
    """A REST API with a stage, a usage plan with a key, and one mock method that requires the key."""

    def __init__(self, aws: Clients, port: int, **plan: Any) -> None:
        self._gateway, self._port = aws("apigateway"), port
        self.id = self._gateway.create_rest_api(name=a_name())["id"]
        [self.root] = self._gateway.get_resources(restApiId=self.id)["items"]
        self.add_method("GET")
        self.deploy()
        self.plan_id = self._gateway.create_usage_plan(
            name=a_name(), apiStages=[{"apiId": self.id, "stage": "prod"}], **plan
        )["id"]
        key = self._gateway.create_api_key(name=a_name(), value=uuid.uuid4().hex, enabled=True)
        self._gateway.create_usage_plan_key(usagePlanId=self.plan_id, keyId=key["id"], keyType="API_KEY")
        self._key = key["value"]

    def add_method(self, method: str) -> None:
        of_method = {"restApiId": self.id, "resourceId": self.root["id"], "httpMethod": method}
        self._gateway.put_method(**of_method, authorizationType="NONE", apiKeyRequired=True)
        self._gateway.put_method_response(**of_method, statusCode="200")
        self._gateway.put_integration(
            **of_method, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'}
        )
        self._gateway.put_integration_response(**of_method, statusCode="200")

    def deploy(self) -> None:
        self._gateway.create_deployment(restApiId=self.id, stageName="prod")

    def change_plan(self, path: str, value: str) -> None:
        patch = {"op": "replace", "path": path, "value": value}
        self._gateway.update_usage_plan(usagePlanId=self.plan_id, patchOperations=[patch])

    def call(self, method: str = "GET") -> tuple[int, str]:
        url = f"http://127.0.0.1:{self._port}/_aws/execute-api/{self.id}/prod/"
        request = urllib.request.Request(url, method=method, headers={"x-api-key": self._key})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def test_a_usage_plan_throttles_its_key_with_a_token_bucket(aws: Clients, bare_port: int) -> None:
    api = Api(aws, bare_port, throttle={"rateLimit": 0.2, "burstLimit": 3})
    answers = [api.call() for _ in range(4)]
    assert [status for status, _ in answers] == [200, 200, 200, 429]
    assert json.loads(answers[3][1]) == {"message": "Too Many Requests"}
    assert eventually(lambda: api.call()[0] == 200, seconds=30), "the bucket fills again"


def test_a_usage_plan_ends_at_its_quota_also_when_the_quota_was_changed_by_a_patch(
    aws: Clients, bare_port: int
) -> None:
    api = Api(aws, bare_port, quota={"limit": 2, "period": "DAY"})
    assert [api.call()[0] for _ in range(2)] == [200, 200]
    status, body = api.call()
    assert (status, json.loads(body)) == (429, {"message": "Limit Exceeded"})
    api.change_plan("/quota/limit", "3")
    assert [api.call()[0] for _ in range(2)] == [200, 429]


def test_a_stage_serves_what_was_deployed(aws: Clients, bare_port: int) -> None:
    api = Api(aws, bare_port)
    api.add_method("PUT")
    assert api.call("PUT")[0] == 403, "the method was not deployed"
    aws("apigateway").delete_method(restApiId=api.id, resourceId=api.root["id"], httpMethod="GET")
    assert api.call("GET")[0] == 200, "its deletion was not deployed"
    api.deploy()
    assert (api.call("PUT")[0], api.call("GET")[0]) == (200, 403)


def test_parts_of_an_api_are_patched_and_tagged_as_they_are_shown(aws: Clients, bare_port: int) -> None:
    api, gateway = Api(aws, bare_port, throttle={"rateLimit": 1, "burstLimit": 1}), aws("apigateway")
    api.change_plan("/throttle/burstLimit", "7")
    assert gateway.get_usage_plan(usagePlanId=api.plan_id)["throttle"]["burstLimit"] == 7
    of_method = {"restApiId": api.id, "resourceId": api.root["id"], "httpMethod": "GET"}
    patch = {"op": "add", "path": "/requestTemplates/application~1xml", "value": "x"}
    gateway.update_integration(**of_method, patchOperations=[patch])
    assert gateway.get_integration(**of_method)["requestTemplates"]["application/xml"] == "x"
    arn = f"arn:aws:apigateway:{REGION}::/restapis/{api.id}/stages/prod"
    gateway.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
    gateway.untag_resource(resourceArn=arn, tagKeys=["b"])
    assert gateway.get_stage(restApiId=api.id, stageName="prod")["tags"] == {"a": "1"}


class ProxyApi:
    """A REST API whose one method invokes a function."""

    def __init__(self, aws: Clients, port: int, code: str, timeout_ms: int = 29000) -> None:
        gateway = aws("apigateway")
        self.id = gateway.create_rest_api(name=a_name())["id"]
        [root] = gateway.get_resources(restApiId=self.id)["items"]
        self.function = a_function(aws, f"def handler(event, context):\n    {code}\n")
        of_method = {"restApiId": self.id, "resourceId": root["id"], "httpMethod": "GET"}
        gateway.put_method(**of_method, authorizationType="NONE")
        uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{self.function}/invocations"
        gateway.put_integration(
            **of_method, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri, timeoutInMillis=timeout_ms
        )
        gateway.put_gateway_response(
            restApiId=self.id,
            responseType="DEFAULT_5XX",
            responseTemplates={"application/json": '{"message": "try again"}'},
        )
        gateway.create_deployment(restApiId=self.id, stageName="prod")
        self._functions, self._url = aws("lambda"), f"http://127.0.0.1:{port}/_aws/execute-api/{self.id}/prod/"

    def permit(self, method: str = "GET") -> None:
        self._functions.add_permission(
            FunctionName=self.function,
            StatementId=method,
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{self.id}/*/{method}/",
        )

    def call(self) -> tuple[int, str]:
        answer = fetch(self._url)
        return answer.status, answer.body.decode()


def test_a_method_invokes_a_function_only_if_the_functions_policy_lets_it(aws: Clients, bare_port: int) -> None:
    api = ProxyApi(aws, bare_port, 'return {"statusCode": 200, "body": "hello"}')
    assert api.call()[0] == 500
    api.permit("PUT")
    assert api.call()[0] == 500
    api.permit()
    assert api.call() == (200, "hello")


@pytest.mark.parametrize(
    "code", ['raise ValueError("secret")', 'return "hello"', 'return {"statusCode": 200, "body": {}}']
)
def test_a_function_that_fails_or_answers_in_another_form_is_a_502_with_the_gateways_text(
    aws: Clients, bare_port: int, code: str
) -> None:
    api = ProxyApi(aws, bare_port, code)
    api.permit()
    assert api.call() == (502, '{"message": "try again"}')


def test_a_function_that_takes_too_long_is_a_504(aws: Clients, bare_port: int) -> None:
    api = ProxyApi(aws, bare_port, "import time; time.sleep(1.5)", timeout_ms=100)
    api.permit()
    assert api.call()[0] == 504
