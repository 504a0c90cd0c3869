"""The requests of a job in a real browser: opened in their rows, which live updates leave alone, and gone through."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from browser.browser_world import SLOW, a_browser, a_daemon
from faces.client_world import requests
from playwright.sync_api import expect

TOP = "() => Math.round(document.querySelector('#job-tabs').getBoundingClientRect().top)"


def test_a_request_is_opened_in_its_row_and_the_list_keeps_its_place() -> None:
    """What is open stays open while the page lives; the next page begins at the list; back leads to the same row."""
    with (
        tempfile.TemporaryDirectory(prefix="rw", ignore_cleanup_errors=True) as folder,
        a_browser() as browser,
        a_daemon(Path(folder), **SLOW) as daemon,
    ):
        job = daemon.submit(requests(120), name="rows")
        page = browser.new_context(viewport={"width": 1440, "height": 800}).new_page()
        page.goto(f"{daemon.url}/jobs/{job}")
        expect(page.locator("#pulse-text")).to_have_text("live", timeout=15_000)
        page.get_by_label("Show request 2 here").click()
        expect(page.locator("#inside-2")).to_contain_text("hello 1")
        daemon.post("cancel", job)  # what is queued is canceled at once, what is at the API stays there
        expect(page.locator("#job-head")).to_contain_text("cancel", timeout=15_000)
        expect(page.locator("#inside-2")).to_contain_text("hello 1")
        page.get_by_label("Show request 2 here").click()
        expect(page.locator("#inside-2")).to_be_hidden()
        page.get_by_role("link", name="next page").click()
        page.wait_for_url(re.compile("from=51#job-tabs"))
        assert 0 <= page.evaluate(TOP) < 80
        page.locator("#request-70 [data-open]").click()
        page.wait_for_url(re.compile(r"/requests/70\?from=51"))
        page.get_by_role("link", name="Next").click()
        page.wait_for_url(re.compile(r"/requests/71\?from=51"))
        page.get_by_role("link", name="Requests", exact=True).click()
        page.wait_for_url(re.compile("from=51#request-71"))
        expect(page.locator("#request-71")).to_be_in_viewport()
        page.locator("input[name=id]").fill("r-1")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"id=r-1.*#job-tabs"))
