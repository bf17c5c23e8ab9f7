"""How a command is declared: its example and exit codes in its help, and one message when it ends early."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Never, ParamSpec, TypeVar

import typer
from typer._click.exceptions import ClickException
from typer.core import TyperGroup

from infra.settings import SettingsError
from ops import console, exits, failures
from ops.exits import Exit
from ops.failures import OperatorError

P = ParamSpec("P")
R = TypeVar("R")


class _Group(TyperGroup):
    """A group whose usage errors end with 1; Click's own 2 means findings here."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _usage_error_is_failure():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _usage_error_is_failure():
            return super().invoke(ctx)


@contextmanager
def _usage_error_is_failure() -> Iterator[None]:
    try:
        yield
    except ClickException as error:
        error.exit_code = Exit.FAILED
        raise


def group(help_: str, **options: Any) -> typer.Typer:
    """Return a group of commands, whose help is plain text: nothing in it is markup."""
    return typer.Typer(
        cls=_Group,
        help=help_,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        **options,
    )


def command(
    app: typer.Typer,
    name: str,
    *,
    example: str,
    codes: Mapping[Exit, str] | None = None,
    **options: Any,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Register a command. It ends with one message, not a stack trace, when it cannot do its work.

    Arguments:
        example: a command line that works.
        codes: what its exit codes mean; 0 and 1 have their general meaning unless given.
        options: of `Typer.command`.
    """
    # Click keeps the lines of a paragraph that begins with \b.
    epilog = f"\b\nExample:\n  {example}\n\n\b\nExit codes:\n{exits.described(codes or {})}"

    def register(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except typer.Exit:
                raise
            except (OperatorError, KeyboardInterrupt, typer.Abort, Exception) as error:
                end(error, str(kwargs.get("env", "")))

        app.command(name, epilog=epilog, **options)(guarded)
        return guarded

    return register


def end(error: BaseException, env: str = "") -> Never:
    """Print why a command ends, and end it with the exit code of the error.

    Arguments:
        env: the environment of the command, which says where an error of AWS or Terraform happened.

    Raises:
        typer.Exit: always, but for a fault of this program, which keeps its stack trace.
    """
    if isinstance(error, BrokenPipeError):
        raise error  # the reader of a pipe has enough; Click ends quietly
    if isinstance(error, typer.Abort):
        text: str | None = "there is no answer to the question. Answer it on a terminal, or give the option that agrees"
    else:
        text = failures.explain(error)
    if text is None:
        raise error
    if env and not isinstance(error, OperatorError | SettingsError | KeyboardInterrupt | typer.Abort):
        text = f"{env}: {text}"
    code = error.code if isinstance(error, OperatorError) else Exit.FAILED
    console.error(text, "refused:" if code in {Exit.REFUSED, Exit.MOVED} else "error:")
    raise typer.Exit(code) from None


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal, unless `--yes` was given.

    Raises:
        Refused: the answer is no.
    """
    if not yes and not typer.confirm(question, err=True):
        raise failures.Refused("not confirmed; nothing was changed")
