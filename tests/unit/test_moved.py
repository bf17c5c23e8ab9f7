"""No test is lost: each one of commit 30e687b is still there, or tests/moved/moved.toml says where it is now."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections import Counter
from typing import Any

import pytest

from ops.console import ROOT
from tests import inventory

MOVED = ROOT / "tests" / "moved"


def lost(before: Counter[str], now: Counter[str], moves: dict[str, Any]) -> list[str]:
    """The functions that are gone, or make fewer tests, without a word about it."""
    faults = []
    for name, count in before.items():
        places = moves["moved"].get(name, [name])
        missing = [place for place in places if not now[place]]
        if missing:
            faults.append(f"{name}: {', '.join(missing)} is not collected")
        elif sum(now[place] for place in places) < count and name not in moves["fewer"]:
            faults.append(f"{name}: {count} tests became {sum(now[place] for place in places)}")
    return faults


@pytest.fixture(scope="module")
def now(request: pytest.FixtureRequest) -> Counter[str]:
    """What is collected today: by this run, if it collected everything, else by a process of its own."""
    collected: Counter[str] = request.config.stash[inventory.COLLECTED]
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    if files <= {name.partition("::")[0] for name in collected}:
        return collected
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    return inventory.functions(line for line in done.stdout.splitlines() if line.startswith("tests/"))


def test_no_test_of_before_is_lost(now: Counter[str]) -> None:
    before = inventory.loads((MOVED / "30e687b.txt").read_text("utf-8"))
    assert before.total() == 2570
    faults = lost(before, now, tomllib.loads((MOVED / "moved.toml").read_text("utf-8")))
    assert not faults, "say in tests/moved/moved.toml where they are:\n" + "\n".join(faults)


@pytest.mark.parametrize(
    ("now", "moves", "faults"),
    [
        ({"a": 2, "b": 1}, {}, 0),
        ({"a": 3, "b": 1, "c": 1}, {}, 0),
        ({"a": 2}, {}, 1),
        ({"a": 1, "b": 1}, {}, 1),
        ({"a": 1, "b": 1}, {"fewer": {"a": "one of them was of a thing that is gone"}}, 0),
        ({"c": 1, "d": 1, "b": 1}, {"moved": {"a": ["c", "d"]}}, 0),
        ({"c": 2, "b": 1}, {"moved": {"a": ["c", "d"]}}, 1),
        ({"c": 1, "b": 1}, {"moved": {"a": ["c"]}}, 1),
    ],
)
def test_a_test_that_is_gone_is_noticed(now: dict[str, int], moves: dict[str, Any], faults: int) -> None:
    found = lost(Counter({"a": 2, "b": 1}), Counter(now), {"moved": {}, "fewer": {}} | moves)
    assert len(found) == faults, found
