"""`rollbook backups check` on moto: it reads what the daily check reads, and says what it found."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest

from ops.cloud import Cloud
from ops.exits import Exit
from tests.unit.commands import cloud, run
from tests.unit.engine import PLACES, Clock, Mail, local
from tests.unit.test_checks import BUCKET, forget, made, row_of
from tests.unit.test_prune_command import SETTINGS

BACKUPS = SETTINGS.backups.model_copy(update={"history_table_name": PLACES.history_table_name})


@pytest.fixture
def keys(aws: None, mail: Mail, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    deployed = cloud(s3=boto3.client("s3"))
    deployed.settings = SETTINGS.model_copy(update={"backups": BACKUPS})
    deployed.items = lambda: local().dynamodb
    monkeypatch.setattr(Cloud, "of", lambda _: deployed)
    versions: Any = {"Status": "Enabled"}
    boto3.client("s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration=versions)
    return made(mail, clock, days=3)


def test_whole_backups_are_shown_and_recorded(keys: list[str]) -> None:
    shown = run("backups", "check", "--share", "1/30", "--env", "production")
    assert shown.exit_code == Exit.GOOD
    assert shown.stdout.splitlines()[-1] == "✓ 3 whole"
    assert all("verifiedAt" in row_of(key) for key in keys)
    again = run("backups", "check", "--share", "1/30", "--env", "production")
    assert again.stdout.splitlines()[-1] == "✓ 1 whole"


def test_damage_is_a_finding_and_named(keys: list[str]) -> None:
    boto3.client("s3").put_object(Bucket=BUCKET, Key=keys[1], Body=b"{}")
    shown = run("backups", "check", "--share", "1/1", "--env", "production")
    assert shown.exit_code == Exit.FINDINGS
    assert f"{keys[1]} was replaced by the version" in " ".join(shown.stdout.split())
    assert shown.stdout.splitlines()[-1] == "2 whole, 1 damaged"


def test_unknown_backups_are_counted_and_are_not_good(keys: list[str]) -> None:
    forget(executions=True)
    shown = run("backups", "check", "--share", "1/1", "--env", "production", "--json")
    assert shown.exit_code == Exit.FINDINGS
    facts = json.loads(shown.stdout)
    assert sorted(facts["unknown"]) == keys
    assert facts["read"] == []


@pytest.mark.parametrize("share", ["1/0", "2/30", "30", "1/366"])
def test_a_share_that_is_no_part_is_refused(keys: list[str], share: str) -> None:
    refused = run("backups", "check", "--share", share, "--env", "production")
    assert refused.exit_code == Exit.FAILED
    assert "write 1/30 to read each backup once in 30 days" in refused.stderr
