"""`rollbook state bootstrap` refuses a bucket of another account or Region."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from typer.testing import CliRunner

from infra.settings import ENVIRONMENTS, State, load
from ops import state
from tests.unit.aws import REGION


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings = load(ENVIRONMENTS / "workshop.toml").model_copy(update={"state": State(bucket="state-of-somebody")})
    monkeypatch.setattr(state, "settings_of", lambda _: settings)
    with mock_aws():
        yield


def bootstrap() -> Any:
    return CliRunner().invoke(state.app, ["bootstrap", "--env", "workshop", "--yes"])


def test_a_bucket_of_another_account_is_refused(settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = boto3.client("s3", region_name=REGION)

    def forbidden(**_: Any) -> None:
        error = {"Error": {"Code": "403", "Message": "Forbidden"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(error, "HeadBucket")  # type: ignore[arg-type]

    monkeypatch.setattr(s3, "head_bucket", forbidden)
    real = boto3.client
    monkeypatch.setattr(boto3, "client", lambda name, **given: s3 if name == "s3" else real(name, **given))
    refused = bootstrap()
    assert refused.exit_code == 1
    assert "belongs to another account than 123456789012" in " ".join(refused.stderr.split())
    assert not s3.list_buckets()["Buckets"]


def test_a_bucket_in_another_region_is_refused(settings: None) -> None:
    boto3.client("s3", region_name="eu-west-1").create_bucket(
        Bucket="state-of-somebody", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    refused = bootstrap()
    assert refused.exit_code == 1
    assert "is in eu-west-1, not in us-east-1; set state.region" in " ".join(refused.stderr.split())


def test_an_environment_without_a_bucket_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = CliRunner().invoke(state.app, ["bootstrap", "--env", "workshop"])
    assert refused.exit_code == 1
    assert "names no bucket; add [state]" in " ".join(refused.stderr.split())


def test_a_configured_bucket_is_recognized(settings: None) -> None:
    made = bootstrap()
    assert made.exit_code == 0, made.output
    assert "is configured correctly" in bootstrap().stdout
    policy = boto3.client("s3").get_bucket_policy(Bucket="state-of-somebody")["Policy"]
    assert "aws:SecureTransport" in policy
