"""Makes a picture of every screen, light and dark, into docs/screenshots: a sandbox with jobs in every state.

Run by `make screenshots`. Needs Chromium. Only the pictures that the README shows are kept in the repository.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx2
from browser.browser_world import Daemon, a_browser, a_daemon, until
from playwright.sync_api import Browser, Page

OUT: Final = Path(__file__).parent.parent / "docs" / "screenshots"
_SIZE: Final = {"width": 1360, "height": 860}
_FAST: Final = {"SANDBOX__SPEED": "20000", "LIMITS__POLL_INTERVAL": "0.1s", "RETRY__MAX_ATTEMPTS": "2"}
_FAULTS: Final = "error=.08,invalid=.012,expire=.03"
_CALM: Final = {"SANDBOX__SPEED": "14", "LIMITS__POLL_INTERVAL": "0.2s", "LIMITS__DOUBT_WAIT": "6h"}
_QUESTIONS: Final = (
    "The package came two days late and the box was open. Classify the mood of this review.",
    "Summarise this ticket in one sentence:\n\n> The export stops at 40% and then nothing happens.",
    "Extract every date in this paragraph as ISO 8601, one per line.",
    "Translate into German: *Please mind the gap between the train and the platform.*",
)


def main() -> None:
    """Fill a store, and take the pictures."""
    OUT.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="shots", ignore_cleanup_errors=True) as folder,
        a_browser() as browser,
        a_daemon(Path(folder), **_FAST, SANDBOX__FAULTS=_FAULTS, BATCHING__MAX_REQUESTS="450") as daemon,
    ):
        addresses = _fill(daemon)
        for theme in ("light", "dark"):
            _pictures(browser, daemon, addresses, theme)


def _fill(daemon: Daemon) -> dict[str, str]:
    """Jobs in every state; the screens to show, by name."""
    done = _past(daemon)
    running = _present(daemon)
    failed = _first_failed(daemon, done)
    return {
        "overview": "/",
        "jobs": "/jobs",
        "job": f"/jobs/{running}",
        "job-failures": f"/jobs/{done}?tab=failures",
        "job-batches": f"/jobs/{running}?tab=batches",
        "job-events": f"/jobs/{done}?tab=events",
        "request": f"/jobs/{done}/requests/2",
        "request-failed": f"/jobs/{done}/requests/{failed}",
        "batches": "/batches",
        "batches-remote": "/batches?remote=1",
        "confirm": f"/confirm?verb=cancel&job={running}",
        "new": "/new",
        "health": "/health",
        "events": "/events",
        "webhooks": "/webhooks",
        "settings": "/settings",
        "nowhere": "/nowhere",
    }


def _past(daemon: Daemon) -> str:
    """Jobs that are over, one that nobody pays for, one in doubt; the one with failures."""
    done = daemon.submit(_requests(2600, 1), name="support-tickets-november")
    clean = daemon.submit(_requests(900, 2), name="product-reviews-de")
    for job in (done, clean):
        until(partial(_is_finished, daemon, job), within_s=120)
    daemon.stop()
    daemon.start(**_CALM, SANDBOX__FAULTS="create.credit=1")
    daemon.submit(_requests(320, 6), name="quarterly-report")
    until(lambda: daemon.job("quarterly-report")["state"] == "paused")
    daemon.stop()
    daemon.start(**_CALM, SANDBOX__FAULTS="create.drop_after_accept=1", BATCHING__MAX_REQUESTS="450")
    daemon.submit(_requests(240, 3), name="invoice-extraction")
    until(lambda: daemon.job("invoice-extraction")["batches"]["in_doubt"] == 1)
    return done


def _present(daemon: Daemon) -> str:
    """A paused job, and one that is in the middle of it, which is returned."""
    daemon.stop()
    daemon.start(**_CALM, BATCHING__MAX_REQUESTS="700", LIMITS__MAX_IN_FLIGHT_REQUESTS="2900")
    running = daemon.submit(_requests(14_000, 5), name="catalog-descriptions-2026")
    paused = daemon.submit(_requests(1400, 4), name="glossary-translation")
    daemon.post("pause", paused)
    until(lambda: daemon.job(running)["batches"]["settled"] >= 6, within_s=200)
    return running


def _is_finished(daemon: Daemon, job: str) -> bool:
    return bool(daemon.job(job)["state"] == "finished")


def _first_failed(daemon: Daemon, job: str) -> str:
    page = httpx2.get(f"{daemon.url}/jobs/{job}?state=failed", timeout=30).text
    found = re.search(r'id="request-(\d+)"', page)
    assert found is not None
    return found[1]


def _requests(count: int, seed: int) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    return [
        {
            "custom_id": f"row-{seed}-{number:05d}",
            "params": {
                "model": "claude-haiku-4-5",
                "max_tokens": 256,
                "system": "You answer **briefly**. Use `JSON` where a list is asked for.",
                "messages": [{"role": "user", "content": f"{chance.choice(_QUESTIONS)}\n\nRow {number}."}],
            },
        }
        for number in range(count)
    ]


def _pictures(browser: Browser, daemon: Daemon, addresses: dict[str, str], theme: str) -> None:
    context = browser.new_context(viewport=_SIZE, color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    for name, path in addresses.items():
        page.goto(daemon.url + path)
        if name == "new":
            _choose(page)
        time.sleep(1.5)  # a picture has no state to wait for: charts and live parts have arrived by then
        page.screenshot(path=OUT / f"{name}-{theme}.png")
    context.close()


def _choose(page: Page) -> None:
    rows = _requests(3, 7)
    del rows[2]["params"]["max_tokens"]
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    page.set_input_files("#file", {"name": "tickets.jsonl", "mimeType": "", "buffer": body})


if __name__ == "__main__":
    main()
