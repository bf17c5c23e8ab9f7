"""The two tiers together are all tests, and CI runs both once."""

from __future__ import annotations

import re

from ops.console import ROOT
from tests.applied import FRESH
from tests.tiers import slow_beyond


def test_all_but_the_first_values_are_slow_and_none_is_left_out() -> None:
    first, *others = slow_beyond(1, range(3))
    assert first == 0
    assert [(each.values, [mark.name for mark in each.marks]) for each in others] == [
        ((1,), ["slow"]),
        ((2,), ["slow"]),
    ]
    assert slow_beyond(5, "ab") == ["a", "b"]


def test_each_target_runs_its_tier() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    selections = dict(re.findall(r"^tests-(\w+): SELECTION := (.+)$", makefile, re.MULTILINE))
    assert selections == {"quick": '-m "not slow"', "slow": "-m slow"}, "tests-all selects nothing, so it runs all"
    needs = dict(re.findall(r"^(test[a-z-]*): ([^#=]+?) ##", makefile, re.MULTILINE))
    assert needs == {"test": "check tests-quick", "test-slow": "tests-slow", "test-all": "check tests-all"}


def test_ci_runs_each_tier_once_on_a_stack_that_it_applies() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    [targets] = re.findall(r"^for target in (.+); do$", script, re.MULTILINE)
    assert targets == 'test "demo ONCE=1"'
    assert f"{FRESH}=1 make $target" in script
