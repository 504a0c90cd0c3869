"""What the engine calls over the network: the Message Batches API, and the carrier of webhook notices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from orchestrator.domain.api_answers import BatchPage, CreateAnswer, RemoteBatch, ResponseMeta
from orchestrator.domain.notices import DeliveryResult, Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Headers:
    """The headers of a job's batches: `anthropic-version`, and the betas in sorted order."""

    api_version: str
    betas: tuple[str, ...]


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

    meta: ResponseMeta
    chunks: AsyncIterator[bytes]


class Provider(Protocol):
    """The API. Reads raise ProviderUnreachable, ProviderBusy, ProviderRefused or ProviderNotFound; nothing else.

    Reads and `cancel`/`delete` may be tried up to three times within five seconds, by the provider itself. `create`
    is sent exactly once.
    """

    async def create(self, body: CreateBody, headers: Headers) -> CreateAnswer:
        """POST *body* once, on a connection of its own. Never raises a ProviderError: every end is an answer."""

    async def page(self, *, after_id: str | None, limit: int) -> BatchPage:
        """One page of the workspace's batches, newest first; *after_id* goes on below it; 1 <= limit <= 1000."""

    async def retrieve(self, remote_id: str) -> RemoteBatch:
        """The batch *remote_id* as the API has it now."""

    async def cancel(self, remote_id: str) -> RemoteBatch:
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

    async def carry(self, notice: Notice, now: datetime) -> DeliveryResult:
        """Try once to deliver *notice*, in bounded time. Raises nothing but cancellation: a failure is a result."""

    async def aclose(self) -> None:
        """Close every connection."""
