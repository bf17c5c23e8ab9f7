"""The clients of the engine do not depend on botocore's defaults."""

from __future__ import annotations

import pytest

from tests.unit.engine import local


@pytest.mark.parametrize(("service", "attempts"), [("s3", 5), ("dynamodb", 8)])
def test_retries_and_checksums_are_configured(monkeypatch: pytest.MonkeyPatch, service: str, attempts: int) -> None:
    # A newer botocore or the environment could set other defaults.
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    local.cache_clear()
    clients = local()
    local.cache_clear()
    config = (clients.dynamodb if service == "dynamodb" else clients.client(service)).meta.config
    assert (config.retries["mode"], config.retries["total_max_attempts"]) == ("legacy", attempts)
    assert config.request_checksum_calculation == config.response_checksum_validation == "when_supported"
