"""Makes a picture of every screen, light and dark, wide and narrow, into docs/screenshots, from jobs in every state.

Run by `make screenshots`, in a sandbox. Needs Chromium. Only the pictures of the README are kept in the repository.
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
#: Width and height by what is added to the name of a picture; the narrow one is a telephone.
_SIZES: Final = {"": (1440, 900), "-390": (390, 844)}
#: Kept in the repository: what a window shows, without what is below its edge.
_KEPT: Final = frozenset({"overview-light", "job-dark"})
_FAST: Final = {"SANDBOX__SPEED": "20000", "LIMITS__POLL_INTERVAL": "0.1s", "RETRY__MAX_ATTEMPTS": "2"}
_FAULTS: Final = "error=.08,invalid=.012,expire=.03,refusal=.01"
_CALM: Final = {"SANDBOX__SPEED": "14", "LIMITS__POLL_INTERVAL": "0.2s", "LIMITS__DOUBT_WAIT": "6h"}
_PRESENT: Final = _CALM | {"BATCHING__MAX_REQUESTS": "700", "LIMITS__MAX_IN_FLIGHT_REQUESTS": "2900"}
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
        screens = fill(daemon)
        for theme in ("light", "dark"):
            for size in _SIZES:
                _pictures(browser, daemon, screens, theme, size)


def fill(daemon: Daemon) -> dict[str, str]:
    """Jobs in every state; the screens to show, by name."""
    done = _finished(daemon)
    doubtful = _stopped(daemon)
    running = _present(daemon)
    daemon.stop()
    daemon.start(**_PRESENT | {"SANDBOX__SPEED": "0.05"})  # nothing ends while pictures are taken
    failed = _first_failed(daemon, done)
    return {
        "overview": "/",
        "overview-day": "/?range=24h",
        "jobs": "/jobs",
        "jobs-none": "/jobs?q=nothing-has-this-name",
        "job": f"/jobs/{running}",
        "job-doubt": f"/jobs/{doubtful}",
        "job-capped": "/jobs/legal-summaries",
        "job-trial": "/jobs/trial-of-labels",
        "job-paused": "/jobs/quarterly-report",
        "job-all-failed": "/jobs/old-model",
        "job-canceled": "/jobs/wrong-prompt",
        "job-clean": "/jobs/product-reviews-de",
        "job-found": f"/jobs/{done}?tab=requests&q=row-1-0010",
        "job-failures": f"/jobs/{done}?tab=failures",
        "job-batches": f"/jobs/{done}?tab=batches",
        "job-events": f"/jobs/{done}?tab=events",
        "request": f"/jobs/{done}/requests/2",
        "request-failed": f"/jobs/{done}/requests/{failed}",
        "batches": "/batches",
        "batches-remote": "/batches?remote=1",
        "confirm-cancel": f"/confirm?verb=cancel&job={running}",
        "confirm-retry": f"/confirm?verb=retry&job={done}",
        "new": "/new",
        "health": "/health",
        "events": "/events",
        "settings": "/settings",
        "webhooks": "/webhooks",
        "nowhere": "/nowhere",
    }


def _finished(daemon: Daemon) -> str:
    """Jobs that are over, one with some failures, which is returned, one where all failed, one without any; a trial."""
    done = daemon.submit(_requests(2600, 1), name="support-tickets-november", tag="support")
    until(partial(_is, daemon, done, "finished"), within_s=120)
    daemon.stop()
    daemon.start(**_FAST)
    clean = daemon.submit(_requests(900, 2), name="product-reviews-de")
    broken = daemon.submit(_requests(120, 7, model="claude-haku-4-5"), name="old-model")
    for job in (clean, broken):
        until(partial(_is, daemon, job, "finished"), within_s=60)
    trial = daemon.submit(_requests(800, 8), name="trial-of-labels", limit="40")
    until(lambda: daemon.job(trial)["requests"]["succeeded"] == 40)
    return done


def _stopped(daemon: Daemon) -> str:
    """Jobs that nobody pays for, one at its cap, one that is canceled, one in doubt, which is returned."""
    daemon.stop()
    daemon.start(**_CALM, SANDBOX__FAULTS="create.credit=1")
    for name, seed in (("quarterly-report", 6), ("quarterly-report-annex", 9)):
        daemon.submit(_requests(320, seed), name=name)
        until(partial(_is, daemon, name, "paused"))
    capped = daemon.submit(_requests(500, 10), name="legal-summaries", max_cost="0.0001")
    until(partial(_is, daemon, capped, "paused"))
    daemon.stop()
    daemon.start(**_CALM, SANDBOX__FAULTS="create.drop_after_accept=1", BATCHING__MAX_REQUESTS="450")
    doubtful = daemon.submit(_requests(240, 3), name="invoice-extraction")
    until(lambda: daemon.job(doubtful)["batches"]["in_doubt"] == 1)
    return doubtful


def _present(daemon: Daemon) -> str:
    """A paused job, a canceled one, and one that is in the middle of it, which is returned."""
    daemon.stop()
    daemon.start(**_PRESENT)
    canceled = daemon.submit(_requests(60, 11), name="wrong-prompt")
    daemon.post("cancel", canceled)
    running = daemon.submit(_requests(14_000, 5), name="catalog-descriptions-2026", tag="catalog")
    paused = daemon.submit(_requests(1400, 4), name="glossary-translation")
    daemon.post("pause", paused)
    until(lambda: daemon.job(running)["batches"]["settled"] >= 6, within_s=200)
    return running


def _is(daemon: Daemon, job: str, state: str) -> bool:
    return bool(daemon.job(job)["state"] == state)


def _first_failed(daemon: Daemon, job: str) -> str:
    page = httpx2.get(f"{daemon.url}/jobs/{job}?state=failed", timeout=30).text
    found = re.search(r'id="request-(\d+)"', page)
    assert found is not None
    return found[1]


def _requests(count: int, seed: int, *, model: str = "claude-haiku-4-5") -> list[dict[str, Any]]:
    chance = random.Random(seed)
    return [
        {
            "custom_id": f"row-{seed}-{number:05d}",
            "params": {
                "model": model,
                "max_tokens": 256,
                "system": "You answer **briefly**. Use `JSON` where a list is asked for.",
                "messages": [{"role": "user", "content": f"{chance.choice(_QUESTIONS)}\n\nRow {number}."}],
            },
        }
        for number in range(count)
    ]


def _pictures(browser: Browser, daemon: Daemon, screens: dict[str, str], theme: str, size: str) -> None:
    width, height = _SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    for name, path in screens.items():
        page.goto(daemon.url + path)
        if name == "new":
            _choose(page)
        time.sleep(1.2)  # a picture has no state to wait for: charts and live parts have arrived by then
        shot = f"{name}-{theme}{size}"
        page.screenshot(path=OUT / f"{shot}.png", full_page=shot not in _KEPT)
    context.close()


def _choose(page: Page) -> None:
    rows = _requests(3, 7)
    del rows[2]["params"]["max_tokens"]
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    page.set_input_files("#file", {"name": "tickets.jsonl", "mimeType": "", "buffer": body})


if __name__ == "__main__":
    main()
