"""What an engine runs on, injected: the API, the courier of notices, time, chance, measurements, memory, prices."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol, Self

from typing_extensions import override

from orchestrator.domain import api_answers, ids, model, notices
from orchestrator.domain.api_versions import OLD_API_VERSION
from orchestrator.domain.billing import Rates
from orchestrator.domain.job_spec import NewJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Headers:
    """The headers of a job's batches: `anthropic-version`, and the betas in sorted order."""

    api_version: str
    betas: tuple[str, ...]

    @classmethod
    def to_count(cls, new: NewJob) -> Self:
        """What tokens are counted with before all requests of *new* are read: the oldest version takes every one."""
        return cls(api_version=OLD_API_VERSION if new.picks_version else new.api_version, betas=tuple(new.betas))


class CreateBody(Protocol):
    """The exact bytes of one create, streamed; can be read once."""

    @property
    def size_bytes(self) -> int:
        """The exact Content-Length."""

    @property
    def count(self) -> int:
        """How many requests are inside."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, some 512 KiB at a time, more where one request is larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """An open result file: its headers, and its bytes as they arrive."""

    meta: api_answers.ResponseMeta
    chunks: AsyncIterator[bytes]


class TokenCounter(Protocol):
    """The API, as far as it counts."""

    async def count_tokens(self, params: bytes, headers: Headers) -> int:
        """How many input tokens the request in *params* has, by the API, free of charge: to within a few percent.

        Sent are only the fields that such a call takes, whatever else *params* has.
        """


class Provider(TokenCounter, Protocol):
    """The API. Reads raise ProviderUnreachable, ProviderBusy, ProviderRefused or ProviderNotFound; nothing else.

    Reads and `cancel`/`delete` may be tried up to three times within five seconds, by the provider itself. `create`
    is sent exactly once.
    """

    async def create(self, body: CreateBody, headers: Headers) -> api_answers.CreateAnswer:
        """POST *body* once, on a connection of its own. Never raises a ProviderError: every end is an answer."""

    async def page(self, *, after_id: str | None, limit: int) -> api_answers.BatchPage:
        """One page of the workspace's batches, newest first; *after_id* goes on below it; 1 <= limit <= 1000."""

    async def retrieve(self, remote_id: str) -> api_answers.RemoteBatch:
        """The batch *remote_id* as the API has it now."""

    async def cancel(self, remote_id: str) -> api_answers.RemoteBatch:
        """Ask the API to cancel a batch. A batch that has ended raises ProviderRefused or comes back as it is."""

    async def delete(self, remote_id: str) -> None:
        """Delete an ended batch and its results at the API; a batch that is gone already raises ProviderNotFound."""

    def results(self, remote_id: str) -> AbstractAsyncContextManager[Download]:
        """Open the result file of an ended batch, from our own base URL.

        A broken download raises ProviderUnreachable out of the iterator; a silent cut just ends it: whether all came is
        the caller's to check.
        """

    def renew(self) -> bool:
        """Read the key again where it comes from a file; True if it is another one, for every later call.

        It happens by itself after a key was refused. Raises NeedsPerson for a file that cannot be used: the key stays.
        """

    async def aclose(self) -> None:
        """Close every connection."""


class Courier(Protocol):
    """Delivers webhook notices."""

    async def carry(self, notice: notices.Notice, now: datetime) -> notices.DeliveryResult:
        """Try once to deliver *notice*, in bounded time. Raises nothing but cancellation: a failure is a result."""

    async def aclose(self) -> None:
        """Close the connections to the endpoints."""


class Clock(Protocol):
    """A clock that never runs backwards within a process.

    `now` is the wall time at the start of the process plus the monotonic time since: a machine's clock that is set
    forward or back while we run changes nothing. For display and for pauses; promises use the API's own Date.
    """

    def now(self) -> datetime:
        """The time, aware, UTC."""

    def elapsed(self) -> timedelta:
        """The time since some instant, counting on while the process, or the machine, stands still.

        Two readings tell how old an answer is, even to a process that was stopped in between.
        """

    async def sleep(self, pause: timedelta) -> None:
        """Sleep for *pause*; only cancellation ends it early."""


class Entropy(Protocol):
    """Randomness, injected so that a seed repeats a run."""

    def nonce(self) -> ids.Nonce:
        """A new nonce, `NONCE_LENGTH` characters of `NONCE_ALPHABET`, never the same twice."""

    def jitter(self) -> float:
        """A number in [0, 1)."""


class Meter(Protocol):
    """Receives measurements of engine and provider. Every method is quick and never fails; nothing depends on it."""

    def called(self, op: str, code: str, took: timedelta) -> None:
        """One call of the API ended: "create", "list", …; its HTTP status, or "none" if no answer came.

        took: until the answer's head was there, which for a file of results is not the end.
        """

    def turned_around(self, took: timedelta) -> None:
        """A batch of ours ended; *took* since it was created, by the API's clock."""

    def listed(self, lag: timedelta) -> None:
        """A new batch was in the API's list for the first time, *lag* after it was created, by the API's clock."""

    def spent(self, kind: str, tokens: int) -> None:
        """A batch is collected, and its answers took so many tokens of *kind*."""

    def worked(self, stage: str, moved: int, took: timedelta) -> None:
        """A tick of *stage* moved something."""

    def batch_over(self, batch: model.BatchRow, at: datetime) -> None:
        """A batch is settled."""

    def cost_known(self, ratio: float) -> None:
        """What a finished job has cost, as a part of what was expected when it was made."""

    def job_over(self, job: model.JobRow, at: datetime) -> None:
        """A job is over; *job* is as it was just before."""


class NullMeter(Meter):
    """Discards every measurement."""

    @override
    def called(self, op: str, code: str, took: timedelta) -> None: ...

    @override
    def turned_around(self, took: timedelta) -> None: ...

    @override
    def listed(self, lag: timedelta) -> None: ...

    @override
    def spent(self, kind: str, tokens: int) -> None: ...

    @override
    def worked(self, stage: str, moved: int, took: timedelta) -> None: ...

    @override
    def batch_over(self, batch: model.BatchRow, at: datetime) -> None: ...

    @override
    def cost_known(self, ratio: float) -> None: ...

    @override
    def job_over(self, job: model.JobRow, at: datetime) -> None: ...


class MemoryReservation(Protocol):
    """One upload's part of the memory that all uploads share for large lines."""

    async def hold(self, size_bytes: int) -> None:
        """Hold *size_bytes* in place of what was held before; waits a limited time for others to release theirs.

        Raises ServerBusy when there was no room in time.
        """


class UnlimitedMemory(MemoryReservation):
    """Not shared with anybody: for a file of this machine's own user."""

    @override
    async def hold(self, size_bytes: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The rates of a batch of `model` on `day`, UTC. source: where they come from, for people, with its version."""

    model: str
    day: date
    rates: Rates
    source: str


class Prices(Protocol):
    """The prices of batches, which change without the engine. Asked once for a model and a day, never for a request.

    On an event loop they are loaded first.
    """

    async def load(self) -> None:
        """Make ready what prices are looked up in, if nobody has yet; the event loop goes on meanwhile."""

    def price(self, model: str, day: date) -> Price | None:
        """The price of *model*, as an answer or a request names it; None if it is not known. Never that of another."""

    def begins(self, model: str, day: date) -> date | None:
        """The first day after *day* from which the user's own list has a price of *model*; None: it has none."""

    def models(self) -> list[str]:
        """The models that can be had; none: it cannot say."""


class PricesAtHand(Prices):
    """Prices that are in memory from the start, and have no list of the user's."""

    @override
    async def load(self) -> None:
        return

    @override
    def begins(self, model: str, day: date) -> date | None:
        return None

    @override
    def models(self) -> list[str]:
        return []


class NoPrices(PricesAtHand):
    """Knows no price."""

    @override
    def price(self, model: str, day: date) -> Price | None:
        return None


async def rates_now(prices: Prices, models: Iterable[str], now: datetime) -> dict[str, Rates]:
    """As `rates_on`, of the day of *now*; the prices are loaded first, if there is a model."""
    wanted = list(models)
    if wanted:
        await prices.load()
    return rates_on(prices, wanted, now.astimezone(UTC).date())


def rates_on(prices: Prices, models: Iterable[str], day: date) -> dict[str, Rates]:
    """The rates of those of *models* that have a price on *day*."""
    found = {model: prices.price(model, day) for model in models}
    return {model: price.rates for model, price in found.items() if price is not None}
