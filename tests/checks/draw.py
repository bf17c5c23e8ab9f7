"""`python -m tests.checks.draw SEED [COUNT]`: draw sentences of pages, docstrings and messages for a reader."""

from __future__ import annotations

import ast
import random
import re
import sys
from collections.abc import Iterator

from ops.console import ROOT
from tests.checks.prose import is_prose, tracked

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`])")
_COUNT = 30
# A shorter text is a heading, a name or a value.
_WORDS = 6


def texts() -> Iterator[tuple[str, str]]:
    """Yield the place and the text of every paragraph, docstring and message, tests aside."""
    for name in tracked():
        if not is_prose(name) or name.startswith("tests/"):
            continue
        content = (ROOT / name).read_text("utf-8")
        if name.endswith(".md"):
            yield from ((name, part) for part in content.split("\n\n") if not part.startswith(("|", "```", "#", "!")))
        elif name.endswith(".py"):
            for node in ast.walk(ast.parse(content)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield f"{name}:{node.lineno}", node.value


def sentences() -> list[tuple[str, str]]:
    """Return every sentence with its place."""
    found = []
    for place, text in texts():
        for part in text.split("\n\n"):
            for sentence in _SENTENCE.split(" ".join(part.split())):
                if len(sentence.split()) >= _WORDS and sentence[0].isalpha():
                    found.append((place, sentence))
    return found


def main() -> None:
    """Print the drawn sentences."""
    seed, count = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else _COUNT
    for place, sentence in random.Random(seed).sample(sentences(), count):
        print(f"{place}: {sentence}")


if __name__ == "__main__":
    main()
