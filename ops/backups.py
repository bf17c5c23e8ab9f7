"""`ops backups`: what there is, what is in it, and whether it is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import BotoCoreError, ClientError
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from handlers.backups import document, verify
from ops.cloud import Cloud
from ops.console import OperatorError, command, err, out

_CHUNK_BYTES = 1 << 20
_deserialize = TypeDeserializer().deserialize

app = typer.Typer(help="Backups: list, show, verify.", no_args_is_help=True)
Environment = Annotated[str, typer.Option("--env", help="Environment, as in environments/<name>.toml.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Key = Annotated[str, typer.Argument(help="The object's key, as `list` and the mail have it.")]


@app.command("list")
@command
def list_(env: Environment = "local", as_json: Json = False) -> None:
    """List the backups and the executions that made none, newest first."""
    rows = overview(Cloud.of(env))
    if as_json:
        print(json.dumps(rows))
        return
    table = Table()
    table.add_column("Key", no_wrap=True, overflow="fold")  # it is what the other commands are given
    for name in ("Status", "Source", "Items", "Bytes"):
        table.add_column(name, overflow="fold", justify="right" if name in {"Items", "Bytes"} else "left")
    for row in rows:
        numbers = [f"{row[name]:,}" if row[name] is not None else "unknown" for name in ("items", "bytes")]
        style = "" if row["status"] == "completed" else "red"
        table.add_row(row["key"] or row["id"], row["status"], row["source"], *numbers, style=style)
        if row["error"]:
            table.add_row("", row["error"], style=style)
    out.print(table)


@app.command()
@command
def show(key: Key, env: Environment = "local", as_json: Json = False) -> None:
    """Show what the history and the object's own footer say of one backup."""
    cloud = Cloud.of(env)
    found = _object(cloud, key, Range=f"bytes=-{document.FOOTER_BYTES}")
    try:
        footer = document.read_footer(found["Body"].read())
    except document.DocumentError as error:
        raise OperatorError(f"{key}: {error}; see: ops backups verify {key}") from None
    rows = [row for row in overview(cloud) if row["key"] == key]
    facts = {
        **(rows[0] if rows else {"key": key, "status": "unknown to the history"}),
        "items": footer.item_count,
        "sha256": footer.sha256,
        "completedAt": footer.completed_at.isoformat(),
        "bytes": int(found["ContentRange"].rpartition("/")[2]),
    }
    if as_json:
        print(json.dumps(facts))
        return
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    out.print(table)


@app.command("verify")
@command
def verify_(key: Key, env: Environment = "local", as_json: Json = False) -> None:
    """Read a backup again and check every item line, the count and the SHA-256; exit code 1 if it is damaged."""
    cloud = Cloud.of(env)
    found = _object(cloud, key)
    columns = (TextColumn("Verifying"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=err, transient=True) as progress:
            task = progress.add_task("", total=found["ContentLength"])
            whole = verify.verify(_counted(found["Body"], progress, task))
    except verify.Corrupted as damage:
        if as_json:
            print(json.dumps({"key": key, "isWhole": False, "damage": str(damage)}))
            raise typer.Exit(1) from None
        raise OperatorError(f"{key} is damaged: {damage}") from None
    if as_json:
        facts = {"items": whole.footer.item_count, "bytes": whole.bytes, "sha256": whole.footer.sha256}
        print(json.dumps({"key": key, "isWhole": True, **facts}))
    else:
        size = f"{whole.footer.item_count:,} items, {whole.bytes:,} bytes"
        out.print(f"[green]✓[/] {key} is whole: {size}", highlight=False)


def overview(cloud: Cloud) -> list[dict[str, Any]]:
    """Return a row for each object and each execution without one, newest first; None is what nobody knows."""
    backups = cloud.settings.backups
    pages = cloud.client("dynamodb").get_paginator("scan").paginate(TableName=backups.history_table_name)
    history = [_row(item) for page in pages for item in page["Items"]]
    listed = cloud.client("s3").get_paginator("list_objects_v2")
    objects = {
        found["Key"]: found
        for page in listed.paginate(Bucket=backups.bucket_name, Prefix=backups.key_prefix)
        for found in page.get("Contents", [])
    }
    unknown = {"id": "", "status": "unknown to the history", "source": "", "items": None, "error": ""}
    rows = [
        {**unknown, "key": key, "bytes": found["Size"], "startedAt": f"{found['LastModified']:%Y-%m-%dT%H:%M:%SZ}"}
        for key, found in objects.items()
        if key not in {row["key"] for row in history}
    ]
    for row in history:
        if row["status"] == "completed" and row["key"] not in objects:
            row["status"] = "completed, but its object is gone"
    return sorted(rows + history, key=lambda row: str(row["startedAt"]), reverse=True)


def _row(item: dict[str, Any]) -> dict[str, Any]:
    row = {name: _deserialize(value) for name, value in item.items()}
    numbers = {name: int(row[name]) if name in row else None for name in ("items", "bytes")}
    texts = {name: str(row.get(name, "")) for name in ("id", "key", "status", "source", "startedAt", "error")}
    return texts | numbers


def _object(cloud: Cloud, key: str, **options: str) -> Any:
    bucket = cloud.settings.backups.bucket_name
    try:
        return cloud.client("s3").get_object(Bucket=bucket, Key=key, **options)
    except (BotoCoreError, ClientError) as error:
        raise OperatorError(f"s3://{bucket}/{key} cannot be read: {error}; `ops backups list` has the keys") from None


def _counted(body: Any, progress: Progress, task: Any) -> Iterator[bytes]:
    for chunk in body.iter_chunks(_CHUNK_BYTES):
        progress.advance(task, len(chunk))
        yield chunk
