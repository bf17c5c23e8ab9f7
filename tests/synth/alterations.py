"""Alterations of the synthesized JSON, and whether they are noticed. `python -m tests.synth.alterations`.

There are two lists: those of named.toml, one for each thing that matters, and leaves that are drawn by a seed. The
value checks have to notice them without the reviewed files; with the files, every one shows.
"""

from __future__ import annotations

import copy
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from infra.settings import Settings, load_all
from ops.console import ROOT
from tests.synth import reviewed
from tests.synth.documents import Path as Place
from tests.synth.documents import at, leaves
from tests.synth.values.every import faults
from tests.synth.values.view import View, is_ignored

NAMED = Path(__file__).with_name("named.toml")
STACKS = ("production", "local")
SEED, COUNT = 13, 200
_TEXT = "(json)"
_REFERENCE = re.compile(r"\$\{(aws_[a-z0-9_]+)\.([\w-]+)\.([a-z_]+)\}")
_OPPOSITES = {
    "Allow": "Deny",
    "Enabled": "Disabled",
    "breaching": "notBreaching",
    "Sum": "Average",
    "Maximum": "Minimum",
    "GreaterThanOrEqualToThreshold": "GreaterThanThreshold",
    "LessThanThreshold": "LessThanOrEqualToThreshold",
    "FLEXIBLE": "OFF",
    "UTC": "Asia/Tokyo",
    "https-only": "http-only",
    "redirect-to-https": "allow-all",
    "PAY_PER_REQUEST": "PROVISIONED",
}
_OPPOSITES |= {other: one for one, other in _OPPOSITES.items()}


@dataclass(frozen=True)
class Alteration:
    """A change of one value.

    Arguments:
        stack: name of the stack.
        place: where in it; `(json)` enters a text that is JSON.
        value: what is there then; None if it is taken away.
        what: in words.
    """

    stack: str
    place: Place
    value: Any
    what: str = ""

    def __str__(self) -> str:
        path = ".".join(map(str, self.place))
        return f"{self.what or path}: {'taken away' if self.value is None else json.dumps(self.value)} ({self.stack})"

    def apply(self, stack: dict[str, Any]) -> dict[str, Any]:
        """Return the altered stack; the types of resources that it leaves alone are shared with the original."""
        part, kind, *_ = self.place
        changed = {**stack, part: {**stack[part], kind: copy.deepcopy(stack[part][kind])}}
        _set(changed, self.place, self.value)
        return changed


def _set(document: Any, place: Place, value: Any) -> None:
    if _TEXT in place:
        number = place.index(_TEXT)
        inner = json.loads(at(document, place[:number]))
        _set(inner, place[number + 1 :], value)
        _set(document, place[:number], json.dumps(inner))
    elif value is None:
        del at(document, place[:-1])[place[-1]]
    else:
        at(document, place[:-1])[place[-1]] = value


def opened(value: Any) -> Any:
    """Return a value with the JSON in its texts opened."""
    if isinstance(value, dict):
        return {name: opened(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [opened(inner) for inner in value]
    if isinstance(value, str) and value.startswith("{"):
        try:
            return {_TEXT: opened(json.loads(value))}
        except ValueError:
            return value
    return value


def acted_on(name: str, stack: dict[str, Any]) -> Iterator[tuple[Place, Any, Any]]:
    """Yield the leaves that AWS acts on: where each is, its value, and the list or object that holds it."""
    for kind, resources in stack["resource"].items():
        for address, resource in resources.items():
            tree = opened(resource)
            for place, value in leaves(tree):
                is_label = any(isinstance(step, str) and is_ignored(kind, step) for step in place)
                if not is_label and not isinstance(value, dict | list):
                    yield ("resource", kind, address, *place), value, at(tree, place[:-1])


def altered(stack: dict[str, Any], value: Any, holder: Any, choice: random.Random) -> Any:
    """Return another value of the same kind, or None to take an element of a list away."""
    if isinstance(holder, list) and len(holder) > 1 and choice.random() < 0.5:
        return None
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return choice.choice([each for each in (value + 1, value * 2, value - 1) if each != value and each >= 0])
    reference = _REFERENCE.search(value)
    if reference:
        others = sorted(stack["resource"].get(reference[1], {}).keys() - {reference[2]})
        # Another resource of the type, or where there is none, the name of one that the stack does not have.
        other = f"${{{reference[1]}.{choice.choice(others)}.{reference[3]}}}" if others else "other"
        return value.replace(reference[0], other)
    return _OPPOSITES.get(value, f"{value}x")


def drawn(stacks: dict[str, dict[str, Any]], seed: int = SEED, count: int = COUNT) -> list[Alteration]:
    """Draw leaves of all stacks, and alter each."""
    choice = random.Random(seed)
    every = [(name, *leaf) for name in STACKS for leaf in acted_on(name, stacks[name])]
    return [
        Alteration(name, place, altered(stacks[name], value, holder, choice))
        for name, place, value, holder in choice.sample(every, count)
    ]


def named(stacks: dict[str, dict[str, Any]]) -> list[Alteration]:
    """Return the alterations of named.toml.

    Raises:
        ValueError: one finds no resource or more than one, or alters nothing.
    """
    found = []
    for each in tomllib.loads(NAMED.read_text("utf-8"))["alteration"]:
        name, kind = each.get("stack", "production"), each["type"]
        of = each.get("of", {})
        fitting = [
            address
            for address, resource in stacks[name]["resource"].get(kind, {}).items()
            if all(_fits(resource, key, value) for key, value in of.items())
        ]
        if len(fitting) != 1:
            raise ValueError(f"{each['what']}: {len(fitting)} resources {kind} with {of}")
        place = ("resource", kind, fitting[0], *each["at"])
        alteration = Alteration(name, place, each.get("value"), each["what"])
        if alteration.value is not None and alteration.apply(stacks[name]) == stacks[name]:
            raise ValueError(f"{each['what']}: it is {alteration.value!r} already")
        found.append(alteration)
    return found


def _fits(resource: dict[str, Any], key: str, value: Any) -> bool:
    return str(value) in json.dumps(resource) if key == "has" else resource.get(key) == value


@cache
def environments() -> dict[str, Settings]:
    """Return the settings by the names of their stacks."""
    return {settings.name: settings for settings in load_all()}


def is_noticed(stacks: dict[str, dict[str, Any]], alteration: Alteration) -> bool:
    """Return whether a value check notices an alteration."""
    stack = alteration.apply(stacks[alteration.stack])
    return next(faults(View(stack, environments()[alteration.stack])), None) is not None


def shows(stacks: dict[str, dict[str, Any]], alteration: Alteration) -> bool:
    """Return whether an alteration changes a reviewed file."""
    part, kind, *_ = alteration.place
    before = stacks[alteration.stack]
    after = alteration.apply(before)
    files = [reviewed.files_of(alteration.stack, {part: {kind: each[part][kind]}}) for each in (before, after)]
    return files[0] != files[1]


def main() -> None:
    """Synthesize, make every alteration and print what is not noticed."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "main.py"], cwd=ROOT, env={**os.environ, "CDKTF_OUTDIR": folder}, check=True)
        stacks = {name: json.loads(Path(folder, "stacks", name, "cdk.tf.json").read_text()) for name in STACKS}
    seeds = [int(seed) for seed in sys.argv[1:]] or [SEED]
    lists = {"named": named(stacks)} | {f"seed {seed}": drawn(stacks, seed) for seed in seeds}
    for title, alterations in lists.items():
        unnoticed = [each for each in alterations if not is_noticed(stacks, each)]
        unseen = [each for each in alterations if not shows(stacks, each)]
        print(
            f"{title}: the value checks notice {len(alterations) - len(unnoticed)} of {len(alterations)}, "
            f"the reviewed files show {len(alterations) - len(unseen)}"
        )
        for each in unnoticed:
            print(f"  not noticed: {each}")


if __name__ == "__main__":
    main()
