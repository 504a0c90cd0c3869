"""Cases of trials: what is sent first of a job that is there already, and who may plan meanwhile."""

from __future__ import annotations

from store.conformance.cases_of_prefixes import params
from store.conformance.contract import case
from store.store_world import NOW, ROOM, WIDE

from orchestrator.domain.ids import Nonce
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import JobRow
from orchestrator.domain.packing import Pack, pack
from orchestrator.ports.job_store import Content
from orchestrator.ports.store import Store
from orchestrator.ports.streams import InputLine


async def handed_in(store: Store, **how: int) -> JobRow:
    """The job of twenty requests, which may be there already, handed in with *how*."""
    new = NewJob(name="tried", source="<tried>", api_version="v", **how)  # type: ignore[arg-type]
    job = await store.ingest.begin(new, f"tried-{len(how)}-{how}", NOW)
    lines = [InputLine(number, f"r{number}", params(None)) for number in range(1, 21)]
    await store.ingest.add(job.id, lines, NOW)
    _, found = await store.ingest.conclude(job.id, new, Content(hash="tried", size_bytes=1), NOW, force_new=False)
    if found.id != job.id:
        await store.ingest.discard(job.id)
    return found


async def chosen(store: Store, job: JobRow) -> list[int]:
    """What may be sent of its trial."""
    return [member.number for member in await store.prefixes.piloted(job.id, 100)]


async def packed(store: Store, job: JobRow) -> Pack:
    """All that is queued of *job*."""
    return await store.plan.queued(job.id, 100, lambda rows: pack(rows, WIDE))


@case
async def a_trial_grows_and_is_left_by_the_same_content(store: Store) -> None:
    """The union of what was chosen is sent; the whole input lets the rest go."""
    job = await handed_in(store, limit=3)
    assert (job.trial, await chosen(store, job)) == (3, [1, 2, 3])
    larger = await handed_in(store, limit=5)
    assert (larger.id, larger.trial, await chosen(store, job)) == (job.id, 5, [1, 2, 3, 4, 5])
    assert (await handed_in(store, sample=2, seed=3)).trial in {5, 6, 7}
    assert len(await store.prefixes.piloted(job.id, 2)) == 2
    whole = await handed_in(store)
    assert (whole.id, whole.trial, whole.pilot_goes) == (job.id, None, False)


@case
async def nobody_plans_the_rest_by_an_old_look(store: Store) -> None:
    """A job that was read before its trial was asked for is planned by that look no more."""
    job = await handed_in(store)
    everything = await packed(store, job)
    assert await store.commands.pause(job.id, "by_user", "why", NOW)
    held = await handed_in(store, limit=2)
    assert (held.trial, held.state) == (2, "paused")
    assert await store.commands.resume(job.id, NOW)
    assert await store.plan.plan(job, everything, Nonce("a" * 20), ROOM, NOW) is None
    now = await store.commands.get(job.id)
    assert (now.trial, now.requests.queued) == (2, 20)
