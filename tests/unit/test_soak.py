"""The soak's short run, and that its tables are those of the settings and of the stack."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
from pydantic import ValidationError

from infra.settings.backups import TableBackups
from rollbook.contract.jobs import Compression, Engine, ExportType, Format
from rollbook.contract.retention import MARK, Policy
from tests.conftest import Stacks
from tests.lifecycle_rules import api_rules
from tests.soak import histories
from tests.soak.combinations import VALID, Combination
from tests.soak.school import rules_of


def is_accepted(combination: Combination) -> bool:
    try:
        TableBackups(**combination._asdict())
    except ValidationError:
        return False
    return True


def test_the_combinations_are_those_that_the_settings_accept() -> None:
    every = itertools.product(*map(get_args, (Engine, Format, Compression, ExportType)))
    assert {each for each in itertools.starmap(Combination, every) if is_accepted(each)} == set(VALID)


def test_a_short_history_has_no_difference() -> None:
    before = histories.COUNTS["steps"]
    histories.live(1, histories=1, steps=15)
    assert histories.COUNTS["steps"] > before


@pytest.mark.slow
def test_a_difference_is_found_and_its_history_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rollbook.engine.notifier.Notifier.completed", lambda *_: None)
    monkeypatch.setattr(histories, "SHORTENING_SECONDS", 1)
    with pytest.raises(AssertionError) as caught:
        histories.live(1, histories=1, steps=3)
    assert "was not announced" in str(caught.value)
    assert any("state.open(" in note for note in caught.value.__notes__)


def _shape(rule: dict[str, object]) -> set[str]:
    return {*rule} - {"ID", "Transitions", "AbortIncompleteMultipartUpload"}


@pytest.mark.parametrize(
    ("environment", "policy"), [("production", Policy(keep_last=1)), ("workshop", None)], ids=["retention", "by age"]
)
def test_the_lifecycle_is_that_of_the_stack(stacks: Stacks, environment: str, policy: Policy | None) -> None:
    [configured] = [
        each
        for key, each in stacks.resources(environment, "aws_s3_bucket_lifecycle_configuration").items()
        if key.startswith("store_")
    ]
    of_stack = [rule for rule in api_rules(configured["rule"]) if "smoke" not in str(rule["ID"])]
    wanted = sorted((sorted(_shape(rule)), MARK in str(rule)) for rule in of_stack)
    assert sorted((sorted(_shape(rule)), MARK in str(rule)) for rule in rules_of(policy))[:2] == wanted[:2]
