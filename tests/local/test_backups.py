"""`ops backups` on the embedded AWS."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ops import backups
from ops.cloud import fetch
from tests.conftest import Local

Ops = Callable[..., Result]


@pytest.fixture
def ops(local: Local, monkeypatch: pytest.MonkeyPatch) -> Ops:
    monkeypatch.setattr(backups.Cloud, "of", lambda _: local.cloud)
    return lambda *arguments: CliRunner().invoke(backups.app, list(arguments))


@pytest.fixture
def made(local: Local) -> dict[str, Any]:
    record = {"studentid": "OPS-1", "name": "An", "class": "10A1", "birthdate": "2009-01-01", "email": "an@a.example"}
    saved = fetch(
        f"{local.cloud.site_url}/students?notify=false",
        method="POST",
        headers={"Content-Type": "application/json"},
        body=json.dumps(record).encode(),
    )
    assert saved.status in {200, 201}
    answer: dict[str, Any] = fetch(f"{local.cloud.site_url}/backup", method="POST").json()
    return answer


def test_a_backup_is_listed_shown_and_whole(ops: Ops, made: dict[str, Any]) -> None:
    [row] = [row for row in json.loads(ops("list", "--json").stdout) if row["key"] == made["key"]]
    assert (row["status"], row["source"]) == ("completed", "api")
    assert (row["items"], row["bytes"]) == (made["items"], made["bytes"])
    shown = json.loads(ops("show", made["key"], "--json").stdout)
    assert (shown["items"], shown["bytes"], shown["status"]) == (made["items"], made["bytes"], "completed")
    verified = ops("verify", made["key"], "--json")
    assert verified.exit_code == 0
    assert json.loads(verified.stdout) == {
        "key": made["key"],
        "isWhole": True,
        "items": made["items"],
        "bytes": made["bytes"],
        "sha256": shown["sha256"],
    }


def test_a_damaged_backup_is_named_and_the_exit_code_says_so(local: Local, ops: Ops, made: dict[str, Any]) -> None:
    s3 = local.cloud.client("s3")
    bucket = local.cloud.settings.backups.bucket_name
    whole = s3.get_object(Bucket=bucket, Key=made["key"])["Body"].read()
    begin = whole.index(b"[\n") + 2
    s3.put_object(Bucket=bucket, Key=made["key"], Body=whole[:begin] + b"?" + whole[begin + 1 :])
    ended = ops("verify", made["key"])
    assert ended.exit_code == 1
    assert f"item 1 (bytes {begin:,} to" in ended.stderr
    assert "Traceback" not in ended.output


def test_a_key_that_is_not_there_is_one_message(ops: Ops) -> None:
    ended = ops("verify", "students-backup-19700101T0000.json")
    assert ended.exit_code == 1
    assert "cannot be read" in ended.stderr
    assert "Traceback" not in ended.output
