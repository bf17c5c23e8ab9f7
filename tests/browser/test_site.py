"""The page as a person uses it, in a real browser, against the embedded AWS."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, Page, expect

from ops.cloud import fetch
from ops.local import aws as emulated
from tests.conftest import Local


@pytest.fixture
def page(browser: Browser, local: Local) -> Iterator[Page]:
    """Open the page; any message on its console fails the test."""
    opened = browser.new_page(viewport={"width": 1200, "height": 800})
    opened.set_default_timeout(10_000)
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(local.cloud.site_url)
    expect(opened.locator("#count")).to_contain_text("record")
    yield opened
    opened.close()
    # A refused save is a 400, which the browser mentions; it is what the test is about.
    assert [complaint for complaint in complaints if "status of 400" not in complaint] == []


def fill(page: Page, **fields: str) -> str:
    studentid = fields.get("studentid", f"WEB-{uuid.uuid4().hex[:8]}")
    values = {
        "studentid": studentid,
        "name": "Lê Minh",
        "class": "10A1",
        "birthdate": "2009-05-06",
        "email": "minh@students.example",
    }
    for name, value in (values | fields).items():
        page.locator(f"#{name}").fill(value)
    return studentid


def test_a_record_is_entered_told_and_shown(page: Page) -> None:
    studentid = fill(page)
    page.get_by_role("button", name="Save record").click()
    expect(page.get_by_role("status")).to_contain_text(f"Student {studentid} was created.")
    row = page.locator("#students tr", has_text=studentid)
    expect(row).to_contain_text("Lê Minh")
    expect(page.locator("#studentid")).to_be_focused()
    expect(page.locator("#studentid")).to_have_value("")
    row.get_by_role("button", name=f"Edit {studentid}").click()
    expect(page.locator("#name")).to_have_value("Lê Minh")
    page.locator("#class").fill("12A9")
    page.get_by_role("button", name="Save record").click()
    expect(page.get_by_role("status")).to_contain_text(f"Student {studentid} was updated.")
    expect(row).to_contain_text("12A9")


def test_a_name_that_is_html_shows_as_typed(page: Page) -> None:
    name = '<img src=x onerror="document.title=1">'
    studentid = fill(page, name=name)
    page.get_by_role("button", name="Save record").click()
    row = page.locator("#students tr", has_text=studentid)
    expect(row.locator("td").nth(1)).to_have_text(name)
    page.get_by_role("button", name="Reload").click()
    expect(row.locator("td").nth(1)).to_have_text(name)
    expect(page).to_have_title("Student records")
    assert page.locator("main img").count() == 0


def test_each_fault_is_shown_at_its_field_and_the_first_has_the_focus(page: Page) -> None:
    tomorrow = datetime.now(UTC).date().replace(year=datetime.now(UTC).year + 1).isoformat()
    fill(page, studentid="no spaces", email="nobody", birthdate=tomorrow)
    page.get_by_role("button", name="Save record").click()
    expect(page.locator("#studentid-fault")).to_have_text(
        "Student id must be 1 to 64 letters, digits, dots, dashes or underscores."
    )
    expect(page.locator("#birthdate-fault")).to_have_text("Date of birth must be in the past.")
    expect(page.locator("#email-fault")).to_contain_text("must be an e-mail address")
    expect(page.locator("#name-fault")).to_be_empty()
    expect(page.locator("#studentid")).to_be_focused()
    expect(page.locator("#email")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#email")).to_have_accessible_description(
        "E-mail must be an e-mail address such as an@school.example."
    )
    expect(page.get_by_role("status")).to_contain_text("Each error is shown at its field.")
    fill(page, studentid=f"WEB-{uuid.uuid4().hex[:8]}")
    page.get_by_role("button", name="Save record").click()
    expect(page.get_by_role("status")).to_contain_text("was created")
    expect(page.locator("[aria-invalid]")).to_have_count(0)


def test_the_backup_button_says_what_it_made(page: Page, local: Local) -> None:
    page.get_by_role("button", name="Back up now").click()
    expect(page.get_by_role("status")).to_contain_text("Backup completed: students-backup-")
    newest = emulated.mails(local.port)[-1]["Subject"]
    expect(page.get_by_role("status")).to_contain_text(newest.removeprefix("Backup Completed: "))
    page.get_by_role("button", name="Close this notification").click()
    expect(page.get_by_role("status")).to_be_empty()


def test_everything_can_be_done_with_the_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the records")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Back up now")).to_be_focused()
    page.keyboard.press("Tab")
    studentid = f"KEY-{uuid.uuid4().hex[:8]}"
    page.keyboard.type(studentid)
    for text in ("Phan An", "11A2"):
        page.keyboard.press("Tab")
        page.keyboard.type(text)
    page.locator("#birthdate").fill("2008-08-08")
    page.locator("#email").focus()
    page.keyboard.type("an@students.example")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text(f"Student {studentid} was created.")


def test_a_screen_reader_finds_its_way(page: Page) -> None:
    for name in ("Student id", "Name", "Class", "Date of birth", "E-mail"):
        expect(page.get_by_label(name, exact=True)).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("Student records")
    assert page.get_by_role("columnheader").all_inner_texts()[:2] == ["Id", "Name"]
    expect(page.get_by_role("status")).to_have_attribute("aria-live", "polite")
    assert page.locator("html").get_attribute("lang") == "en"


def test_the_page_is_served_from_its_own_origin_alone_and_never_has_the_key(browser: Browser, local: Local) -> None:
    key = local.cloud.api_key()
    opened = browser.new_page()
    addresses: list[str] = []
    bodies: list[str] = []
    opened.on("request", lambda request: addresses.append(request.url) or bodies.append(json.dumps(request.headers)))
    opened.on("response", lambda response: bodies.append(json.dumps(response.headers)))
    opened.goto(local.cloud.site_url)
    expect(opened.locator("#count")).to_contain_text("record")
    opened.close()
    assert {address.startswith(local.cloud.site_url) for address in addresses} == {True}
    for name in ("", "scripts.js", "styles.css", "students"):
        bodies.append(fetch(f"{local.cloud.site_url}/{name}").body.decode())
    assert not [body for body in bodies if key in body]


def test_more_records_than_a_page_are_fetched_on_demand(page: Page, local: Local) -> None:
    client = local.cloud.client("dynamodb")
    for start in range(0, 225, 25):
        items = [
            {"studentid": {"S": f"MORE-{number:03}"}, "name": {"S": "More"}} for number in range(start, start + 25)
        ]
        client.batch_write_item(RequestItems={"studentData": [{"PutRequest": {"Item": item}} for item in items]})
    page.reload()
    more = page.get_by_role("button", name="Show more")
    count = page.locator("#count")
    expect(count).to_have_text("200 records, and there are more")
    while more.is_visible():
        before = count.inner_text()
        more.click()
        expect(count).not_to_have_text(before)
    expect(page.locator("#students")).to_contain_text("MORE-224")
    listed = client.scan(TableName="studentData", Select="COUNT")["Count"]
    expect(count).to_have_text(f"{listed} records")


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_nothing_is_cut_off_at_any_width(browser: Browser, local: Local, width: int) -> None:
    opened = browser.new_page(viewport={"width": width, "height": 800})
    opened.goto(local.cloud.site_url)
    expect(opened.locator("#count")).to_contain_text("record")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    opened.close()
