from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from infra import zips
from infra.zips import ROOT, Target
from rollbook.contract import environment
from tests.tiers import slow_beyond
from tests.unit.engine import ENVIRONMENT

LAMBDA = Target("python3.13", "arm64")
_OF_BACKUPS = ("backup", "finish_export", "verify", "restore", "drill", "validate")
BACKUPS = [f"handlers.{name}.handler" for name in _OF_BACKUPS]
ENTRIES = [
    "handlers.students.get.handler",
    "handlers.students.insert.handler",
    "handlers.users.welcome.handler",
    "handlers.audit.alert.handler",
    "handlers.snapshots.copy.handler",
    "handlers.weekly_report.handler",
    "handlers.retention.handler",
    "handlers.check_backups.handler",
    *BACKUPS,
]

# Bytes of the zips for LAMBDA, rounded up to 10,000. Raise one only for a reason, which the commit names.
MOST_BYTES = {
    "handlers.audit.alert.handler": 1_070_000,
    "handlers.backup.handler": 3_240_000,
    "handlers.check_backups.handler": 3_190_000,
    "handlers.drill.handler": 3_250_000,
    "handlers.finish_export.handler": 3_190_000,
    "handlers.restore.handler": 3_250_000,
    "handlers.retention.handler": 3_210_000,
    "handlers.snapshots.copy.handler": 490_000,
    "handlers.students.get.handler": 1_070_000,
    "handlers.students.insert.handler": 1_080_000,
    "handlers.users.welcome.handler": 1_140_000,
    "handlers.validate.handler": 3_180_000,
    "handlers.verify.handler": 3_190_000,
    "handlers.weekly_report.handler": 1_120_000,
}


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The handlers in another folder, and a cache that has no zip yet."""
    for target in (LAMBDA, Target("python3.13", "x86_64")):
        vendored = zips.vendor(target)
        shutil.copytree(vendored, tmp_path / "cache" / "lambda-packages" / vendored.name)
    monkeypatch.setattr(zips, "_CACHE", tmp_path / "cache")
    for package in zips.PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / "elsewhere" / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "elsewhere"


# The first one of the API and the backup: the others go through the same lines.
@pytest.mark.parametrize(
    "entry", slow_beyond(2, sorted(ENTRIES, key=lambda entry: entry not in (ENTRIES[0], BACKUPS[0])))
)
def test_a_zip_is_the_same_after_touch_in_another_zone_and_folder(
    entry: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = zips.build(entry, LAMBDA).path.read_bytes()
    shutil.rmtree(zips._CACHE / "zips")
    for path in copy.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o700)
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        there = zips.build(entry, LAMBDA, copy).path.read_bytes()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert there == here


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES)
def test_a_zip_does_not_grow(entry: str) -> None:
    assert zips.build(entry, LAMBDA).path.stat().st_size <= MOST_BYTES[entry]


@pytest.mark.parametrize("entries", slow_beyond(1, (ENTRIES[:3], ENTRIES)), ids=len)
def test_a_change_to_one_handler_leaves_the_other_zips_alone(copy: Path, entries: list[str]) -> None:
    before = {entry: zips.build(entry, LAMBDA, copy) for entry in entries}
    with (copy / "handlers" / "students" / "get.py").open("a") as file:
        file.write("# changed\n")
    changed = {entry for entry in entries if zips.build(entry, LAMBDA, copy).sha256 != before[entry].sha256}
    assert changed == {"handlers.students.get.handler"}


def test_a_zip_holds_what_its_handler_reaches_and_nothing_else(copy: Path) -> None:
    names = zipfile.ZipFile(zips.build("handlers.students.get.handler", LAMBDA, copy).path).namelist()
    assert "handlers/students/get.py" in names
    assert "handlers/students/insert.py" not in names
    assert not [name for name in names if name.startswith(("boto", "infra", "rollbook/engine"))]
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".dist-info"))]


def test_our_modules_in_a_zip_are_the_sources_without_docstrings_line_by_line() -> None:
    with zipfile.ZipFile(zips.build("handlers.restore.handler", LAMBDA).path) as archive:
        ours = [name for name in archive.namelist() if name.startswith(zips.PACKAGES)]
        for name in ours:
            packed, source = archive.read(name).decode(), (ROOT / name).read_text("utf-8")
            assert len(packed.splitlines()) == len(source.splitlines()), name
            assert code_of(packed) == code_of(source), name
            assert not ast.get_docstring(ast.parse(packed)), name
    assert len(ours) > 20


def code_of(source: str) -> list[tuple[int, str]]:
    """The code of a module by line, without its docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return [
        (getattr(node, "lineno", 0), type(node).__name__) for node in ast.walk(tree) if not isinstance(node, ast.Pass)
    ]


@pytest.mark.parametrize(("architecture", "machine"), [("arm64", "aarch64"), ("x86_64", "x86_64")])
def test_compiled_modules_are_those_of_the_functions_python_and_processor(
    architecture: str, machine: str, copy: Path
) -> None:
    archive = zips.build("handlers.students.get.handler", Target("python3.13", architecture), copy)
    libraries = [name for name in zipfile.ZipFile(archive.path).namelist() if name.endswith(".so")]
    assert libraries == [f"msgspec/_core.cpython-313-{machine}-linux-gnu.so"]


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_handler_imports_from_its_zip_alone(entry: str, tmp_path: Path) -> None:
    """In an interpreter that has the zip and boto3, as Lambda's runtime does, and nothing else."""
    native = Target(f"python{sys.version_info.major}.{sys.version_info.minor}", "x86_64", native=True)
    zipfile.ZipFile(zips.build(entry, native).path).extractall(tmp_path / "task")
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    import boto3

    installed = Path(boto3.__file__).parent.parent
    for name in ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3"):
        (runtime / name).symlink_to(installed / name)
    module, _, function = entry.rpartition(".")
    program = (
        f"import sys; sys.path[:0] = [{str(tmp_path / 'task')!r}, {str(runtime)!r}]\n"
        f"from {module} import {function}\n"
        f"outside = [m for m in ('cdktf', 'infra', 'pydantic', 'rich') if m in sys.modules]\n"
        "assert not outside, outside\n"
    )
    if entry in BACKUPS:
        program += "from isal import isal_zlib\nfrom backports.zstd import ZstdCompressor\n"
    classes = [found for found in vars(environment).values() if is_dataclass(found)]
    variables = {field.name.upper(): "1" for each in classes for field in fields(each)}
    variables |= ENVIRONMENT.variables()
    variables |= {"RETAINED_TABLES": "{}", "HISTORY_DAYS": "1"}
    variables |= {"TIME_ZONE": "UTC", "AWS_DEFAULT_REGION": "us-east-1", "DESTINATION_REGION": "us-east-1"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_package_that_cannot_be_had_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(zips, "_CACHE", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(zips.ZipError, match=r"python3\.12 on arm64 could not be installed; check the network"):
        zips.build(ENTRIES[0], Target("python3.12", "arm64"))
    assert not list((tmp_path / "lambda-packages").iterdir())
