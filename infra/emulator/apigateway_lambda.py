"""API Gateway's Lambda proxy integration: the function's permission, the time limit and the response format.

Sources: API Gateway Developer Guide, "Set up Lambda proxy integrations" and "Amazon API Gateway quotas"; AWS re:Post,
"How do I resolve HTTP 502 errors from API Gateway REST APIs with Lambda proxy integration?".
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from ministack.services import apigateway_v1, lambda_svc

from infra.emulator.lambda_quotas import MOST_SYNCHRONOUS_BYTES, size
from infra.emulator.replacing import Original
from infra.emulator.service_access import may

_DEFAULT_MILLISECONDS = 29_000
_error_response = Original(apigateway_v1, "_gateway_error_response")
_invoke = Original(apigateway_v1, "_invoke_lambda_proxy_v1")
_proxy_response = Original(apigateway_v1, "_lambda_proxy_response")


class _NoAnswer(Exception):
    """The function failed, or its response does not have the format of the proxy integration."""


class _BadGateway(apigateway_v1._GatewayError):  # type: ignore[misc]
    """The caller's response for it: 502, with the gateway response of the type DEFAULT_5XX."""

    def __init__(self) -> None:
        super().__init__("DEFAULT_5XX", "Internal server error")


def install() -> None:
    """Complete the Lambda integration of MiniStack's API Gateway."""
    _error_response.replace(error_response)
    _invoke.replace(invoke)
    _proxy_response.replace(proxy_response)


async def invoke(
    integration: dict[str, Any],
    api_id: str,
    stage_name: str,
    stage: dict[str, Any],
    resource: dict[str, Any],
    path: str,
    method: str,
    *details: Any,
    **named: Any,
) -> Any:
    """Invoke a function for a request, if its policy allows this method of this API."""
    arn = apigateway_v1._extract_lambda_ref_from_integration_uri(integration.get("uri", ""))
    owner = f"{named['owner_region']}:{named['owner_account_id']}"
    source = f"arn:aws:execute-api:{owner}:{api_id}/{stage_name}/{method}{resource['path']}"
    policy = lambda_svc.function_policy_for_arn(arn)
    if policy and not may(policy[0], "apigateway.amazonaws.com", "lambda:InvokeFunction", arn, source):
        return apigateway_v1._gw_error("API_CONFIGURATION_ERROR", "Internal server error")
    seconds = int(integration.get("timeoutInMillis") or _DEFAULT_MILLISECONDS) / 1000
    try:
        async with asyncio.timeout(seconds):
            return await _invoke(integration, api_id, stage_name, stage, resource, path, method, *details, **named)
    except TimeoutError:
        return apigateway_v1._gw_error("INTEGRATION_TIMEOUT", "Endpoint request timed out")
    except _NoAnswer:
        return _BadGateway()


def proxy_response(result: dict[str, Any]) -> Any:
    """Return a function's response.

    Raises:
        _NoAnswer: it failed, or its response has another format.
    """
    if result.get("throttle"):
        return _proxy_response(result)
    answer = result.get("body")
    if isinstance(answer, (str, bytes)):
        try:
            answer = json.loads(answer)
        except ValueError:
            raise _NoAnswer from None
    if result.get("error") or not _is_answer(answer) or size(answer) > MOST_SYNCHRONOUS_BYTES:
        raise _NoAnswer
    return answer, None


def _is_answer(answer: Any) -> bool:
    if not isinstance(answer, dict) or not str(answer.get("statusCode", "")).isdigit():
        return False
    return isinstance(answer.get("body", ""), str | None) and isinstance(answer.get("headers", {}), dict | None)


def error_response(error: Any, request: dict[str, Any]) -> Any:
    """Return the response for an error of API Gateway."""
    status, headers, body = _error_response(error, request)
    return 502 if isinstance(error, _BadGateway) and status == 500 else status, headers, body
