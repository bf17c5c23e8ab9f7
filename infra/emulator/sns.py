"""SNS: refuses a subject that an e-mail cannot have."""

from __future__ import annotations

from typing import Any

from ministack.services import sns

from infra.emulator.replacing import Original

# "Less than 100 characters", without control characters (SNS API, Publish).
_TOO_LONG = 100
_publish = Original(sns, "_publish")


def install() -> None:
    """Complete MiniStack's SNS."""
    _publish.replace(publish)


def publish(params: dict[str, Any]) -> Any:
    """Publish a message, if its subject is valid."""
    subject = str(sns._p(params, "Subject") or "")
    if len(subject) >= _TOO_LONG or not subject.isprintable():
        return sns._error("InvalidParameter", "Invalid parameter: Subject", 400)
    return _publish(params)
