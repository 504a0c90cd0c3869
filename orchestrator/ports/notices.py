"""Notices to other programs, as the engine sees them: where they lie, who carries them, what may be asked of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.domain.notices import Delivery, DeliveryState, Endpoint, EndpointSpec, Notice, Outcome


class NoticeStore(Protocol):
    """Notices that wait. Writing one down is the store's own doing, with its event."""

    async def mirror(self, endpoints: Sequence[EndpointSpec], now: datetime) -> None:
        """Take over what the settings say. Notices for an endpoint that is not there any more are given up."""
        ...

    async def due(self, now: datetime, limit: int, *, each: int) -> list[Notice]:
        """The notices to send now, the longest due first, at most *each* of an endpoint."""
        ...

    async def delivered(self, notice: Notice, status: int, now: datetime) -> bool:
        """The endpoint took it. False: somebody else moved it."""
        ...

    async def put_off(self, notice: Notice, outcome: Outcome, until: datetime | None, now: datetime) -> bool:
        """It failed; due again at *until*, or given up."""
        ...

    async def replay(self, delivery: int, now: datetime) -> bool:
        """Send one that is over again, with all its tries. False: there is none, or it waits already."""
        ...

    async def test(self, url: str | None, now: datetime) -> list[int]:
        """A test notice for the endpoint *url*, or for each; their numbers."""
        ...

    async def forget(self, before: datetime) -> int:
        """Drop what is over and was written down before *before*; how many."""
        ...


class Courier(Protocol):
    """Carries one notice to its endpoint."""

    async def carry(self, notice: Notice, now: datetime) -> Outcome:
        """One try, within a bounded time. Raises nothing but cancellation: every end is an outcome."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class Noticing(Protocol):
    """What a person may ask of notices."""

    async def test_notice(self, url: str | None) -> list[int]:
        """Send a test to the endpoint *url*, or to each. Raises NoSuchThing."""
        ...

    async def replay_notice(self, delivery: int) -> None:
        """Send a notice that is over again. Raises GuardRefused if there is none, or it waits already."""
        ...


class NoticeReads(Protocol):
    """Notices, as faces show them; one snapshot."""

    def endpoints(self) -> list[Endpoint]:
        """Every endpoint that was ever set, those of today first."""
        ...

    def deliveries(
        self, *, limit: int, before: int | None = None, state: DeliveryState | None = None
    ) -> list[Delivery]:
        """Notices, the newest first, older than *before* if given."""
        ...

    def delivery(self, number: int) -> Delivery:
        """One of them. Raises NoSuchThing."""
        ...

    def delivery_counts(self) -> dict[DeliveryState, int]:
        """How many there are in each state."""
        ...
