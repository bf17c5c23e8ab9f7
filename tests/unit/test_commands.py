"""What all commands have in common: help, exit codes of usage errors, the environment, completion, piped output."""

from __future__ import annotations

import ast
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer._click.core import Command

from ops.backups import overview
from ops.cloud import Cloud
from ops.console import ROOT
from ops.exits import MEANINGS, Exit
from ops.options import environments
from tests.unit.commands import COMMANDS, cloud, codes_of, run

# They show a stream or pass another program's output on.
_WITHOUT_JSON = {"local logs", "cdktf"}


def options(command: Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_an_example_and_its_exit_codes(name: str) -> None:
    shown = run(*name.split(), "--help", COLUMNS="80")
    assert shown.exit_code == Exit.GOOD
    assert f"rollbook {name}" in shown.stdout.partition("Example:")[2]
    codes = codes_of(COMMANDS[name])
    assert {Exit.GOOD, Exit.FAILED} <= codes <= set(MEANINGS)
    for code in codes:
        assert f"\n    {code:d}  " in shown.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_a_command_parses(name: str) -> None:
    command = COMMANDS[name]
    line = (command.epilog or "").partition("Example:\n")[2].partition("\n")[0].strip()
    words = shlex.split(line)
    assert words[: len(name.split()) + 1] == ["rollbook", *name.split()]
    command.make_context(name, words[len(name.split()) + 1 :], resilient_parsing=False)


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - _WITHOUT_JSON))
def test_every_command_with_a_result_prints_it_as_json(name: str) -> None:
    assert "--json" in options(COMMANDS[name])


@pytest.mark.parametrize("name", COMMANDS)
def test_the_environment_is_an_option_and_never_an_argument(name: str) -> None:
    for parameter in COMMANDS[name].params:
        if parameter.name == "env":
            assert parameter.opts == ["--env"]
            assert parameter.required or parameter.default == "local"


@pytest.mark.parametrize("name", ["plan", "guard", "deploy", "drift", "adopt", "state bootstrap"])
def test_a_command_for_real_accounts_demands_the_environment(name: str) -> None:
    refused = run(*name.split())
    assert refused.exit_code == Exit.FAILED
    assert "--env" in refused.stderr


@pytest.mark.parametrize("line", ["", "no-such", "plan --no-such", "backups verify", "backups", "report --days x"])
def test_a_usage_error_ends_with_1(line: str) -> None:
    assert run(*line.split()).exit_code == Exit.FAILED


def test_the_default_environment_is_named_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cloud, "of", lambda _: cloud())
    monkeypatch.setattr(overview, "overview", lambda _: [])
    shown = run("backups", "list", "--json")
    assert json.loads(shown.stdout) == []
    assert "Environment: local (the default" in shown.stderr
    assert "Environment:" not in run("backups", "list", "--env", "local").stderr


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The script `rollbook` that the Makefile writes, in a folder with this project."""
    for name in ("ops", "infra", "handlers", "rollbook", "environments"):
        if (ROOT / name).is_dir():
            (tmp_path / name).symlink_to(ROOT / name)
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    # The installed packages are taken as they are.
    subprocess.run(
        ["make", "--silent", "--old-file=.venv/ready", f"BIN={binaries}", str(binaries / "rollbook")],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return binaries / "rollbook"


def completed(program: Path, line: str, **variables: str) -> list[str]:
    done = subprocess.run(
        [program],
        env={"PATH": os.environ["PATH"], "_TYPER_COMPLETE_ARGS": line, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.split()


def test_the_script_runs_in_any_folder_and_keeps_it(installed: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "ops").mkdir(parents=True)
    (elsewhere / "ops" / "__init__.py").write_text("raise SystemExit('another package')")
    done = subprocess.run(
        [installed, "students", "sample", "s.csv", "--count", "3", "--json"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, json.loads(done.stdout)) == (0, {"file": "s.csv", "count": 3}), done.stderr
    assert len((elsewhere / "s.csv").read_text().splitlines()) == 4


def test_bash_completes_commands_and_environments(installed: Path) -> None:
    """As bash does it: with the printed script, which asks `rollbook` on the PATH."""
    script = f"""
        PATH={installed.parent}:$PATH
        source <(_ROLLBOOK_COMPLETE=source_bash rollbook)
        ask() {{
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            _rollbook_completion rollbook
            echo "${{COMPREPLY[@]}}"
        }}
        ask rollbook backups ver
        ask rollbook plan --env ""
        ask rollbook backups list --env wor
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["verify", " ".join(environments()), "workshop"], done.stdout + done.stderr


def test_zsh_completes_commands_and_environments(installed: Path) -> None:
    zsh = {"_ROLLBOOK_COMPLETE": "complete_zsh"}
    assert any('"verify"' in word for word in completed(installed, "rollbook backups ver", **zsh))
    shown = "".join(completed(installed, "rollbook plan --env ", **zsh))
    assert all(f'"{name}"' in shown for name in environments())


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_completion_script_is_shown(installed: Path, shell: str) -> None:
    script = "\n".join(completed(installed, "", _ROLLBOOK_COMPLETE=f"source_{shell}"))
    assert "_ROLLBOOK_COMPLETE" in script


@pytest.mark.parametrize("target", ["plan", "deploy"])
def test_make_demands_the_environment(target: str) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "ENV" and not name.startswith("MAKE")}
    refused = subprocess.run(
        ["make", "--old-file=.venv/ready", target], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0
    assert [f"  make {target} ENV={name}" for name in environments()] == refused.stdout.splitlines()[1:]


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / "ops").rglob("*.py")):
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text("utf-8"))


def test_no_constructor_of_the_commands_has_over_7_parameters() -> None:
    counted = {
        f"{name}:{node.name}": _parameters(node)
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    assert {name: number for name, number in counted.items() if number > 7} == {}


def _parameters(node: ast.ClassDef) -> int:
    made = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
    if made:
        arguments = made[0].args
        return len(arguments.args) - 1 + len(arguments.kwonlyargs)
    if not any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return 0
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign) and "ClassVar" not in ast.unparse(each)]
    return sum("init=False" not in ast.unparse(each) for each in fields)


def test_no_module_but_the_console_prints() -> None:
    """A second way to print would read foreign text as markup again."""
    found = [
        f"{name}:{node.lineno}"
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"print", "Console", "Panel", "Table"}
        and name != "ops/console.py"
    ]
    assert found == []


def test_python_m_ops_is_the_same_command_line() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "ops", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "Usage: rollbook [OPTIONS] COMMAND" in shown
