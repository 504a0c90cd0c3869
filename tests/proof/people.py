"""The people of a world: they hand jobs in, pause, resume, cancel and retry them, through the engine's own commands."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
from support.world import message, sha256_of

from orchestrator.assembly import Engine
from orchestrator.domain.account import BUDGET
from orchestrator.domain.budgets import Scope
from orchestrator.domain.errors import GuardRefused, NoSuchThing, StoreFull
from orchestrator.domain.ids import JobId
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import JobSnapshot
from orchestrator.domain.money import as_text
from orchestrator.domain.param_change import MAX_TOKENS, ParamChange
from orchestrator.domain.params import ParamRules
from orchestrator.engine.doubt import UNPROVABLE
from orchestrator.inputs import source_from_objects
from orchestrator.ports.engine import IngestOptions
from proof.answers import SCHEMA
from proof.oracle import Handed

API_VERSION: Final = "2026-10-21"
#: A person looks after the jobs this often, in seconds; while nothing goes wrong any more, seldom.
_EVERY_S: Final = 120.0
_CALM_EVERY_S: Final = 1200.0
#: What a person tries again: never a missing result, which would be bought again by their own word.
_RETRIED: Final = ("canceled", "invalid_request_error", "request_too_large", "api_error", "expired")
_CUT: Final = ("max_tokens",)
_SLOW_S: Final = 60.0
#: More than any world can cost, in nano-dollars: what is held for batches that may turn up must not stop it for ever.
_PLENTY: Final = 10**9
#: Long enough to save five cents in a few requests.
_LONG: Final = "word " * 6_000
_SAVING: Final = "claude-opus-5"
_encode: Final = msgspec.json.encode
_REMOTE: Final = re.compile(r"msgbatch_\w+")


@dataclass(slots=True, kw_only=True)
class Wish:
    """A job that somebody wants done.

    arrives: with which life of the engine. job: its id, once the engine acknowledged it. canceled: it was asked for.
    cap: what it may cost at most, in nano-dollars; None: whatever it costs. pilot: so many go first; goes_on: and the
    others by themselves; limit: so many are sent until more is asked for. cache: what is done about the prompt cache,
    of requests that share a long system prompt; None: they share none. kinds: so many different requests there are, and
    identical ones are sent once; None: every one is different. retry_invalid: answers have to match `SCHEMA`, and are
    asked for again so often; None: they need not. mends: so often answers that were cut are asked for again, once all
    is over, each time with twice the max_tokens.
    """

    name: str
    count: int
    arrives: int = 1
    canceled: bool = False
    job: JobId | None = None
    cap: int | None = None
    pilot: int | None = None
    goes_on: bool = False
    limit: int | None = None
    cache: str | None = None
    kinds: int | None = None
    retry_invalid: int | None = None
    mends: int = 0
    mended: int = 0

    def requests(self) -> list[dict[str, object]]:
        """Its requests."""
        return [{"custom_id": f"r{i}", "params": self._params(i)} for i in range(1, self.count + 1)]

    def _params(self, number: int) -> dict[str, object]:
        words = f"{self.name} asks {number if self.kinds is None else number % self.kinds}"
        if self.retry_invalid is not None:
            return message(words, output_config={"format": {"type": "json_schema", "schema": SCHEMA}})
        if self.cache is None:
            return message(words)
        text = f"{self.name} {_LONG}"
        return message(words, model=_SAVING, system=_marked(text) if self.cache == "prime" else text)

    def handed(self) -> Handed:
        """What the oracle compares with."""
        digests = {str(one["custom_id"]): sha256_of(_encode(one["params"])) for one in self.requests()}
        marked = [self._params(i) for i in range(1, self.count + 1)] if self.cache == "auto" else []
        aliases = {
            sha256_of(_encode({**params, "system": _marked(str(params["system"]))})): digest
            for params, digest in zip(marked, digests.values(), strict=bool(marked))
        }
        return Handed(
            name=self.name,
            requests=digests,
            canceled=self.canceled,
            aliases=aliases,
            retry_invalid=self.retry_invalid,
            grown={
                digest: self._grown(one["params"])
                for one, digest in zip(self.requests(), digests.values(), strict=True)
            },
        )

    def _grown(self, params: Any) -> tuple[str, ...]:
        """The sha256 of what is sent of *params* after each time that they were mended."""
        more = [{**params, MAX_TOKENS: params[MAX_TOKENS] << times} for times in range(1, self.mended + 1)]
        return tuple(sha256_of(_encode(one)) for one in more)


def _marked(text: str) -> list[dict[str, object]]:
    """A system prompt with the marker, as a person writes it, or as it is added."""
    return [{"type": "text", "text": text, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]


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
    budgets: nano-dollars of all jobs together, set before any job is handed in.
    """

    wishes: list[Wish]
    chance: random.Random
    moods: Moods
    is_ours: Callable[[str, int | None], bool]
    budgets: dict[Scope, int] = field(default_factory=dict)
    calm: bool = False
    _is_set: bool = False

    def rewound(self) -> None:
        """The store was put back from a copy: whoever wanted something hands it in again."""
        for wish in self.wishes:
            wish.job = None

    async def attend(self, engine: Engine, life: int) -> None:
        """Hand in what is wanted by now, then look after it until every job is over."""
        while True:
            await self._budget(engine)
            for wish in self.wishes:
                if wish.job is None and (self.calm or wish.arrives <= life):
                    await self._hand_in(engine, wish)
            if await self._look(engine):
                return
            await asyncio.sleep(self.chance.random() * (_CALM_EVERY_S if self.calm else _EVERY_S))

    async def _budget(self, engine: Engine) -> None:
        """Set what all may spend; in the end nobody minds any more."""
        if self._is_set and not (self.calm and any(cap < _PLENTY for cap in self.budgets.values())):
            return
        with suppress(StoreFull):
            for scope in self.budgets:
                self.budgets[scope] = _PLENTY if self.calm else self.budgets[scope]
                await engine.commands.set_budget(scope, self.budgets[scope])
            self._is_set = True

    async def _hand_in(self, engine: Engine, wish: Wish) -> None:
        """The same command again, if it was not acknowledged: it attaches to the job that is there, or makes it."""
        requests = self._slowly(wish) if self.moods.slow_import else wish.requests()
        source = source_from_objects(requests, name=f"<{wish.name}>", rules=ParamRules(api_version=API_VERSION))
        most = None if wish.cap is None else as_text(wish.cap)
        new = NewJob(
            name=wish.name,
            source=f"<{wish.name}>",
            api_version=API_VERSION,
            max_cost=most,
            pilot=wish.pilot,
            after_pilot="go_on" if wish.goes_on else "wait",
            limit=wish.limit,
            cache=wish.cache,
            dedupe=wish.kinds is not None,
            schema=None if wish.retry_invalid is None else _encode(SCHEMA).decode(),
            retry_invalid=wish.retry_invalid or 0,
        )
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
        is_over = all(job.state in {"finished", "canceled"} and not wish.mends for wish, job in known)
        for wish, job in known:
            await self._see_to(engine, wish, job)
            await self._decide(engine, job)
        return len(known) == len(self.wishes) and is_over

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
        with suppress(StoreFull, GuardRefused):  # it may be over by now
            if job.reason_code == BUDGET and Scope.TOTAL in self.budgets and not self.calm:
                self.budgets[Scope.TOTAL] = self.budgets[Scope.TOTAL] * 5 // 4
                await engine.commands.set_budget(Scope.TOTAL, self.budgets[Scope.TOTAL])
            elif wish.cap is not None and wish.cap < _PLENTY and (self.calm or job.reason_code == BUDGET):
                more = _PLENTY if self.calm else wish.cap * 5 // 4
                await engine.commands.cap_job(job.id, more)
                wish.cap = more
            elif job.is_tried and self.chance.random() < 0.5:
                wish.limit = self.chance.choice((None, 2 * (wish.limit or 1)))
                wish.job = None  # it is handed in again
            elif job.state == "paused" and (self.calm or self.chance.random() < 0.5):
                await engine.commands.resume(job.id)
            elif not self.calm and self.chance.random() < self.moods.pause:
                await engine.commands.pause(job.id)
            elif not self.calm and self.chance.random() < self.moods.cancel:
                wish.canceled = True  # (the process may die before it says so)
                await engine.commands.cancel(job.id)
            elif job.state in {"finished", "canceled"} and wish.mends:
                wish.mends, wish.mended = wish.mends - 1, wish.mended + 1  # (the process may die before it says so)
                await engine.commands.retry(job.id, _CUT, ParamChange(grow=True))
            elif job.state in {"finished", "canceled"} and not self.calm and self.chance.random() < self.moods.retry:
                await engine.commands.retry(job.id, (self.chance.choice(_RETRIED),))
