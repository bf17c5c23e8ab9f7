"""Send records from a CSV file to the API."""

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

from ops import console
from ops.cloud import Answer, fetch
from ops.failures import OperatorError

_BATCH = 25
_TRIES = 8
_AGAIN = {0, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Row:
    """A line of the file with its record, or with its fault."""

    line: int
    record: Mapping[str, str]
    fault: str = ""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a row: `created`, `updated`, or `rejected` with a reason."""

    row: Row
    what: str
    reason: str = ""


class _Template(string.Formatter):
    """A format string with the columns of a row and its number. It accepts only `{name}` and `{name:spec}`."""

    def get_field(self, field_name: str, args: object, kwargs: object) -> tuple[object, str]:
        assert isinstance(kwargs, Mapping)
        if field_name not in kwargs:
            raise OperatorError(f"there is no column {field_name!r}; there are: {', '.join(map(str, kwargs))}")
        return kwargs[field_name], field_name


def read_rows(path: Path, *, id_template: str | None, defaults: Mapping[str, str]) -> Iterator[Row]:
    """Yield the rows of a CSV file as records.

    Arguments:
        path: UTF-8, comma-separated. Its first line has the column names, which become the names of the attributes.
        id_template: of `studentid`, such as `GP-{row:04}`; it may name columns, and `row` counts from 1.
        defaults: templates of values for attributes that a row leaves empty.

    Raises:
        OperatorError: the file cannot be read, or its column names are not valid.
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
            raise OperatorError(f"{path}: its first line {what}; every column needs its own name")


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
    """Sends records to the API in batches.

    Arguments:
        pause: seconds before the second attempt; doubled for each further one.
    """

    def __init__(self, api_url: str, api_key: str, *, notify: bool = False, pause: float = 0.5) -> None:
        self._url = f"{api_url}/students" + ("" if notify else "?notify=false")
        self._headers = {"Content-Type": "application/json", "x-api-key": api_key}
        self._pause = pause

    def send(self, rows: Iterable[Row]) -> Iterator[Outcome]:
        """Yield the outcome of each row, in the order of the file."""
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
        # Saving a record is idempotent, so a failed request may be sent again.
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


def load(importer: Importer, rows: list[Row]) -> list[Outcome]:
    """Send rows with a progress bar, and return their outcomes."""
    with console.progress() as progress:
        task = progress.add_task("Importing", total=len(rows))
        outcomes = []
        for outcome in importer.send(rows):
            outcomes.append(outcome)
            progress.advance(task)
        return outcomes
