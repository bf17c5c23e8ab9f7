"""The options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.settings import ENVIRONMENTS
from infra.settings import EXCEPTIONS as EXCEPTIONS_FILE
from ops import console


def environments() -> list[str]:
    """Return the names of the environments: the files of environments/."""
    return sorted(path.stem for path in ENVIRONMENTS.glob("*.toml") if path.name != EXCEPTIONS_FILE)


def _complete(incomplete: str) -> list[str]:
    return [name for name in environments() if name.startswith(incomplete)]


def _say_default(context: typer.Context, parameter: typer.CallbackParam, value: str) -> str:
    source = context.get_parameter_source("env")
    if not context.resilient_parsing and source is not None and source.name == "DEFAULT":
        console.note(f"Environment: {value} (the default; choose another with --env ENV)", "dim")
    return value


Env = Annotated[
    str,
    typer.Option(
        "--env", metavar="ENV", help="Environment: the name of a file in environments/.", autocompletion=_complete
    ),
]
EnvOrLocal = Annotated[
    str,
    typer.Option(
        "--env",
        metavar="ENV",
        help="Environment: the name of a file in environments/.",
        autocompletion=_complete,
        callback=_say_default,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
