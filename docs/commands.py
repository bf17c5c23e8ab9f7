"""The page of all commands, from the command line itself."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from typer._click.core import Command, Parameter
from typer.core import TyperGroup
from typer.main import get_command

from docs.prose import wrapped
from ops.__main__ import app

_INTRODUCTION = """
`rollbook` is on the PATH after `. .venv/bin/activate`. `python -m ops` is the same. `--help` prints the options of a
command.

`--env ENV` names the environment, a file `environments/ENV.toml`. Commands about
Terraform's plan and state (`plan`, `guard`, `drift`, `deploy`, `adopt`, `state bootstrap`) demand it. The others act on
`local`, the embedded AWS of this machine, unless you name another environment, and say so.

`--json` prints one JSON document on the standard output and nothing else. Messages are on the standard error. Output
to a file or a pipe has no colours, and no value in it is cut.
""".strip()
# The same codes in every command; tests of the commands hold each to them.
_EXIT_CODES = """
| code | meaning | examples |
| ---: | --- | --- |
| 0 | good | The backup is whole; the plan has no changes. |
| 1 | could not do its work | no credentials, AWS unreachable, unknown environment, unreadable file |
| 2 | did its work, and there is something to look at | changes, differences, late backups, damage, refused rows |
| 3 | refused before anything was done | the guard stopped the plan, the backup to restore is damaged |
| 4 | the state moved | what would be applied is no longer what was reviewed |
""".strip()


def page() -> str:
    """Return the page of all commands."""
    group = get_command(app)
    head = f"# Commands\n\n{wrapped(_INTRODUCTION)}\n\n## Exit codes\n\n{_EXIT_CODES}\n"
    return head + "".join(_section(command, name) for name, command in _commands(group, "rollbook"))


def _commands(command: Command, name: str) -> Iterator[tuple[str, Command]]:
    if isinstance(command, TyperGroup):
        for inner, each in command.commands.items():
            yield from _commands(each, f"{name} {inner}")
    else:
        yield name, command


def _section(command: Command, name: str) -> str:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    options = [each for each in shown if each.param_type_name == "option"]
    arguments = [_usage(each) for each in shown if each.param_type_name == "argument"]
    required = [f"{each.opts[0]}{_value(each)}" for each in options if each.required]
    usage = " ".join([name, *arguments, *required])
    rows = "".join(f"| {_names(option)} | {_words(option)} |\n" for option in options)
    table = f"\n| option | |\n| --- | --- |\n{rows}" if rows else ""
    # The example and the exit codes, where a command has them.
    epilog = f"\n{_paragraphs(each)}\n" if (each := getattr(command, "epilog", None)) else ""
    return f"\n## {name}\n\n{_paragraphs(command.help or '')}\n\n```sh\n{usage}\n```\n{table}{epilog}"


def _paragraphs(text: str) -> str:
    return "\n\n".join(_paragraph(each) for each in text.strip().split("\n\n"))


def _paragraph(text: str) -> str:
    """Return a paragraph; click leaves one that begins with a backspace as it is, such as an example."""
    if text.lstrip().startswith("\b"):
        return f"```\n{textwrap.dedent(text.lstrip().removeprefix(chr(8))).strip()}\n```"
    return wrapped(text)


def _usage(argument: Parameter) -> str:
    name = argument.metavar or (argument.name or "").rstrip("_").upper()
    return name if argument.required else f"[{name}]"


def _names(option: Parameter) -> str:
    return ", ".join(f"`{name}{_value(option)}`" for name in option.opts)


def _value(option: Parameter) -> str:
    is_flag = getattr(option, "is_flag", False)
    return "" if is_flag else " " + (option.metavar or (option.name or "").upper())


def _words(option: Parameter) -> str:
    text = " ".join((getattr(option, "help", None) or "").split()).replace("|", "\\|")
    if option.required:
        return f"{text} Required.".strip()
    is_shown = option.default not in (None, False, "", ()) and not callable(option.default)
    return f"{text} Default: `{option.default}`.".strip() if is_shown else text
