"""The check of prose finds what it should, on the right line, and nothing in code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.checks import prose

_RULES = prose.rules()


def found(name: str, text: str) -> list[tuple[int, str]]:
    return [(finding.line, finding.message) for finding in prose.check_words(name, text, _RULES)]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("page.md", "One.\n\nIt is read by nobody.\n", 3),
        ("page.md", "# Nobody\n", 1),
        ("page.md", "| a | b |\n| --- | --- |\n| x | nobody |\n", 3),
        ("page.md", "[nobody](docs/a.md)\n", 1),
        ("page.md", "```sh\nls\n```\n\nnobody\n", 5),
        ("page.md", "The alarm is told\nof by mail.\n", 1),
        ("module.py", '"""A docstring that nobody reads."""\n', 1),
        ("module.py", '"""A docstring.\n\nThat nobody reads.\n"""\n', 3),
        ("module.py", "x = 1  # nobody reads it\n", 1),
        ("module.py", 'raise ValueError("this is what nobody wanted")\n', 1),
        ("module.py", 'print(f"{x} is what nobody wanted here")\n', 1),
        ("module.py", "def test_that_nobody_reads():\n    pass\n", 1),
        ("module.py", "# The alarm is told\n# of by mail.\n", 1),
        ("settings.toml", "# nobody\n", 1),
    ],
)
def test_a_word_is_found_in_all_prose_on_its_line(name: str, text: str, line: int) -> None:
    ((where, message),) = found(name, text)
    assert where == line
    assert "write" in message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page.md", "The user `nobody` and ``nobody``.\n"),
        ("page.md", "```sh\nsudo -u nobody ls\n```\n"),
        ("page.md", "[a](docs/nobody.md)\n"),
        ("module.py", 'nobody = "nobody"\n'),
        ("module.py", '"""Runs as `nobody`."""\n'),
        ("module.py", 'x = f"{nobody} is one of the users"\n'),
        ("page.md", "R stands for role.\n"),
    ],
)
def test_code_values_and_what_is_allowed_to_follow_are_left_alone(name: str, text: str) -> None:
    assert found(name, text) == []


@pytest.mark.parametrize(("pattern", "word", "write"), _RULES.avoid, ids=[word for _, word, _ in _RULES.avoid])
def test_every_word_of_the_list_is_found_and_its_advice_is_clean(
    pattern: re.Pattern[str], word: str, write: str
) -> None:
    assert pattern.search(f"So {word.upper()} there.")
    assert not any(other.search(write) for other, *_ in _RULES.avoid)


def test_a_long_line_of_prose_is_found_and_tables_and_code_may_be_long() -> None:
    long = "word " * 30
    assert found("page.md", f"{long}\n")[0][0] == 1
    assert found("page.md", f"| {long} |\n") == []
    assert found("page.md", f"```\n{long}\n```\n") == []


def test_a_finding_of_proselint_names_the_file_and_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "proselint"
    program.write_text(
        '#!/bin/sh\nfor path in "$@"; do case $path in *.md)\n'
        'grep -n very "$path" | while IFS=: read -r line rest; do\n'
        'echo "$path:$line:1: weasel_words.very: drop it"; echo "$path:$line:1: typography.quotes: no"; done;;\n'
        "esac; done; exit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(prose, "_program", lambda _: program)
    (tmp_path / "module.py").write_text('x = "very"\n"""It is a very long docstring."""\n')
    (tmp_path / "page.md").write_text("Short.\n\nA very long page.\n")
    findings = list(prose.check_proselint(["module.py", "page.md"], _RULES, tmp_path))
    assert [str(each) for each in findings] == [
        "module.py:2: drop it (weasel_words.very)",
        "page.md:3: drop it (weasel_words.very)",
    ]


def test_a_failure_of_proselint_is_no_clean_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "proselint"
    program.write_text("#!/bin/sh\necho broken >&2; exit 2\n")
    program.chmod(0o755)
    monkeypatch.setattr(prose, "_program", lambda _: program)
    (tmp_path / "page.md").write_text("Short.\n")
    with pytest.raises(RuntimeError, match="broken"):
        list(prose.check_proselint(["page.md"], _RULES, tmp_path))


@pytest.mark.parametrize("name", _RULES.exempt)
def test_an_exempt_file_has_wrong_prose_and_is_not_checked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = prose.rules()
    text = (prose.ROOT / name).read_text("utf-8")
    assert found(name, text) or list(prose.check_proselint([name], known))
    monkeypatch.setattr(prose, "check_spelling", lambda *_: [])
    assert prose.findings([name]) == []


def test_the_check_fails_for_a_finding(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(prose, "tracked", list)
    monkeypatch.setattr(prose, "findings", lambda _: [prose.Finding("a.md", 3, "word")])
    assert prose.main() == 1
    assert "a.md:3: word" in capsys.readouterr().err
    monkeypatch.setattr(prose, "findings", lambda _: [])
    assert prose.main() == 0
