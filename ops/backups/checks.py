"""`rollbook backups verify` and `diff`."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from ops import console, tables
from ops.backups.reading import explained
from ops.cloud import Cloud
from ops.commands import command
from ops.exits import Exit
from ops.failures import SomethingFound
from ops.options import EnvOrLocal, Json
from rollbook.engine import compare, stored
from rollbook.engine.comparison import Comparison
from rollbook.engine.formats.document import Corrupted

_SHOWN = 20
_STYLES = {"added": "green", "removed": "red", "changed": "yellow"}
Key = Annotated[str, typer.Argument(help="Key of the backup, from `list` or the mail.")]


def register(app: typer.Typer) -> None:
    """Add the commands to a group."""
    command(
        app,
        "verify",
        example="rollbook backups verify KEY --env production",
        codes={Exit.GOOD: "the backup is whole", Exit.FINDINGS: "the backup is damaged"},
    )(verify)
    command(
        app,
        "diff",
        example="rollbook backups diff KEY --env production",
        codes={Exit.GOOD: "both are equal", Exit.FINDINGS: "they differ"},
    )(diff)


def verify(key: Key, env: EnvOrLocal = "local", as_json: Json = False) -> None:
    """Read a backup and check every item and the digests."""
    cloud = Cloud.of(env)
    with explained(cloud, key), console.progress() as bar:
        task = bar.add_task("Verifying", total=None)
        try:
            backup = stored.open_backup(cloud.client("s3"), cloud.settings.backups.bucket_name, key)
            whole = stored.verify(backup, lambda: bar.advance(task))
        except Corrupted as damage:
            if not as_json:
                raise SomethingFound(f"{key} is damaged: {damage}") from None
            console.say_json({"key": key, "isWhole": False, "damage": str(damage)})
            raise typer.Exit(Exit.FINDINGS) from None
    if as_json:
        facts = {"items": whole.items, "bytes": whole.bytes, "sha256": whole.sha256}
        period = {"changesFrom": backup.change_of[0], "changesUntil": backup.change_of[1]} if backup.change_of else {}
        console.say_json({"key": key, "isWhole": True, **facts, **period})
    elif backup.change_of:
        console.done(
            f"{key} is whole: {whole.items:,} changed keys from {backup.change_of[0]} to {backup.change_of[1]}, "
            f"{whole.bytes:,} bytes; restore it with --chain"
        )
    else:
        console.done(f"{key} is whole: {whole.items:,} items, {whole.bytes:,} bytes")


def diff(
    first: Annotated[str, typer.Argument(metavar="KEY", help="Key of a backup.")],
    second: Annotated[
        str, typer.Argument(metavar="KEY|TABLE", help="Key of another backup, or a table; the live table by default.")
    ] = "",
    env: EnvOrLocal = "local",
    as_json: Json = False,
) -> None:
    """Compare a backup with a table or another backup."""
    cloud = Cloud.of(env)
    second = second or cloud.settings.records.table_name
    dynamodb, s3, bucket = cloud.items(), cloud.client("s3"), cloud.settings.backups.bucket_name
    with explained(cloud, first), console.progress() as bar:
        task = bar.add_task("Comparing", total=None)

        def counted(items: Iterator[bytes]) -> Iterator[bytes]:
            for item in items:
                yield item
                bar.advance(task)

        names = compare.keys(dynamodb, s3, bucket, first, second)
        with Comparison() as comparison:
            outcome = compare.compare(comparison, names, dynamodb, s3, bucket, first, second, counted)
            bar.stop()
            if as_json:
                _say_json(comparison, compare.described(first, second, outcome))
            elif not outcome.is_equal:
                _show(comparison, first, second)
    if not as_json:
        if outcome.is_equal:
            console.done(f"{first} and {second} are equal: {outcome.first:,} items")
        else:
            console.say(f"{outcome.added:,} added, {outcome.removed:,} removed, {outcome.changed:,} changed")
    if not outcome.is_equal:
        raise typer.Exit(Exit.FINDINGS)


def _show(comparison: Comparison, first: str, second: str) -> None:
    console.say(f"{first} → {second}", "bold")
    shown = list(itertools.islice(comparison.differences(), _SHOWN + 1))
    tables.show(
        ("Change", "Key"), [tables.Row((found.kind, found.key), _STYLES[found.kind]) for found in shown[:_SHOWN]]
    )
    if len(shown) > _SHOWN:
        console.say(f"Only the first {_SHOWN} are shown; --json prints all.")


def _say_json(comparison: Comparison, facts: dict[str, Any]) -> None:
    """Print one JSON object piece by piece, because there may be millions of differences."""
    sys.stdout.write(json.dumps(facts)[:-1] + ', "differences": [\n')
    for number, found in enumerate(comparison.differences()):
        sys.stdout.write(("," if number else "") + json.dumps({"kind": found.kind, "key": json.loads(found.key)}))
        sys.stdout.write("\n")
    sys.stdout.write("]}\n")
