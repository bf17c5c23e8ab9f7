"""`MarkExpiredBackups` as Lambda calls it, and the settings behind it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from infra.settings import ENVIRONMENTS, SettingsError, load
from rollbook.contract.retention import MARK, PIN, SMOKE, Policy, RetainedTable, Variables, to_text
from rollbook.engine import smoke
from tests.unit.aws import Context
from tests.unit.engine import JOB, PLACES, ZONE, Clock, Mail
from tests.unit.test_marking import days, tagged

NINE_TAGS = ", ".join(f'a{number} = "b"' for number in range(9))
TABLES = {"studentData": RetainedTable("studentData", JOB.key_prefix, Policy(keep_last=2))}


@pytest.fixture
def handler(aws: None, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    variables = Variables(
        s3_bucket_name=PLACES.s3_bucket_name,
        history_table_name=PLACES.history_table_name,
        history_days=400,
        time_zone=ZONE,
        retained_tables=to_text(TABLES),
    ).variables()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    sys.modules.pop("handlers.retention", None)
    return importlib.import_module("handlers.retention")


def test_a_completed_backup_marks_older_ones(handler: ModuleType, mail: Mail, clock: Clock) -> None:
    keys = days(3, mail, clock)
    event = {"source": "rollbook.backups", "detail": {"table": "studentData", "key": keys[2]}}
    answer = handler.handler(event, Context())
    assert answer == {"table": "studentData", "kept": 2, "marked": [keys[0]], "unmarked": []}
    assert tagged(keys[0]) == {MARK: "yes"}


def test_a_pin_and_an_unpin(handler: ModuleType, mail: Mail, clock: Clock) -> None:
    [key] = days(1, mail, clock)
    assert handler.handler({"pin": key}, Context()) == {"key": key, "isPinned": True, "unmarked": []}
    assert tagged(key) == {PIN: "yes"}
    assert handler.handler({"unpin": key}, Context())["isPinned"] is False
    assert tagged(key) == {}


@pytest.mark.parametrize("event", [{}, {"detail": {"table": "other"}}, {"pin": "other/key"}])
def test_another_table_is_refused_with_those_that_there_are(handler: ModuleType, event: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="there are: studentData"):
        handler.handler(event, Context())


def test_the_uploads_of_smoke_tests_are_known_by_their_keys() -> None:
    assert smoke.key(JOB.key_prefix, "x").startswith(f"{JOB.key_prefix}{SMOKE}")


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("noncurrent_expire_days = 90", "noncurrent_expire_days = 13", "a mark can be undone only for that time"),
        ("keep_last = 7", "keep_last = 0", "greater than or equal to 1"),
        ('replicate_to = "ap-northeast-1"\n\n#', "\n#", "expire_after_days has no effect with retention"),
        (
            "expire_after_days = 730",
            f"expire_after_days = 730\ntags = {{ {NINE_TAGS} }}",
            "9 tags are too many; S3 accepts 10 on an object",
        ),
        (
            "expire_after_days = 730",
            f'expire_after_days = 730\ntags = {{ {MARK} = "yes" }}',
            f"the tag {MARK} is reserved for the retention",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_with_the_reason(
    before: str, after: str, fault: str, tmp_path: Path
) -> None:
    text = (ENVIRONMENTS / "production.toml").read_text("utf-8")
    assert before in text
    path = tmp_path / "production.toml"
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(SettingsError, match=fault):
        load(path)


def test_too_many_retentions_for_the_variables_of_a_function_are_refused(tmp_path: Path) -> None:
    text = (ENVIRONMENTS / "production.toml").read_text("utf-8")
    more = "".join(
        f'[[backups.tables]]\ntable_name = "table-number-{n}"\nfrequency = "daily"\nretention = {{ keep_last = 1 }}\n'
        for n in range(90)
    )
    path = tmp_path / "production.toml"
    path.write_text(text + "\n" + more)
    with pytest.raises(SettingsError, match="the retentions of 91 tables have"):
        load(path)


def test_the_days_until_expiry_are_no_reason_for_the_absence_of_a_retained_backup() -> None:
    """With a retention, `expire_after_days` is of the copies alone; the check of the backups must not rely on it."""
    retained = [plan for plan in load(ENVIRONMENTS / "production.toml").backed_up_tables if plan.retained]
    assert retained
    assert {plan.job.expire_after_days for plan in retained} == {0}
    [by_age] = load(ENVIRONMENTS / "workshop.toml").backed_up_tables
    assert by_age.job.expire_after_days == by_age.options.expire_after_days > 0
