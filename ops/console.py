"""What all commands share: where they print, and how they fail."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Never, ParamSpec, TypeVar

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

P = ParamSpec("P")
R = TypeVar("R")
ROOT = Path(__file__).resolve().parent.parent
out = Console()
err = Console(stderr=True)


class OperatorError(RuntimeError):
    """A command cannot do what it was asked; the message says what happened and what to do."""


def fail(message: str, code: int = 1) -> Never:
    """Print an error and end with an exit code."""
    err.print("[bold red]error:[/]", end=" ")
    err.print(message, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Make a command end with one message, not a stack trace, when it cannot do what it was asked."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (OperatorError, BotoCoreError, ClientError) as error:
            fail(str(error))
        except KeyboardInterrupt:
            err.print("Stopped.")
            raise typer.Exit(130) from None

    return guarded
