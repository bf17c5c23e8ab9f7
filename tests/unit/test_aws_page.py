"""docs/aws.md has a row for each type of resource and each operation of AWS's that the project uses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import botocore.session
import pytest
from botocore import xform_name

from infra.settings import load_all
from ops.console import ROOT
from tests.conftest import Stacks

_PAGE = ROOT / "docs" / "aws.md"
_PROGRAMS = ("rollbook", "handlers", "ops", "infra/emulator")
_CLIENTS = re.compile(r"""client\(\s*(?:settings, )?["']([a-z0-9-]+)["']""")


@cache
def operations() -> dict[str, set[str]]:
    """Return the services that have an operation, by its name in boto3, of the services that the programs use."""
    session = botocore.session.get_session()
    known = set(session.get_available_services())
    found: dict[str, set[str]] = {}
    services = {name for source in _sources() for name in _CLIENTS.findall(source)} & known
    # Finders name their services in a table.
    services |= {node.value for tree in _trees() for node in ast.walk(tree) if _is_text(node)} & known
    for service in services:
        for operation in session.get_service_model(service).operation_names:
            found.setdefault(xform_name(operation), set()).add(service)
    return found


def _sources() -> Iterator[str]:
    for program in _PROGRAMS[:2]:
        for path in sorted((ROOT / program).rglob("*.py")):
            yield path.read_text("utf-8")


def _trees() -> Iterator[ast.Module]:
    return map(ast.parse, _sources())


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def called() -> set[str]:
    """Return the operations that the programs call, as methods or, in tables, by name."""
    names: set[str] = set()
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif _is_text(node):
                names.add(node.value)  # type: ignore[attr-defined]
    return names & operations().keys()


def rows() -> dict[str, list[str]]:
    """Return the rows of the page by the text in backticks in their first cell."""
    found = {}
    for line in _PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            found[cells[0].strip("`")] = cells
    return found


def test_every_type_of_resource_has_a_row(stacks: Stacks) -> None:
    stacks_of_all = [stacks.json(name) for settings in load_all() for name in settings.stack_names]
    types = {kind for stack in stacks_of_all for kind in stack["resource"]}
    assert sorted(types - rows().keys()) == []


def test_every_operation_has_a_row() -> None:
    known = {row.partition(".")[2] for row in rows() if "." in row}
    assert sorted(called() - known) == []


def test_every_row_is_of_an_operation_or_a_resource_that_there_is() -> None:
    session = botocore.session.get_session()
    for row in rows():
        service, _, operation = row.partition(".")
        if operation:
            names = session.get_service_model(service).operation_names
            assert operation in map(xform_name, names), row


@pytest.mark.parametrize("row", rows().values() if _PAGE.exists() else [], ids=lambda row: row[0])
def test_a_row_says_what_was_checked_and_by_which_source(row: list[str]) -> None:
    assert len(row) == 3, "three columns: what, checked, source"
    assert all(len(cell) > 3 for cell in row), row
