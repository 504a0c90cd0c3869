"""The road from a table to a job in a browser: columns, template, the first prompts, the check, the job, its rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from browser.browser_world import QUICK, a_browser, a_daemon
from playwright.sync_api import Browser, expect

ROWS = (
    'id,product name,text\n007,kettle,"Boils <b>fast</b>, and\nlooks good."\n008,lamp,Dark.\n009,cup,Full.\n010,x,y\n'
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as found:
        yield found


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="orc-") as place:
        yield Path(place)


def test_a_table_becomes_a_job_on_a_telephone_too(browser: Browser, folder: Path) -> None:
    """Three prompts are shown as they are sent; what is wrong is told; text stays text; a row is beside its answer."""
    with a_daemon(folder, **QUICK) as daemon:
        context = browser.new_context(viewport={"width": 390, "height": 800})
        page = context.new_page()
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(f"{daemon.url}/new")
        expect(page.locator("#table")).to_be_hidden()
        file = {"name": "reviews.csv", "mimeType": "text/csv", "buffer": ROWS.encode()}
        page.set_input_files("#file", file)  # type: ignore[arg-type]  # a FilePayload
        columns = page.get_by_role("group", name="Columns").get_by_role("button")
        expect(columns).to_have_text(["id", "product name", "text"])
        template = page.get_by_role("textbox", name="Template (")
        template.fill("Is the {{ nothing }} good? ")
        expect(page.locator("#preview")).to_contain_text("nothing: is no column, and the prompt uses it (line 2)")
        template.fill("Is the ")
        page.get_by_role("button", name="product name").click()
        page.get_by_role("button", name="text").click()
        expect(template).to_have_value('Is the {{ row["product name"] }}{{ text }}')
        expect(page.locator("#preview pre")).to_have_count(3)
        expect(page.locator("#preview pre").first).to_have_text("Is the kettleBoils <b>fast</b>, and\nlooks good.")
        page.get_by_label("Model").fill("claude-haiku-4-5")
        page.get_by_label("Column of ids").fill("id")
        page.get_by_label("More parameters").fill('stop_sequences=["."]\nmetadata={"user_id":"u"}')
        expect(page.locator("#preview b").first).to_have_text("007")
        page.get_by_label("Trial (the first").fill("2")
        page.get_by_role("button", name="Check all rows").click()
        expect(page.locator("#report")).to_contain_text("4 requests, 1 batch: ready to submit", timeout=10_000)
        expect(page.locator("#report")).to_contain_text("may cost $", timeout=10_000)
        expect(page.locator("#report")).to_contain_text("of it the trial of 2: $0.0")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url(re.compile(r"/jobs/reviews-"))
        page.goto(f"{page.url}/requests/1")
        expect(page.locator("body")).to_contain_text('"user_id": "u"')
        row = page.locator("section", has=page.get_by_role("heading", name="Row"))
        expect(row.locator("tr").nth(1)).to_have_text("product namekettle")
        assert wrong == []
        context.close()
