"""The GitHub workflows: what they use is pinned, and what they call is there. zizmor looks at them in `make check`."""

from __future__ import annotations

import re
import shlex

import pytest

from infra.settings import load_all
from ops.console import ROOT
from ops.exits import Exit
from tests.unit.commands import COMMANDS, codes_of

WORKFLOWS = {path.stem: path.read_text() for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}


def test_there_is_one_for_each_moment() -> None:
    assert set(WORKFLOWS) == {"check", "deploy", "drift", "plan"}


@pytest.mark.parametrize("text", WORKFLOWS.values(), ids=WORKFLOWS)
def test_every_action_is_pinned_by_its_commit(text: str) -> None:
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), f"{action}: say which version it is"


@pytest.mark.parametrize("text", WORKFLOWS.values(), ids=WORKFLOWS)
def test_every_command_and_option_is_there(text: str) -> None:
    called = re.findall(r"\.venv/bin/rollbook (.+)", text)
    for line in called:
        name, *arguments = shlex.split(re.split(r"\|\||;|>", line)[0])
        COMMANDS[name].make_context(name, arguments)  # it raises a usage error
    targets = re.findall(r"(?:run: |- )make ([a-z -]+)", text)
    makefile = (ROOT / "Makefile").read_text()
    for target in " ".join(targets).split():
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert called or targets


def test_the_workflows_know_the_exit_codes_of_changes_and_drift() -> None:
    """2 is for changes. 1 is an error, and must stop the job."""
    assert "--out plan || [ $? -eq 2 ]" in WORKFLOWS["plan"]
    assert '[ "$code" -eq 0 ] || [ "$code" -eq 2 ] || exit "$code"' in WORKFLOWS["drift"]
    assert all(Exit.FINDINGS in codes_of(COMMANDS[name]) for name in ("plan", "drift"))
    assert Exit.FINDINGS not in codes_of(COMMANDS["guard"]) | codes_of(COMMANDS["deploy"])


def test_only_who_needs_the_account_gets_a_token() -> None:
    assert {name for name, text in WORKFLOWS.items() if "id-token: write" in text} == {"deploy", "drift", "plan"}
    assert {name for name, text in WORKFLOWS.items() if "ROLLBOOK_DEPLOY_ROLE" in text} == {"deploy"}
    assert all("pull_request_target" not in text for text in WORKFLOWS.values())
    assert all("\npermissions: {}\n" in text for text in WORKFLOWS.values())


def test_the_environment_is_one_that_has_access_from_github() -> None:
    of_github = {settings.name: settings.github for settings in load_all() if settings.github.repository}
    for name in ("deploy", "drift", "plan"):
        [environment] = re.findall(r"ENVIRONMENT: (\S+)", WORKFLOWS[name])
        assert environment in of_github
    [approved] = re.findall(r"\n    environment: (\S+)", WORKFLOWS["deploy"])
    assert approved == (of_github[approved].environment or approved)
