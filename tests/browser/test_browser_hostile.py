"""T86: what people, files and models wrote is text on every page, and nothing of it runs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from browser.browser_world import QUICK, Daemon, a_browser, a_daemon, until
from browser.payloads import payloads
from playwright.sync_api import Page, expect

PAYLOADS: Final = list(payloads())
#: Whether there is an element, an attribute or an address on the page that no template of ours has.
FOREIGN: Final = """() => {
  const found = [];
  const known = new Set(("A ARTICLE ASIDE B BODY BR BUTTON CANVAS CIRCLE CODE DD DETAILS DIALOG DIV DL DT FIELDSET " +
    "FIGCAPTION FIGURE FORM G H1 H2 H3 HEAD HEADER HTML INPUT KBD LABEL LEGEND LI LINE LINK MAIN MARK META NAV " +
    "NOSCRIPT OL OPTION P PATH PATTERN PRE RECT SCRIPT SECTION SELECT SMALL SPAN STRONG SUMMARY SVG TABLE TBODY TD " +
    "TEXT TH THEAD TIME TITLE TR UL").split(" "));
  for (const each of document.querySelectorAll("*")) {
    if (!known.has(each.tagName.toUpperCase())) found.push(each.tagName);
    for (const { name, value } of each.attributes) {
      if (/^on|^srcdoc$/i.test(name) || (name.startsWith("hx-") && !each.closest("#live"))) found.push(name);
      if (["href", "src", "action"].includes(name) && !/^(\\/(?!\\/)|#|\\?)/.test(value)) found.push(value);
    }
  }
  if (window.pwned) found.push("pwned");
  return found;
}"""


def hostile(daemon: Daemon) -> str:
    """A job in which everything that a person may choose is a payload; its id."""
    every = [{"role": "user", "content": [{"type": "text", "text": each} for each in PAYLOADS]}]
    rows: list[dict[str, Any]] = [
        {
            "custom_id": f"{payload} {number}",
            "params": {
                "model": payload if number % 2 else "claude-haiku-4-5",
                "max_tokens": 200,
                "system": payload,
                "messages": [{"role": "user", "content": payload}],
            },
            "row": {payload: payload, "list": [payload]},
        }
        for number, payload in enumerate(PAYLOADS)
    ]
    rows.append({"custom_id": "all", "params": {"model": "claude-haiku-4-5", "max_tokens": 200, "messages": every}})
    name = "".join(c for c in PAYLOADS[1] if c.isprintable())
    job = daemon.submit(rows, name=name, source=f"{PAYLOADS[0]}.jsonl")
    until(lambda: daemon.job(job)["state"] == "finished", within_s=30)
    return job


def look(page: Page, url: str) -> str:
    """Open *url*; nothing on it may be foreign. Its text."""
    answer = page.goto(url)
    assert answer is not None
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    found = page.evaluate(FOREIGN)
    assert (url, found) == (url, [])
    return str(page.evaluate("document.body.textContent"))


def look_at_every_screen(page: Page, daemon: Daemon, job: str) -> None:
    """Each that shows what others wrote."""
    last = len(PAYLOADS) + 1
    shown = look(page, f"{daemon.url}/jobs/{job}/requests/{last}")
    assert "<iframe srcdoc" in shown
    assert "list" in look(page, f"{daemon.url}/jobs/{job}/requests/2")
    look(page, f"{daemon.url}/jobs/{job}/requests/2/inside")
    for above in range(0, last, 50):
        look(page, f"{daemon.url}/jobs/{job}?tab=requests&from={above + 1}")
        found = {"tab": "requests", "text": PAYLOADS[above][:9], "id": PAYLOADS[above][:5], "from": above + 1}
        look(page, str(httpx2.URL(f"{daemon.url}/jobs/{job}", params=found)))
    paths = ["?tab=failures", "?tab=batches", "?tab=events", "?tab=requests&state=failed"]
    for path in [*(f"/jobs/{job}{each}" for each in paths), "/", "/jobs", "/batches?remote=1", "/events"]:
        look(page, daemon.url + path)
    look(page, str(httpx2.URL(f"{daemon.url}/jobs", params={"q": PAYLOADS[30], "said": PAYLOADS[2]})))
    look(page, str(httpx2.URL(f"{daemon.url}/confirm", params={"verb": "retry", "job": job, "only": PAYLOADS[1]})))
    look(page, f"{daemon.url}/jobs/{httpx2.URL('/', params={'x': PAYLOADS[3]}).query.decode()}")


@pytest.mark.long
def test_nothing_that_was_written_elsewhere_runs_or_becomes_markup() -> None:
    """Ids, names, file names, models, prompts, answers and errors, on every screen and through the live stream."""
    with (
        tempfile.TemporaryDirectory(prefix="xs", ignore_cleanup_errors=True) as folder,
        a_browser() as browser,
        a_daemon(Path(folder), **QUICK) as daemon,
    ):
        job = hostile(daemon)
        page = browser.new_page()
        page.on("dialog", lambda dialog: dialog.dismiss())
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        look_at_every_screen(page, daemon, job)
        page.goto(f"{daemon.url}/jobs")
        page.wait_for_selector("#pulse[data-state=live]")
        name = PAYLOADS[29]
        said = [{"role": "user", "content": name}]
        late = {"custom_id": name, "params": {"model": "m", "max_tokens": 1, "messages": said}}
        daemon.submit([late], name=name)
        expect(page.locator("[data-row]")).to_have_count(2)
        assert page.evaluate(FOREIGN) == []
        assert [url for url in asked if not url.startswith(daemon.url)] == []
