"""`rollbook backups verify` and `diff`."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from ops import console, tables
from ops.backups.reading import explained, resources_of
from ops.cloud import Cloud
from ops.commands import command
from ops.exits import Exit
from ops.failures import SomethingFound
from ops.options import EnvOrLocal, Json
from rollbook.engine import compare, stored, verification
from rollbook.engine.comparison import Comparison
from rollbook.engine.formats.lines import Corrupted

_SHOWN = 20
_STYLES = {"added": "green", "removed": "red", "changed": "yellow"}
Key = Annotated[str, typer.Argument(help="Key of the backup, from `list` or the mail.")]


def register(app: typer.Typer) -> None:
    """Add the commands to a group."""
    command(
        app,
        "verify",
        example="rollbook backups verify KEY --env production",
        codes={
            Exit.GOOD: "the backup is whole",
            Exit.FINDINGS: "damaged, replaced, or not in the history",
        },
    )(verify)
    command(
        app,
        "diff",
        example="rollbook backups diff KEY --env production",
        codes={Exit.GOOD: "both are equal", Exit.FINDINGS: "they differ"},
    )(diff)


def verify(key: Key, env: EnvOrLocal = "local", as_json: Json = False) -> None:
    """Read a backup and check every item, the digests, and that no key is there twice."""
    cloud = Cloud.of(env)
    with explained(cloud, key), console.progress() as bar:
        task = bar.add_task("Verifying", total=None)
        try:
            resources = resources_of(cloud)
            backup = resources.open_backup(key)
            whole, are_keys_checked = verification.verify(backup, lambda: bar.advance(task))
        except Corrupted as damage:
            if not as_json:
                raise SomethingFound(f"{key} is damaged: {damage}") from None
            console.say_json({"key": key, "isWhole": False, "damage": str(damage)})
            raise typer.Exit(Exit.FINDINGS) from None
        replaced = stored.replaced(resources.s3, resources.bucket, backup)
    is_known = backup.recorded is not None
    if as_json:
        facts = {"items": whole.items, "bytes": whole.bytes, "sha256": whole.sha256}
        facts |= {"isKnown": is_known, "areKeysChecked": are_keys_checked, "replaced": replaced}
        period = {"changesFrom": backup.change_of[0], "changesUntil": backup.change_of[1]} if backup.change_of else {}
        console.say_json({"key": key, "isWhole": True, **facts, **period})
    elif is_known and not replaced:
        what = "items"
        if backup.change_of:
            what = f"changed keys from {backup.change_of[0]} to {backup.change_of[1]}"
        console.done(f"{key} is whole, as the history has it: {whole.items:,} {what}, {whole.bytes:,} bytes")
    elif is_known:
        console.say(f"{replaced}. That version is whole: {whole.items:,} items, {whole.bytes:,} bytes.", "red")
    else:
        console.say(
            f"{key} is whole by its own digest: {whole.items:,} items, {whole.bytes:,} bytes. The history does not "
            "know it, so whether a backup wrote it is unknown.",
            "yellow",
        )
    if not as_json and not are_keys_checked:
        console.say("Unknown: whether it has a key twice, because it does not contain the table's definition.")
    if replaced or not is_known:
        raise typer.Exit(Exit.FINDINGS)


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
    resources = resources_of(cloud)
    with explained(cloud, first), console.progress() as bar:
        task = bar.add_task("Comparing", total=None)

        def counted(items: Iterator[bytes]) -> Iterator[bytes]:
            for item in items:
                yield item
                bar.advance(task)

        names = compare.keys(resources, first, second)
        with Comparison() as comparison:
            outcome = compare.compare(comparison, names, resources, first, second, counted)
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
