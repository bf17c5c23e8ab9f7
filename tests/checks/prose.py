"""`python -m tests.checks.prose`: spelling and plain words of pages, docstrings, comments, messages and test names.

A file is masked before it is checked: everything that is not prose becomes blank, and lines stay where they are.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bench import tools
from ops.console import ROOT, done, error

_HERE = Path(__file__).parent
_WORDS = _HERE / "words.toml"
_REQUIREMENTS = _HERE / "prose-requirements.txt"
_WIDTH = 128
# A string of so many words is a message, not a value.
_MESSAGE_WORDS = 4
_CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
_LINK = re.compile(r"\]\([^)]*\)")
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_FOUND = re.compile(r"^(?P<path>.+?):(?P<line>\d+):\d+: (?P<check>[\w.]+): (?P<message>.+)$")


@dataclass(frozen=True, order=True)
class Finding:
    """A fault of a text."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Rules:
    """The word list."""

    avoid: list[tuple[re.Pattern[str], str, str]]
    spelling: dict[str, list[str]]
    proselint_off: list[str]
    exempt: dict[str, str]


def rules(path: Path = _WORDS) -> Rules:
    """Return the rules of the word list."""
    table = tomllib.loads(path.read_text("utf-8"))
    avoid = []
    for each in table["avoid"]:
        unless = rf"(?!\s+{each['unless']}\b)" if "unless" in each else ""
        words = r"\s+".join(map(re.escape, each["word"].split()))
        avoid.append((re.compile(rf"\b{words}\b{unless}", re.IGNORECASE), each["word"], each["write"]))
    return Rules(avoid, table["spelling"], table["proselint"]["off"], table["exempt"])


def masked(name: str, text: str) -> str:
    """Return the prose of a file on the lines where it is; everything else is blank.

    Arguments:
        name: of the file; its suffix says what is prose.
    """
    if name.endswith(".md"):
        return _masked_page(text)
    if name.endswith(".py"):
        return _masked_module(text)
    return text


def _masked_page(text: str) -> str:
    lines = []
    is_code = False
    for line in text.splitlines():
        is_fence = line.lstrip().startswith("```")
        is_code ^= is_fence
        if is_code or is_fence or line.startswith("<!--"):
            lines.append("")
        elif line.startswith("#"):
            lines.append(line.lstrip("#") + ".")
        else:
            lines.append(line.replace("|", ";"))
    # The words of a link are prose, its target is not.
    return _LINK.sub("]", _CODE.sub(_blank, "\n".join(lines)))


def _blank(match: re.Match[str]) -> str:
    """Return something of the same length that no rule knows; two of them are never equal by accident."""
    text = match[0]
    letter = "bcdfghjklmnpqrstvwxz"[_number_of(text)]
    return "".join("\n" if each == "\n" else letter for each in text)


def _number_of(text: str) -> int:
    """Return one of twenty numbers for a text, the same in every run."""
    return sum(map(ord, text)) % 20


def _masked_module(text: str) -> str:
    lines = [""] * (text.count("\n") + 2)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        number = token.start[0] - 1
        if token.type == tokenize.COMMENT:
            # A comment of several lines is one text.
            lines[number] += f" {token.string.lstrip('# ')}" if not token.string.startswith("#!") else ""
        elif token.type == tokenize.STRING or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
            for offset, line in enumerate(_message(token.string).splitlines()):
                lines[number + offset] += f" {line}"
        elif token.type == tokenize.NAME and token.string.startswith("test_"):
            lines[number] += f" {token.string.replace('_', ' ')}."
    return _CODE.sub(_blank, "\n".join(line.strip() for line in lines))


def _message(token: str) -> str:
    """Return what a string says, or blank lines if it is a value."""
    text = re.sub(r"^[a-zA-Z]*(\"\"\"|'''|\"|')", "", token)
    text = re.sub(r"(\"\"\"|'''|\"|')$", "", text)
    text = _PLACEHOLDER.sub("VALUE", text).replace("\\n", "  ").replace('\\"', '"')
    is_message = len(re.findall(r"\b[A-Za-z][a-z]*\b", text)) >= _MESSAGE_WORDS
    return text if is_message else "\n" * text.count("\n")


def check_words(name: str, text: str, known: Rules) -> Iterator[Finding]:
    """Yield the words of a text that the list refuses, and lines of prose that are too long."""
    prose = masked(name, text)
    for pattern, word, write in known.avoid:
        for match in pattern.finditer(prose):
            line = prose.count("\n", 0, match.start()) + 1
            yield Finding(name, line, f"{word!r}: write {write}")
    if name.endswith(".md"):
        yield from _too_long(name, text)


def _too_long(name: str, text: str) -> Iterator[Finding]:
    is_code = False
    for number, line in enumerate(text.splitlines(), start=1):
        is_code ^= line.lstrip().startswith("```")
        if len(line) > _WIDTH and not is_code and not line.lstrip().startswith(("|", "<", "#", "![")):
            yield Finding(name, number, f"{len(line)} columns; wrap prose at {_WIDTH}")


def check_proselint(names: Iterable[str], known: Rules, root: Path = ROOT) -> Iterator[Finding]:
    """Yield what proselint finds in the prose of some files."""
    with tempfile.TemporaryDirectory(prefix="rollbook-prose-") as temporary:
        folder = Path(temporary)
        places = {}
        for number, name in enumerate(names):
            path = folder / f"{number}.md"
            path.write_text(masked(name, (root / name).read_text("utf-8")), "utf-8")
            places[path.name] = name
        if not places:
            return
        done = subprocess.run(
            [_program("proselint"), "check", "--output-format", "compact", *(folder / name for name in places)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode > 1:
            raise RuntimeError(f"proselint failed:\n{done.stderr or done.stdout}")
        for line in done.stdout.splitlines():
            match = _FOUND.match(line)
            if match and not match["check"].startswith(tuple(known.proselint_off)):
                place = places[Path(match["path"]).name]
                yield Finding(place, int(match["line"]), f"{match['message']} ({match['check']})")


def check_spelling(names: Iterable[str], known: Rules, root: Path = ROOT) -> Iterator[Finding]:
    """Yield what codespell finds in some files, names and code included."""
    kept = [name for name in names if not any(fnmatchcase(name, pattern) for pattern in known.spelling["skip"])]
    words = ",".join(known.spelling["correct"])
    done = subprocess.run(
        [_program("codespell"), "--ignore-words-list", words, *kept],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        path, number, message = line.split(":", 2)
        yield Finding(path, int(number), f"spelling: {message.strip()}")


def _program(name: str) -> Path:
    return tools.folder(_REQUIREMENTS) / name


def tracked(root: Path = ROOT) -> list[str]:
    """Return the files of the project that are there."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(name for name in set(listed.stdout.splitlines()) if (root / name).is_file())


def is_prose(name: str) -> bool:
    """Return whether a file has prose that people read."""
    is_data = name.startswith(("tests/synth/golden/", "tests/unit/plans/", "tests/checks/words"))
    return name.endswith((".md", ".py", ".toml", ".html")) and not is_data


def findings(names: list[str]) -> list[Finding]:
    """Return all findings of some files."""
    known = rules()
    prose = [name for name in names if is_prose(name) and name not in known.exempt]
    found: list[Any] = [*check_spelling(names, known), *check_proselint(prose, known)]
    for name in prose:
        found += check_words(name, (ROOT / name).read_text("utf-8"), known)
    return sorted(set(found))


def main() -> int:
    """Check the texts, print the findings, and return the exit code."""
    found = findings(tracked())
    for each in found:
        error(each, "✗")
    if not found:
        done("prose: plain words, no spelling mistakes")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
