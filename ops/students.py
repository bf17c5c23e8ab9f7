"""`python -m ops students`: records from a CSV file, through the API."""

from __future__ import annotations

import csv
import itertools
import json
import string
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ops import sample
from ops.cloud import Answer, Cloud, fetch
from ops.console import OperatorError, command, err, out

_BATCH = 25
_TRIES = 8
_AGAIN = {0, 429, 500, 502, 503, 504}

app = typer.Typer(help="Student records.", no_args_is_help=True)
Environment = Annotated[str, typer.Option("--env", help="Environment, as in environments/<name>.toml.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]


@dataclass(frozen=True)
class Row:
    """A line of the file and the record that it makes, or why it makes none."""

    line: int
    record: Mapping[str, str]
    fault: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a row: `created`, `updated` or, with a reason, `rejected`."""

    row: Row
    what: str
    reason: str = ""


class _Template(string.Formatter):
    """A format string over a row's columns and its number, which takes nothing but `{name}` and `{name:spec}`."""

    def get_field(self, field_name: str, args: object, kwargs: object) -> tuple[object, str]:
        assert isinstance(kwargs, Mapping)
        if field_name not in kwargs:
            raise OperatorError(f"there is no column {field_name!r}; there are: {', '.join(map(str, kwargs))}")
        return kwargs[field_name], field_name


def read_rows(path: Path, *, id_template: str | None, defaults: Mapping[str, str]) -> Iterator[Row]:
    """Yield the rows of a CSV file as records.

    Arguments:
        path: UTF-8, comma-separated, with a line of column names, which become the attributes' names.
        id_template: composes `studentid`, such as `GP-{row:04}`; it may name columns, and `row` counts from 1.
        defaults: values for attributes that a row leaves empty; they too may name columns.

    Raises:
        OperatorError: the file cannot be read, or has no usable line of names.
    """
    template = _Template()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            names = [name.strip() for name in next(reader, [])]
            _check_names(path, names)
            for number, values in enumerate((values for values in reader if values), start=1):
                yield _row(reader.line_num, number, names, values, template, id_template, defaults)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OperatorError(f"{path} cannot be read: {error}") from None


def _check_names(path: Path, names: list[str]) -> None:
    if not any(names):
        raise OperatorError(f"{path} is empty; its first line must name the columns")
    for name in names:
        if not name or names.count(name) > 1:
            what = f"names the column {name!r} twice" if name else "has a column without a name"
            raise OperatorError(f"{path}: its first line {what}; every column needs a name of its own")


def _row(
    line: int,
    number: int,
    names: list[str],
    values: list[str],
    template: _Template,
    id_template: str | None,
    defaults: Mapping[str, str],
) -> Row:
    if len(values) != len(names):
        return Row(line, {}, f"has {len(values)} values for {len(names)} columns")
    record = {name: value for name, value in zip(names, values, strict=True) if value != ""}
    known = {**dict.fromkeys(names, ""), **record, "row": number}
    try:
        for name, text in defaults.items():
            record.setdefault(name, template.vformat(text, (), known))
        if id_template:
            record["studentid"] = template.vformat(id_template, (), known)
    except (ValueError, KeyError, IndexError) as error:
        raise OperatorError(f"--id and --default take {{column}} and {{row:04}}: {error}") from None
    return Row(line, record)


class Importer:
    """Sends records to the API, a batch at a time.

    Arguments:
        pause: waits between two tries, seconds; the API's own throttling is met by waiting longer each time.
    """

    def __init__(self, api_url: str, api_key: str, *, notify: bool = False, pause: float = 0.5) -> None:
        self._url = f"{api_url}/students" + ("" if notify else "?notify=false")
        self._headers = {"Content-Type": "application/json", "x-api-key": api_key}
        self._pause = pause

    def send(self, rows: Iterable[Row]) -> Iterator[Outcome]:
        """Yield what became of each row, in the file's order."""
        with ThreadPoolExecutor(max_workers=8, thread_name_prefix="import") as pool:
            remaining = iter(rows)
            while batch := list(itertools.islice(remaining, _BATCH)):
                yield from pool.map(self._send, batch)

    def _send(self, row: Row) -> Outcome:
        if row.fault:
            return Outcome(row, "rejected", row.fault)
        answer = self._post(json.dumps(row.record).encode())
        if answer.status in {200, 201}:
            return Outcome(row, "created" if answer.json()["created"] else "updated")
        return Outcome(row, "rejected", _reason(answer))

    def _post(self, body: bytes) -> Answer:
        # Saving a record twice changes nothing more, so whatever failed may be sent again.
        for attempt in range(_TRIES):
            try:
                answer = fetch(self._url, method="POST", headers=self._headers, body=body)
            except OperatorError as error:
                answer = Answer(0, {}, json.dumps({"message": str(error)}).encode())
            if answer.status not in _AGAIN:
                return answer
            time.sleep(self._pause * 2**attempt if attempt < _TRIES - 1 else 0)
        return answer


def _reason(answer: Answer) -> str:
    try:
        body = answer.json()
    except ValueError:
        return f"the API answered {answer.status}"
    if errors := body.get("errors"):
        return "; ".join(f"{field} {fault}" for field, fault in errors.items())
    return str(body.get("message", f"the API answered {answer.status}"))


@app.command("import")
@command
def import_(
    file: Annotated[Path, typer.Argument(help="CSV file with a line of column names.", exists=True, dir_okay=False)],
    env: Environment = "local",
    id_: Annotated[
        str | None, typer.Option("--id", help="Composes studentid: 'GP-{row:04}', '{school}-{row}'.")
    ] = None,
    default: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for an attribute that a row leaves empty; repeatable.")
    ] = None,
    notify: Annotated[bool, typer.Option(help="Mail the recipient for every record.")] = False,
    as_json: Json = False,
) -> None:
    """Load a CSV file through the API; exit code 1 if a row was rejected."""
    defaults = dict(_pair(text) for text in default or [])
    rows = list(read_rows(file, id_template=id_, defaults=defaults))
    cloud = Cloud.of(env)
    outcomes = load(Importer(cloud.api_url, cloud.api_key(), notify=notify), rows)
    counts = {what: sum(outcome.what == what for outcome in outcomes) for what in ("created", "updated", "rejected")}
    rejected = [outcome for outcome in outcomes if outcome.what == "rejected"]
    if as_json:
        faults = [{"line": outcome.row.line, "reason": outcome.reason} for outcome in rejected]
        print(json.dumps({**counts, "faults": faults}))
    else:
        _show(counts, rejected)
    if rejected:
        raise typer.Exit(1)


@app.command("sample")
@command
def sample_(
    file: Annotated[Path, typer.Argument(help="CSV file to write.")],
    count: Annotated[int, typer.Option(min=1, help="How many students.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed makes the same students.")] = 2025,
) -> None:
    """Write made-up students to a CSV file."""
    rows = list(sample.students(count, seed))
    with file.open("w", newline="", encoding="utf-8") as output:
        writer = csv.DictWriter(output, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    out.print(f"[green]✓[/] {count} made-up students in {file}")


def load(importer: Importer, rows: list[Row]) -> list[Outcome]:
    """Send rows with a progress bar, and return what became of them."""
    columns = (TextColumn("Importing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        return list(progress.track(importer.send(rows), total=len(rows)))


def _show(counts: Mapping[str, int], rejected: list[Outcome]) -> None:
    if rejected:
        table = Table("Line", "Reason", title="Rejected", title_justify="left")
        for outcome in rejected:
            table.add_row(str(outcome.row.line), outcome.reason)
        err.print(table, markup=False)
    mark = "[red]✗[/]" if rejected else "[green]✓[/]"
    out.print(f"{mark} {counts['created']} created, {counts['updated']} updated, {counts['rejected']} rejected")


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise OperatorError(f"--default {text!r}: write NAME=VALUE, such as class=unknown")
    return name, value
