"""The process of the embedded AWS: MiniStack with the additions. `python -m infra.emulator.server`.

`ops/local/emulator.py` sets `GATEWAY_PORT`, `STATE_DIR` and MiniStack's other variables. A module of this package
named after a service adds behaviour that MiniStack lacks. docs/emulator.md lists the rules.
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
    s3_tags,
    scheduler,
    service_quotas,
    sns,
)

# Longer than the 90 seconds for which the AWS provider keeps connections. If the server closes a connection while a
# request arrives, the client repeats the request; IAM then answers that the role of the first request exists.
_KEEP_ALIVE_SECONDS = 120
# In the order of installation: the functions of a later module call those of an earlier one.
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
    s3_tags,
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
    """Serve requests as if a proxy had terminated TLS, unless a request has `x-forwarded-proto`."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and paths.has(scope["path"]):
            await paths.serve(scope["path"], receive, send)
            return
        if scope["type"] == "http" and not any(name == b"x-forwarded-proto" for name, _ in scope["headers"]):
            scope["headers"] = [*scope["headers"], (b"x-forwarded-proto", b"https")]
        await serve(scope, receive, send)

    return answer


def hold_connections() -> None:
    """Keep idle connections open for longer than clients do. MiniStack's own setting of 75 seconds is ignored."""
    seconds = property(lambda _: _KEEP_ALIVE_SECONDS, lambda _, __: None)
    ServerConfig.keep_alive_timeout = seconds  # type: ignore[assignment]


def main() -> None:
    """Run MiniStack with the additions until the process is stopped."""
    for service in _SERVICES:
        service.install()
    hold_connections()
    app.app = behind_tls(app.app)
    app.main()


if __name__ == "__main__":
    main()
