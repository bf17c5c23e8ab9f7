"""The applied stack is kept under a key of everything that it depends on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.console import ROOT
from tests.applied import Ingredients
from tests.conftest import Stacks

VERSIONS = {"python": "3.11", "ministack": "1", "terraform": "1.11"}
CHANGED = (
    "cdktf.out/stacks/local/cdk.tf.json",
    "cdktf.out/stacks/local/assets/*/*/*.zip",
    "cdktf.out/stacks/local/assets/site_*/*/*",
    "project/infra/emulator/server.py",
    "project/ops/local/stack.py",
    "project/environments/local.toml",
    "project/terraform.lock.hcl",
    "project/Pipfile.lock",
)


@pytest.fixture(scope="module")
def copied(stacks: Stacks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("ingredients")
    shutil.copytree(
        stacks.path("local"),
        folder / "cdktf.out" / "stacks" / "local",
        ignore=shutil.ignore_patterns(".terraform*"),
    )
    for name in ("infra/emulator", "ops", "environments"):
        shutil.copytree(ROOT / name, folder / "project" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("terraform.lock.hcl", "Pipfile.lock"):
        shutil.copyfile(ROOT / name, folder / "project" / name)
    yield folder
    shutil.rmtree(folder)


def key(folder: Path, **versions: str) -> str:
    return Ingredients(folder / "cdktf.out", folder / "project", VERSIONS | versions).key()


@pytest.mark.parametrize("name", CHANGED)
def test_another_byte_is_another_key(copied: Path, name: str) -> None:
    before = key(copied)
    path = sorted(copied.glob(name))[0]
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    try:
        assert key(copied) != before
    finally:
        path.write_bytes(content)
    assert key(copied) == before


def test_a_file_more_or_under_another_name_is_another_key(copied: Path) -> None:
    before = key(copied)
    module = copied / "project" / "infra" / "emulator" / "paths.py"
    renamed = module.rename(module.with_name("paths_of_another_name.py"))
    try:
        assert key(copied) != before
    finally:
        renamed.rename(module)
    extra = module.with_name("extra.py")
    extra.touch()
    try:
        assert key(copied) != before
    finally:
        extra.unlink()
    assert key(copied) == before


@pytest.mark.parametrize("name", VERSIONS)
def test_another_version_is_another_key(copied: Path, name: str) -> None:
    assert key(copied, **{name: "2"}) != key(copied)


def test_what_terraform_and_python_leave_beside_it_is_not_part_of_the_key(copied: Path) -> None:
    before = key(copied)
    for path in ("cdktf.out/stacks/local/.terraform/x", "project/infra/emulator/__pycache__/x.pyc"):
        (copied / path).parent.mkdir()
        (copied / path).touch()
    assert key(copied) == before


def test_the_versions_are_those_of_this_machine(stacks: Stacks) -> None:
    assert set(Ingredients(stacks.folder).versions) == set(VERSIONS)
    assert all(Ingredients(stacks.folder).versions.values())
