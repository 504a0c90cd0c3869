"""The contract of prefixes: which requests share one, what is sent ahead, and what may follow."""

from __future__ import annotations

import msgspec
from store.conformance.contract import case
from store.store_world import LATER, META, NOW, ROOM, WIDE, batch_of, remote

from orchestrator.domain.cache_marker import with_marker
from orchestrator.domain.cache_prefix import Part
from orchestrator.domain.ids import JobId, Nonce
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import JobRow
from orchestrator.domain.packing import Pack, pack
from orchestrator.domain.pilot import PilotState
from orchestrator.domain.priming import PrefixGroup, PrefixTake, SharedTokens
from orchestrator.domain.states import RequestState
from orchestrator.ports.job_store import Content
from orchestrator.ports.store import Store
from orchestrator.ports.streams import InputLine

MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
LEAST = 3


def params(prefix: str | None) -> bytes:
    """Params that mark a long *prefix*; None: that mark nothing."""
    system = [{"type": "text", "text": (prefix or "none") * 5_000, **({} if prefix is None else MARK)}]
    messages = [{"role": "user", "content": "Which?"}]
    return msgspec.json.encode({"model": "claude-opus-5", "max_tokens": 9, "system": system, "messages": messages})


async def marked_job(store: Store, *prefixes: str | None, cache: str = "prime") -> JobRow:
    """A running job with a request for each of *prefixes*."""
    new = NewJob(name="cached", source="<cached>", api_version="v", cache=cache)
    job = await store.ingest.begin(new, f"cached-{len(prefixes)}-{cache}", NOW)
    lines = [InputLine(number, f"r{number}", params(prefix)) for number, prefix in enumerate(prefixes, 1)]
    await store.ingest.add(job.id, lines, NOW)
    _, done = await store.ingest.conclude(job.id, new, Content(hash=new.name, size_bytes=1), NOW, force_new=True)
    return done


async def groups(store: Store, job: JobId) -> list[PrefixGroup]:
    """Every prefix that waits."""
    return await store.prefixes.groups(job, LEAST, 10)


async def numbers(store: Store, group: PrefixGroup, each: int | None = None) -> list[int]:
    """The requests that wait for *group*."""
    ((*members,),) = await store.prefixes.waiting([group], each=each, limit=10)
    return [number for number, _ in members]


async def free(store: Store, job: JobId) -> list[int]:
    """The requests that wait for nothing."""
    return [number for number, _ in await store.prefixes.free(job, LEAST, 10, list)]


@case
async def requests_that_mark_the_same_prefix_are_a_group(store: Store) -> None:
    """In file order; one that two share, or that nobody marks, holds nothing back."""
    job = await marked_job(store, "a", None, "b", "a", "b", "a", None, "c", "c")
    (shared,) = await store.prefixes.shared(job.id, LEAST)
    assert await store.ingest.shared(job.id) == [shared]
    assert shared == SharedTokens("claude-opus-5", 3600, shared.tokens)
    (group,) = await groups(store, job.id)
    assert (group.waiting, group.primer, group.tries) == (3, None, 0)
    assert await numbers(store, group) == [1, 4, 6]
    assert await numbers(store, group, 1) == [1]
    assert await free(store, job.id) == [2, 3, 5, 7, 8, 9]
    assert await store.prefixes.waiting([group], each=None, limit=0) == [[]]


@case
async def a_job_that_wants_none_has_no_groups(store: Store) -> None:
    """Nothing is noted of it."""
    job = await marked_job(store, "a", "a", "a", cache="off")
    assert await store.prefixes.shared(job.id, LEAST) == []
    assert await free(store, job.id) == [1, 2, 3]


@case
async def where_markers_are_added_only_what_goes_as_a_prefix_is_marked(store: Store) -> None:
    """As it is sent, not as it is stored; what is in a batch in another way loses its note, and has no marker."""
    job = await marked_job(store, None, None, None, None, cache="auto")
    (group,) = await groups(store, job.id)
    assert (group.part, group.waiting) == (Part.SYSTEM, 4)
    two = Pack(numbers=[1, 2], size_bytes=9, full=True)
    use = PrefixTake(group.id, group.next_id, 2, 2, is_primer=False)
    marked = await store.plan.plan(job, two, Nonce("a" * 20), ROOM, NOW, [use])
    rest = await store.plan.queued(job.id, 9, lambda rows: pack(rows, WIDE))
    plain = await store.plan.plan(job, rest, Nonce("b" * 20), ROOM, NOW)
    assert marked is not None
    assert plain is not None
    given = with_marker(params(None), Part.SYSTEM)
    assert await store.params.slice(marked, 0, 1 << 20) == [(1, given), (2, given)]
    assert await store.params.slice(plain, 0, 1 << 20) == [(3, params(None)), (4, params(None))]
    assert await store.prefixes.loss(job.id) is None


@case
async def what_was_sent_ahead_is_known_with_its_batch(store: Store) -> None:
    """From the transaction that plans it on; given back, it goes first again, and is nobody else's."""
    job = await marked_job(store, "a", "a", "a", "a")
    (group,) = await groups(store, job.id)
    found = await store.plan.queued(job.id, 1, lambda rows: pack(rows, WIDE))
    use = PrefixTake(group.id, group.next_id, 1, 1, is_primer=True)
    batch = await store.plan.plan(job, found, Nonce("a" * 20), ROOM, NOW, [use])
    assert batch is not None
    (ahead,) = await groups(store, job.id)
    assert (ahead.primer, ahead.waiting, ahead.tries, ahead.in_flight) == (RequestState.BATCHED, 3, 1, True)
    assert await numbers(store, ahead) == [2, 3, 4]
    assert await free(store, job.id) == []
    rest = await store.plan.queued(job.id, 9, lambda rows: pack(rows, WIDE))
    late = PrefixTake(group.id, group.next_id, 3, 4, is_primer=False)
    assert await store.plan.plan(job, rest, Nonce("b" * 20), ROOM, NOW, [late]) is None
    sent = await store.submit.intend(await batch_of(store, batch), None, META, NOW)
    assert sent is not None
    assert await store.submit.accept(sent, remote("a", 1), META, NOW)
    assert await store.poll.ended(await batch_of(store, batch), remote("a", 1), LATER)
    (ended,) = await groups(store, job.id)
    assert ended.primer_ended_at == ended.used_at is not None
    assert not ended.in_flight
    await store.prefixes.emptied([ended])
    assert await groups(store, job.id) == []
    assert await free(store, job.id) == [2, 3, 4]


@case
async def a_pilot_is_drawn_once_and_ends_with_its_last_request(store: Store) -> None:
    """Its requests come with their prefixes; groups may be narrowed to those; an end pauses the job."""
    new = NewJob(name="piloted", source="<piloted>", api_version="v", pilot=4)
    job = await store.ingest.begin(new, "piloted-1", NOW)
    lines = [InputLine(number, f"r{number}", params("ab"[number % 2])) for number in range(1, 21)]
    await store.ingest.add(job.id, lines, NOW)
    _, job = await store.ingest.conclude(job.id, new, Content(hash="piloted", size_bytes=1), NOW, force_new=True)
    assert job.pilot is PilotState.WAIT
    members = await store.prefixes.piloted(job.id, 100)
    assert len(members) == 4
    assert members == sorted(members)
    first, second = await groups(store, job.id)
    assert await store.prefixes.groups(job.id, LEAST, 10, among=[second.id]) == [second]
    assert {member.prefix for member in members} <= {first.id, second.id}
    found = pack(iter((member.number, member.size_bytes) for member in members), WIDE)
    await store.plan.plan(job, found, Nonce("a" * 20), ROOM, NOW)
    assert await store.prefixes.piloted(job.id, 100) == []
    assert await store.settle.end_pilots(NOW) == []
    assert (await store.commands.get(job.id)).pilot_goes
