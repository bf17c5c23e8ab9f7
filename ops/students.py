"""`rollbook students`: import records from a CSV file, and write a sample file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer

from ops import console, sample, tables
from ops.cloud import Cloud
from ops.commands import command, group
from ops.csv_import import Importer, load, read_rows
from ops.exits import Exit
from ops.failures import OperatorError
from ops.options import EnvOrLocal, Json

app = group("Student records: import, sample.")


@command(
    app,
    "import",
    example="rollbook students import students.csv --env production",
    codes={Exit.GOOD: "every row was saved", Exit.FINDINGS: "rows were rejected; the others were saved"},
)
def import_(
    file: Annotated[Path, typer.Argument(help="CSV file; its first line names the columns.")],
    env: EnvOrLocal = "local",
    id_: Annotated[
        str | None, typer.Option("--id", help="Template of studentid, such as 'GP-{row:04}' or '{school}-{row}'.")
    ] = None,
    default: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for an attribute that a row leaves empty; repeatable.")
    ] = None,
    notify: Annotated[bool, typer.Option(help="Send a mail for each record.")] = False,
    as_json: Json = False,
) -> None:
    """Import a CSV file through the API."""
    defaults = dict(_pair(text) for text in default or [])
    rows = list(read_rows(file, id_template=id_, defaults=defaults))
    cloud = Cloud.of(env)
    outcomes = load(Importer(cloud.api_url, cloud.api_key(), notify=notify), rows)
    counts = {what: sum(outcome.what == what for outcome in outcomes) for what in ("created", "updated", "rejected")}
    rejected = [outcome for outcome in outcomes if outcome.what == "rejected"]
    total = f"{counts['created']} created, {counts['updated']} updated, {counts['rejected']} rejected"
    if as_json:
        faults = [{"line": outcome.row.line, "reason": outcome.reason} for outcome in rejected]
        console.say_json({**counts, "faults": faults})
    elif rejected:
        tables.show(("Line", "Reason"), [tables.Row((outcome.row.line, outcome.reason)) for outcome in rejected])
        console.marked("✗", "red", total)
    else:
        console.done(total)
    if rejected:
        raise typer.Exit(Exit.FINDINGS)


@command(app, "sample", example="rollbook students sample students.csv --count 100")
def sample_(
    file: Annotated[Path, typer.Argument(help="CSV file to write.")],
    count: Annotated[int, typer.Option(min=1, help="Number of students.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives the same students.")] = 2025,
    as_json: Json = False,
) -> None:
    """Write invented students to a CSV file."""
    rows = list(sample.students(count, seed))
    with file.open("w", newline="", encoding="utf-8") as output:
        writer = csv.DictWriter(output, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    if as_json:
        console.say_json({"file": str(file), "count": count})
    else:
        console.done(f"wrote {count} invented students to {file}")


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise OperatorError(f"--default {text!r}: write NAME=VALUE, such as class=unknown")
    return name, value
