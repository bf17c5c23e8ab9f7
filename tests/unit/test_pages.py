"""What the pages refer to exists: links, headings, paths, pictures; and the index has every page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.console import ROOT

_PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")])
_CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_PATH = re.compile(r"`((?:rollbook|handlers|infra|ops|tests|docs|site|bench|environments)/[\w./-]*)`")
# A user writes these files.
_NOT_KEPT = {"environments/ENV.toml", "environments/exceptions.toml"}
_MOST_BYTES = 150_000


def prose(page: Path) -> str:
    return _CODE.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", each)).strip().lower().replace(" ", "-") for each in headings}


def links() -> Iterator[tuple[str, str]]:
    for page in _PAGES:
        for match in _LINK.finditer(prose(page)):
            if not match["target"].startswith(("http://", "https://")):
                yield str(page.relative_to(ROOT)), match["target"]


@pytest.mark.parametrize(("page", "target"), sorted(set(links())))
def test_a_link_leads_to_a_file_and_a_heading(page: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    found = ((ROOT / page).parent / path).resolve() if path else ROOT / page
    assert found.exists(), f"{page}: there is no {path}"
    if anchor:
        assert anchor in anchors(found), f"{page}: {found.name} has no heading #{anchor}"


def _shape(step: ast.expr) -> str:
    """Return what a step of the demo prints as a regular expression."""
    if isinstance(step, ast.Constant):
        return re.escape(str(step.value))
    if isinstance(step, ast.JoinedStr):
        return "".join(_shape(part) for part in step.values)
    return ".+"


def test_the_readme_shows_what_the_demo_prints() -> None:
    tree = ast.parse((ROOT / "ops" / "demo.py").read_text("utf-8"))
    [steps] = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "_steps"]
    printed = [
        _shape(node.value.elts[0])
        for node in sorted(ast.walk(steps), key=lambda node: getattr(node, "lineno", 0))
        if isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple)
    ]
    [shown] = re.findall(r"It prints:\n\n```\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    lines = re.findall(r"^✓ (.+)$", shown, re.MULTILINE)[-len(printed) :]
    assert len(printed) > 6
    assert [line for shape, line in zip(printed, lines, strict=True) if not re.fullmatch(shape, line)] == []
    assert re.search(r"^All steps verified in \d+ s\.$", shown, re.MULTILINE)


def test_an_alarm_or_a_message_names_a_heading_that_exists() -> None:
    """`docs/runbook.md, "A drill failed"` in an alarm or a message leads the operator to that section."""
    named = [
        (path.relative_to(ROOT), *match)
        for folder in ("infra", "ops", "handlers", "rollbook")
        for path in (ROOT / folder).rglob("*.py")
        for match in re.findall(r'(docs/[\w-]+\.md), \\?"([^"\\]+)\\?"', path.read_text("utf-8"))
    ]
    assert len(named) > 3
    for place, page, heading in named:
        headings = re.findall(r"^#+ (.+)$", prose(ROOT / page), re.MULTILINE)
        assert heading in headings, f"{place}: {page} has no heading {heading!r}"


def test_a_path_in_a_page_exists() -> None:
    missing = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in _PAGES
        for path in _PATH.findall(prose(page))
        if path not in _NOT_KEPT and not (ROOT / path).exists()
    ]
    assert missing == []


def test_the_index_has_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    listed = {(index.parent / match["target"].partition("#")[0]).resolve() for match in _LINK.finditer(prose(index))}
    pages = {page for page in _PAGES if page.parent in {ROOT, ROOT / "docs"}} - {index}
    assert {page.name for page in pages - listed} == set()


def test_pictures_are_small_and_of_this_machine_alone() -> None:
    pictures = sorted((ROOT / "docs" / "pictures").iterdir())
    assert [each.name for each in pictures] == ["plan.svg", "site.png"]
    assert all(each.stat().st_size < _MOST_BYTES for each in pictures)
    # A reader's browser loads nothing from another host.
    addresses = re.findall(r"(?:src|href|url)\W{1,3}(https?://[^\s\"')]+)", (pictures[0]).read_text("utf-8"))
    assert addresses == []


def test_a_wrong_link_and_a_wrong_heading_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `rollbook` heading, and more\n\n```md\n# not a heading\n```\n")
    assert anchors(page) == {"a-rollbook-heading-and-more"}
