"""Wraps the prose of generated pages."""

from __future__ import annotations

import re

WIDTH = 128
# A code span stays on one line, so that it can be copied.
_WORD = re.compile(r"(?:`[^`]*`|\S)+")
# Headings, tables and pictures keep their lines.
_NOT_PROSE = ("#", "|", "!", "<!--")


def wrapped(text: str) -> str:
    """Return paragraphs, which empty lines separate, in lines of at most 128 columns; other blocks stay as they are."""
    return "\n\n".join(each if each.startswith(_NOT_PROSE) else _paragraph(each) for each in text.split("\n\n"))


def _paragraph(text: str) -> str:
    lines = [""]
    for word in _WORD.findall(text):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
