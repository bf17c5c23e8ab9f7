"""`rollbook local`: the embedded AWS and the stack on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import Annotated, Any

import typer

from ops import console, tables, terraform
from ops.commands import command, confirm, group
from ops.exits import Exit
from ops.failures import OperatorError
from ops.local import aws, emulator, stack
from ops.local.emulator import PORT, Emulator, Port
from ops.options import Json, Yes

app = group("The embedded AWS: up, down, status, reset, logs, mail.")


@command(app, "up", example="rollbook local up")
def up(port: Port = PORT, as_json: Json = False) -> None:
    """Start the embedded AWS and apply the local stack."""
    with stack.started(port) as (running, _):
        changed, outputs = stack.apply(running)
    if as_json:
        console.say_json({"port": running.port, "changed": changed, **outputs})
    else:
        show_stack(outputs)


@command(app, "down", example="rollbook local down")
def down(as_json: Json = False) -> None:
    """Stop the embedded AWS. Its state is kept for the next start."""
    stopped = Emulator(emulator.FOLDER).stop()
    if as_json:
        console.say_json({"stopped": stopped})
    elif stopped:
        console.done("stopped; the state is kept")
    else:
        console.say("The embedded AWS does not run.")


@command(
    app,
    "status",
    example="rollbook local status",
    codes={Exit.GOOD: "the embedded AWS runs", Exit.FINDINGS: "the embedded AWS does not run"},
)
def status(as_json: Json = False) -> None:
    """Show whether the embedded AWS runs, and where."""
    process = Emulator(emulator.FOLDER)
    port = process.recorded_port()
    is_applied = port is not None and stack.STACK.is_dir() and stack.STATE.exists()
    outputs = terraform.Terraform(stack.STACK).outputs() if is_applied else {}
    if as_json:
        console.say_json({"running": port is not None, "port": port, "pid": process.pid(), **outputs})
    elif port is None:
        console.say("The embedded AWS does not run; start it with: rollbook local up")
    else:
        console.say(f"The embedded AWS runs on 127.0.0.1:{port} (process {process.pid()}).")
        if outputs:
            show_stack(outputs)
    if port is None:
        raise typer.Exit(Exit.FINDINGS)


@command(app, "reset", example="rollbook local reset --yes", codes={Exit.REFUSED: "not confirmed; nothing was deleted"})
def reset(yes: Yes = False, as_json: Json = False) -> None:
    """Stop the embedded AWS and delete everything in it."""
    confirm("Delete everything in the embedded AWS?", yes=yes)
    folder = emulator.FOLDER
    Emulator(folder).stop()
    preflights = folder / "preflight"  # it also has the results of real accounts
    for path in folder.iterdir() if folder.is_dir() else []:
        if path.is_dir() and path != preflights:
            shutil.rmtree(path, ignore_errors=True)
        elif path != preflights:
            path.unlink(missing_ok=True)
    state = stack.STATE
    for path in (preflights / "local.json", state, state.with_name(f"{state.name}.backup")):
        path.unlink(missing_ok=True)
    if as_json:
        console.say_json({"reset": True})
    else:
        console.done("the embedded AWS is empty")


@command(app, "logs", example="rollbook local logs --follow")
def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show new lines until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option(min=1, help="Number of lines from the end.")] = 40,
) -> None:
    """Show the log of the embedded AWS and its functions."""
    path = Emulator(emulator.FOLDER).log
    if not path.exists():
        raise OperatorError("there is no log yet; start the embedded AWS with: rollbook local up")
    console.say(emulator.tail(path, lines))
    with path.open(errors="replace") as file, contextlib.suppress(KeyboardInterrupt):
        file.seek(0, os.SEEK_END)
        while follow:
            if line := file.readline():
                console.say(line.rstrip("\n"))
            else:
                time.sleep(0.2)


@command(app, "mail", example="rollbook local mail --json")
def mail(as_json: Json = False) -> None:
    """Show the mails that the embedded AWS sent."""
    sent = aws.mails(emulator.required_port())
    if as_json:
        console.say_json(sent)
        return
    if not sent:
        console.note("There is no mail yet.")
    for number, message in enumerate(sent):
        if number:
            console.say("")
        show_mail(message)


def show_mail(message: dict[str, Any]) -> None:
    """Print one mail."""
    tables.show_facts([("From", message["Source"]), ("To", ", ".join(message["To"])), ("Subject", message["Subject"])])
    console.say("")
    for line in message["BodyText"].rstrip().splitlines():
        console.say(f"  {line}")


def show_stack(outputs: dict[str, Any]) -> None:
    """Print the addresses of the local stack and commands to try."""
    tables.show_facts([("Site", outputs["site_url"]), ("API", outputs["api_url"])])
    console.note(
        "Try:  rollbook students sample students.csv\n"
        "      rollbook students import students.csv --env local\n"
        "      rollbook schedule test --env local\n"
        "      rollbook local mail"
    )
