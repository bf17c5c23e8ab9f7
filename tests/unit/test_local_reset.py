"""A reset forgets the embedded AWS, and nothing of a real account."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops import local


def test_a_reset_keeps_the_preflights_of_real_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "FOLDER", tmp_path / ".local")
    monkeypatch.setattr(local, "STATE", tmp_path / "terraform.local.tfstate")
    for name in ("preflight/local.json", "preflight/production.json", "state/sqs.json", "emulator.log"):
        path = local.FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    local.STATE.write_text("{}")
    assert CliRunner().invoke(local.app, ["reset", "--yes"]).exit_code == 0
    assert [path.name for path in local.FOLDER.rglob("*") if path.is_file()] == ["production.json"]
    assert not local.STATE.exists()
    assert not local.Emulator(local.FOLDER).has_state
