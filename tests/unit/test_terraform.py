"""Find, download and configure Terraform; the server of the download is on the loopback interface."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops import terraform
from ops.failures import OperatorError
from tests.unit.server import QuietHandler, closed_address, serving

PROGRAM = b"#!/bin/sh\necho terraform\n"


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("LICENSE.txt", "")
        packed.writestr("terraform", PROGRAM)
    return buffer.getvalue()


class Releases:
    """A server of releases that sends what it is told to."""

    def __init__(self) -> None:
        self.url = ""
        self.body = archive()
        self.length: int | None = None
        self.asked: list[str] = []

    def handler(self) -> type[QuietHandler]:
        releases = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                releases.asked.append(self.path)
                self.answer(200, releases.body, releases.length)

        return Handler


@pytest.fixture
def releases() -> Iterator[Releases]:
    served = Releases()
    with serving(served.handler()) as address:
        served.url = f"{address}/terraform"
        yield served


def pins() -> dict[str, str]:
    return {terraform.this_platform(): hashlib.sha256(archive()).hexdigest()}


def test_a_good_archive_becomes_a_program(releases: Releases, tmp_path: Path) -> None:
    program = terraform.fetch(tmp_path, releases=releases.url, sha256=pins())
    assert program.read_bytes() == PROGRAM
    assert program.stat().st_mode & 0o111
    assert [path.name for path in tmp_path.iterdir()] == ["terraform"]
    name = f"terraform_{terraform.VERSION}_{terraform.this_platform()}.zip"
    assert releases.asked == [f"/terraform/{terraform.VERSION}/{name}"]


def test_an_archive_with_a_wrong_digest_is_deleted(releases: Releases, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"has the SHA-256 .*, not 0000.* Install Terraform 1\.11 or newer"):
        terraform.fetch(tmp_path, releases=releases.url, sha256={terraform.this_platform(): "0000"})
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_archive_is_deleted(releases: Releases, tmp_path: Path) -> None:
    releases.length = len(releases.body)
    releases.body = releases.body[:-20]
    with pytest.raises(OperatorError, match=r"cannot be downloaded .* Install Terraform"):
        terraform.fetch(tmp_path, releases=releases.url, sha256=pins())
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_server_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as refused:
        terraform.fetch(tmp_path, releases=closed_address(), sha256=pins())
    assert "cannot be downloaded" in str(refused.value)
    assert str(refused.value).endswith("Install Terraform 1.11 or newer and run this again.")
    assert "\n" not in str(refused.value)


def test_a_platform_without_an_archive_names_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"no pinned archive for .* Install Terraform"):
        terraform.fetch(tmp_path, sha256={})


def fake(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    program = folder / "terraform"
    program.write_text(f'#!/bin/sh\necho \'{{"terraform_version": "{version}"}}\'\n')
    program.chmod(0o755)
    return program


def test_a_new_terraform_on_the_path_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = fake(tmp_path / "bin", "1.12.1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert terraform.find() == program


def test_an_old_terraform_on_the_path_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "bin", "1.10.5")
    cached = fake(tmp_path / "cache" / terraform.VERSION, terraform.VERSION)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(terraform, "_CACHE", tmp_path / "cache")
    assert terraform.find() == cached


def test_the_provider_comes_from_a_mirror_if_there_is_one(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    (mirror / terraform.PROVIDER / "5.100.0").mkdir(parents=True)
    written = terraform.cli_configuration(tmp_path / "a", iter([tmp_path / "none", mirror])).read_text()
    assert f'path    = "{mirror}"' in written
    assert f'exclude = ["{terraform.PROVIDER}"]' in written
    without = terraform.cli_configuration(tmp_path / "b", iter([tmp_path / "none"])).read_text()
    assert "filesystem_mirror" not in without


def test_the_installed_provider_becomes_a_mirror(tmp_path: Path) -> None:
    kept, stack = tmp_path / "kept", tmp_path / "stack"
    assert terraform.keep_provider(kept, candidates=iter([tmp_path])) is True
    mirror = kept / ".terraform" / "providers"
    assert terraform.keep_provider(kept, candidates=iter([mirror])) is False
    stack.mkdir()
    for name in ("main.tf.json", ".terraform.lock.hcl"):
        shutil.copyfile(kept / name, stack / name)
    done = subprocess.run(
        [terraform.find(), "init", "-input=false", "-no-color", "-lockfile=readonly"],
        cwd=stack,
        env={
            **os.environ,
            "CHECKPOINT_DISABLE": "1",
            "TF_CLI_CONFIG_FILE": str(terraform.cli_configuration(tmp_path, iter([mirror]))),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (stack / ".terraform.lock.hcl").read_bytes() == terraform.LOCK.read_bytes()


def test_an_existing_configuration_of_the_user_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, ours = tmp_path / "own.rc", tmp_path / "ours.rc"
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(own))
    assert terraform.environment(ours)["TF_CLI_CONFIG_FILE"] == str(ours)
    own.write_text("")
    assert terraform.environment(ours)["TF_CLI_CONFIG_FILE"] == str(own)
