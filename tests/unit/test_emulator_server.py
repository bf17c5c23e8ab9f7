"""The server of the embedded AWS."""

from __future__ import annotations

import pytest
from hypercorn.config import Config

from infra.emulator.server import hold_connections


def test_the_server_does_not_close_a_connection_that_a_client_still_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Go's clients, such as the AWS provider, keep idle connections for 90 seconds; MiniStack sets 75 at its start."""
    monkeypatch.setattr(Config, "keep_alive_timeout", Config.keep_alive_timeout)
    hold_connections()
    config = Config()
    config.keep_alive_timeout = 75
    assert config.keep_alive_timeout > 90
