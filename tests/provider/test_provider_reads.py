"""Reads, cancel and delete: short patience, then one of four errors; what cannot be read is no answer (promise 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from provider.provider_world import CANARY, KEY, REMOTE_ID, RawServer, Visit, batch_json, error_json, provider_at

from orchestrator.domain.api_answers import RemoteStatus
from orchestrator.domain.errors import (
    ProviderBusy,
    ProviderError,
    ProviderNotFound,
    ProviderRefused,
    ProviderUnreachable,
    ProviderUnreadable,
)
from orchestrator.provider.client import AnthropicProvider
from orchestrator.provider.parsing import read_retry_after
from orchestrator.provider.settings import ProviderSettings

pytestmark = pytest.mark.anyio
SERVER_ERROR = httpx2.Response(500, json=error_json("api_error", "oops"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Api:
    """Gives the scripted answers in turn, the last one for ever; an exception is raised. Remembers requests, pauses."""

    def __init__(self, *script: httpx2.Response | Exception) -> None:
        self.asked: list[httpx2.Request] = []
        self.pauses_s: list[float] = []
        self._script: Iterator[httpx2.Response | Exception] = iter(script)
        self._last: httpx2.Response | Exception = script[-1]
        self.provider = AnthropicProvider(
            ProviderSettings(base_url="https://api.test"),
            transport=httpx2.MockTransport(self._answer),
            credentials=KEY,
            sleep=self._sleep,
        )

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        said = next(self._script, self._last)
        if isinstance(said, Exception):
            raise said
        return httpx2.Response(said.status_code, headers=said.headers, content=said.content)

    async def _sleep(self, seconds: float) -> None:
        self.pauses_s.append(seconds)


def _page(*batches: object, **fields: object) -> httpx2.Response:
    return httpx2.Response(200, json={"data": batches, "has_more": True, "first_id": None, "last_id": "x", **fields})


# --- good answers -------------------------------------------------------------------------------------------------


async def test_a_page_is_read_with_its_clock_and_its_account() -> None:
    """Only the API's own Date counts for doubts and retention."""
    headers = {"date": "Fri, 20 Nov 2026 18:37:25 GMT", "anthropic-organization-id": "o", "request-id": "r"}
    body = {"data": [batch_json(count=7), batch_json(zone="+02:00")], "has_more": True, "last_id": REMOTE_ID}
    api = Api(httpx2.Response(200, json=body, headers=headers))
    page = await api.provider.page(after_id="msgbatch_0", limit=1000)
    assert [batch.counts.total for batch in page.batches] == [7, 3]
    assert page.batches[1].created_at == datetime(2026, 11, 20, 16, 37, 24, 100435, tzinfo=UTC)
    assert page.batches[1].created_at.tzinfo is UTC
    assert (page.has_more, page.last_id) == (True, REMOTE_ID)
    assert page.meta.date == datetime(2026, 11, 20, 18, 37, 25, tzinfo=UTC)
    assert (page.meta.organization, page.meta.request_id, page.meta.workspace) == ("o", "r", None)
    assert str(api.asked[0].url) == "https://api.test/v1/messages/batches?limit=1000&after_id=msgbatch_0"


async def test_the_first_page_asks_for_no_cursor_and_reads_use_the_clients_own_version() -> None:
    """The version of a batch is fixed at its create; reading does not depend on it."""
    import anthropic

    api = Api(_page())
    page = await api.provider.page(after_id=None, limit=1)
    assert page.batches == ()
    assert api.asked[0].url.query == b"limit=1"
    sdk_version = anthropic.AsyncAnthropic(api_key="x").default_headers["anthropic-version"]
    assert api.asked[0].headers["anthropic-version"] == sdk_version


async def test_an_ended_batch_is_read_with_its_times() -> None:
    """Retention is counted from the API's own times."""
    counts = {"processing": 0, "succeeded": 1, "errored": 2, "canceled": 3, "expired": 4}
    times: dict[str, object] = {"ended_at": "2026-11-20T19:00:00Z", "archived_at": "2026-12-19T19:00:00+00:00"}
    shown = {**batch_json(), "processing_status": "ended", "request_counts": counts, **times}
    api = Api(httpx2.Response(200, json=shown))
    batch = await api.provider.retrieve(REMOTE_ID)
    assert batch.status is RemoteStatus.ENDED
    assert (batch.counts.total, batch.counts.expired) == (10, 4)
    assert batch.ended_at == datetime(2026, 11, 20, 19, tzinfo=UTC)
    assert batch.archived_at == datetime(2026, 12, 19, 19, tzinfo=UTC)


async def test_cancel_and_delete_ask_where_they_should() -> None:
    """The paths of the API reference; an id cannot lead out of its place in the path."""
    deleted = httpx2.Response(200, json={"id": REMOTE_ID, "type": "message_batch_deleted"})
    api = Api(httpx2.Response(200, json=batch_json(processing_status="canceling")), deleted)
    assert (await api.provider.cancel(REMOTE_ID)).status is RemoteStatus.CANCELING
    await api.provider.delete("msgbatch_a/../b")
    assert [(request.method, request.url.raw_path) for request in api.asked] == [
        ("POST", f"/v1/messages/batches/{REMOTE_ID}/cancel".encode()),
        ("DELETE", b"/v1/messages/batches/msgbatch_a%2F..%2Fb"),
    ]


# --- errors -------------------------------------------------------------------------------------------------------

LINES: list[tuple[httpx2.Response | Exception, type[ProviderError], int]] = [
    (SERVER_ERROR, ProviderUnreachable, 3),
    (httpx2.Response(504, text="gateway"), ProviderUnreachable, 3),
    (httpx2.Response(408, json=error_json("timeout_error", "slow")), ProviderUnreachable, 3),
    (httpx2.Response(409, json=error_json("conflict_error", "busy")), ProviderUnreachable, 3),
    (httpx2.ConnectError("no"), ProviderUnreachable, 3),
    (httpx2.ReadTimeout("no"), ProviderUnreachable, 3),
    (httpx2.RemoteProtocolError("no"), ProviderUnreachable, 3),
    (httpx2.Response(200, text="<html>log in</html>"), ProviderUnreadable, 1),
    (httpx2.Response(200, json=batch_json(processing_status="dreaming")), ProviderUnreadable, 1),
    (httpx2.Response(204), ProviderUnreachable, 1),
    (httpx2.Response(307, headers={"location": "https://elsewhere.test/"}), ProviderUnreachable, 1),
    (httpx2.Response(404, json=error_json("not_found_error", "gone")), ProviderNotFound, 1),
    (httpx2.Response(429, json=error_json("rate_limit_error", "slow")), ProviderBusy, 1),
    (httpx2.Response(529, text="overloaded"), ProviderBusy, 1),
    (httpx2.Response(400, json=error_json("invalid_request_error", "no")), ProviderRefused, 1),
    (httpx2.Response(401, text="no"), ProviderRefused, 1),
]


@pytest.mark.parametrize(("said", "error", "tries"), LINES)
async def test_each_trouble_becomes_one_of_four_errors_after_at_most_three_tries(
    said: httpx2.Response | Exception, error: type[ProviderError], tries: int
) -> None:
    """Blueprint §7, waiting: three tries within five seconds, only where repeating can help."""
    api = Api(said)
    with pytest.raises(error) as caught:
        await api.provider.retrieve(REMOTE_ID)
    assert type(caught.value) is error
    assert len(api.asked) == tries
    assert api.pauses_s == [0.5, 1.0][: tries - 1]


@pytest.mark.parametrize(
    ("status", "message", "code", "blocked"),
    [
        (401, "API key is invalid.", None, "credentials"),
        (402, "pay", None, "billing"),
        (403, "no", None, "permission"),
        (400, "Your credit balance is too low to access", None, "billing"),
        (429, "cap", "enforced_spend_limit_reached", "spend_limit"),
        (400, "no", "organization_on_hold", "on_hold"),
        (400, "Batch has ended.", None, None),
    ],
)
async def test_trouble_of_the_account_is_named(
    status: int, message: str, code: str | None, blocked: str | None
) -> None:
    """Promise 6: what only a person can mend is told apart, and not asked for again."""
    headers = {"request-id": "req_9"}
    api = Api(httpx2.Response(status, json=error_json("some_error", message, code), headers=headers))
    with pytest.raises(ProviderRefused) as caught:
        await api.provider.cancel(REMOTE_ID)
    assert (caught.value.status, caught.value.blocked, caught.value.request_id) == (status, blocked, "req_9")
    assert message in caught.value.message
    assert len(api.asked) == 1


async def test_a_second_try_that_works_is_the_answer() -> None:
    """A blip of the network is nobody's business."""
    api = Api(httpx2.ReadError("blip"), SERVER_ERROR, httpx2.Response(200, json=batch_json()))
    assert (await api.provider.retrieve(REMOTE_ID)).id == REMOTE_ID
    assert len(api.asked) == 3


async def test_a_conflict_on_cancel_is_not_repeated() -> None:
    """The API said no to a change; a look will tell what the batch is."""
    api = Api(httpx2.Response(409, json=error_json("conflict_error", "no")))
    with pytest.raises(ProviderRefused):
        await api.provider.cancel(REMOTE_ID)
    assert len(api.asked) == 1


async def test_a_captive_portals_200_does_not_pass_for_a_deletion() -> None:
    """Privacy was asked for: only the API's own word says that the results are gone."""
    with pytest.raises(ProviderUnreachable):
        await Api(httpx2.Response(200, text="<html>log in</html>")).provider.delete(REMOTE_ID)


async def test_a_list_that_does_not_exist_means_a_wrong_base_url() -> None:
    """With a cursor a 404 may be the cursor's; without one there is no such API."""
    gone = httpx2.Response(404, text="no route")
    with pytest.raises(ProviderRefused) as caught:
        await Api(gone).provider.page(after_id=None, limit=1)
    assert caught.value.blocked == "endpoint"
    with pytest.raises(ProviderNotFound):
        await Api(gone).provider.page(after_id=REMOTE_ID, limit=1)


async def test_a_short_retry_after_is_waited_out_and_a_long_one_comes_back() -> None:
    """Promise 5: a long wait is stored by the engine, never slept inside a call."""
    short = httpx2.Response(503, json=error_json("api_error", "x"), headers={"retry-after": "2"})
    long = httpx2.Response(503, json=error_json("api_error", "x"), headers={"retry-after": "3600"})
    api = Api(short, httpx2.Response(200, json=batch_json()))
    await api.provider.retrieve(REMOTE_ID)
    assert api.pauses_s == [2.0]
    api = Api(long)
    with pytest.raises(ProviderBusy) as caught:
        await api.provider.retrieve(REMOTE_ID)
    assert (caught.value.retry_after_s, len(api.asked), api.pauses_s) == (3600.0, 1, [])


class _Simulated(asyncio.SelectorEventLoop):
    """An event loop whose clock a pause sets forward."""

    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s

    async def pause(self, seconds: float) -> None:
        """Take no time but let the clock think so."""
        self.ahead_s += seconds


def test_no_try_begins_after_five_seconds_of_the_loops_time() -> None:
    """The patience is the event loop's: a simulated clock drives it."""
    tries = 0

    def answer(_: httpx2.Request) -> httpx2.Response:
        nonlocal tries
        tries += 1
        return httpx2.Response(503, headers={"retry-after": "3"}, json=error_json("api_error", "x"))

    loop = _Simulated()
    provider = AnthropicProvider(
        ProviderSettings(base_url="https://x"),
        transport=httpx2.MockTransport(answer),
        credentials=KEY,
        sleep=loop.pause,
    )
    with asyncio.Runner(loop_factory=lambda: loop) as runner, pytest.raises(ProviderBusy):
        runner.run(_retrieve(provider))
    assert tries == 2


async def _retrieve(provider: AnthropicProvider) -> None:
    await provider.retrieve(REMOTE_ID)


async def test_a_server_that_hangs_ends_in_unreachable() -> None:
    """Every call has its own deadline, whatever the HTTP library counts."""

    async def talk(visit: Visit) -> None:
        visit.writer.write(b"HTTP/1.1 200 OK\r\n")
        await visit.hang()

    async with RawServer(talk) as server:
        provider = provider_at(server.url, read_timeout=timedelta(seconds=0.1))
        with pytest.raises(ProviderUnreachable, match=r"no answer within 0\.1 s"):
            await provider.retrieve(REMOTE_ID)
        await provider.aclose()
    assert len(server.visits) == 3


async def test_a_cancelled_read_ends_as_cancelled() -> None:
    """CancelledError is never taken for a failed try."""
    asked = asyncio.Event()

    async def talk(visit: Visit) -> None:
        asked.set()
        await visit.hang()

    async with RawServer(talk) as server:
        provider = provider_at(server.url)
        task = asyncio.create_task(_retrieve(provider))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await provider.aclose()
    assert len(server.visits) == 1


async def test_a_gateway_that_echoes_the_key_does_not_get_it_into_our_messages() -> None:
    """Promise 9: secrets stay out of messages, whoever writes them."""
    api = Api(httpx2.Response(401, json=error_json("authentication_error", f"bad key {CANARY}")))
    with pytest.raises(ProviderRefused) as caught:
        await api.provider.retrieve(REMOTE_ID)
    assert caught.value.message == "401: bad key ***"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": " 3600 "}, 3600.0),
        ({"retry-after": "1000000000"}, 1e9),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Fri, 20 Nov 2026 18:38:00 GMT"}, None),
        ({"retry-after": "Fri, 20 Nov 2026 18:38:00 GMT", "date": "Fri, 20 Nov 2026 18:37:25 GMT"}, 35.0),
        ({"retry-after": "Fri, 20 Nov 2026 18:37:00 GMT", "date": "Fri, 20 Nov 2026 18:37:25 GMT"}, None),
        ({"retry-after": "Fri, 99 Nov 2026 18:38:00 GMT", "date": "garbage"}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    """T38: a date counts from the answer's own Date; garbage is no figure."""
    assert read_retry_after(headers) == seconds
