"""`make pictures`: the pictures of the README, taken of the local stack on the embedded AWS.

`site.png` is the page with sample students. `plan.svg` is what `rollbook plan` prints of two changed settings.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

from docs import chromium
from infra import prices
from infra.app import synthesize
from infra.settings import ENVIRONMENTS, Settings, load
from ops import sample
from ops.cloud import Cloud
from ops.csv_import import Importer, Row
from ops.csv_import import load as load_rows
from ops.local import stack
from ops.local.emulator import PORT
from ops.plans import guard, summary
from ops.plans.changes import Change, parse

FOLDER = Path(__file__).with_name("pictures")
_STUDENTS = 60
_WIDTH = 1200
_HEIGHT = 800
_COLUMNS = 112
# Where colours begin and end in the lines of a plan: by the mark at the beginning of a line.
_COLOURS = {"STOPPED": "bold red", "+": "green", "~": "yellow", "-": "red"}
_FONT = re.compile(r"@font-face \{.*?\}\n", re.DOTALL)


def site(url: str) -> None:
    """Write the picture of the page.

    Arguments:
        url: address of the site on the embedded AWS.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=chromium.OPTIONS)
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
        page.goto(url)
        page.locator("#students tr").nth(10).wait_for()
        page.screenshot(path=FOLDER / "site.png")
        browser.close()


def plan(settings: Settings, port: int) -> None:
    """Write the picture of the plan of a settings change.

    Arguments:
        settings: the changed settings of the local stack.
        port: of the embedded AWS, on which the unchanged stack is.
    """
    with tempfile.TemporaryDirectory(prefix="rollbook-pictures-") as temporary:
        synthesize([settings], Path(temporary, "out"))
        # The stack's folder looks for its state three folders up; a copy keeps the real one as it is.
        shutil.copy(stack.STATE, temporary)
        folder = Path(temporary, "out", "stacks", settings.name)
        terraform = stack.terraform_in(folder, port)
        terraform.init()
        raw = terraform.plan_json(Path(temporary, "plan.bin"))
        resources = json.loads((folder / "cdk.tf.json").read_text("utf-8"))["resource"]
    found = parse(raw, _paths(resources))
    now = datetime.now(UTC)
    context = summary.Context(
        environment=settings.name,
        now=now,
        prices=prices.of(settings.region),
        code=_no_code,
        findings=guard.check(found, [], now.date()),
        account_wide=settings.account_wide,
    )
    console = Console(record=True, width=_COLUMNS, file=StringIO(), force_terminal=True)
    console.print("$ rollbook plan --env local", style="bold", highlight=False)
    for line in summary.text(found, context):
        console.print(Text(line, style=_COLOURS.get((line.split() or [""])[0], "")), soft_wrap=False)
    picture = console.export_svg(title="rollbook plan", clear=False)
    # The font would come from another host; the reader's own fixed-width font does.
    (FOLDER / "plan.svg").write_text(_FONT.sub("", picture), "utf-8")


def _paths(resources: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {
        f"{kind}.{name}": resource["//"]["metadata"]["path"].partition("/")[2]
        for kind, named in resources.items()
        for name, resource in named.items()
    }


def _no_code(_: Change) -> list[str]:
    """Return nothing: the two plans have the same functions."""
    return []


def changed(settings: Settings) -> Settings:
    """Return settings with another time and a shorter retention of the backups."""
    values = settings.model_dump(exclude_unset=True)
    values["backups"] |= {"schedule_expression": "cron(30 18 * * ? *)", "expire_after_days": 180}
    return Settings.model_validate(values)


def main() -> None:
    """Take the pictures; the embedded AWS is started if it does not run, and stopped again."""
    FOLDER.mkdir(exist_ok=True)
    settings = load(ENVIRONMENTS / "local.toml")
    with stack.started(PORT) as (emulator, is_own):
        cloud = Cloud(settings, stack.apply(emulator)[1], emulator.port)
        rows = [Row(line, record) for line, record in enumerate(sample.students(_STUDENTS), start=2)]
        load_rows(Importer(cloud.api_url, cloud.api_key()), rows)
        site(cloud.site_url)
        plan(changed(settings), emulator.port)
        if is_own:
            emulator.stop()


if __name__ == "__main__":
    main()
