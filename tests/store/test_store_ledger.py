"""The ledger: every answer is billed once, with the answer, and an old store says what it does not know."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import pytest
from store.store_world import (
    BODY,
    NOW,
    audit,
    batch_of,
    collected,
    ended,
    open_store,
    raw,
    remote,
    running_job,
    settle_all,
    submitting,
)
from support.prices import HAIKU_4_5, SONNET_4_6

from orchestrator.domain.billing import Payment, Tariff, Tokens, cost_of
from orchestrator.domain.budgets import Limit, Scope
from orchestrator.domain.ids import request_id
from orchestrator.domain.known_answers import Observed
from orchestrator.domain.model import JobStatus, JudgedLine
from orchestrator.domain.result_outcome import Outcome
from orchestrator.domain.spending import SpendBy, Spending
from orchestrator.ports.doubts import DuplicateResult
from orchestrator.store.location import SqliteLocation
from orchestrator.store.migrate import prepare, shipped_migrations
from orchestrator.views.cost_views import SpendingView, money_text

HAIKU: Final = Tariff(model="claude-haiku-4-5", geo="", day="2026-11-23", rates=HAIKU_4_5, source="s")
SONNET: Final = replace(HAIKU, model="claude-sonnet-4-6", rates=SONNET_4_6)
NAMELESS: Final = Tariff(model="", geo="", day="2026-11-23")
TOKENS: Final = Tokens(1200, 30, 3, 11_189, 50, 2)
LINES: Final = """SELECT model, kind, requests, input, output, write_5m, write_1h, read, searches, cost_nanos, unpriced
  FROM ledger JOIN price ON price.id = price_id ORDER BY model, kind"""


def payment(tariff: Tariff = HAIKU, tokens: Tokens = TOKENS, *extras: Payment) -> Payment:
    """A payment of known cost."""
    assert tariff.rates is not None
    return Payment(tariff, tokens, cost_of(tokens, tariff.rates) + sum(each.nanos or 0 for each in extras), extras)


COST: Final = payment().nanos or 0


def paid(number: int, of: Payment | None = None) -> JudgedLine:
    """A success."""
    return JudgedLine(number, "succeeded", Outcome.SUCCEEDED, BODY, payment=payment() if of is None else of)


def unread(number: int) -> JudgedLine:
    """A line that could not be read, and was most likely paid for."""
    kind = "unreadable_result"
    return JudgedLine(number, kind, Outcome.FAILED, BODY, error_type=kind, payment=Payment(NAMELESS, None, None))


def rows(path: Path, sql: str, values: Sequence[Any] = ()) -> list[Any]:
    """What a query finds, behind the store's back."""
    with closing(raw(path)) as c:
        return c.execute(sql, values).fetchall()


def spent(path: Path) -> tuple[int, int]:
    """What the only job has spent, and of how many requests nobody knows."""
    ((nanos, unpriced),) = rows(path, "SELECT spent_nanos, unpriced FROM job")
    return nanos, unpriced


def test_a_chunk_is_one_line_of_the_ledger_and_the_next_one_adds_to_it(tmp_path: Path) -> None:
    """By batch, price and kind; the cost lies with the result as well."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            batch = await ended(store, (await running_job(store)).id)
            await store.collect.store_lines(batch, [paid(1), paid(2)], NOW)
            await store.collect.store_lines(batch, [paid(3), paid(4, payment(SONNET))], NOW)

    asyncio.run(run())
    sonnet = payment(SONNET).nanos or 0
    assert rows(tmp_path / "store.db", LINES) == [
        ("claude-haiku-4-5", "kept", 3, *(3 * count for count in TOKENS), 3 * COST, 0),
        ("claude-sonnet-4-6", "kept", 1, *TOKENS, sonnet, 0),
    ]
    assert rows(tmp_path / "store.db", "SELECT rates, source FROM price ORDER BY id") == [
        ("[500000,2500000,625000,1000000,50000,0,null]", "s"),
        ("[1500000,7500000,1875000,3000000,150000,0,null]", "s"),
    ]
    assert [row[0] for row in rows(tmp_path / "store.db", "SELECT cost_nanos FROM result")] == [COST] * 3 + [sonnet]
    assert spent(tmp_path / "store.db") == (3 * COST + sonnet, 0)
    assert audit(tmp_path / "store.db") == []


def test_a_repeated_download_bills_nothing_twice(tmp_path: Path) -> None:
    """Whole, in part, or with one line twice: only lines that are stored count."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            batch = await ended(store, (await running_job(store)).id)
            for chunk in ([paid(1), paid(1), unread(2)], [paid(1), unread(2)], [unread(2), paid(1), paid(3)]):
                await store.collect.store_lines(batch, chunk, NOW)

    asyncio.run(run())
    assert spent(tmp_path / "store.db") == (2 * COST, 1)
    assert [row[:3] for row in rows(tmp_path / "store.db", LINES)] == [
        ("", "retried", 1),
        ("claude-haiku-4-5", "kept", 2),
    ]
    assert audit(tmp_path / "store.db") == []


def test_what_other_models_are_billed_for_has_lines_of_their_own(tmp_path: Path) -> None:
    """Their tokens count there, and requests only once; the result has all of it."""
    advised = payment(HAIKU, TOKENS, payment(SONNET, Tokens(1000, 100)))
    in_the_dark = Payment(HAIKU, TOKENS, None, (Payment(NAMELESS, Tokens(7), None), payment(SONNET, Tokens(1000, 100))))

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            batch = await ended(store, (await running_job(store)).id)
            await store.collect.store_lines(batch, [paid(1, advised), paid(2, in_the_dark)], NOW)
            assert await models_shown(store) == [
                ("", 0, None),
                ("claude-haiku-4-5", 2, money_text(COST)),
                ("claude-sonnet-4-6", 0, money_text(sonnet)),
            ]

    sonnet = cost_of(Tokens(1000, 100), SONNET_4_6)
    asyncio.run(run())
    assert rows(tmp_path / "store.db", LINES) == [
        ("", "kept", 0, 7, 0, 0, 0, 0, 0, 0, 0),
        ("claude-haiku-4-5", "kept", 2, *(2 * count for count in TOKENS), COST, 1),
        ("claude-sonnet-4-6", "kept", 0, 2000, 200, 0, 0, 0, 0, sonnet, 0),
    ]
    assert spent(tmp_path / "store.db") == (COST + sonnet, 1)
    assert audit(tmp_path / "store.db") == []


def test_a_retry_takes_no_cost_away(tmp_path: Path) -> None:
    """What a failed request may have cost lies with its attempt, which stays."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 2)
            await settle_all(store, await collected(store, job.id, [paid(1), unread(2)]))
            await store.settle.finish_jobs(NOW)
            assert await store.retries.retry(job.id, (), NOW)
            again = await ended(store, job.id, nonce="b")
            await store.collect.store_lines(again, [paid(2)], NOW)

    asyncio.run(run())
    assert spent(tmp_path / "store.db") == (2 * COST, 1)
    assert audit(tmp_path / "store.db") == []


def test_a_page_of_requests_says_what_each_cost_and_a_chart_what_each_day_did(tmp_path: Path) -> None:
    """Of an answer its cost, of a failure that of its attempts; None is not known, and what is not over is not told."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 4)
            await settle_all(
                store, await collected(store, job.id, [paid(1), unread(2), paid(3, payment(SONNET))], limit=3)
            )
            seen = await store.read(lambda reads: reads.costs_of(job.id, [1, 2, 3, 4]))
            assert seen == {1: COST, 2: None, 3: payment(SONNET).nanos}
            days = await store.read(lambda reads: reads.daily_spending(since=date(2000, 1, 1)))
            assert [(each.model, each.nanos, each.unpriced) for each in days] == [
                ("", 0, 1),
                ("claude-haiku-4-5", COST, 0),
                ("claude-sonnet-4-6", payment(SONNET).nanos, 0),
            ]
            assert await store.read(lambda reads: reads.daily_spending(since=date(2999, 1, 1))) == []
            assert await store.read(lambda reads: reads.budgets(NOW)) == []
            await store.budgets.cap_scope(Scope.TOTAL, 10**9, "person", NOW)
            spent = COST + (payment(SONNET).nanos or 0)
            total = Limit(scope=Scope.TOTAL, key="", cap=10**9, spent=spent, reserved=0, unpriced=1)
            assert await store.read(lambda reads: reads.budgets(NOW)) == [total]

    asyncio.run(run())


def test_results_that_never_come_may_have_been_billed(tmp_path: Path) -> None:
    """Nobody knows what for: they are not called free."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            batch = await ended(store, (await running_job(store)).id)
            await store.collect.store_lines(batch, [paid(1)], NOW)
            assert await store.collect.give_up(batch, ("missing_result", "never came"), BODY, NOW) == 3

    asyncio.run(run())
    assert spent(tmp_path / "store.db") == (COST, 3)
    assert rows(tmp_path / "store.db", LINES)[0] == ("", "assumed", 3, 0, 0, 0, 0, 0, 0, 0, 3)
    assert audit(tmp_path / "store.db") == []


@pytest.mark.parametrize("is_told_first", [True, False])
def test_a_batch_that_was_bought_twice_is_in_the_ledger_twice(tmp_path: Path, is_told_first: bool) -> None:
    """Unknown until its results are here, and each of them counts once."""
    errored = DuplicateResult(3, BODY, None)
    some, all_four = [DuplicateResult(1, BODY, payment())], [DuplicateResult(n, BODY, payment()) for n in (1, 2, 4)]

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store)
            sent = await submitting(store, job.id)
            await store.submit.doubt(sent, "reset", NOW)
            await store.doubt.void(await batch_of(store, sent.id), NOW, "never seen", NOW)
            gone = await batch_of(store, sent.id)
            await store.sweep.see([remote("late", 4)])
            if is_told_first:
                assert await store.sweep.duplicate(gone, "msgbatch_late", NOW)
                assert spent(store.path) == (0, 4)
            await store.sweep.keep_duplicate_results(gone.id, "msgbatch_late", some)
            await store.sweep.keep_duplicate_results(gone.id, "msgbatch_late", [*some, errored])
            if not is_told_first:
                assert spent(store.path) == (COST, 0)
                assert await store.sweep.duplicate(gone, "msgbatch_late", NOW)
            assert spent(store.path) == (COST, 2)
            assert audit(store.path) == []
            await store.sweep.keep_duplicate_results(gone.id, "msgbatch_late", all_four)

    asyncio.run(run())
    assert spent(tmp_path / "store.db") == (3 * COST, 0)
    assert [row[:3] for row in rows(tmp_path / "store.db", LINES) if row[2]] == [("claude-haiku-4-5", "late", 3)]
    assert audit(tmp_path / "store.db") == []


def test_a_purged_job_keeps_what_it_cost(tmp_path: Path) -> None:
    """Its results go; its lines stay."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 2)
            await settle_all(store, await collected(store, job.id, [paid(1), paid(2)]))
            await store.settle.finish_jobs(NOW)
            await store.purge.mark(job.id, "person", NOW)
            while await store.purge.purge_some():
                pass

    asyncio.run(run())
    assert rows(tmp_path / "store.db", "SELECT count(*) FROM result") == [(0,)]
    assert spent(tmp_path / "store.db") == (2 * COST, 0)
    assert audit(tmp_path / "store.db") == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE ledger SET cost_nanos = cost_nanos + 1", "its ledger is not what its answers cost"),
        ("UPDATE ledger SET unpriced = unpriced + 1", "its ledger is not what its answers cost"),
        ("UPDATE job SET spent_nanos = spent_nanos + 1", "what it has spent is not the sum of its ledger"),
        ("UPDATE job SET unpriced = unpriced + 1", "what it has spent is not the sum of its ledger"),
        ("UPDATE ledger SET output_squares = 1e12", "its ledger's squares are not those of its answers"),
    ],
)
def test_the_audit_finds_what_does_not_add_up(tmp_path: Path, damage: str, words: str) -> None:
    """To the nano-dollar, and the unknown as well."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            await collected(store, (await running_job(store)).id, [paid(1), unread(2)])

    asyncio.run(run())
    assert audit(tmp_path / "store.db") == []
    with closing(raw(tmp_path / "store.db")) as c:
        c.execute(damage)
    assert any(words in line for line in audit(tmp_path / "store.db"))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE result SET cost_nanos = 1 WHERE cost_nanos IS NOT NULL",
        "UPDATE attempt SET cost_nanos = 1 WHERE cost_nanos IS NOT NULL",
        "UPDATE result SET input_tokens = 1",
        "UPDATE price SET source = 'other'",
        "DELETE FROM price",
        "DELETE FROM ledger",
        "UPDATE ledger SET cost_nanos = -1",
        "UPDATE job SET spent_nanos = -1",
        "INSERT INTO ledger SELECT batch_id, price_id, 'free', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM ledger",
    ],
)
def test_the_schema_refuses_another_cost(tmp_path: Path, change: str) -> None:
    """What was paid was paid; only what nobody knew may be found later."""

    async def run() -> None:
        async with open_store(tmp_path / "store.db") as store:
            failed = JudgedLine(2, "errored", Outcome.FAILED, BODY, error_type="e")
            await collected(store, (await running_job(store)).id, [paid(1), failed])

    asyncio.run(run())
    with closing(raw(tmp_path / "store.db")) as c, pytest.raises(Exception, match=r"change|delete|append|CHECK|check"):
        c.execute(change)


@pytest.mark.sqlite
def test_an_old_store_says_how_many_answers_have_no_cost(tmp_path: Path) -> None:
    """What was settled before: unknown, not free, until somebody asks for its price."""
    path = tmp_path / "store.db"
    prepare(path, now=NOW, sandbox=False, migrations=shipped_migrations()[:8])
    with closing(sqlite3.connect(path, isolation_level=None)) as c:
        for sql in _OLD:
            c.execute(sql.replace("'T'", "'2026-11-22T12:00:00.000000Z'"))
    prepare(path, now=NOW, sandbox=False)
    assert spent(path) == (0, 1)
    assert rows(path, LINES) == [("", "kept", 1, 0, 0, 0, 0, 0, 0, 0, 1)]
    assert rows(path, "SELECT day, rates FROM price") == [("2026-11-22", None)]
    assert rows(path, "SELECT cost_nanos FROM attempt") == [(0,)]
    assert money_troubles(path) == []
    assert unpriced(path) == 1
    with closing(raw(path)) as c:  # as a daemon of the version before leaves it, which stores beside this one
        c.execute("UPDATE ledger SET requests = 0, unpriced = 0")
        c.execute("UPDATE job SET unpriced = 0")
    assert money_troubles(path) == []
    assert unpriced(path) == 1
    with closing(raw(path)) as c:
        c.execute("UPDATE ledger SET unpriced = 2")
        c.execute("UPDATE job SET unpriced = 2")
    assert len(money_troubles(path)) == 1


@pytest.mark.sqlite
def test_what_an_older_version_stored_is_priced_from_its_body(tmp_path: Path) -> None:
    """Whether its line is in the ledger or not; and what is stored beside it stays as it is."""

    async def run(path: Path, *, is_listed: bool) -> None:
        async with open_store(path) as store:
            job = await running_job(store, 3)
            batch = await collected(store, job.id, [paid(1), replaced(2), replaced(3)])
            with closing(raw(path)) as c:
                c.execute("UPDATE result SET price_id = NULL, cost_nanos = NULL WHERE cost_nanos IS NULL")
                if not is_listed:
                    c.execute("UPDATE ledger SET unpriced = 0, requests = 0 WHERE unpriced = 2")
                    c.execute("UPDATE job SET unpriced = 0")
            found = await store.reprice.unpriced(job.id, request_id(job.id, 0), 10)
            assert [(each.batch_id, each.body, each.price_id) for each in found] == [(batch.id, BODY, None)] * 2
            assert await store.reprice.priced(job.id, [(found[0], payment())], NOW) == 1
            assert await store.reprice.priced(job.id, [(each, payment()) for each in found], NOW) == 1
            assert await store.reprice.unpriced(job.id, request_id(job.id, 0), 10) == []
            assert await models_shown(store) == [("claude-haiku-4-5", 3, money_text(3 * COST))]

    for is_listed in (True, False):
        path = tmp_path / f"{is_listed}.db"
        asyncio.run(run(path, is_listed=is_listed))
        assert spent(path) == (3 * COST, 0)
        assert [row[:3] for row in rows(path, LINES) if row[2]] == [("claude-haiku-4-5", "kept", 3)]
        assert audit(path) == []


def replaced(number: int) -> JudgedLine:
    """An answer as an older version enters it: nothing is known of it."""
    return paid(number, Payment(NAMELESS, None, None))


async def models_shown(store: Any) -> list[tuple[str, int, str | None]]:
    """Name, answers and dollars of each model, which are the same in all reads."""
    lines: list[Spending] = await store.read(lambda reads: reads.spending(SpendBy.MODEL))
    days = await store.read(lambda reads: reads.daily_spending(since=date(2000, 1, 1)))
    assert list((await store.read(lambda reads: reads.cost(reads.find("@last")))).by_model) == lines
    assert [day.model for day in days] == [line.name for line in lines if line.requests or line.nanos]
    return [(view.name, view.requests, view.spent) for view in map(SpendingView.of, lines)]


def money_troubles(path: Path) -> list[str]:
    """What the audit finds wrong with money; the store has no payload."""
    return [line for line in audit(path) if "ledger" in line]


def unpriced(path: Path) -> int:
    """How many answers of the only job are shown as without a price."""
    with SqliteLocation(path).open_reader() as reads:
        return reads.cost(reads.find("@last")).total.unpriced


_OLD: Final = (
    """INSERT INTO job (public_id, name, state, source, content_hash, api_version, betas, priority, still_open,
         added_at, created_at) VALUES ('j', 'n', 'importing', '/s', 'h', 'v', '', 1, 0, 'T', 'T')""",
    """INSERT INTO request (id, custom_id, line, params_bytes, state) VALUES ((1 << 32) + 1, 'a', 1, 1, 'queued'),
         ((1 << 32) + 2, 'b', 2, 1, 'queued')""",
    "UPDATE job SET total = 2, queued = 2",
    "UPDATE job SET state = 'running'",
    """INSERT INTO batch (job_id, nonce, state, count, size_bytes, digest, api_version, betas, planned_at, depth,
         sent_at, cursor_date, remote_id, created_at, ended_at, collected)
       VALUES (1, 'bbbbbbbbbbbbbbbbbbbb', 'ended', 2, 1, 'd', 'v', '', 'T', 0, 'T', 'T', 'm',
               '2026-11-22T23:59:59.000000Z', 'T', 1)""",
    "UPDATE request SET state = 'batched', batch_id = 1",
    "INSERT INTO result (id, request_id, body) VALUES (1, (1 << 32) + 1, x'7b7d')",
    "UPDATE request SET state = 'succeeded', result_id = 1 WHERE custom_id = 'a'",
    "INSERT INTO attempt (batch_id, request_id, kind, outcome, at) VALUES (1, (1 << 32) + 2, 'expired', 'again', 'T')",
    "UPDATE job SET queued = 0, batched = 1, succeeded = 1",
)


def test_a_running_job_says_what_it_will_have_cost(tmp_path: Path) -> None:
    """Two of four cost A and B: the rest is expected to cost as much, and by how much the two differ says ±."""
    dear = payment(tokens=Tokens(1200, 3000))

    async def run() -> JobStatus:
        async with open_store(tmp_path / "store.db") as store:
            job = await running_job(store, 4)
            await store.collect.store_lines(await ended(store, job.id), [paid(1), paid(2, dear)], NOW)
            return await store.read(lambda reads: reads.status(reads.get(job.id)))

    cost = asyncio.run(run()).cost
    assert cost is not None
    assert dear.nanos is not None
    found = Observed(2, COST + dear.nanos, float(COST**2 + dear.nanos**2)).forecast(2)
    assert found is not None
    assert cost.expected == found.plus(COST + dear.nanos)
    assert cost.expected.expected == 2 * (COST + dear.nanos)
