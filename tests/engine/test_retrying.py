"""What a person has tried again: answers that were paid for as well, and with other params; the books stay whole."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from engine.test_twins import refuse_contradictions
from support.mortal import Fuse, Killed, on_a_fuse
from support.world import World, in_a_loop, message, new_world, next_life, sha256_of

from orchestrator.domain import errors
from orchestrator.domain.ids import JobId
from orchestrator.domain.model import JobRow
from orchestrator.domain.param_change import ParamChange, grown
from orchestrator.domain.param_problem import ParamProblem
from orchestrator.domain.queries import RequestDetails
from orchestrator.domain.result_choice import ALL_OF_A_JOB
from orchestrator.ports.streams import InputLine
from orchestrator.views.request_text import request_text

GROW = ParamChange(grow=True)


def setting(**values: object) -> ParamChange:
    """A change that sets these members."""
    return ParamChange(set={key: json.dumps(value).encode() for key, value in values.items()})


async def asked(world: World, sql: str, *values: object) -> list[Any]:
    """What a query of the store finds."""
    return await world.store._database.read(lambda c: c.execute(sql, values).fetchall())


async def look_at(world: World, job: JobId, custom_id: str) -> RequestDetails:
    """One request."""
    return await world.store.read(lambda reads: reads.request(job, custom_id))


async def was_sent(world: World, job: JobId, custom_id: str, times: int = 1) -> dict[str, Any]:
    """The params of a request as the store shows them: the API must have been paid for these bytes so often."""
    params = (await look_at(world, job, custom_id)).params
    assert params is not None
    assert world.bought()[sha256_of(params)] == times
    return dict(json.loads(params))


async def answered(world: World, fault: str, count: int = 1, **options: Any) -> JobRow:
    """A job whose answers all are spoilt by *fault*; what is sent later is not."""
    world.machine.plan.set({fault: 1.0})
    job = await world.submit(count, **options)
    await world.settle()
    world.machine.plan.set({})
    return job


@in_a_loop
async def test_answers_that_were_paid_for_are_asked_for_again_and_stay_in_the_sum(tmp_path: Path) -> None:
    """The old answer becomes an attempt: rows, ledger, job and stop reasons agree before, between and after."""
    async with new_world(tmp_path / "store.db") as world:
        job = await answered(world, "refusal", 3)
        await answered(world, "cut", 2, name="other")
        before = await world.status(job.id)
        assert before.stop_reasons == {"refusal": 3}
        ((spent,),) = await asked(world, "SELECT spent_nanos FROM job WHERE id = ?", job.id)
        assert spent > 0
        assert await world.commands.retry(job.id, ()) == 0
        assert await world.commands.retry(job.id, ("max_tokens",)) == 0
        assert await world.commands.retry(job.id, ("max_tokens", "refusal")) == 3
        between = await world.status(job.id)
        assert (between.job.requests.queued, between.stop_reasons) == (3, {})
        assert await asked(world, "SELECT spent_nanos FROM job WHERE id = ?", job.id) == [(spent,)]
        await refuse_contradictions(world)
        await world.settle()
        after = await world.status(job.id)
        assert (after.job.requests.succeeded, after.stop_reasons) == (3, {"end_turn": 3})
        rows = await world.store.read(lambda reads: reads.results(job.id, above=0, limit=10))
        ((paid,),) = await asked(world, "SELECT spent_nanos FROM job WHERE id = ?", job.id)
        assert sum(row.cost_nanos or 0 for row in rows) == paid > spent
        kinds = await asked(world, "SELECT kind, sum(requests) FROM ledger WHERE batch_id IN (SELECT id FROM batch "
                            "WHERE job_id = ?) GROUP BY kind ORDER BY kind", job.id)  # fmt: skip
        assert [(kind, int(count)) for kind, count in kinds] == [("kept", 3), ("retried", 3)]
        (attempt,) = (await look_at(world, job.id, "r1")).failed_attempts
        assert (attempt.kind, attempt.error_message) == (
            "succeeded",
            "another answer was asked for: this one ended by refusal",
        )
        await refuse_contradictions(world)


@pytest.mark.parametrize("fault", ["free_refusal", "billed_refusal"])
@in_a_loop
async def test_what_is_billed_of_a_refusal_is_moved_as_it_was_entered(tmp_path: Path, fault: str) -> None:
    """A refusal before any output has tokens that are not billed: they were in no line, and are taken out of none."""
    async with new_world(tmp_path / "store.db") as world:
        job = await answered(world, fault, 2)
        lines = "SELECT sum(input), sum(output), sum(cost_nanos), sum(requests) FROM ledger"
        before = await asked(world, lines)
        assert await world.commands.retry(job.id, ("refusal",)) == 2
        assert await asked(world, lines) == before
        await refuse_contradictions(world)


@in_a_loop
async def test_other_params_are_sent_and_the_first_ones_are_kept(tmp_path: Path) -> None:
    """`--grow`, `--set`, `--drop`: what is sent has them, the request shows both, and a second change comes on top."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"cut": 1.0, "sticky": 1})
        own = message("own", max_tokens=8, metadata={"user_id": "x"})
        job = await world.submit(params=[own, message("two", max_tokens=60_000)])
        await world.settle()
        assert await world.commands.retry(job.id, ("max_tokens",), GROW) == 2
        await world.settle()
        assert await was_sent(world, job.id, "r1") == {**own, "max_tokens": 16}
        assert (await was_sent(world, job.id, "r2"))["max_tokens"] == 64_000
        details = await look_at(world, job.id, "r1")
        assert json.loads(details.original_params or b"") == own
        world.machine.plan.set({})
        change = ParamChange(set=setting(model="claude-sonnet-4-5").set, drop=frozenset({"metadata"}))
        assert await world.commands.retry(job.id, ("max_tokens",), change) == 2
        await refuse_contradictions(world)
        await world.settle()
        third = {**own, "max_tokens": 16, "model": "claude-sonnet-4-5"}
        del third["metadata"]
        assert await was_sent(world, job.id, "r1") == third
        lines = await world.store.read(lambda reads: reads.request_lines(job.id, ALL_OF_A_JOB, after=None, limit=9))
        assert json.loads(lines[0].text)["params"] == third
        shown = list(request_text((await world.status(job.id)).job, await look_at(world, job.id, "r1")))
        assert any(line.startswith("changed") and "max_tokens, metadata, model" in line for line in shown)
        assert (await world.status(job.id)).stop_reasons == {"end_turn": 2}
        assert await asked(world, "SELECT why FROM event WHERE kind = 'job.retried' ORDER BY id") == [
            ("2 requests, with another max_tokens",),
            ("2 requests, with another max_tokens, metadata, model",),
        ]
        await refuse_contradictions(world)


@in_a_loop
async def test_what_is_invalid_is_mended_and_tried_again_alone(tmp_path: Path) -> None:
    """Only what failed so is changed; a request that was changed goes again as it is, without being told once more."""
    async with new_world(tmp_path / "store.db") as world:
        job = await world.submit(params=[message("a", max_tokens=10**7), message("b")])
        await world.settle()
        assert await world.commands.retry(job.id, ("invalid_request_error",), setting(max_tokens=10**6)) == 1
        await world.settle()
        assert (await world.status(job.id)).job.requests.failed == 1
        assert await world.commands.retry(job.id, ("canceled", "invalid")) == 0
        assert await world.commands.retry(job.id, ("failed",)) == 1
        await world.settle()
        assert (await look_at(world, job.id, "r1")).original_params is not None
        assert await world.commands.retry(job.id, (), setting(max_tokens=16)) == 1
        await world.settle()
        assert (await world.status(job.id)).job.requests.succeeded == 2
        assert (await look_at(world, job.id, "r2")).original_params is None


@in_a_loop
async def test_invalid_answers_that_were_cut_are_taken_by_why_they_ended(tmp_path: Path) -> None:
    """As lists of requests take them; what else is invalid is left alone."""
    async with new_world(tmp_path / "store.db") as world:
        shaped = {"schema": '{"type": "object"}', "retry_invalid": 0}
        job = await answered(world, "cut", 2, **shaped)
        other = await answered(world, "bad_json", 2, name="other", **shaped)
        assert await world.commands.retry(job.id, ("refusal",)) == 0
        assert await world.commands.retry(job.id, ("max_tokens",)) == 2
        assert await world.commands.retry(other.id, ("max_tokens",)) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (setting(max_tokens=0), "max_tokens must be a whole number"),
        (setting(stream=True), "stream"),
        (setting(system="x" * 256_000_000), "bytes"),
        (setting(temperature=0.5, top_p=0.9), "takes temperature or top_p, not both"),
        (ParamChange(drop=frozenset({"messages"})), "messages is missing"),
        (GROW, "is 64,000 already, as much as claude-haiku-4-5 gives"),
    ],
)
@in_a_loop
async def test_what_could_not_be_handed_in_is_refused_and_nothing_is_queued(
    tmp_path: Path, change: ParamChange, words: str
) -> None:
    """One clear error that names the request; the others, which could go, wait for the whole command."""
    async with new_world(tmp_path / "store.db") as world:
        world.machine.plan.set({"cut": 1.0})
        job = await world.submit(params=[message("a", max_tokens=9), message("b", max_tokens=64_000)])
        await world.settle()
        with pytest.raises(errors.InputError, match="would not be taken") as refused:
            await world.commands.retry(job.id, ("max_tokens",), change)
        assert words in str(refused.value)
        found = (await world.status(job.id)).job
        assert (found.state, found.requests.succeeded) == ("finished", 2)
        assert await asked(world, "SELECT count(*) FROM param_change") == [(0,)]


@pytest.mark.parametrize(
    ("max_tokens", "words"),
    [
        (10_000_000, "is 10,000,000, above what claude-haiku-4-5 gives (64,000)"),
        (64_000, "is 64,000 already, as much as claude-haiku-4-5 gives"),
        (-1, "is no number"),
        ("9", "is no number"),
    ],
)
def test_why_nothing_grows_is_true_and_names_no_flag(max_tokens: object, words: str) -> None:
    """The same sentence is on the command line, over HTTP and on the dashboard."""
    found = grown(json.dumps({"model": "claude-haiku-4-5", "max_tokens": max_tokens}).encode(), ())
    assert isinstance(found, ParamProblem)
    assert words in found.message
    assert "--" not in found.remedy


@in_a_loop
async def test_of_several_pages_none_is_queued_if_one_is_refused(tmp_path: Path) -> None:
    """All are looked at before the first is queued: a page holds a megabyte of params."""
    async with new_world(tmp_path / "store.db") as world:
        first, second = message("1" + "x" * 600_000, max_tokens=9), message("2" + "x" * 600_000, max_tokens=9)
        job = await answered(world, "cut", params=[first, second, message("b", max_tokens=64_000)])
        with pytest.raises(errors.InputError, match="r3"):
            await world.commands.retry(job.id, ("max_tokens",), GROW)
        assert (await world.status(job.id)).job.requests.succeeded == 3


CONTRADICTIONS = [ParamChange(set={"a": b"1"}, drop=frozenset("a")), ParamChange(set={"max_tokens": b"1"}, grow=True)]


@pytest.mark.parametrize("change", CONTRADICTIONS)
@in_a_loop
async def test_a_change_that_contradicts_itself_is_refused(tmp_path: Path, change: ParamChange) -> None:
    """Which of the two is meant is not guessed."""
    async with new_world(tmp_path / "store.db") as world:
        job = await answered(world, "cut", 1)
        with pytest.raises(errors.UsageError):
            await world.commands.retry(job.id, ("max_tokens",), change)


@in_a_loop
async def test_under_a_cap_a_model_without_a_price_is_refused(tmp_path: Path) -> None:
    """As at hand-in: nothing is sent whose cost has no bound."""
    async with new_world(tmp_path / "store.db") as world:
        job = await answered(world, "cut", 1, max_cost="5")
        with pytest.raises(errors.UnknownPrice):
            await world.commands.retry(job.id, ("max_tokens",), setting(model="claude-unheard-of-9"))
        assert (await world.status(job.id)).job.requests.succeeded == 1


@in_a_loop
async def test_a_cap_holds_with_what_is_sent(tmp_path: Path) -> None:
    """What a changed request can cost is reckoned from its changed params: a cap that is too low for them stops it."""
    async with new_world(tmp_path / "store.db") as world:
        job = await answered(world, "cut", params=[message("a", max_tokens=16)], max_cost="0.01")
        assert await world.commands.retry(job.id, ("max_tokens",), setting(max_tokens=60_000)) == 1
        await world.settle()
        found = (await world.status(job.id)).job
        assert (found.state, found.reason_code) == ("paused", "budget")


@in_a_loop
async def test_twins_go_again_with_an_original_that_had_succeeded(tmp_path: Path) -> None:
    """They show its new answer, and its params as they are sent; counts of successes and stop reasons follow."""
    async with new_world(tmp_path / "store.db") as world:
        params = [message("same", max_tokens=9), message("other", max_tokens=9), message("same", max_tokens=9)]
        job = await answered(world, "cut", 3, params=params, dedupe=True)
        assert (await world.status(job.id)).stop_reasons == {"max_tokens": 3}
        assert await world.commands.retry(job.id, ("max_tokens",), GROW) == 3
        found = await world.status(job.id)
        assert (found.job.twins_waiting, found.job.twins_succeeded, found.stop_reasons) == (1, 0, {})
        await refuse_contradictions(world)
        await world.settle()
        assert (await was_sent(world, job.id, "r1"))["max_tokens"] == 18
        twin = await look_at(world, job.id, "r3")
        assert (twin.stop_reason, twin.reused_from, twin.cost_nanos) == ("end_turn", "r1", 0)
        assert json.loads(twin.params or b"")["max_tokens"] == 18
        assert json.loads(twin.original_params or b"")["max_tokens"] == 9
        await refuse_contradictions(world)


@in_a_loop
async def test_who_comes_later_is_no_twin_of_a_changed_request(tmp_path: Path) -> None:
    """Its answer is one to other params."""
    async with new_world(tmp_path / "store.db") as world:
        own = message("same", max_tokens=9)
        world.machine.plan.set({"cut": 1.0})
        job = await world.submit(params=[own], dedupe=True, still_open=True)
        await world.until("settled", job.id)
        await world.commands.retry(job.id, ("max_tokens",), GROW)
        await world.commands.add(job.id, [InputLine(2, "r2", json.dumps(own, separators=(",", ":")).encode())])
        assert (await world.store.commands.get(job.id)).twins == 0


@in_a_loop
async def test_changed_requests_share_no_prefix_and_the_others_go_on(tmp_path: Path) -> None:
    """Cache auto: what is changed gets no marker, and nobody waits for it."""
    async with new_world(tmp_path / "store.db") as world:
        shared = [{"type": "text", "text": "law " * 6000}]
        params = [message(f"q{n}", system=shared, max_tokens=9) for n in range(6)]
        job = await answered(world, "cut", 6, params=params, cache="auto")
        await world.commands.retry(job.id, ("max_tokens",), GROW)
        assert await asked(world, "SELECT count(*) FROM prefixed") == [(0,)]
        await world.settle()
        assert [(await was_sent(world, job.id, f"r{n}"))["max_tokens"] for n in range(1, 7)] == [18] * 6
        await refuse_contradictions(world)


@in_a_loop
async def test_a_batch_in_doubt_is_made_again_byte_for_byte(tmp_path: Path) -> None:
    """No clear answer came: the params of the batch, changed, are read from the store as they were sent."""
    async with new_world(tmp_path / "store.db") as world:
        job = await answered(world, "cut", 2)
        await world.commands.retry(job.id, ("max_tokens",), GROW)
        world.script("create", "garbled_after_accept")
        await world.tick("plan", "submit")
        (batch,) = [each for each in await world.batches(job.id) if each.state == "in_doubt"]
        read = await world.store.params.slice(batch.id, 0, 1 << 20)
        assert [json.loads(params)["max_tokens"] for _, params in read] == [128, 128]
        await world.settle()
        assert (await world.status(job.id)).stop_reasons == {"end_turn": 2}
        assert [world.bought()[sha256_of(params)] for _, params in read] == [1, 1]


async def killed_after(path: Path, sparks: int, change: ParamChange) -> bool:
    """A life that ends *sparks* after a retry began (True: it did), and the next one, which does the rest."""
    fuse = Fuse(10**9)
    async with new_world(path, wrap=on_a_fuse(fuse)) as world:
        large = [message(f"{n}" + "x" * 600_000, max_tokens=9) for n in range(3)]
        job = await answered(world, "cut", params=large)
        fuse.left, killed = sparks, True
        with suppress(Killed):
            await world.commands.retry(job.id, ("max_tokens",), change)
            killed = False
        async with next_life(world) as second:
            await refuse_contradictions(second)
            await second.commands.retry(job.id, ("max_tokens",), change)
            await second.settle()
            assert (await second.status(job.id)).stop_reasons == {"end_turn": 3}
            kept = [await was_sent(second, job.id, f"r{n}", 2 if change.is_empty else 1) for n in (1, 2, 3)]
            assert {params["max_tokens"] for params in kept} == {9 if change.is_empty else 18}
            await refuse_contradictions(second)
    return killed


@pytest.mark.parametrize("change", [ParamChange(), GROW], ids=["as it was", "grown"])
@in_a_loop
async def test_after_a_crash_the_same_command_does_the_rest(tmp_path: Path, change: ParamChange) -> None:
    """A slice is whole or not there; what is queued already is not changed twice."""
    sparks = 0
    while await killed_after(tmp_path / f"{sparks}.db", sparks, change):
        sparks += 5
    assert sparks >= (5 if change.is_empty else 15)


@in_a_loop
async def test_a_purge_takes_the_change_with_the_prompts(tmp_path: Path) -> None:
    """What was set may be a prompt. Nothing is left to be sent, changed or not."""
    async with new_world(tmp_path / "store.db") as world:
        job = await answered(world, "cut")
        await world.commands.retry(job.id, ("max_tokens",), setting(system="a secret of its own"))
        await world.settle()
        await world.commands.purge(job.id)
        await world.tick("keep")
        assert await asked(world, "SELECT spec FROM param_change") == [(None,)]
        assert (await look_at(world, job.id, "r1")).params is None
        for change in (ParamChange(), GROW):
            with pytest.raises(errors.GuardRefused, match="was purged"):
                await world.commands.retry(job.id, ("max_tokens",), change)
        await refuse_contradictions(world)
