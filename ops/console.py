"""Where commands print: results on stdout, notes and progress on stderr, and no text is read as markup."""

from __future__ import annotations

import json
import sys
import unicodedata
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.status import Status
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
out = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
err = Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def printable(value: object) -> str:
    """Return a text whose control characters are escaped, so that it cannot steer a terminal."""
    return "".join(
        each if each in "\n\t" or not unicodedata.category(each).startswith("C") else _escaped(each)
        for each in str(value)
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def say(text: object, style: str = "") -> None:
    """Print a result."""
    out.print(Text(printable(text), style=style))


def marked(mark: str, style: str, text: object) -> None:
    """Print a result behind a coloured mark or word."""
    out.print(Text.assemble((mark, style), " ", printable(text)))


def done(text: object) -> None:
    """Print a success."""
    marked("✓", "green", text)


def note(text: object, style: str = "") -> None:
    """Print a note on stderr."""
    err.print(Text(printable(text), style=style))


def error(text: object, word: str = "error:") -> None:
    """Print on stderr why a command ends."""
    err.print(Text.assemble((word, "bold red"), " ", printable(text)))


def say_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def working(text: str) -> AbstractContextManager[Status]:
    """Show a spinner on stderr meanwhile."""
    return err.status(Text(printable(text)))


def progress() -> Progress:
    """Return a progress bar on stderr; without a terminal it shows nothing."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
