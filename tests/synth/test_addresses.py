"""Every resource's address is in a list. Without a `moved` block, a rename destroys and recreates the resource.

`python -m tests.synth.test_addresses` rewrites the lists. Run it after a rename with its `moved` block, or after an
intended removal.
"""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from infra.settings import load_all
from ops.adoption.finders import unknown
from ops.console import ROOT
from tests.conftest import Stacks

LISTS = Path(__file__).parent / "addresses"
STACKS = [name for settings in load_all() for name in settings.stack_names]


def addresses(stack: dict[str, Any]) -> list[str]:
    return sorted(f"{kind}.{name}" for kind, resources in stack["resource"].items() for name in resources)


def advice(gone: set[str], new: set[str]) -> str:
    """What to do about each address that is gone: the `moved` block to write, if there is a likely new one."""
    lines = []
    for address in sorted(gone):
        kind = address.partition(".")[0]
        alike = difflib.get_close_matches(
            address, [name for name in new if name.startswith(f"{kind}.")], n=1, cutoff=0.5
        )
        if alike:
            lines.append(
                f"{address} became {alike[0]}, which destroys and creates it. Keep it with, in the construct, "
                f'.move_from_id("{address}"), which synthesizes: moved {{ from = {address}  to = {alike[0]} }}'
            )
        else:
            lines.append(f"{address} is gone, which destroys it. If that is intended, rewrite the list.")
    return "\n".join(lines)


@pytest.mark.parametrize("name", STACKS)
def test_no_resource_is_renamed_or_removed_unnoticed(stacks: Stacks, name: str) -> None:
    listed = set((LISTS / f"{name}.txt").read_text().split())
    found = set(addresses(stacks.json(name)))
    moved = {block["from"] for block in stacks.json(name).get("moved", [])}
    gone = listed - found - moved
    assert not gone, advice(gone, found - listed)
    assert listed >= found, f"new, to be added to tests/synth/addresses/{name}.txt: {sorted(found - listed)}"


def test_adoption_can_find_every_type_of_every_environment(stacks: Stacks) -> None:
    for settings in load_all():
        assert unknown(list(stacks.json(settings.name)["resource"])) == set()


def test_a_rename_is_answered_with_the_moved_block_to_write() -> None:
    told = advice(
        {"aws_s3_bucket.store_bucket_1", "aws_kms_key.gone"}, {"aws_s3_bucket.shelf_bucket_2", "aws_sqs_queue.q"}
    )
    assert "moved { from = aws_s3_bucket.store_bucket_1  to = aws_s3_bucket.shelf_bucket_2 }" in told
    assert "aws_kms_key.gone is gone, which destroys it" in told


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "main.py"], cwd=ROOT, env={**os.environ, "CDKTF_OUTDIR": folder}, check=True)
        LISTS.mkdir(exist_ok=True)
        for name in STACKS:
            stack = json.loads(Path(folder, "stacks", name, "cdk.tf.json").read_text())
            (LISTS / f"{name}.txt").write_text("\n".join(addresses(stack)) + "\n")


if __name__ == "__main__":
    main()
