"""A notice is put down with its event, in its transaction; one that waited in an older store is sent as it was."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from store.store_world import NOW, open_store, raw, running_job
from support.world import in_a_loop

from orchestrator.domain.notices import EndpointSpec
from orchestrator.store.history import record
from orchestrator.store.migrate import prepare, shipped_migrations
from orchestrator.store.sql_rows import to_text

BEFORE = 6  #: the last schema in which a trigger put notices down
EVENTS = (
    ("job.moved", "paused", True, False),
    ("job.moved", "finished", True, False),
    ("job.moved", "canceled", True, False),
    ("job.moved", "running", True, False),
    ("attention.expired", None, True, True),
    ("attention.account", None, True, False),
    ("attention.store", None, False, False),
    ("batch.moved", "in_doubt", True, True),
    ("batch.moved", "ended", True, True),
    ("batch.planned", "planned", True, True),
)
ROWS = """
INSERT INTO endpoint (url, events, active) VALUES ('https://a', '', 1), ('https://b', ' job.finished ', 1),
  ('https://c', '', 0);
INSERT INTO job (public_id, name, state, source, content_hash, api_version, betas, priority, still_open, added_at,
                 created_at, reason_code, reason)
  VALUES ('a"\\1', 'a', 'importing', '/a', 'h', 'v', '', 50, 0, 'T', 'T', NULL, NULL);
INSERT INTO batch (job_id, nonce, state, count, size_bytes, digest, api_version, betas, planned_at, depth, sent_at,
                   cursor_date, remote_id, created_at, expires_at, ended_at, api_succeeded, api_errored, api_canceled,
                   api_expired)
  VALUES (1, 'aaaaaaaaaaaaaaaaaaaa', 'ended', 2, 9, 'd', 'v', '', 'T', 0, 'T', 'T', 'msg"batch\\_1',
          'T', 'T', 'T', 1, 0, 0, 1);
INSERT INTO stop_reason (name) VALUES ('odd "\\ ü');
INSERT INTO stop_count SELECT 1, id, id + 1 FROM stop_reason WHERE id IN (0, 3) OR name LIKE 'odd%';
UPDATE job SET state = 'running';
UPDATE job SET state = 'paused', reason_code = 'credit', reason = 'r';
"""


def payloads(c: sqlite3.Connection, after: int = 0) -> list[tuple[str, str, str]]:
    """(endpoint, type, payload without the event's number) of what waits, of events above *after*."""
    rows = c.execute(
        "SELECT url, type, payload, event_id FROM delivery JOIN endpoint ON endpoint.id = endpoint_id"
        " WHERE event_id > ? ORDER BY delivery.id",
        (after,),
    ).fetchall()
    return [(url, kind, text.replace(f'"event":{event},', '"event":0,')) for url, kind, text, event in rows]


@pytest.mark.sqlite
def test_notices_that_wait_in_an_older_store_are_kept_and_new_ones_say_the_same(tmp_path: Path) -> None:
    """The upgrade takes the trigger away: the program then writes the same bytes for the same event."""
    path = tmp_path / "store.db"
    prepare(path, now=NOW, sandbox=False, migrations=shipped_migrations()[:BEFORE])
    with closing(raw(path)) as c:
        c.executescript(ROWS.replace("'T'", f"'{to_text(NOW)}'"))
        for kind, new, has_job, has_batch in EVENTS:
            row = (to_text(NOW), 1 if has_job else None, 1 if has_batch else None, kind, new)
            c.execute("INSERT INTO event (at, job_id, batch_id, kind, new) VALUES (?, ?, ?, ?, ?)", row)
        waiting = c.execute("SELECT * FROM delivery").fetchall()
        by_trigger = payloads(c)
    prepare(path, now=NOW, sandbox=False)
    with closing(raw(path)) as c:
        assert c.execute("SELECT * FROM delivery").fetchall() == waiting
        last = c.execute("SELECT max(id) FROM event").fetchone()[0]
        for kind, new, has_job, has_batch in EVENTS:
            record(c, NOW, kind, new=new, job=1 if has_job else None, batch=1 if has_batch else None)
        cost = ',"cost":{"currency":"USD","spent":"0.000000000","unpriced":0}'  # which the trigger did not tell
        assert [(*told[:2], told[2].replace(cost, "")) for told in payloads(c, after=last)] == by_trigger
    types = [kind for url, kind, _ in by_trigger if url == "https://a"]
    assert types == ["job.attention", "job.finished", "job.canceled", *["job.attention"] * 3, "batch.in_doubt",
                     "batch.expired"]  # fmt: skip
    assert [kind for url, kind, _ in by_trigger if url != "https://a"] == ["job.finished"], "it wants no other"


@pytest.mark.parametrize("code", ["by_user", "credit"])
@in_a_loop
async def test_a_pause_that_a_person_asked_for_is_no_news(tmp_path: Path, code: str) -> None:
    """Who pressed the button knows."""
    async with open_store(tmp_path / "store.db") as store:
        await store.notices.mirror([EndpointSpec(url="https://a", events=())], NOW)
        job = await running_job(store)
        assert await store.commands.pause(job.id, code, "why not", NOW)
        due = await store.notices.due(NOW, 9, each=9)
    told = [json.loads(notice.payload)["type"] for notice in due]
    assert told == ([] if code == "by_user" else ["job.attention"])
