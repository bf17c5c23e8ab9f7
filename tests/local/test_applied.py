"""What is kept of an applied stack is used only while it is what Terraform would apply."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.local import aws
from ops.local.emulator import Emulator
from ops.terraform import Terraform
from tests import applied
from tests.conftest import Stacks

ROLE = "aws_iam_role"
Write = Callable[[str, str], Path]


@pytest.fixture
def write(stacks: Stacks, tmp_path: Path) -> Write:
    """Writes a small local stack, a role with a description, into the folder of a run."""

    def write(run: str, description: str) -> Path:
        document: dict[str, Any] = stacks.json("local")
        trust = {"Version": "2012-10-17", "Statement": []}
        role = {"name": "kept", "description": description, "assume_role_policy": json.dumps(trust)}
        small = {name: document[name] for name in ("provider", "terraform", "variable")}
        folder = tmp_path / run / "cdktf.out" / "stacks" / "local"
        folder.mkdir(parents=True)
        (folder / "cdk.tf.json").write_text(json.dumps(small | {"resource": {ROLE: {"role": role}}}))
        shutil.copyfile(stacks.path("local") / ".terraform.lock.hcl", folder / ".terraform.lock.hcl")
        return tmp_path / run

    return write


@pytest.fixture
def bring_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], tuple[str, int]]]:
    """Brings a run's stack up and returns the role's description, and how often Terraform applied."""
    applies: list[Path] = []
    real = Terraform.apply
    started: list[Emulator] = []

    def apply(stack: Terraform, plan: Path | None = None) -> int:
        applies.append(stack.folder)
        return real(stack, plan)

    def bring_up(run: Path) -> tuple[str, int]:
        before = len(applies)
        emulator, _, _ = applied.bring_up(run, run / "cdktf.out", tmp_path / "kept")
        started.append(emulator)
        role = aws.client("iam", emulator.port, "ap-southeast-1").get_role(RoleName="kept")["Role"]
        emulator.stop()
        return role["Description"], len(applies) - before

    monkeypatch.setattr(Terraform, "apply", apply)
    monkeypatch.delenv(applied.FRESH, raising=False)
    yield bring_up
    for emulator in started:
        emulator.stop()


@pytest.mark.slow
def test_what_is_kept_is_used_once_more_and_refused_if_it_is_of_another_stack(
    write: Write, bring_up: Callable[[Path], tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bring_up(write("first", "one")) == ("one", 1)
    [place] = (tmp_path / "kept").iterdir()
    assert bring_up(write("again", "one")) == ("one", 0)

    other = write("other", "two")
    wrong = place.rename(place.with_name(applied.Ingredients(other / "cdktf.out").key()))
    assert bring_up(other) == ("two", 1), "the kept stack has the first description"
    assert wrong.is_dir(), "the right one is kept in its place"
    assert bring_up(write("other again", "two")) == ("two", 0)

    monkeypatch.setenv(applied.FRESH, "1")
    assert bring_up(write("fresh", "two")) == ("two", 1)
    monkeypatch.delenv(applied.FRESH)

    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", int((wrong / "port").read_text())))
        taken.listen()
        assert bring_up(write("taken", "two")) == ("two", 1)
    assert wrong.is_dir()
    assert bring_up(write("free again", "two")) == ("two", 0)
