"""`kill -9` at random instants: whatever was acknowledged is there, whole, after every restart."""

from __future__ import annotations

import os
import random
import signal
import textwrap
from contextlib import closing
from pathlib import Path

import pytest
from store.store_world import raw
from support.forked import PIPE, start_script

pytestmark = pytest.mark.sqlite

ROOT = Path(__file__).resolve().parents[2]
KILLS = 20
WRITER = """
    import asyncio, os, sys
    from pathlib import Path
    from store.store_world import *
    async def main():
        async with open_store(Path(sys.argv[1])) as store:
            await store.discard_leftovers()
            print("open", flush=True)
            life = os.getpid()
            for turn in range(10_000):
                job = await store.ingest.begin(new_job(), f"{life}-{turn}-{os.urandom(2).hex()}", NOW)
                print("begun", job.id, 0, flush=True)
                for part in range(3):
                    chunk = lines_of_table((f"{part}-{i}" for i in range(50)), first_line=1 + 50 * part)
                    await store.ingest.add(job.id, chunk, NOW)
                    print("added", job.id, 50 * (part + 1), flush=True)
                await finish(store, job.id, "h")
                print("finished", job.id, 150, flush=True)
                batch = await store.plan.queued(job.id, 1000, list)
                nonce = os.urandom(10).hex()
                made = await store.plan.plan(await store.commands.get(job.id),
                                             pack(batch, WIDE), Nonce(nonce), ROOM, NOW)
                (sendable,) = [b for b in await store.submit.sendable(10_000) if b.id == made]
                sent = await store.submit.intend(sendable, None, META, NOW)
                print("intended", job.id, 150, flush=True)
                far = remote(nonce, 150)
                await store.submit.accept(sent, far, META, NOW)
                (there,) = [b for b in await store.poll.watched() if b.id == made]
                await store.poll.ended(there, far, NOW)
                (over,) = [b for b in await store.poll.uncollected() if b.id == made]
                for start in (1, 76):
                    await store.collect.store_lines(over, [won(n) for n in range(start, start + 75)], NOW)
                    print("stored", job.id, start + 74, flush=True)
    asyncio.run(main())
"""


def one_life(path: Path, lasting: int) -> list[tuple[str, int, int]]:
    """Start a writer, kill it wherever it is when *lasting* acks were read; all that it had acknowledged by then."""
    with start_script(textwrap.dedent(WRITER), str(path), env=os.environ, stdout=PIPE, stderr=PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        first = writer.stdout.readline()
        assert first == b"open\n", writer.stderr.read()
        said = b"".join(writer.stdout.readline() for _ in range(lasting))
        writer.send_signal(signal.SIGKILL)
        rest, err = writer.communicate()
        said += rest
    assert err == b""
    whole = [line.split() for line in said.decode().splitlines(keepends=True) if line.endswith("\n")]
    return [(word, int(job), int(count)) for word, job, count in whole]


@pytest.mark.process
def test_what_was_acknowledged_is_there_after_every_kill(tmp_path: Path) -> None:
    """Promise 1, twenty lives of one store: nothing acknowledged is lost, nothing is half there, the file is sound."""
    path = tmp_path / "store.db"
    chance = random.Random(11)
    acks: dict[int, dict[str, int]] = {}
    for _ in range(KILLS):
        for word, job, count in one_life(path, chance.randrange(100)):
            acks.setdefault(job, {})[word] = count
        check(path, acks)
    assert sum("stored" in words for words in acks.values()) > KILLS, "the kills came too early to tell anything"


def check(path: Path, acks: dict[int, dict[str, int]]) -> None:
    """Compare the file with what was said; an import that no ack finished may have been taken away since."""
    with closing(raw(path)) as c:
        assert c.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert c.execute("PRAGMA foreign_key_check").fetchall() == []
        jobs = {row[0]: row[1:] for row in c.execute("SELECT id, total, queued, batched, succeeded FROM job")}
        rows = dict(c.execute("SELECT job_id, count(*) FROM request GROUP BY job_id"))
        kept = dict(c.execute("SELECT first_id >> 32, sum(count) FROM source_row GROUP BY 1"))
        results = dict(c.execute("SELECT request_id >> 32, count(*) FROM result GROUP BY 1"))
        states = dict(c.execute("SELECT job_id, state FROM batch"))
    for job, (total, queued, batched, succeeded) in jobs.items():
        assert total in {0, kept.get(job, 0)}, "a chunk's rows came with it"
        assert total == rows.get(job, 0) == queued + batched + succeeded
        assert results.get(job, 0) == succeeded
        assert succeeded in {0, 75, 150}, "a chunk is stored whole or not at all"
        assert total % 50 == 0
    for job, words in acks.items():
        if job in jobs:
            assert jobs[job][0] >= words.get("added", 0)
        if "finished" in words:
            assert jobs[job][0] == 150
            assert jobs[job][3] >= words.get("stored", 0)
        if "intended" in words:
            assert states[job] != "planned"
