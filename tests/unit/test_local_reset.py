"""A reset deletes the embedded AWS, and no record of a real account."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.local import command, emulator, stack


def test_a_reset_keeps_the_preflights_of_real_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "FOLDER", tmp_path / ".local")
    monkeypatch.setattr(stack, "STATE", tmp_path / "terraform.local.tfstate")
    for name in ("preflight/local.json", "preflight/production.json", "state/sqs.json", "emulator.log"):
        path = emulator.FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    stack.STATE.write_text("{}")
    assert CliRunner().invoke(command.app, ["reset", "--yes"]).exit_code == 0
    assert [path.name for path in emulator.FOLDER.rglob("*") if path.is_file()] == ["production.json"]
    assert not stack.STATE.exists()
    assert not emulator.Emulator(emulator.FOLDER).has_state
