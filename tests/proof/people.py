"""The people of a world: they hand jobs in, pause, resume, cancel and retry them, through the engine's own commands."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec
from support.world import message, sha256_of

from orchestrator.assembly import Engine
from orchestrator.domain.errors import GuardRefused, NoSuchThing, StoreFull
from orchestrator.domain.ids import JobId
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import JobSnapshot
from orchestrator.domain.params import ParamRules
from orchestrator.engine.doubt import UNPROVABLE
from orchestrator.inputs import source_from_objects
from orchestrator.ports.engine import IngestOptions
from proof.oracle import Handed

API_VERSION: Final = "2026-10-21"
#: A person looks after the jobs this often, in seconds.
_EVERY_S: Final = 120.0
#: What a person tries again: never a missing result, which would be bought again by their own word.
_RETRIED: Final = ("canceled", "invalid_request_error", "request_too_large", "api_error", "expired")
_SLOW_S: Final = 60.0
_REMOTE: Final = re.compile(r"msgbatch_\w+")


@dataclass(slots=True, kw_only=True)
class Wish:
    """A job that somebody wants done.

    arrives: with which life of the engine. job: its id, once the engine acknowledged it. canceled: it was asked for.
    """

    name: str
    count: int
    arrives: int = 1
    canceled: bool = False
    job: JobId | None = None

    def requests(self) -> list[dict[str, object]]:
        """Its requests; every one different."""
        return [{"custom_id": f"r{i}", "params": message(f"{self.name} asks {i}")} for i in range(1, self.count + 1)]

    def handed(self) -> Handed:
        """What the oracle compares with."""
        encode = msgspec.json.encode
        digests = {str(one["custom_id"]): sha256_of(encode(one["params"])) for one in self.requests()}
        return Handed(name=self.name, requests=digests, canceled=self.canceled)


class Moods(NamedTuple):
    """How likely each act is at a look; slow_import: how likely a request is to be waited for while it is handed in."""

    pause: float = 0.0
    cancel: float = 0.0
    retry: float = 0.0
    slow_import: float = 0.0


@dataclass(slots=True, kw_only=True)
class People:
    """Everybody who wants something done.

    is_ours: whether a remote batch is a certain batch of ours, or any of them (None), for a person who sees both sides.
    """

    wishes: list[Wish]
    chance: random.Random
    moods: Moods
    is_ours: Callable[[str, int | None], bool]
    calm: bool = False

    def rewound(self) -> None:
        """The store was put back from a copy: whoever wanted something hands it in again."""
        for wish in self.wishes:
            wish.job = None

    async def attend(self, engine: Engine, life: int) -> None:
        """Hand in what is wanted by now, then look after it until every job is over."""
        while True:
            for wish in self.wishes:
                if wish.job is None and (self.calm or wish.arrives <= life):
                    await self._hand_in(engine, wish)
            if await self._look(engine):
                return
            await asyncio.sleep(self.chance.random() * _EVERY_S)

    async def _hand_in(self, engine: Engine, wish: Wish) -> None:
        """The same command again, if it was not acknowledged: it attaches to the job that is there, or makes it."""
        requests = self._slowly(wish) if self.moods.slow_import else wish.requests()
        source = source_from_objects(requests, name=f"<{wish.name}>", rules=ParamRules(api_version=API_VERSION))
        new = NewJob(name=wish.name, source=f"<{wish.name}>", api_version=API_VERSION, betas=())
        with suppress(StoreFull):
            taken = await engine.commands.ingest(source, new, IngestOptions())
            assert taken.job is not None, taken.problems
            wish.job = taken.job.id

    async def _slowly(self, wish: Wish) -> AsyncIterator[object]:
        """Requests that somebody makes while they are handed in: an import that takes its time."""
        for request in wish.requests():
            if self.chance.random() < self.moods.slow_import:
                await asyncio.sleep(self.chance.random() * _SLOW_S)
            yield request

    async def _look(self, engine: Engine) -> bool:
        """See to every job; True if all that is wanted is over."""
        known = [(wish, await self._job(engine, wish.job)) for wish in self.wishes if wish.job is not None]
        for wish, job in known:
            await self._see_to(engine, wish, job)
            await self._decide(engine, job)
        return len(known) == len(self.wishes) and all(job.state in {"finished", "canceled"} for _, job in known)

    async def _job(self, engine: Engine, key: JobId) -> JobSnapshot:
        return await engine.read(lambda reads: reads.get(key))

    async def _decide(self, engine: Engine, job: JobSnapshot) -> None:
        """What the engine cannot prove, because nobody can read it any more, a person decides when asked."""
        status = await engine.read(lambda reads: reads.status(reads.get(job.id)))
        for item in status.attention:
            if item.kind == UNPROVABLE and (named := _REMOTE.search(item.message)):
                with suppress(NoSuchThing, GuardRefused, StoreFull):
                    if item.batch_id is not None and self.is_ours(named[0], item.batch_id):
                        await engine.commands.adopt(named[0], None)
                    elif not self.is_ours(named[0], None):
                        await engine.commands.disown(named[0])

    async def _see_to(self, engine: Engine, wish: Wish, job: JobSnapshot) -> None:
        """A paused job goes on, sometimes or surely; a running one is sometimes paused, canceled or tried again."""
        with suppress(StoreFull):
            if job.state == "paused" and (self.calm or self.chance.random() < 0.5):
                await engine.commands.resume(job.id)
            elif not self.calm and self.chance.random() < self.moods.pause:
                await engine.commands.pause(job.id)
            elif not self.calm and self.chance.random() < self.moods.cancel:
                wish.canceled = True  # (the process may die before it says so)
                await engine.commands.cancel(job.id)
            elif job.state in {"finished", "canceled"} and not self.calm and self.chance.random() < self.moods.retry:
                await engine.commands.retry(job.id, self.chance.choice(_RETRIED))
