"""Builds the functions' zips. They are small and have the same bytes on every machine.

A zip contains only the modules that its handler imports, directly or indirectly. The docstrings of this project's
modules are removed. boto3 is in Lambda's runtime (docs/decisions/0003). The files are not compressed, because versions
of zlib write different bytes.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_CACHE = ROOT / ".cache"
_LOCK = ROOT / "Pipfile.lock"
_SECTION = "lambda-packages"
# The packages of this project whose modules a zip may contain.
PACKAGES = ("handlers", "rollbook")
# The earliest date that a zip can represent. The current date would change the bytes.
_DATE = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o100644 << 16
_UNIX = 3
# The type number of a package in ModuleFinder, which the module `imp` defined.
_PACKAGE = 5
# The C libraries of the runtimes: Amazon Linux 2 (python3.11) has glibc 2.26, Amazon Linux 2023 has 2.34
# (Lambda Developer Guide, "Lambda runtimes"). A wheel built for an older version runs on a newer one.
_GLIBC = {"python3.11": 26}
_GLIBC_AL2023 = 34
# Packages that a function never imports: what they are imported for is only checked by type checkers, or belongs to a
# function that nothing here calls. They are a third of a zip.
_LEFT_OUT = (
    "aws_lambda_powertools.event_handler",
    "aws_lambda_powertools.utilities.data_classes",
    "backports.zstd._cffi",
    "backports.zstd.tarfile",
    "backports.zstd.zipfile",
)
_MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}


class ZipError(RuntimeError):
    """A zip cannot be built. The message says what to do."""


@dataclass(frozen=True)
class Target:
    """The runtime for which a zip is built.

    Arguments:
        runtime: Lambda's name for it, such as `python3.13`.
        architecture: `arm64` or `x86_64`.
        native: whether it is built for a process of this machine instead of Lambda.
    """

    runtime: str
    architecture: str
    native: bool = False

    def pip_options(self) -> list[str]:
        """Return pip's options that select the wheels for this target."""
        if self.native:
            return []
        machine = _MACHINES[self.architecture]
        newest = _GLIBC.get(self.runtime, _GLIBC_AL2023)
        tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 16, -1)] + [f"manylinux2014_{machine}"]
        version = self.runtime.removeprefix("python")
        options = [option for tag in tags for option in ("--platform", tag)]
        return [*options, "--implementation", "cp", "--python-version", version]


@dataclass(frozen=True)
class Archive:
    """A zip on disk and the SHA-256 of its bytes."""

    path: Path
    sha256: bytes

    @property
    def hexadecimal(self) -> str:
        """Return the digest in hexadecimal, for file names."""
        return self.sha256.hex()

    @property
    def base64(self) -> str:
        """Return the digest in Base64, for Lambda and `source_code_hash`."""
        return base64.b64encode(self.sha256).decode()


def build(entry: str, target: Target, root: Path = ROOT) -> Archive:
    """Build the zip of one handler, or return the cached zip if its contents have not changed.

    Arguments:
        entry: `package.module.function`. The imports of this module are followed.
        target: the runtime for which it is built.
        root: the folder of this project's packages.

    Raises:
        ZipError: a locked package has no wheel for the target or cannot be downloaded.
    """
    module = entry.rpartition(".")[0]
    packages = vendor(target)
    key = _key(module, target, root)
    path = _CACHE / "zips" / key[:32] / f"{module}.zip"
    if not path.exists():
        _write(path, _reachable(module, root, packages))
    return Archive(path, hashlib.sha256(path.read_bytes()).digest())


def vendor(target: Target) -> Path:
    """Return the folder of the locked `[lambda-packages]` for a target. The first call installs them.

    Raises:
        ZipError: see `build`.
    """
    requirements = _requirements()
    options = target.pip_options()
    key = hashlib.sha256("\n".join([requirements, *options, sys.version if target.native else ""]).encode()).hexdigest()
    folder = _CACHE / "lambda-packages" / f"{target.runtime}-{target.architecture}-{key[:16]}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        listing = Path(temporary, "requirements.txt")
        listing.write_text(requirements)
        staged = Path(temporary, "packages")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-compile", "--only-binary=:all:", "--require-hashes", "--requirement", str(listing)]
        command += ["--target", str(staged), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ZipError(
                f"the packages of [{_SECTION}] for {target.runtime} on {target.architecture} could not be installed; "
                f"check the network and Pipfile.lock. pip's message:\n{done.stderr.strip()}"
            )
        try:
            staged.rename(folder)
        except OSError:
            if not folder.exists():  # if it exists, another process has installed the same packages
                raise
    return folder


def _requirements() -> str:
    section = json.loads(_LOCK.read_text("utf-8"))[_SECTION]
    return "".join(
        " ".join([name + package["version"], *(f"--hash={value}" for value in package["hashes"])]) + "\n"
        for name, package in sorted(section.items())
    )


def _key(module: str, target: Target, root: Path) -> str:
    digest = hashlib.sha256(repr((module, target, _requirements())).encode())
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


class _Finder(ModuleFinder):
    """A ModuleFinder that supports namespace packages (PEP 420).

    Arguments:
        packages: the folder whose subfolders without an `__init__` are namespace packages.
    """

    def __init__(self, root: Path, packages: Path) -> None:
        super().__init__(path=[str(root), str(packages)], excludes=_LEFT_OUT)
        self._packages = packages

    def find_module(self, name: str, path: Any, parent: Any = None) -> Any:
        folder = self._packages / name
        if path is None and folder.is_dir() and not any(folder.glob("__init__.*")):
            return None, str(folder), ("", "", _PACKAGE)
        return super().find_module(name, path, parent)

    def load_package(self, fqname: str, pathname: str) -> Any:
        if any(Path(pathname).glob("__init__.*")):
            return super().load_package(fqname, pathname)
        module = self.add_module(fqname)
        vars(module)["__path__"] = [pathname]
        return module


def _reachable(module: str, root: Path, packages: Path) -> dict[str, Path]:
    """Return the files that a module imports directly or indirectly, by their name in the zip."""
    finder = _Finder(root, packages)
    finder.import_hook(module)
    files: dict[str, Path] = {}
    for name in finder.modules:
        path: str | None = vars(finder.modules[name])["__file__"]
        if path is None:
            continue
        source = Path(path)
        for base in (packages, *(root / package for package in PACKAGES)):
            if source.is_relative_to(base):
                top = packages if base == packages else root
                files[source.relative_to(top).as_posix()] = source
    for folder in {source.parent for source in files.values() if source.is_relative_to(packages)}:
        # The names of compiled modules contain the target's platform, so this machine's import system ignores them.
        files.update({library.relative_to(packages).as_posix(): library for library in folder.glob("*.so")})
    return files


def _without_docstrings(source: bytes) -> bytes:
    """Remove the docstrings of a module. Their lines remain, so tracebacks have the source's line numbers."""
    lines = source.split(b"\n")
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) or ast.get_docstring(node) is None:
            continue
        first, last = node.body[0].lineno - 1, (node.body[0].end_lineno or 0) - 1
        placeholder = lines[first][: node.body[0].col_offset] + b'""' if len(node.body) == 1 else b""
        lines[first : last + 1] = [placeholder, *[b""] * (last - first)]
    return b"\n".join(lines)


def _write(path: Path, files: dict[str, Path]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unfinished = Path(folder, path.name)
        with zipfile.ZipFile(unfinished, "w") as archive:
            for name in sorted(files):
                member = zipfile.ZipInfo(name, _DATE)
                member.create_system = _UNIX
                member.external_attr = _FILE_MODE
                source = files[name].read_bytes()
                is_ours = name.startswith(tuple(f"{package}/" for package in PACKAGES))
                archive.writestr(member, _without_docstrings(source) if is_ours else source)
        os.replace(unfinished, path)
