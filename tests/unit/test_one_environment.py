"""A command about one environment synthesizes that one."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from typer.testing import CliRunner

from ops import plan, synth
from ops.__main__ import app


@pytest.mark.parametrize(
    "line",
    [
        "plan --env production",
        "guard --env production",
        "drift --env production",
        "adopt --env production",
        "preflight --env production",
    ],
)
def test_a_command_synthesizes_the_environment_that_it_is_about(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        started.append(command)
        return subprocess.CompletedProcess(command, 1, "", "stopped by this test")

    monkeypatch.setattr(plan, "_note_preflight", lambda _: None)  # it asks AWS which account this is
    monkeypatch.setattr(synth.subprocess, "run", run)
    done = CliRunner().invoke(app, line.split())
    assert done.exit_code == 1
    assert "stopped by this test" in done.stderr
    assert [command[1:] for command in started] == [["main.py", "production"]]
