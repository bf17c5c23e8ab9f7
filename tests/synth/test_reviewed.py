"""The synthesized stacks are the reviewed ones, and no leaf of them can change unseen."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ops.console import ROOT
from tests.conftest import Stacks
from tests.synth import reviewed
from tests.synth.documents import at, leaves, with_value


@pytest.mark.parametrize("name", reviewed.STACKS)
def test_the_synthesized_stack_is_the_reviewed_one(stacks: Stacks, name: str) -> None:
    different = reviewed.differences(name, stacks.json(name))
    assert not different, different


def test_every_reviewed_stack_is_synthesized() -> None:
    assert {path.name for path in reviewed.GOLDEN.iterdir()} == set(reviewed.STACKS)


@pytest.mark.parametrize("name", reviewed.STACKS)
def test_a_change_of_any_leaf_changes_a_file(stacks: Stacks, name: str) -> None:
    stack = stacks.json(name)
    rest = {part: value for part, value in stack.items() if part != "resource"}
    # A resource at a time: the files of the whole stack for each of its leaves would take minutes.
    parts = [rest | {"resource": {}}] + [
        {"resource": {kind: {address: resource}}}
        for kind, resources in stack["resource"].items()
        for address, resource in resources.items()
    ]
    for few in parts:
        before = reviewed.files_of(name, few)
        for path, old in leaves(few):
            if path == ("resource",):
                continue
            altered = with_value(few, path, f"{old} altered")
            assert reviewed.files_of(name, altered) != before, f"{name}: {path} can change unseen"


def test_a_hash_may_change_but_only_into_a_hash(stacks: Stacks) -> None:
    stack = stacks.json("production")
    [path, *_] = [path for path, _ in leaves(stack) if path[-1] == "source_code_hash"]
    other = at(stack, path)[::-1].removeprefix("=") + "="
    assert reviewed.files_of("production", with_value(stack, path, other)) == reviewed.files_of("production", stack)
    assert reviewed.differences("production", with_value(stack, path, ""))


def test_the_message_shows_a_short_diff_and_the_command(stacks: Stacks, tmp_path: Path) -> None:
    stack = stacks.json("production")
    reviewed.write("production", stack, tmp_path)
    assert reviewed.differences("production", stack, tmp_path) == ""
    [path] = [
        path for path, _ in leaves(stack) if path[1] == "aws_backup_vault_lock_configuration" and "min" in path[-1]
    ]
    told = reviewed.differences("production", with_value(stack, path, 1), tmp_path)
    assert re.search(r'^-   *"min_retention_days": 7,?$', told, re.MULTILINE)
    assert re.search(r'^\+   *"min_retention_days": 1,?$', told, re.MULTILINE)
    assert told.endswith(reviewed.COMMAND)
    everything: dict[str, Any] = {"resource": {}}
    assert len(reviewed.differences("production", everything, tmp_path).splitlines()) < 50
    removed = {**stack, "resource": {kind: each for kind, each in stack["resource"].items() if kind != "aws_kms_key"}}
    assert "aws_kms_key.json" in reviewed.differences("production", removed, tmp_path)


def test_make_accept_runs_the_command_that_writes_the_files() -> None:
    [target] = re.findall(r"^accept:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert target.endswith("-m tests.synth.reviewed")


def test_a_policy_is_written_as_json_that_gives_its_text_back() -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    files = reviewed.files_of("x", {"resource": {"aws_sns_topic_policy": {"a": {"policy": policy}}}})
    assert json.loads(files["aws_sns_topic_policy.json"])["a"]["policy"] == {"(json)": json.loads(policy)}
    spaced = policy.replace(": ", ":")
    other = reviewed.files_of("x", {"resource": {"aws_sns_topic_policy": {"a": {"policy": spaced}}}})
    assert json.loads(other["aws_sns_topic_policy.json"])["a"]["policy"] == spaced
