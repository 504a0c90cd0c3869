"""Walks the API's list of batches: pages as large as it allows, whole or not at all, and never without an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Final

from orchestrator.domain import errors
from orchestrator.domain.api_answers import BatchPage, MalformedEntry, RemoteBatch
from orchestrator.observability.logs import get_logger
from orchestrator.ports.runtime import Provider

#: Source: the list takes limits from 1 to 1000, and gives 20 where none is named (Message Batches API reference).
LARGEST: Final = 1000
SMALLEST: Final = 20
#: What a refused limit is answered with, among other things.
_WRONG_LIMIT: Final = frozenset({400, 422})
#: A list that goes on is asked at this pace after so many pages, and given up after so many more.
_AT_ONCE: Final = 20
_PAUSE: Final = timedelta(seconds=0.5)
_MOST_PAGES: Final = 100
_MOST_ENTRIES: Final = 20_000
Ask = Callable[[str | None, int], Awaitable[BatchPage]]
Below = Callable[[str | None], Awaitable[BatchPage]]
Sleep = Callable[[timedelta], Awaitable[None]]
log = get_logger(__name__)
_QUIET_FOR: Final = timedelta(minutes=1)


class EndlessList(errors.ProviderUnreachable):
    """The list announces more pages than any workspace can fill."""


class PageSize:
    """How many entries to ask for at once: halved while the API refuses, and then kept at what it accepted."""

    def __init__(self, largest: int = LARGEST) -> None:
        self.size = largest

    async def page(self, ask: Ask, after_id: str | None) -> BatchPage:
        """One page below *after_id*. Raises what *ask* raises; a refusal only once the smallest page is refused."""
        size = self.size
        while True:
            try:
                page = await ask(after_id, size)
            except errors.ProviderRefused as exc:
                if exc.blocked is not None or exc.status not in _WRONG_LIMIT or size <= SMALLEST:
                    raise
                size = max(size // 2, SMALLEST)
                continue
            self.size = size
            return page


async def walk_pages(below: Below, size: PageSize, sleep: Sleep) -> AsyncGenerator[BatchPage, None]:
    """The pages of the list, the newest first, for as long as the caller wants them; *below* fetches one.

    size: how many entries *below* asks for. Goes by `after_id` only: batches created meanwhile appear on top and shift
    nothing below. Raises ProviderUnreachable for a list that announces more and does not show it: half a walk must
    never pass for a whole one.
    """
    after: str | None = None
    seen: set[str] = set()
    for number in count(1):
        if number > _AT_ONCE:
            await sleep(_PAUSE)
        page = await below(after)
        shown = {batch.id for batch in page.batches} | {entry.mark for entry in page.malformed}
        if page.has_more and (page.last_id is None or shown <= seen):
            raise errors.ProviderUnreachable("the list says that there is more, and does not show it")
        seen |= shown
        yield page
        if not page.has_more:
            return
        if number >= max(_MOST_PAGES, _MOST_ENTRIES // size.size):
            raise EndlessList(f"the list does not end: it says that there is more after {number} pages")
        after = page.last_id


async def list_batches(
    provider: Provider, largest: int = LARGEST, odd: list[MalformedEntry] | None = None
) -> AsyncGenerator[RemoteBatch, None]:
    """Every readable batch in the API's list, the newest first, for callers without an engine.

    Unreadable entries are added to *odd*.
    """

    def ask(after_id: str | None, limit: int) -> Awaitable[BatchPage]:
        return provider.page(after_id=after_id, limit=limit)

    size = PageSize(largest)
    async with aclosing(walk_pages(partial(size.page, ask), size, _sleep)) as walked:
        async for page in walked:
            if odd is not None:
                odd += page.malformed
            for batch in page.batches:
                yield batch


async def _sleep(pause: timedelta) -> None:
    await asyncio.sleep(pause.total_seconds())


class MalformedEntries:
    """Counts unreadable entries, again each time that a page shows one, and logs them at most once a minute."""

    def __init__(self) -> None:
        self.entries = 0
        self._told_at: datetime | None = None
        self._told = 0

    def note(self, odd: Sequence[MalformedEntry], now: datetime) -> None:
        """Count the unreadable entries of a page. A clock that was set back does not silence the log."""
        if not odd:
            return
        self.entries += len(odd)
        if self._told_at is not None and self._told_at <= now < self._told_at + _QUIET_FOR:
            return
        log.warning("list.unreadable", entries=self.entries - self._told, example=odd[0].mark, why=odd[0].why)
        self._told_at, self._told = now, self.entries
