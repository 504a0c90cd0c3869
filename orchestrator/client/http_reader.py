"""Looks at a server, again and again: over one connection, and with patience for one that is starting again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec

from orchestrator.client.http_reads import HttpReads, Query
from orchestrator.client.way import ServerSilent, ServerWay, cause_of

if TYPE_CHECKING:
    import httpx2

    from orchestrator.ports.reads import RemoteReads

T = TypeVar("T")

#: A server that has answered once and is gone is waited for: it may be starting again.
PATIENCE: Final = timedelta(minutes=5)
_SHORTEST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0


class HttpReader:
    """See `ports.reads.RemoteReader`. Safe to use from several threads; close it at the end.

    patience: how long a server that has answered once is asked again while it is silent; has_answered: it did already.
    say: is told once when that begins.
    """

    def __init__(
        self,
        way: ServerWay,
        *,
        patience: timedelta = PATIENCE,
        has_answered: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._way = way
        self._patience = patience
        self._say = say
        self._client: httpx2.Client | None = None
        self._has_answered = has_answered

    def __enter__(self) -> Self:
        """Close it at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """See `close`."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    async def read(self, look: Callable[[RemoteReads], T]) -> T:
        """Run *look* in a thread; a server that has gone silent meanwhile is asked again. Raises ServerSilent."""
        pauses = self._pauses()
        while True:
            try:
                return await asyncio.to_thread(self._once, look)
            except ServerSilent as exc:
                await asyncio.sleep(self._pause(pauses, exc))

    def read_now(self, look: Callable[[RemoteReads], T]) -> T:
        """The same, here and now."""
        pauses = self._pauses()
        while True:
            try:
                return self._once(look)
            except ServerSilent as exc:
                time.sleep(self._pause(pauses, exc))

    @contextmanager
    def looking(self) -> Iterator[RemoteReads]:
        """Several looks by hand, none of which is repeated."""
        with self._understood():
            yield HttpReads(self.fetch)

    def ask(self, path: str, query: Query) -> dict[str, Any]:
        """The same, read."""
        return msgspec.json.decode(self.fetch(path, query), type=dict[str, Any])

    def fetch(self, path: str, query: Query) -> bytes:
        """The JSON that the server answers to a GET of *path*. Raises ServerSilent, and the error that it tells."""
        import httpx2

        if self._client is None:
            self._client = self._way.looking_client()
        given = {key: value for key, value in query.items() if value is not None}
        try:
            response = self._client.get(path, params=given)
        except httpx2.TransportError as exc:
            raise self._way.silent(cause_of(exc)) from exc
        self._way.check(response)
        return response.content

    def _once(self, look: Callable[[RemoteReads], T]) -> T:
        with self._understood():
            found = look(HttpReads(self.fetch))
        self._has_answered = True
        return found

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Raises ServerUnreadable where the JSON is not what this version knows."""
        try:
            yield
        except (KeyError, TypeError, ValueError, msgspec.DecodeError) as exc:
            raise self._way.unreadable(f"its answer has another form ({cause_of(exc)})") from exc

    def _pauses(self) -> Iterator[float]:
        """From one try to the next, until the patience is over; none for a server that never answered."""
        give_up_at = time.monotonic() + self._patience.total_seconds()
        pause = _SHORTEST_PAUSE_S
        while self._has_answered and time.monotonic() < give_up_at:
            yield pause
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _pause(self, pauses: Iterator[float], silence: ServerSilent) -> float:
        pause = next(pauses, None)
        if pause is None:
            raise silence
        if pause == _SHORTEST_PAUSE_S and self._say is not None:
            self._say(f"{silence.message}, trying again ({silence.cause})")
        return pause
