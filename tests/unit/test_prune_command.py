"""`prune`, `pin` and `unpin` on moto: what is shown, what is asked, and what the function is sent."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from infra.settings.retention import Retention
from ops.cloud import Cloud
from ops.exits import Exit
from tests.unit.commands import LOCAL, cloud, run
from tests.unit.engine import JOB, PLACES, Clock, Mail
from tests.unit.test_marking import days, marking, tagged

SETTINGS = LOCAL.model_copy(
    update={
        "name": "production",
        "backups": LOCAL.backups.model_copy(
            update={
                "retention": Retention(keep_last=1, yearly=2),
                "tables": [],
                "bucket_name": PLACES.s3_bucket_name,
                "history_table_name": PLACES.history_table_name,
                "key_prefix": JOB.key_prefix,
            }
        ),
    }
)


class Lambda:
    """Lambda, which notes what it is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def invoke(self, *, FunctionName: str, Payload: str) -> dict[str, Any]:
        assert FunctionName == SETTINGS.backups.retention_function_name
        self.sent.append(json.loads(Payload))
        answer = {"table": "studentData", "marked": ["a", "b"], "unmarked": ["c"], "kept": 1, "isPinned": True}
        return {"Payload": SimpleNamespace(read=lambda: json.dumps(answer))}


@pytest.fixture
def function(aws: None, monkeypatch: pytest.MonkeyPatch) -> Lambda:
    sent = Lambda()
    made = cloud(**{"lambda": sent}, **{name: boto3.client(name) for name in ("s3", "dynamodb", "sts")})
    made.settings = SETTINGS
    monkeypatch.setattr(Cloud, "of", lambda _: made)
    return sent


def test_a_dry_run_says_what_and_why_and_changes_nothing(function: Lambda, mail: Mail, clock: Clock) -> None:
    keys = days(4, mail, clock)
    shown = run("backups", "prune", "--dry-run", "--env", "production")
    assert shown.exit_code == Exit.GOOD
    lines = shown.stdout.splitlines()
    assert lines[0].split() == ["Key", "Decision", "Why"]
    assert [line.split(maxsplit=2) for line in lines[1:5]] == [
        [keys[3], "keep", "last, yearly, last good full"],
        [keys[2], "mark", "not in the policy"],
        [keys[1], "mark", "not in the policy"],
        [keys[0], "keep", "oldest yearly"],
    ]
    assert lines[5] == "studentData: would mark 2 of 4 backups. Nothing was changed."
    assert max(map(len, lines)) <= 80
    assert function.sent == []
    assert [tagged(key) for key in keys] == [{}] * 4


def test_a_dry_run_prints_json(function: Lambda, mail: Mail, clock: Clock) -> None:
    keys = days(2, mail, clock)
    marking(clock).pin(SETTINGS.retained_tables["studentData"], keys[0])
    newest, oldest = json.loads(run("backups", "prune", "--dry-run", "--json", "--env", "production").stdout)
    assert newest["key"] == keys[1]
    assert oldest == {
        "table": "studentData",
        "key": keys[0],
        "takenAt": "2025-07-08T00:00:03+00:00",
        "state": "completed",
        "isFull": True,
        "isPinned": True,
        "isMarked": False,
        "isKept": True,
        "reasons": ["oldest yearly", "pinned"],
    }


def test_prune_names_environment_account_and_count_before_it_marks(function: Lambda, mail: Mail, clock: Clock) -> None:
    days(4, mail, clock)
    refused = run("backups", "prune", "--env", "production", typed="n\n")
    assert refused.exit_code == Exit.REFUSED
    assert "Mark in production (account 123456789012): 2 of studentData." in refused.stderr
    assert function.sent == []
    done = run("backups", "prune", "--env", "production", typed="y\n")
    assert done.exit_code == Exit.GOOD
    assert "studentData: 2 marked, 1 kept, 1 marks removed" in done.stdout
    assert function.sent == [{"detail": {"table": "studentData"}}]


def test_pins_are_changed_by_the_function(function: Lambda) -> None:
    assert "K is pinned\nRemoved the mark of c" in run("backups", "pin", "K", "--env", "production").stdout
    run("backups", "unpin", "K", "--env", "production")
    assert function.sent == [{"pin": "K"}, {"unpin": "K"}]


def test_an_environment_without_a_retention_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    made = cloud()
    made.settings = LOCAL.model_copy(
        update={"backups": LOCAL.backups.model_copy(update={"retention": None, "tables": []})}
    )
    monkeypatch.setattr(Cloud, "of", lambda _: made)
    for command in (["prune"], ["pin", "K"]):
        result = run("backups", *command)
        assert result.exit_code == Exit.FAILED
        assert "set [backups.retention] in environments/local.toml" in result.stderr


def test_a_table_without_a_retention_is_refused(function: Lambda) -> None:
    result = run("backups", "prune", "--table", "other", "--env", "production")
    assert "other has no retention in production; tables with one: studentData" in result.stderr
