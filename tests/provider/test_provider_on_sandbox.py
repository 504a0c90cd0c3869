"""The provider and the sandbox, both real: in this process and over TCP."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from provider.provider_world import HEADERS, KEY, no_pause

from orchestrator.domain.api_answers import (
    Accepted,
    Blocked,
    Busy,
    CreateAnswer,
    Invalid,
    NotSent,
    RemoteStatus,
    TooLarge,
)
from orchestrator.domain.api_answers import Unclear as Doubt
from orchestrator.domain.errors import ProviderNotFound, ProviderRefused
from orchestrator.provider.client import AnthropicProvider
from orchestrator.provider.settings import ProviderSettings
from orchestrator.sandbox.build import Sandbox, build_sandbox
from orchestrator.sandbox.faults import CALL_FAULTS, applies
from orchestrator.sandbox.sandbox_settings import SandboxSettings

pytestmark = pytest.mark.anyio
FACES = ["in process", "over TCP"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Requests:
    """The body of a create with *count* requests, in chunks that cut through them; *pad* bytes of text in each."""

    def __init__(self, count: int, pad: int = 0) -> None:
        message = {"role": "user", "content": "x" * (pad + 1)}
        params = {"model": "claude-haiku-4-5", "max_tokens": 10, "messages": [message]}
        requests = [{"custom_id": f"n-{number}", "params": params} for number in range(count)]
        self._body = json.dumps({"requests": requests}).encode()
        self.size_bytes = len(self._body)
        self.count = count

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes, 10,000 at a time."""
        for start in range(0, len(self._body), 10_000):
            yield self._body[start : start + 10_000]


@asynccontextmanager
async def _on(face: str, sandbox: Sandbox, timeout_s: float = 60) -> AsyncIterator[AnthropicProvider]:
    """A provider for the sandbox by one of its faces."""
    timeout = timedelta(seconds=timeout_s)
    if face == "in process":
        settings = ProviderSettings(base_url="https://sandbox.invalid", timeout=timeout)
        provider = AnthropicProvider(settings, transport=sandbox.transport(), credentials=KEY, sleep=no_pause)
        yield provider
        await provider.aclose()
        return
    async with sandbox.serving() as port:
        settings = ProviderSettings(base_url=f"http://127.0.0.1:{port}", timeout=timeout)
        provider = AnthropicProvider(settings, credentials=KEY, sleep=no_pause)
        yield provider
        await provider.aclose()


@pytest.mark.parametrize("face", FACES)
async def test_a_batch_lives_its_whole_life(face: str) -> None:
    """Create, list, retrieve, results, delete: every method of the port against something that behaves like the API."""
    sandbox = build_sandbox(SandboxSettings(seed=1, speed=0))
    async with _on(face, sandbox) as provider:
        made = await provider.create(Requests(500), HEADERS)
        assert isinstance(made, Accepted)
        assert made.meta.date is not None
        assert made.meta.organization is not None
        remote_id = made.batch.id
        page = await provider.page(after_id=None, limit=1000)
        assert [batch.id for batch in page.batches] == [remote_id]
        assert (await provider.page(after_id=remote_id, limit=1)).batches == ()
        with pytest.raises(ProviderNotFound, match="no available results"):
            async with provider.results(remote_id):
                pass
        with pytest.raises(ProviderRefused, match="In progress"):
            await provider.delete(remote_id)
        sandbox.clock.advance(timedelta(hours=2))
        ended = await provider.retrieve(remote_id)
        assert ended.status is RemoteStatus.ENDED
        assert ended.counts.total == 500
        async with provider.results(remote_id) as download:
            lines = b"".join([chunk async for chunk in download.chunks]).splitlines()
        assert {json.loads(line)["custom_id"] for line in lines} == {f"n-{number}" for number in range(500)}
        await provider.delete(remote_id)
        with pytest.raises(ProviderNotFound):
            await provider.delete(remote_id)
        assert (await provider.page(after_id=None, limit=1)).batches == ()


@pytest.mark.parametrize("face", FACES)
async def test_a_batch_is_canceled_and_a_late_cancel_shows_it_ended(face: str) -> None:
    """Cancel answers with the batch; one that ended comes back as it is."""
    sandbox = build_sandbox(SandboxSettings(seed=1, speed=0))
    async with _on(face, sandbox) as provider:
        made = await provider.create(Requests(3), HEADERS)
        assert isinstance(made, Accepted)
        assert (await provider.cancel(made.batch.id)).status is RemoteStatus.CANCELING
        sandbox.clock.advance(timedelta(hours=1))
        assert (await provider.retrieve(made.batch.id)).counts.canceled > 0
        assert (await provider.cancel(made.batch.id)).status is RemoteStatus.ENDED


class TakenOverRequests(Requests):
    """The same body, which ends before its last two bytes with an error."""

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """All but two bytes."""
        yield self._body[:-2]
        raise TimeoutError("the batch was taken over")


@pytest.mark.parametrize("face", FACES)
async def test_a_body_without_its_last_two_bytes_is_never_a_batch(face: str) -> None:
    """Promise 2: so a sender that lost its batch ends its POST; its own error comes out, no answer."""
    sandbox = build_sandbox(SandboxSettings(seed=1, speed=0))
    async with _on(face, sandbox) as provider:
        with pytest.raises(TimeoutError, match="taken over"):
            await provider.create(TakenOverRequests(500), HEADERS)
        assert isinstance(await provider.create(Requests(3), HEADERS), Accepted)
        assert sandbox.machine.batches_created == 1


#: What a create means under each fault of the sandbox.
ENDS: dict[str, tuple[type[CreateAnswer], ...]] = {
    "400": (Invalid,),
    "401": (Blocked,),
    "402": (Blocked,),
    "403": (Blocked,),
    "404": (Blocked,),
    "413": (TooLarge,),
    "429": (Busy,),
    "529": (Busy,),
    "credit": (Blocked,),
    "spend": (Blocked,),
    "refuse": (NotSent,),
    "drop_mid": (NotSent,),
    "early_413": (NotSent, TooLarge),
}


@pytest.mark.parametrize("fault", sorted(fault for fault in CALL_FAULTS if applies(fault, "create")))
@pytest.mark.parametrize("face", FACES)
async def test_no_fault_makes_a_create_say_yes_or_no_wrongly_or_twice(face: str, fault: str) -> None:
    """Promise 2: a clear no means that there is no batch; whatever is not clear is a doubt; and there is one POST."""
    sandbox = build_sandbox(SandboxSettings(seed=1, speed=0, faults=f"create.{fault}=1"))
    big = fault in {"drop_mid", "early_413", "refuse"}  # more than the socket buffers of both ends take
    async with _on(face, sandbox, timeout_s=1 if "hang" in fault else 60) as provider:
        answer = await provider.create(Requests(20, pad=1_000_000 if big else 0), HEADERS)
    made = sandbox.machine.batches_created
    assert sandbox.machine.calls["create"] == 1
    if "accept" in fault:
        assert isinstance(answer, Doubt)
        assert made == 1
    else:
        assert isinstance(answer, ENDS.get(fault, (Doubt,))), answer
        assert made == 0
