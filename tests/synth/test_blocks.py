"""Blocks of resources are written with the generated classes, and none of them is synthesized empty.

jsii takes a plain dict for a struct, too. In a list it passes the dict on as it is, and drops each key that is in
snake_case: `condition=[{"string_equals": …}]` became an empty block.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.settings import ENVIRONMENTS, load, load_all
from infra.settings.vault import VaultSelection
from ops.console import ROOT
from tests.conftest import Stacks, synthesize, synthesize_settings

_PROVIDER = "cdktf_cdktf_provider_aws"
_FILES = sorted(path for path in (ROOT / "infra").rglob("*.py"))


def _provider_classes(tree: ast.Module) -> dict[str, type]:
    """Return the classes of the provider that a module imports, by the names that it gives them."""
    return {
        name.asname or name.name: getattr(importlib.import_module(node.module), name.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(_PROVIDER)
        for name in node.names
    }


def _is_struct(annotation: str) -> bool:
    # A map is annotated as Mapping; a struct as Union[<class>, Dict[str, Any]].
    return "Dict[str, typing.Any]" in annotation


def dicts_for_structs(tree: ast.Module) -> Iterator[str]:
    """Yield each argument that is written as a dict where the provider has a class for it."""
    classes = _provider_classes(tree)
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in classes):
            continue
        parameters = inspect.signature(vars(classes[call.func.id])["__init__"]).parameters
        for keyword in call.keywords:
            if keyword.arg not in parameters or not _is_struct(str(parameters[keyword.arg].annotation)):
                continue
            if any(isinstance(node, ast.Dict | ast.DictComp) for node in _shallow(keyword.value)):
                yield f"line {keyword.lineno}: {call.func.id}({keyword.arg}=…)"


def _shallow(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of an argument, but not what is inside of calls."""
    yield node
    if not isinstance(node, ast.Call):
        for child in ast.iter_child_nodes(node):
            yield from _shallow(child)


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_dict_is_written_for_a_block(path: Path) -> None:
    assert list(dicts_for_structs(ast.parse(path.read_text("utf-8")))) == [], "use the provider's class"


def test_a_dict_for_a_block_is_found() -> None:
    source = (
        "from cdktf_cdktf_provider_aws.backup_selection import BackupSelection as B\n"
        "B(self, 'x', condition=[{'string_equals': 1}], name='n', resources=['*'])\n"
        "B(self, 'y', condition=BackupSelectionCondition(string_equals={}))\n"
    )
    assert list(dicts_for_structs(ast.parse(source))) == ["line 2: B(condition=…)"]


def _empty(value: Any, path: str) -> Iterator[str]:
    if value == {}:
        yield path
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _empty(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _empty(inner, f"{path}[{number}]")


@pytest.mark.parametrize("name", [name for settings in load_all() for name in settings.stack_names])
def test_no_block_of_a_stack_is_empty(stacks: Stacks, name: str) -> None:
    resources = stacks.json(name)["resource"]
    assert [path for kind, named in resources.items() for path in _empty(named, kind)] == []


# Runs main.py and prints each list of blocks that holds a dict, wherever it was made.
_WATCHED = """
import json, runpy, jsii
found = set()
def walk(struct):
    for name, value in struct._values.items():
        for inner in value if isinstance(value, list | tuple) else [value]:
            if hasattr(inner, "_values"):
                walk(inner)
            elif isinstance(inner, dict) and isinstance(value, list | tuple):
                found.add(f"{type(struct).__name__}.{name}")
create = jsii.create
def watched(klass, obj, args=None):
    for argument in args or []:
        if hasattr(argument, "_values"):
            walk(argument)
    return create(klass, obj, args)
jsii.create = watched
runpy.run_path("main.py", run_name="__main__")
assert not found, sorted(found)
"""


@pytest.mark.slow
def test_no_list_of_blocks_holds_a_dict_at_synth(tmp_path: Path) -> None:
    synthesize(tmp_path, "-c", _WATCHED)


def test_a_selection_by_all_tags_selects_by_them_and_not_everything(tmp_path: Path) -> None:
    local = load(ENVIRONMENTS / "local.toml")
    selection = VaultSelection(name="Both", all_tags={"Project": "Rollbook", "backup": "daily"})
    vault = local.vault.model_copy(update={"selections": [selection]})
    stacks = synthesize_settings(local.model_copy(update={"vault": vault}), tmp_path)
    [made] = stacks.resources("local", "aws_backup_selection").values()
    assert made["resources"] == ["*"]
    assert made["condition"] == [
        {
            "string_equals": [
                {"key": "aws:ResourceTag/Project", "value": "Rollbook"},
                {"key": "aws:ResourceTag/backup", "value": "daily"},
            ]
        }
    ]


def test_the_controls_of_audit_manager_keep_their_parameters(stacks: Stacks) -> None:
    [framework] = stacks.resources("production", "aws_backup_framework").values()
    parameters = {control["name"]: control.get("input_parameter") for control in framework["control"]}
    assert parameters["BACKUP_RECOVERY_POINT_MINIMUM_RETENTION_CHECK"] == [
        {"name": "requiredRetentionDays", "value": "35"}
    ]
    assert parameters["RESTORE_TIME_FOR_RESOURCES_MEET_TARGET"] == [{"name": "maxRestoreTime", "value": "720"}]
