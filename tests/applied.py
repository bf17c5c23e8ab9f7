"""The local stack on the embedded AWS: applied once, kept between runs, and given to each run as a copy.

What is kept is the emulator's state and Terraform's, under a key of everything that an apply depends on. A copy is used
only while Terraform's plan against it is empty, so a wrong key costs time and never a result.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from infra.settings import ENVIRONMENTS, load
from ops import terraform
from ops.console import ROOT
from ops.failures import OperatorError
from ops.local.aws import open_links, prepare_account
from ops.local.emulator import Emulator
from ops.local.stack import terraform_in
from ops.terraform import Terraform
from tests.ports import free_port

KEPT = ROOT / ".cache" / "applied"
FRESH = "ROLLBOOK_FRESH"
STACK = "local"
# Enough for two branches between which one switches; each is some 30 MB.
_MOST_KEPT = 2
_STATE = "terraform.local.tfstate"
_PORT = "port"
# The emulator's process, how it is started, and what is done to the account before the apply.
_SOURCES = ("infra/emulator", "ops/local", "environments/local.toml", "terraform.lock.hcl", "Pipfile.lock")


def installed() -> dict[str, str]:
    """Return the versions of the programs that an apply depends on."""
    told = subprocess.run(
        [terraform.find(), "version", "-json"],
        env={**os.environ, "CHECKPOINT_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        "python": sys.version,
        "ministack": version("ministack"),
        "terraform": json.loads(told.stdout)["terraform_version"],
    }


class PortTaken(Exception):
    """What is kept cannot be used now."""


class NotAsApplied(Exception):
    """What is kept is not what an apply makes."""


@dataclass(frozen=True)
class Ingredients:
    """What an applied stack depends on.

    Arguments:
        synthesized: CDKTF's output folder, with the zips.
        root: the project.
        versions: of programs, by name.
    """

    synthesized: Path
    root: Path = ROOT
    versions: Mapping[str, str] = field(default_factory=installed)

    def files(self) -> Iterator[tuple[str, Path]]:
        """Yield the name and the path of every file, in order."""
        for name, top in (
            (STACK, self.synthesized / "stacks" / STACK),
            *((each, self.root / each) for each in _SOURCES),
        ):
            found = [top] if top.is_file() else sorted(_content(top))
            if not found:
                raise FileNotFoundError(f"there is no {name} to make the key of")
            yield from ((f"{name}/{path.relative_to(top).as_posix()}", path) for path in found)

    def key(self) -> str:
        """Return the name under which the applied stack is kept."""
        digest = hashlib.sha256(json.dumps(dict(self.versions), sort_keys=True).encode())
        for name, path in self.files():
            digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()[:32]


def _content(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        made_there = {"__pycache__", ".terraform", ".terraform-validate"} & set(path.parts)
        if path.is_file() and not made_there:
            yield path


def is_fresh() -> bool:
    """Return whether nothing that was kept may be used, as in `.ci/run`."""
    return bool(os.environ.get(FRESH))


def bring_up(folder: Path, synthesized: Path, kept: Path = KEPT) -> tuple[Emulator, Terraform, bool]:
    """Bring the local stack up in a folder: from what is kept, or by an apply.

    Returns its emulator, its Terraform, and whether a plan against it was seen to be empty.

    Arguments:
        folder: of this stack; Terraform's state lies in it, beside CDKTF's output folder.
        synthesized: CDKTF's output folder, in `folder`.
        kept: where applied stacks are kept.
    """
    place = None if is_fresh() else kept / Ingredients(synthesized).key()
    if place is not None and place.is_dir():
        try:
            return *restore(place, folder, synthesized), True
        except PortTaken:
            place = None  # by another run, which uses the same
        except NotAsApplied:
            shutil.rmtree(place)
    emulator = Emulator(folder / "emulator", free_port())
    emulator.start()
    try:
        stack = terraform_in(synthesized / "stacks" / STACK, emulator.port)
        stack.init()
        _prepare(emulator)
        stack.apply()
        open_links(emulator.port, load(ENVIRONMENTS / "local.toml").region)
        if place is not None:
            emulator.stop()  # which writes its state
            keep(place, emulator, folder / _STATE)
            emulator.start()
            _prepare(emulator)
    except BaseException:
        emulator.stop()
        raise
    return emulator, stack, False


def keep(place: Path, emulator: Emulator, state: Path) -> None:
    """Keep a stopped emulator's state and Terraform's, and forget the oldest of what was kept before."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as temporary:
        unfinished = Path(temporary, place.name)
        shutil.copytree(emulator.folder, unfinished / "emulator", ignore=shutil.ignore_patterns("*.log", "tmp"))
        shutil.copyfile(state, unfinished / _STATE)
        (unfinished / _PORT).write_text(str(emulator.port))
        if not place.exists():  # otherwise another run was faster
            unfinished.rename(place)
    others = [each for each in place.parent.iterdir() if (each / _PORT).is_file() and each != place]
    for old in sorted(others, key=lambda each: each.stat().st_mtime, reverse=True)[_MOST_KEPT - 1 :]:
        shutil.rmtree(old, ignore_errors=True)


def restore(place: Path, folder: Path, synthesized: Path) -> tuple[Emulator, Terraform]:
    """Start a copy of what was kept.

    Raises:
        PortTaken: another program has its port, which is part of the stack: the site's API origin has it.
        NotAsApplied: Terraform would change something, or cannot plan against it.
    """
    emulator = Emulator(folder / "emulator", int((place / _PORT).read_text()))
    shutil.copytree(place / "emulator", emulator.folder)
    shutil.copyfile(place / _STATE, folder / _STATE)
    try:
        emulator.start()
    except OperatorError:
        _remove(folder)
        raise PortTaken from None
    try:
        stack = terraform_in(synthesized / "stacks" / STACK, emulator.port)
        _prepare(emulator)
        stack.init()
        if stack.has_changes():
            raise NotAsApplied
    except BaseException as error:
        emulator.stop()
        _remove(folder)
        if isinstance(error, OperatorError):
            raise NotAsApplied from error
        raise
    return emulator, stack


def _remove(folder: Path) -> None:
    shutil.rmtree(folder / "emulator")
    (folder / _STATE).unlink()


def _prepare(emulator: Emulator) -> None:
    """Do what the emulator does not keep, too: the account's settings of AWS Backup are its process's alone."""
    prepare_account(emulator.port, load(ENVIRONMENTS / "local.toml"))
