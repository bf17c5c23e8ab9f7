"""The checklists of CONTRIBUTING.md, followed once: each addition reaches its page, and a forgotten step is noticed."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, ClassVar

import msgspec
import pytest
import typer
from pydantic import Field, ValidationError

from docs import commands, costs, generate, resources
from docs import settings as settings_page
from infra.settings import ENVIRONMENTS, Settings, load
from infra.settings.fields import Section
from ops.console import ROOT
from rollbook.contract import events
from rollbook.messages.bus import Bus

_REGION = "us-east-1"


def stack(capability: str, kind: str) -> dict[str, Any]:
    """Return a synthesized stack with one resource."""
    return {"resource": {kind: {"x": {"//": {"metadata": {"path": f"test/{capability}/thing"}}}}}}


class Lending(Section):
    """The lending of books."""

    enabled: bool = Field(False, description="Lend books.")
    days: int = Field(14, ge=1, le=90, description="Days until a book is due (1 to 90).")


class WithLending(Settings):
    lending: Lending = Lending()


class BookLent(events.Event):
    """A book was lent."""

    SOURCE: ClassVar[str] = "rollbook.lending"
    DETAIL_TYPE: ClassVar[str] = "book lent"

    copies: Annotated[int, msgspec.Meta(ge=1, description="Lent copies.", examples=[1])]


def test_the_page_has_the_four_checklists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    for what in ("a setting", "an event", "a capability", "a command"):
        section = re.split(r"^## ", text.partition(f"## Add {what}\n")[2], flags=re.MULTILINE)[0]
        assert section.count("- [ ] ") >= 5, what


def test_a_new_setting_is_in_page_and_schema_and_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_page, "Settings", WithLending)
    page = settings_page.page("")
    assert "## `[lending]`\n\nThe lending of books.\n" in page
    assert "| `days` | whole number, ≥ 1, ≤ 90 | `14` | Days until a book is due (1 to 90). |" in page
    assert json.loads(settings_page.schema())["$defs"]["Lending"]["properties"]["days"]["maximum"] == 90
    values = load(ENVIRONMENTS / "workshop.toml").model_dump(exclude_unset=True)
    assert WithLending.model_validate(values).lending.days == 14
    with pytest.raises(ValidationError, match="less than or equal to 90"):
        WithLending.model_validate(values | {"lending": {"days": 91}})


def test_a_new_event_is_in_the_catalogue_and_is_published_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "CATALOGUE", (*events.CATALOGUE, BookLent))
    page = generate.events_page()
    assert "| [book lent](#book-lent) | `rollbook.lending` | A book was lent. |" in page
    assert '"copies": 1' in page.partition("\n## book lent\n")[2]

    class Client:
        entries: ClassVar[list[dict[str, Any]]] = []

        def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
            self.entries.extend(Entries)
            return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in Entries]}

    bus = Bus(Client(), "bus")
    bus.put(BookLent(correlation_id="1", copies=2))
    assert json.loads(Client.entries[0]["Detail"])["copies"] == 2
    with pytest.raises(msgspec.ValidationError):
        bus.put(BookLent(correlation_id="1", copies=0))


def test_a_new_capability_needs_its_cost_and_its_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    new = stack("lending", "aws_glue_job")
    with pytest.raises(KeyError, match="lending"):
        costs.section(new, "test", _REGION)
    with pytest.raises(KeyError, match="aws_glue_job"):
        resources.page(new, "test", _REGION)
    monkeypatch.setitem(costs._WORDS["capability"], "lending", {"setting": "`[lending]`", "prices": ["ses_mail"]})
    monkeypatch.setitem(resources._WORDS["purpose"], "aws_glue_job", "counts the books")
    assert "| lending | `[lending]` | 0.00 | 0.0001 a mail |" in costs.section(new, "test", _REGION)
    assert "| `aws_glue_job`<br>thing |  | counts the books | 0 |" in resources.page(new, "test", _REGION)


def test_idle_costs_are_those_of_the_price_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(costs._WORDS["capability"], "lending", {"setting": "`[lending]`", "prices": []})
    assert "| lending | `[lending]` | 1.00 | – |" in costs.section(stack("lending", "aws_kms_key"), "test", _REGION)


def test_a_new_command_is_in_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()

    @app.command("lend", epilog="\b\nExample:\n  rollbook lend BOOK --env ENV")
    def lend(
        book: str,
        env: Annotated[str, typer.Option("--env", metavar="ENV", help="Environment.")],
        days: Annotated[int, typer.Option(help="Days | weeks.")] = 14,
    ) -> None:
        """Lend a book."""

    @app.command("return")
    def take_back() -> None:
        """Take a book back."""

    monkeypatch.setattr(commands, "app", app)
    page = commands.page()
    section = page.partition("\n## rollbook lend\n")[2].partition("\n## ")[0]
    assert "Lend a book." in section
    assert "```sh\nrollbook lend BOOK --env ENV\n```" in section
    assert "| `--env ENV` | Environment. Required. |" in section
    assert "| `--days DAYS` | Days \\| weeks. Default: `14`. |" in section
    assert "```\nExample:\n  rollbook lend BOOK --env ENV\n```" in section
    assert "\n## rollbook return\n" in page
