"""The synthesized stacks as files that are reviewed. `python -m tests.synth.reviewed` writes them: `make accept`.

`golden/<stack>/<resource type>.json` has the resources of a type, `golden/<stack>/stack.json` all the rest: providers,
data, outputs, variables and the backend. A text that is JSON, such as a policy, is written as JSON under `(json)`.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.settings import load_all
from ops.console import ROOT

GOLDEN = Path(__file__).parent / "golden"
STACKS = [name for settings in load_all() for name in settings.stack_names]
REST = "stack"
COMMAND = "make accept"
_DIFF_LINES = 40
_SHA256_BASE64 = r"[A-Za-z0-9+/]{43}="
_SHA256_HEX = r"[0-9a-f]{64}"

# What is not compared, and why: (stack, resource type, attribute), the form that is replaced, what is written instead.
_CODE = "it changes with every line of code; tests/synth/values/functions.py holds that it is the hash of the zip"
_MACHINE = "the local functions run with the Python and the processor of the machine that synthesizes"
NORMALISED = (
    ("*", "aws_lambda_function", "source_code_hash", rf"^{_SHA256_BASE64}$", "(hash)", _CODE),
    ("*", "aws_lambda_function", "filename", rf"(?<=/){_SHA256_HEX}(?=/)", "(hash)", _CODE),
    ("*", "aws_s3_object", "source_hash", rf"^{_SHA256_HEX}$", "(hash)", "the site's files are reviewed in site/"),
    ("*", "aws_s3_object", "source", rf"(?<=/){_SHA256_HEX}(?=/)", "(hash)", "the site's files are reviewed in site/"),
    ("local", "aws_lambda_function", "runtime", r"^python3\.\d+$", "(this machine's)", _MACHINE),
    ("local", "aws_lambda_function", "architectures", r"^(arm64|x86_64)$", "(this machine's)", _MACHINE),
)


def files_of(name: str, stack: dict[str, Any]) -> dict[str, str]:
    """Return the texts of a stack's files by the names of the files."""
    parts = {kind: _normalised(name, kind, resources) for kind, resources in stack["resource"].items()}
    rest = {part: value for part, value in stack.items() if part != "resource"}
    return {
        f"{file}.json": json.dumps(_readable(part), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        for file, part in (parts | {REST: rest}).items()
    }


def differences(name: str, stack: dict[str, Any], folder: Path = GOLDEN) -> str:
    """Return how a stack differs from its files as a short diff with the command that accepts it; "" if it does not."""
    new = files_of(name, stack)
    old = {path.name: path.read_text("utf-8") for path in (folder / name).glob("*")}
    lines = [
        line
        for file in sorted(old.keys() | new.keys())
        if old.get(file) != new.get(file)
        for line in _diff(f"{name}/{file}", old.get(file, ""), new.get(file, ""))
    ]
    if not lines:
        return ""
    more = len(lines) - _DIFF_LINES
    shown = lines[:_DIFF_LINES] + ([f"… and {more} more lines"] if more > 0 else [])
    return "\n".join([f"{name}: the synthesized stack is not the reviewed one.", *shown, f"If it is meant: {COMMAND}"])


def write(name: str, stack: dict[str, Any], folder: Path = GOLDEN) -> None:
    """Write a stack's files, and remove those that it no longer has."""
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).mkdir(parents=True)
    for file, text in files_of(name, stack).items():
        (folder / name / file).write_text(text, "utf-8")


def _diff(title: str, old: str, new: str) -> Iterator[str]:
    before, after = old.splitlines(), new.splitlines()
    changes = difflib.unified_diff(before, after, f"reviewed/{title}", f"synthesized/{title}", n=2, lineterm="")
    yield from (line[:200] for line in changes)


def _normalised(name: str, kind: str, resources: dict[str, Any]) -> dict[str, Any]:
    rules = [
        (attribute, re.compile(form), instead)
        for stack, of_kind, attribute, form, instead, _ in NORMALISED
        if stack in ("*", name) and of_kind == kind
    ]
    found = {}
    for address, resource in resources.items():
        found[address] = dict(resource)
        for attribute, form, instead in rules:
            if attribute in resource:
                found[address][attribute] = _replaced(resource[attribute], form, instead)
    return found


def _replaced(value: Any, form: re.Pattern[str], instead: str) -> Any:
    if isinstance(value, list):
        return [_replaced(inner, form, instead) for inner in value]
    return form.sub(instead, value) if isinstance(value, str) else value


def _readable(value: Any) -> Any:
    """Return a value with its JSON texts as JSON, where the text can be had back from it."""
    if isinstance(value, dict):
        return {name: _readable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_readable(inner) for inner in value]
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            inner = json.loads(value)
        except ValueError:
            return value
        if json.dumps(inner) == value:
            return {"(json)": inner}
    return value


def main() -> None:
    """Synthesize, and write the files of every stack."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "main.py"], cwd=ROOT, env={**os.environ, "CDKTF_OUTDIR": folder}, check=True)
        for old in GOLDEN.glob("*"):
            if old.name not in STACKS:
                shutil.rmtree(old)
        for name in STACKS:
            write(name, json.loads(Path(folder, "stacks", name, "cdk.tf.json").read_text()))


if __name__ == "__main__":
    main()
