"""Pages of Scan as DynamoDB sends them, made up: the bytes that all contestants are given."""

from __future__ import annotations

import json
import random
from typing import Any

PAGE_BYTES = 1_000_000
# Enough different pages that no compressor finds one within another.
DIFFERENT = 8
_WORDS = [
    f"{first}{last}" for first in ("an", "binh", "chi", "dung", "giang", "ha") for last in ("h", "m", "n", "ng", "")
]


def _text(chance: random.Random, length: int) -> str:
    words: list[str] = []
    size = 0
    while size < length:
        words.append(chance.choice(_WORDS) + str(chance.randrange(1000)))
        size += len(words[-1]) + 1
    return " ".join(words)[:length]


def _small(chance: random.Random, key: str) -> dict[str, Any]:
    name = _text(chance, 18)
    return {
        "studentid": {"S": key},
        "name": {"S": name},
        "class": {"S": f"{chance.choice((10, 11, 12))}A{chance.randrange(1, 9)}"},
        "birthdate": {"S": f"200{chance.randrange(6, 10)}-0{chance.randrange(1, 10)}-1{chance.randrange(10)}"},
        "email": {"S": f"{name.replace(' ', '.')}@students.example"},
        "gpa": {"N": f"{chance.randrange(100, 400) / 100}"},
        "active": {"BOOL": True},
        "marks": {"L": [{"N": str(chance.randrange(11))} for _ in range(4)]},
    }


def _large(chance: random.Random, key: str, size: int) -> dict[str, Any]:
    return {"studentid": {"S": key}, "essay": {"S": _text(chance, size)}, "version": {"N": "3"}}


def _deep(chance: random.Random, key: str) -> dict[str, Any]:
    value: dict[str, Any] = {"S": _text(chance, 40)}
    for level in range(12):
        value = {"M": {f"level{level}": value, "count": {"N": str(level)}, "tags": {"SS": ["a", "b", "c"]}}}
    return {"studentid": {"S": key}, "tree": value}


KINDS = {
    "small items (270 B)": _small,
    "large items (10 KB)": lambda chance, key: _large(chance, key, 10_000),
    "large items (350 KB)": lambda chance, key: _large(chance, key, 350_000),
    "deep maps": _deep,
}


def items(kind: str, count: int = DIFFERENT) -> list[list[bytes]]:
    """Return the items of so many different pages of a kind, each page about 1 MB."""
    chance = random.Random(kind)
    pages = []
    for page in range(count):
        made: list[bytes] = []
        size = 0
        while size < PAGE_BYTES - (350_000 if "350" in kind else 0):
            item = KINDS[kind](chance, f"SV{page:04}{len(made):06}")
            made.append(json.dumps(item, separators=(",", ":"), ensure_ascii=False).encode())
            size += len(made[-1])
        pages.append(made)
    return pages
