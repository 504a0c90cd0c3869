"""Every screen, judged by axe-core, in both themes, wide and on a telephone; and nothing scrolls sideways."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

import pytest
from browser.browser_world import QUICK, SLOW, Daemon, a_browser, a_daemon, until
from faces.client_world import requests
from playwright.sync_api import Browser, Page
from support.length import IS_LONG

AXE: Final = (resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
#: The rules that are broken: id and the first element of each.
BROKEN: Final = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
  .map((rule) => [rule.id, rule.nodes[0].html])"""
#: What one would have to move sideways to see the whole of: the page, or a part of it.
SIDEWAYS: Final = """() => [...document.querySelectorAll("html, body *")].filter((each) =>
  each.scrollWidth > each.clientWidth + 1 && each.clientWidth && (each.tagName === "HTML" ||
  ["auto", "scroll"].includes(getComputedStyle(each).overflowX))).map((each) => each.outerHTML.slice(0, 120))"""
WAYS: Final = (("light", 1440), ("dark", 390), ("dark", 1440), ("light", 390))
SCREENS: Final = (
    "/",
    "/jobs",
    "/jobs?q=nothing",
    "/jobs/going",
    "/jobs/mixed",
    "/jobs/mixed?tab=failures",
    "/jobs/mixed?tab=batches",
    "/jobs/mixed?tab=events",
    "/jobs/doubtful",
    "/jobs/doubtful?tab=failures",
    "/jobs/trial",
    "/jobs/mixed/requests/1",
    "/jobs/mixed/requests/4",
    "/batches?remote=1",
    "/batches?state=void",
    "/events",
    "/new",
    "/health",
    "/settings",
    "/webhooks",
    "/jobs/mixed?tab=requests&q=r",
    "/webhooks",
    "/settings",
    "/jobs?order=oldest&since=2026-01-01",
    "/confirm?verb=cancel&job=going",
    "/confirm?verb=retry&job=mixed",
    "/confirm?verb=cap&job=going",
    "/nowhere",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of this file."""
    with a_browser() as found:
        yield found


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A daemon that has jobs in many states."""
    with (
        tempfile.TemporaryDirectory(prefix="br", ignore_cleanup_errors=True) as folder,
        a_daemon(Path(folder), **QUICK) as found,
    ):
        fill(found)
        yield found


def fill(daemon: Daemon) -> None:
    """A job with failures, a trial that has ended, one in doubt, one that is at the API."""
    rows = requests(4)
    rows[3]["params"]["model"] = "claude-haku-4-5"
    daemon.submit(rows, name="mixed", tag="some")
    daemon.submit(requests(5, said="trial"), name="trial", limit="2")
    until(lambda: daemon.job("mixed")["state"] == "finished" and daemon.job("trial")["requests"]["succeeded"] == 2)
    daemon.stop()
    daemon.start(**SLOW, SANDBOX__FAULTS="create.drop_after_accept=1", LIMITS__DOUBT_WAIT="6h")
    daemon.submit(requests(3, said="doubt"), name="doubtful")
    until(lambda: daemon.job("doubtful")["batches"]["in_doubt"] == 1)
    daemon.stop()
    daemon.start(**SLOW, LIMITS__DOUBT_WAIT="6h")
    daemon.submit(requests(3, said="going"), name="going")
    until(lambda: daemon.job("going")["batches"]["in_progress"] == 1)


@pytest.mark.parametrize("number", range(len(WAYS)))
def test_no_screen_breaks_a_rule_or_scrolls_sideways(browser: Browser, daemon: Daemon, number: int) -> None:
    """`make test` looks at each screen in one of the four ways, the long tier in all."""
    theme, width = WAYS[number]
    looks_at(browser, daemon, SCREENS if IS_LONG else SCREENS[number :: len(WAYS)], theme, width)


@pytest.mark.long
def test_an_empty_store_breaks_no_rule_either(browser: Browser) -> None:
    """What is shown where nothing is."""
    with (
        tempfile.TemporaryDirectory(prefix="br", ignore_cleanup_errors=True) as folder,
        a_daemon(Path(folder), **SLOW) as daemon,
    ):
        looks_at(browser, daemon, ("/", "/jobs", "/batches?remote=1", "/events"), "dark", 390)


@pytest.mark.long
def test_the_page_that_asks_for_the_token_breaks_no_rule(browser: Browser) -> None:
    """It has a style of its own."""
    with tempfile.TemporaryDirectory(prefix="br", ignore_cleanup_errors=True) as folder:
        token = Path(folder) / "token"
        token.touch(mode=0o600)
        token.write_text("t" * 43)
        with a_daemon(Path(folder), SERVER__TOKEN_FILE=str(token), **SLOW) as daemon:
            for theme, width in WAYS:
                looks_at(browser, daemon, ("/jobs",), theme, width)


def looks_at(browser: Browser, daemon: Daemon, paths: tuple[str, ...], theme: Any, width: int) -> None:
    """Open each of *paths*."""
    context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 900})
    page = context.new_page()
    wrong = {path: found for path in paths if (found := problems(page, daemon.url + path))}
    context.close()
    assert wrong == {}


def problems(page: Page, url: str) -> list[Any]:
    """What is wrong with the page at *url*."""
    page.goto(url)
    page.evaluate(AXE)
    return [*page.evaluate(BROKEN), *page.evaluate(SIDEWAYS)]
