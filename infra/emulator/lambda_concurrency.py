"""Lambda: the account's concurrency, a part of which must remain unreserved.

Sources: Lambda Developer Guide, "Configuring reserved concurrency": 100 remain unreserved. New accounts have a total of
10, so every reservation is refused with the message below (aws-samples/one-observability-demo issue 278).
"""

from __future__ import annotations

import json
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import lambda_svc

from infra.emulator import service_quotas
from infra.emulator.replacing import Original

_UNRESERVED = 100
_put_concurrency = Original(lambda_svc, "_put_function_concurrency")
_account_settings = Original(lambda_svc, "_get_account_settings")


def install() -> None:
    """Complete MiniStack's Lambda."""
    _put_concurrency.replace(put_concurrency)
    _account_settings.replace(account_settings)


def put_concurrency(name: str, request: dict[str, Any]) -> Any:
    """Reserve concurrency for a function, if enough remains unreserved."""
    limit = _limit()
    reserved = sum(
        int(lambda_svc._functions[other].get("concurrency") or 0) for other in lambda_svc._functions if other != name
    )
    least = min(_UNRESERVED, limit)
    if limit - reserved - int(request.get("ReservedConcurrentExecutions", 0)) < least:
        return error_response_json(
            "InvalidParameterValueException",
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            f"below its minimum value of [{least}].",
            400,
        )
    return _put_concurrency(name, request)


def account_settings() -> Any:
    """Describe the account with its concurrency quota."""
    status, headers, body = _account_settings()
    found = json.loads(body)
    limits = found["AccountLimit"]
    reserved = sum(int(lambda_svc._functions[name].get("concurrency") or 0) for name in lambda_svc._functions)
    limits |= {"ConcurrentExecutions": _limit(), "UnreservedConcurrentExecutions": _limit() - reserved}
    return status, headers, json.dumps(found).encode()


def _limit() -> int:
    return int(service_quotas.value("lambda", "L-B99A9384"))
