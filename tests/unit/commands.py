"""All commands, and a run of one as on a command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer._click.core import Command
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner, Result

from infra.settings import ENVIRONMENTS, load
from ops.__main__ import app
from ops.cloud import Cloud
from ops.exits import Exit

ROOT_COMMAND = get_command(app)
LOCAL = load(ENVIRONMENTS / "local.toml")


def commands(group: Command = ROOT_COMMAND, *names: str) -> Iterator[tuple[str, Command]]:
    """Yield every command with its whole name."""
    if isinstance(group, TyperGroup):
        for name, command in group.commands.items():
            yield from commands(command, *names, name)
    else:
        yield " ".join(names), group


COMMANDS = dict(commands())


def codes_of(command: Command) -> set[Exit]:
    """The exit codes that the help of a command names."""
    return {Exit(int(code)) for code in re.findall(r"^  (\d)  ", command.epilog or "", re.MULTILINE)}


def run(*arguments: str, typed: str | None = None, **variables: str) -> Result:
    return CliRunner().invoke(app, list(arguments), input=typed, env=variables)


def cloud(**clients: Any) -> Any:
    """A deployed environment with some clients."""
    return SimpleNamespace(
        settings=LOCAL,
        api_url="http://api.example",
        site_url="http://site.example",
        port=1,
        api_key=lambda: "key",
        items=lambda: None,
        client=lambda service, **_: clients.get(service),
    )


class Commands:
    """What a case sets and runs.

    Arguments:
        patch: pytest's.
        folder: empty.
    """

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.patch = patch
        self.folder = folder

    def set(self, module: Any, **values: Any) -> None:
        for name, value in values.items():
            self.patch.setattr(module, name, value)

    def cloud(self, **clients: Any) -> Any:
        made = cloud(**clients)
        self.patch.setattr(Cloud, "of", lambda _: made)
        return made

    def file(self, text: str) -> str:
        path = self.folder / "file"
        path.write_text(text)
        return str(path)


def raising(error: BaseException) -> Callable[..., Any]:
    def raise_it(*_: Any, **__: Any) -> Any:
        raise error

    return raise_it


def giving(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value
