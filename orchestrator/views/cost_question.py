"""The question before an input is taken in that may cost much: when it is asked, and in which words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from orchestrator.domain import account, errors, humanize, money, states
from orchestrator.ports import streams
from orchestrator.views.guarded_source import GuardedSource, attached_to, living_jobs

if TYPE_CHECKING:
    from orchestrator.domain.billing import Rates
    from orchestrator.domain.fingerprint import SeenRequests
    from orchestrator.domain.job_spec import NewJob
    from orchestrator.domain.model import JobSnapshot
    from orchestrator.domain.quick_tally import QuickTally
    from orchestrator.ports.engine import IngestOptions
    from orchestrator.ports.reads import RemoteReader
    from orchestrator.ports.runtime import Prices

#: How the number is found.
ROUGH: Final = "rough, by bytes, with answers as long as max_tokens allows"
_SHOWN_MODELS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CostQuestion:
    """what: the requests, and what they may cost. most, limit: nano-dollars that they may cost; that need no yes.

    is_open: they may cost more than `most`, by nobody knows how much. unpriced: models without a price.
    """

    what: str
    most: int
    limit: int
    is_open: bool
    unpriced: Sequence[str] = ()

    @property
    def bounding(self) -> str:
        """What bounds it: no cap is in force where a model has no price, nor, by itself, where nothing is a bound."""
        if self.unpriced:
            return f"`{account.asking_price(self.unpriced[0])}` says how {self.unpriced[0]} gets a price"
        if self.is_open:
            return "--max-cost AMOUNT with --allow-per-request AMOUNT reckons with so much for each"
        return "--max-cost AMOUNT bounds it"

    def refusal(self, hint: str) -> errors.GuardRefused:
        """The error where nobody says yes."""
        whatever = "what nobody can bound" if self.is_open else f"more than {money.shown_cap(self.limit)}"
        return errors.GuardRefused(
            f"{self.what}; {whatever} is to be confirmed",
            cause=f"{ROUGH}; nothing was stored or sent",
            hint=hint,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who is asked, and about what. limit: nano-dollars that need no yes; None: nothing is asked.

    ask: raises GuardRefused unless somebody says yes.
    """

    limit: int | None
    prices: Callable[[], Prices]
    ask: Callable[[CostQuestion], Coroutine[Any, Any, None]]


class _TalliedSource(streams.WrappedSource):
    """A source whose requests are added up as they pass. limit: only the first so many; None: all.

    seen: those that are identical to another are not sent.
    """

    def __init__(self, source: streams.Source, tally: QuickTally, limit: int | None, seen: SeenRequests | None) -> None:
        super().__init__(source)
        self._tally, self._limit, self._seen = tally, limit, seen
        self.requests = 0  #: how many there were

    @override
    async def chunks(self) -> AsyncGenerator[Sequence[streams.InputLine | streams.InputProblem], None]:
        async with aclosing(self._source.chunks()) as chunks:
            async for chunk in chunks:
                self._tally.add_all(self._sent(chunk))
                yield chunk

    def _sent(self, chunk: Sequence[streams.InputLine | streams.InputProblem]) -> Iterator[bytes]:
        given = [item.params for item in chunk if isinstance(item, streams.InputLine)]
        left = len(given) if self._limit is None else max(0, self._limit - self.requests)
        self.requests += len(given)
        seen = self._seen
        return (params for params in given[:left] if seen is None or not seen.take(params))


def confirmed(
    source: streams.Source, new: NewJob, terms: IngestOptions, reader: RemoteReader, asking: Asking
) -> streams.Source:
    """*source*, refused at its end, before it is a job, if it may cost more than was confirmed, or nobody knows what.

    Not in sandbox mode, not under a cap of its own, and not for an input that is a job already, unless that is a trial
    and more is to be sent. Raises GuardRefused from its chunks then.
    """
    limit = asking.limit
    if limit is None or new.max_cost is not None:
        return source
    from orchestrator.domain.fingerprint import SeenRequests
    from orchestrator.domain.quick_tally import QuickTally

    tally = QuickTally()

    async def refuse(content_hash: str, sent: NewJob) -> None:
        rates = await asyncio.to_thread(_rates, tally, asking)
        found, unknown = tally.high(rates) * new.tries, tally.without_price(rates)
        is_open = bool(tally.unbounded or unknown)
        if not (is_open or found > limit) or (await reader.read(lambda reads: reads.meta())).sandbox:
            return
        job = attached_to(await living_jobs(reader), content_hash, sent, terms)
        total = tally.requests if job is None and new.limit is None else tallied.requests
        many = _asked_about(sent, total) if job is None else _more(job, sent)
        most = found * many // max(1, tally.requests) if many < tally.requests else found
        if many and (is_open or most > limit):
            asked = _called(sent, many, total, is_new=job is None)
            words = _words(tally, sent, asked, most, unknown)
            await asking.ask(CostQuestion(what=words, most=most, limit=limit, is_open=is_open, unpriced=unknown))

    tallied = _TalliedSource(source, tally, new.limit, SeenRequests() if new.dedupe else None)
    return GuardedSource(tallied, new, refuse, skip_bad=terms.skip_bad)


def _rates(tally: QuickTally, asking: Asking) -> Mapping[str, Rates]:
    from orchestrator.ports.runtime import rates_on

    return rates_on(asking.prices(), tally.models, datetime.now(UTC).date())


def _asked_about(new: NewJob, total: int) -> int:
    """How many requests of a new job are sent before a person is asked, or asks, again."""
    return total if new.first is None else min(new.first, total)


def _more(job: JobSnapshot, new: NewJob) -> int:
    """How many requests at most are sent of *job*, which *new* is already, that nobody was asked about."""
    if job.trial is None or job.state in states.OVER:
        return 0
    if new.first is None:
        return job.requests.total - job.trial
    if new.limit is not None and new.limit <= job.trial:
        return 0
    return min(new.trial or 0, job.requests.total)


def _called(new: NewJob, many: int, total: int, *, is_new: bool) -> str:
    """What *many* of *total* requests are to a person; identical ones are counted once where it can be told."""
    is_different = new.dedupe and is_new and new.limit is None
    asked = humanize.count(total, f"{'different ' if is_different else ''}request")
    if many == total:
        return asked
    if new.first is None:
        return f"the other {many:,} of {asked}"
    return f"the {'pilot' if new.trial is None else 'trial'}, {many:,} of {asked},"


def _words(tally: QuickTally, new: NewJob, asked: str, most: int, unknown: Sequence[str]) -> str:
    what = f"{asked} to {_named(tally.models)}"
    if len(unknown) < len(tally.models):
        what += f" may cost up to {money.shown(most)}"
        what += f", if no answer matches the schema and each is asked for {new.tries} times" * (new.tries > 1)
    if tally.unbounded:
        what += (
            f"; {humanize.count(tally.unbounded, 'request')} cannot be bounded: the API runs their tools itself, "
            "as often as it finds right"
        )
    return f"{what}; no price for {_named(unknown)}: what they cost is unknown" if unknown else what


def _named(models: Sequence[str]) -> str:
    return f"{', '.join(models[:_SHOWN_MODELS])}{' and others' if len(models) > _SHOWN_MODELS else ''}"
