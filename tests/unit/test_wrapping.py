"""Generated pages: paragraphs are wrapped, other blocks stay as they are."""

from __future__ import annotations

import pytest

from docs.prose import WIDTH, wrapped

_LONG = " ".join(["word"] * 60)


def test_a_paragraph_is_wrapped_and_keeps_its_words() -> None:
    text = wrapped(f"{_LONG}\n\n{_LONG}")
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.count("\n\n") == 1
    assert text.split() == _LONG.split() * 2


@pytest.mark.parametrize("start", ["# ", "| ", "![", "<!-- "])
def test_a_heading_a_table_a_picture_and_a_comment_keep_their_lines(start: str) -> None:
    block = f"{start}{_LONG}\n{start}{_LONG}\n"
    assert wrapped(block) == block


def test_a_code_span_stays_on_one_line() -> None:
    span = "`python -m ops backups list`"
    assert span in wrapped(f"{'x' * (WIDTH - 10)} {span}").splitlines()
