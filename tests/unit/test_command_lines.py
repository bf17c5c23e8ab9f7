"""Every command line in a page, a message or a docstring is one that works as it is written."""

from __future__ import annotations

import ast
import functools
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import botocore.session
import pytest
import typer
from botocore import xform_name
from typer._click.core import Command
from typer._click.exceptions import UsageError
from typer.core import TyperGroup
from typer.main import get_command

from ops.__main__ import app
from ops.console import ROOT

_GROUP = get_command(app)
assert isinstance(_GROUP, TyperGroup)
# Tests whose command lines are made up.
_MADE_UP = ("tests/unit/test_command", "tests/unit/test_contributing")
# A command ends where the text around it goes on.
_END = r"[^`\n;|#&<>()]*"
# The console script, where a command begins: in a sentence, "rollbook" is only the project's name.
_SCRIPT = r"""(?:^[ \t]*|[`"'(/]|\$ |run: |- |&& |\|\| )rollbook"""
_OURS = re.compile(rf"(?:python3? -m ops|{_SCRIPT}) (?P<line>[a-z]{_END})", re.MULTILINE)
_AWS = re.compile(rf"(?<![\w.-])aws (?P<line>[a-z][a-z0-9-]+ [a-z]{_END})")
_MAKE = re.compile(r"(?:`|^|- |\$ |run: )make (?P<line>[a-z][a-z-]*)", re.MULTILINE)
# The name of a command after `ops`, without what starts it: nothing of that name is on anybody's PATH.
_SHORT = re.compile(rf"(?<!-m )(?<![\w/.-])ops (?:{'|'.join(_GROUP.commands)})\b")


@dataclass(frozen=True)
class Text:
    """A piece of text, and where it stands."""

    place: str
    text: str


@functools.cache
def texts() -> list[Text]:
    return list(_texts())


def _texts() -> Iterator[Text]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if not path.is_file():
            continue
        if path.suffix in {".md", ".yml", ".html", ".js"} or name == "Makefile":
            # A line that ends with a backslash goes on.
            yield Text(name, path.read_text("utf-8").replace("\\\n", " "))
        elif path.suffix == ".py" and not name.startswith(_MADE_UP):
            yield from _strings(name, path)
        elif path.suffix == ".toml" and name != "pyproject.toml":
            yield Text(name, path.read_text("utf-8"))


def _strings(name: str, path: Path) -> Iterator[Text]:
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    pieces = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        match node:
            case ast.Constant(value=str(value)) if id(node) not in pieces:
                yield Text(f"{name}:{node.lineno}", value)
            case ast.JoinedStr():
                parts = [str(part.value) if isinstance(part, ast.Constant) else "VALUE" for part in node.values]
                yield Text(f"{name}:{node.lineno}", "".join(parts))


def found(pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    for text in texts():
        for match in pattern.finditer(text.text):
            yield text.place, match["line"].strip().rstrip(".,:")


def words(line: str) -> list[str]:
    """Split a line as a shell does; what a page writes of a value, such as … or ENV, stays a word."""
    try:
        return shlex.split(line)
    except ValueError:  # a quotation mark of the text around it
        return shlex.split(line.replace("'", "").replace('"', ""))


def fault(arguments: list[str], *, needs_environment: bool) -> str:
    """Return what the real command would say against a line, or an empty text."""
    command: Command = _GROUP
    names = []
    while isinstance(command, TyperGroup):
        if not arguments:
            return ""  # the name of a group
        name, *arguments = arguments
        names.append(name)
        if name not in command.commands:
            return f"there is no command {' '.join(names)}"
        command = command.commands[name]
    context = typer.Context(command, info_name=name)
    takes_env = any(parameter.name == "env" for parameter in command.params)
    if not arguments and not (needs_environment and takes_env):
        return ""  # the name of a command
    try:
        given, rest, _ = command.make_parser(context).parse_args(list(arguments))
    except UsageError as error:
        return error.format_message()
    if rest and command.name != "cdktf":
        return f"{rest} are too many arguments"
    for parameter in command.params:
        if parameter.required and given.get(parameter.name or "") in {None, ()}:
            return f"{parameter.name} is missing"
    if needs_environment and takes_env and given.get("env") is None:
        return "it names no environment, so it acts on the embedded AWS"
    return ""


@pytest.mark.parametrize(("place", "line"), sorted(set(found(_OURS))))
def test_a_command_line_is_one_of_the_real_commands(place: str, line: str) -> None:
    # Who is called by an alarm or a function's mail is at production.
    in_an_incident = place.startswith(("docs/runbook.md", "rollbook/", "handlers/", "infra/"))
    assert not (wrong := fault(words(line), needs_environment=in_an_incident)), f"{place}: {line!r}: {wrong}"


def test_no_text_abbreviates_a_command() -> None:
    short = [f"{text.place}: {match[0]}" for text in texts() for match in _SHORT.finditer(text.text)]
    assert short == [], "write `rollbook …` or `python -m ops …`"


@functools.cache
def _service(name: str) -> dict[str, set[str]]:
    """Return the operations of a service as the AWS CLI names them, with their options."""
    session = botocore.session.get_session()
    model = session.get_service_model({"s3api": "s3"}.get(name, name))
    operations = {}
    for operation in map(model.operation_model, model.operation_names):
        members = operation.input_shape.members if operation.input_shape else {}
        operations[xform_name(operation.name, "-")] = {f"--{xform_name(member, '-')}" for member in members}
    return operations


_OF_THE_CLI = {
    "--region",
    "--profile",
    "--query",
    "--output",
    "--cli-binary-format",
    "--cli-read-timeout",
    "--no-cli-pager",
}
# Commands of the CLI's own, with their options; all others are AWS's operations.
_OWN = {
    "s3": {"cp": {"--recursive"}, "ls": {"--recursive"}},
    "cloudtrail": {"validate-logs": {"--trail-arn", "--start-time", "--end-time", "--verbose"}},
}


@pytest.mark.parametrize(("place", "line"), sorted(set(found(_AWS))))
def test_a_line_of_the_aws_cli_is_an_operation_with_its_options(place: str, line: str) -> None:
    service, operation, *rest = words(line)
    known = _OWN.get(service, {}).get(operation) or _service(service).get(operation)
    assert known is not None, f"{place}: there is no {service} {operation}"
    options = {word.partition("=")[0] for word in rest if word.startswith("--")}
    assert options <= known | _OF_THE_CLI, f"{place}: aws {line}"


@pytest.mark.parametrize(("place", "line"), sorted({each for each in found(_MAKE) if not each[0].startswith("tests/")}))
def test_a_make_line_is_a_target(place: str, line: str) -> None:
    assert re.search(rf"^{line}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"{place}: make {line}"


@pytest.mark.parametrize(
    "text",
    [
        "`rollbook report KEY`",
        "rollbook report KEY\n",
        "  rollbook report KEY",
        "$ rollbook report KEY",
        "- run: rollbook report KEY",
        "make setup && rollbook report KEY",
        ".venv/bin/rollbook report KEY",
        "python -m ops report KEY",
    ],
)
def test_a_command_is_found_where_it_begins(text: str) -> None:
    match = _OURS.search(text)
    assert match
    assert match["line"].strip() == "report KEY"


def test_the_projects_name_in_a_sentence_is_no_command() -> None:
    assert not _OURS.search("Everything that rollbook keeps, and rollbook reports.")


def test_an_incident_line_without_its_environment_is_found() -> None:
    for line in ("events dead", "backups create --json", "report"):
        assert "embedded AWS" in fault(line.split(), needs_environment=True)
        assert not fault([*line.split(), "--env", "production"], needs_environment=True)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("backups diff KEY --against TABLE --env ENV", "No such option"),
        ("backups verify --json", "key is missing"),
        ("backups verfy KEY", "there is no command backups verfy"),
        ("schedule tests --env ENV", "there is no command"),
        ("report KEY", "too many"),
    ],
)
def test_a_wrong_line_is_found(line: str, reason: str) -> None:
    assert reason in fault(line.split(), needs_environment=False)
