"""The process of the embedded AWS: MiniStack with the additions. `python -m infra.emulator.server`.

Set `GATEWAY_PORT`, `STATE_DIR` and the other variables of MiniStack's; `ops/local/emulator.py` does. Each module of
this package that is named after a service adds what MiniStack leaves out of it; docs/emulator.md lists the rules.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from hypercorn.config import Config as ServerConfig
from ministack import app

from infra.emulator import (
    account,
    alarms,
    apigateway,
    apigateway_lambda,
    backup,
    backup_settings,
    cloudfront,
    cloudtrail,
    cloudwatch,
    config,
    dynamodb,
    eventbridge,
    iam,
    iam_propagation,
    inbox,
    lambda_,
    lambda_concurrency,
    lambda_errors,
    lambda_quotas,
    paths,
    principals,
    s3,
    scheduler,
    service_quotas,
    sns,
)

# A connection that is closed just as a request comes loses the answer, and the client asks again: IAM then says that
# the role, made by the first request, exists. The AWS provider keeps one for 90 seconds.
_KEEP_ALIVE_SECONDS = 120
# In the order of the installs: a later module's function calls the one of an earlier module.
_SERVICES = (
    account,
    apigateway,
    apigateway_lambda,
    backup,
    backup_settings,
    cloudfront,
    cloudtrail,
    cloudwatch,
    config,
    dynamodb,
    eventbridge,
    iam,
    iam_propagation,
    inbox,
    lambda_,
    lambda_concurrency,
    lambda_errors,
    lambda_quotas,
    principals,
    s3,
    scheduler,
    service_quotas,
    sns,
    alarms,
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Serve = Callable[[Scope, Receive, Send], Awaitable[None]]


def behind_tls(serve: Serve) -> Serve:
    """Serve a request as if a proxy had ended its TLS, unless it says itself how it came."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and paths.has(scope["path"]):
            await paths.serve(scope["path"], receive, send)
            return
        if scope["type"] == "http" and not any(name == b"x-forwarded-proto" for name, _ in scope["headers"]):
            scope["headers"] = [*scope["headers"], (b"x-forwarded-proto", b"https")]
        await serve(scope, receive, send)

    return answer


def main() -> None:
    """Run MiniStack with the additions, until it is told to stop."""
    for service in _SERVICES:
        service.install()
    ServerConfig.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    app.app = behind_tls(app.app)
    app.main()


if __name__ == "__main__":
    main()
