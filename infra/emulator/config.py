"""AWS Config: a recorder starts only if there is a delivery channel.

Source: AWS Config API Reference, StartConfigurationRecorder.
"""

from __future__ import annotations

from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import config

from infra.emulator.replacing import Original

_start = Original(config, "_start_configuration_recorder")


def install() -> None:
    """Complete MiniStack's Config."""
    _start.replace(start)


def start(request: dict[str, Any]) -> Any:
    """Start a recorder, if there is a delivery channel."""
    if not config._delivery_channels:
        fault = "Delivery channel is not available to start configuration recorder."
        return error_response_json("NoAvailableDeliveryChannelException", fault, 400)
    return _start(request)
