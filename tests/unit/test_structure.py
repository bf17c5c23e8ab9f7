"""The rooms: which may import which, how long a module may be, how many parameters a constructor may have."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from ops.console import ROOT

PROGRAMS = ("rollbook", "handlers", "infra", "ops", "docs", "bench")
SOURCES = [ROOT / "main.py", *(path for name in PROGRAMS for path in sorted((ROOT / name).rglob("*.py")))]
# Room: the rooms that it may import. The longest name that fits a module is its room.
MAY_IMPORT = {
    "rollbook": set(),
    "rollbook.contract": set(),
    "rollbook.messages": {"rollbook.contract"},
    "rollbook.engine": {"rollbook.contract", "rollbook.messages"},
    "rollbook.reports": {"rollbook.contract", "rollbook.messages", "rollbook.engine"},
    "handlers": {"rollbook.contract", "rollbook.messages", "rollbook.engine", "rollbook.reports"},
    "infra": {"rollbook.contract", "infra.constructs", "infra.settings", "infra.emulator"},
    "infra.constructs": {"infra.zips"},
    "infra.zips": set(),
    "infra.settings": {"rollbook.contract"},
    "infra.emulator": {"infra", "infra.settings", "infra.zips"},
    "ops": {"rollbook.contract", "rollbook.messages", "rollbook.engine", "rollbook.reports"}
    | {"infra", "infra.settings", "infra.constructs", "infra.emulator", "infra.zips"},
}
MOST_LINES, MOST_LINES_OF_THE_ENGINE, MOST_PARAMETERS = 350, 250, 7


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in SOURCES}


def imports_of(path: Path) -> Iterator[str]:
    """Every module of ours that a module imports, inside its functions too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else str(node.module) for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


GRAPH = {name: {found for found in imports_of(path) if found in MODULES} for name, path in MODULES.items()}


def room_of(module: str) -> str | None:
    fitting = [room for room in MAY_IMPORT if module == room or module.startswith(f"{room}.")]
    return max(fitting, key=len, default=None)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    allowed = {room, *MAY_IMPORT[room]}
    if room == "infra":
        allowed.add("infra.zips")
    wrong = [
        f"{module} imports {imported}"
        for module in MODULES
        if room_of(module) == room
        for imported in sorted(GRAPH[module])
        if room_of(imported) not in allowed
    ]
    assert wrong == []


def test_a_module_of_the_storage_imports_no_job_of_the_engine() -> None:
    """`formats`, `dynamodb` and `s3` are below the jobs; they share the fingerprints alone."""
    below = ("rollbook.engine.formats.", "rollbook.engine.dynamodb.", "rollbook.engine.s3.")
    wrong = [
        f"{module} imports {imported}"
        for module in MODULES
        if module.startswith(below)
        for imported in sorted(GRAPH[module])
        if imported.startswith("rollbook.engine.")
        and not imported.startswith(below)
        and imported != "rollbook.engine.fingerprints"
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as circle:
        pytest.fail(" ← ".join(circle.args[1]))


def test_the_engine_needs_neither_lambda_nor_terraform_nor_a_terminal() -> None:
    foreign = {"aws_lambda_powertools", "cdktf", "constructs", "typer", "rich", "pydantic"}
    for module, path in MODULES.items():
        if module.startswith("rollbook"):
            # powertools print the metrics in the form that CloudWatch reads from a log.
            known = {"aws_lambda_powertools"} if module == "rollbook.messages.metrics" else set()
            found = {name.partition(".")[0] for name in imports_of(path)} & foreign - known
            assert not found, f"{module} imports {found}"


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_a_module_is_short(path: Path) -> None:
    most = MOST_LINES_OF_THE_ENGINE if module_of(path).startswith("rollbook.engine") else MOST_LINES
    count = len(path.read_text("utf-8").splitlines())
    assert count <= most, f"{count} lines; at most {most}"


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_a_constructor_has_few_parameters(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            given = node.args
            count = len([*given.posonlyargs, *given.args, *given.kwonlyargs]) - 1
            assert count <= MOST_PARAMETERS, f"line {node.lineno}: {count} parameters in addition to self"
