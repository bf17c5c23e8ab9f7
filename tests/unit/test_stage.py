"""Workers say what they want, and one alone uses the applied stack."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ops.console import ROOT
from tests.scheduling import Scheduling
from tests.stage import LOCAL, SYNTH, Stage


def test_what_any_worker_wants_is_wanted(tmp_path: Path) -> None:
    Stage(tmp_path).want({SYNTH}, [], "gw0")
    Stage(tmp_path).want({SYNTH, LOCAL}, ["tests/local/test_x.py::test_a"], "gw1")
    assert Stage(tmp_path).wanted() == {SYNTH, LOCAL}
    assert Stage(tmp_path).of_local() == {"tests/local/test_x.py::test_a"}


def test_a_second_worker_is_refused_the_applied_stack(tmp_path: Path) -> None:
    Stage(tmp_path).claim(LOCAL, "gw0")
    with pytest.raises(RuntimeError, match="gw0 uses local already"):
        Stage(tmp_path).claim(LOCAL, "gw1")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_a_run_that_is_told_to_end_leaves_nothing(tmp_path: Path, workers: tuple[str, ...]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *workers, "tests/synth/test_addresses.py"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
    ) as run:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("rollbook-*/cdktf.out")):
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        while run.poll() is None:  # as one who is impatient
            assert time.monotonic() < deadline
            run.send_signal(signal.SIGTERM)
            time.sleep(0.2)
    assert run.returncode != 0
    assert list(tmp_path.glob("rollbook-*")) == []


def test_what_failed_in_the_controller_fails_in_the_worker(tmp_path: Path) -> None:
    (tmp_path / "synth.json").write_text('{"error": "synth: AssertionError: no Node"}')
    with pytest.raises(RuntimeError, match="no Node"):
        Stage(tmp_path).result(SYNTH)


def test_the_tests_of_the_applied_stack_are_one_group(
    tmp_path: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pytestconfig.option, "loadscopereorder", True, raising=False)
    monkeypatch.setattr(pytestconfig.option, "tx", ["2*popen"], raising=False)
    stage = Stage(tmp_path)
    stage.want({LOCAL}, ["tests/local/test_x.py::test_a[::]", "tests/browser/test_y.py::test_b"], "gw0")
    scheduling = Scheduling(pytestconfig, None, stage)
    scheduling._of_local = stage.of_local()
    ids = ("tests/local/test_x.py::test_a[::]", "tests/browser/test_y.py::test_b", "tests/local/test_x.py::test_c[::]")
    assert [scheduling._split_scope(id_) for id_ in ids] == [LOCAL, LOCAL, "tests/local/test_x.py"]
