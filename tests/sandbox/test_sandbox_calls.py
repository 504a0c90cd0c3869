"""Faults of whole calls, as a client sees them: inside the process and over TCP alike."""

import asyncio
import signal
from collections.abc import AsyncIterator

import httpx2
import pytest
from sandbox.sandbox_world import BATCHES, HEADERS, Face, body, http_client, run, still_sandbox

from orchestrator.sandbox import FaultPlan, Sandbox, parse_faults
from orchestrator.sandbox.server import serve

FACES: list[Face] = ["in process", "over TCP"]
both = pytest.mark.parametrize("face", FACES)

ANSWERED = {
    "400": (400, "invalid_request_error"),
    "401": (401, "authentication_error"),
    "402": (402, "billing_error"),
    "403": (403, "permission_error"),
    "404": (404, "not_found_error"),
    "408": (408, "timeout_error"),
    "409": (409, "conflict_error"),
    "413": (413, "request_too_large"),
    "429": (429, "rate_limit_error"),
    "500": (500, "api_error"),
    "503": (503, "api_error"),
    "504": (504, "timeout_error"),
    "529": (529, "overloaded_error"),
    "credit": (400, "invalid_request_error"),
    "spend": (429, "rate_limit_error"),
    "overloaded_500": (500, "api_error"),
}


@pytest.mark.parametrize("fault", ANSWERED)
def test_a_fault_that_the_api_answers_creates_nothing(fault: str) -> None:
    """A clear no, with the API's own body; the next call is served."""

    async def story() -> None:
        sandbox = still_sandbox()
        sandbox.machine.plan.script("create", fault)
        async with http_client(sandbox, "in process") as client:
            answer = await client.post(BATCHES, content=body(2))
            assert (answer.status_code, answer.json()["error"]["type"]) == ANSWERED[fault]
            assert answer.json()["request_id"] == answer.headers["request-id"]
            assert ("retry-after" in answer.headers) == (fault in {"429", "529", "503"})
            assert (sandbox.machine.batches_created, sandbox.machine.bodies_received) == (0, 1)
            assert (await client.post(BATCHES, content=body(2))).status_code == 200

    run(story())


def test_a_spend_limit_names_itself_and_gives_no_retry_after() -> None:
    """It lasts until the month ends: waiting is no answer."""

    async def story() -> None:
        sandbox = still_sandbox()
        sandbox.machine.plan.script("create", "spend")
        async with http_client(sandbox, "in process") as client:
            answer = await client.post(BATCHES, content=body(1))
            assert answer.json()["error"]["details"] == {"error_code": "enforced_spend_limit_reached"}

    run(story())


@both
@pytest.mark.parametrize("fault", ["html_200", "garbled_200", "502", "redirect"])
def test_answers_that_are_not_the_apis(face: Face, fault: str) -> None:
    """Portals and proxies answer too; none of it is a batch."""

    async def story() -> None:
        sandbox = still_sandbox()
        sandbox.machine.plan.script("create", fault)
        async with http_client(sandbox, face) as client:
            answer = await client.post(BATCHES, content=body(2))
            with pytest.raises(ValueError, match=r"."):
                answer.json()
            assert answer.status_code == {"502": 502, "redirect": 307}.get(fault, 200)
        assert sandbox.machine.batches_created == 0

    run(story())


BREAKS: dict[str, tuple[type[Exception], ...]] = {
    "drop": (httpx2.RemoteProtocolError,),
    "drop_reset": (httpx2.ReadError,),
    "drop_after_accept": (httpx2.RemoteProtocolError,),
    "hang": (httpx2.ReadTimeout,),
    "hang_after_accept": (httpx2.ReadTimeout,),
}


@both
@pytest.mark.parametrize("fault", BREAKS)
def test_a_lost_answer_leaves_doubt(face: Face, fault: str) -> None:
    """The client sees the same break whether the batch exists or not."""

    async def story() -> None:
        sandbox = still_sandbox()
        sandbox.machine.plan.script("create", fault)
        async with http_client(sandbox, face, timeout=httpx2.Timeout(5, read=0.2)) as client:
            with pytest.raises(BREAKS[fault]):
                await client.post(BATCHES, content=body(50))
            listed = (await client.get(BATCHES)).json()["data"]
        assert len(listed) == ("after_accept" in fault)
        assert sandbox.machine.bodies_received == 1

    run(story())


@both
def test_a_500_may_hide_an_accepted_batch(face: Face) -> None:
    """An answer that says no can be wrong."""

    async def story() -> None:
        sandbox = still_sandbox()
        sandbox.machine.plan.script("create", "error_after_accept")
        sandbox.machine.plan.script("create", "garbled_after_accept")
        async with http_client(sandbox, face) as client:
            assert (await client.post(BATCHES, content=body(2))).status_code == 500
            assert (await client.post(BATCHES, content=body(2))).content.startswith(b'{"id":')
        assert sandbox.machine.batches_created == 2

    run(story())


@both
def test_a_refused_connection_takes_nothing(face: Face) -> None:
    """In the process as a refused connection, over TCP as one that closes at once."""

    async def story() -> None:
        sandbox = still_sandbox()
        sandbox.machine.plan.script("create", "refuse")
        expected = httpx2.ConnectError if face == "in process" else (httpx2.RemoteProtocolError, httpx2.ReadError)
        async with http_client(sandbox, face) as client:
            with pytest.raises(expected):
                await client.post(BATCHES, content=body(2))
        assert sandbox.machine.bodies_received == 0

    run(story())


@both
def test_a_body_cut_on_its_way_is_not_taken_to_its_end(face: Face) -> None:
    """The upload breaks off; the client still has most of the body in hand."""

    async def story() -> None:
        sandbox = still_sandbox()
        sandbox.machine.plan.script("create", "drop_mid")
        handed = 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal handed
            yield body(10)[:-2]
            for _ in range(400):
                handed += 1
                yield b" " * 100_000

        async with http_client(sandbox, face) as client:
            with pytest.raises((httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)):
                await client.post(BATCHES, content=pieces())
        assert handed < 400
        assert (sandbox.machine.batches_created, sandbox.machine.bodies_received) == (0, 0)

    run(story())


@both
def test_the_cdn_may_refuse_a_body_before_it_is_read(face: Face) -> None:
    """A 413 in HTML; over TCP the client may see the break instead of the answer."""

    async def story() -> None:
        sandbox = still_sandbox()
        sandbox.machine.plan.script("create", "early_413")

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(200):
                yield b" " * 100_000

        async with http_client(sandbox, face) as client:
            try:
                answer = await client.post(BATCHES, content=pieces())
            except httpx2.TransportError:
                assert face == "over TCP"
            else:
                assert (answer.status_code, answer.headers["content-type"]) == (413, "text/html")
        assert sandbox.machine.bodies_received == 0

    run(story())


async def ended_batch(sandbox: Sandbox, client: httpx2.AsyncClient) -> str:
    made = await client.post(BATCHES, content=body(2000))
    return str(made.json()["id"])


CUTS: dict[str, tuple[type[Exception], ...]] = {
    "cut_clean": (),
    "cut_line": (),
    "cut_reset": (httpx2.ReadError, httpx2.RemoteProtocolError),
    "stall": (httpx2.ReadTimeout,),
}


@both
@pytest.mark.parametrize("fault", CUTS)
def test_a_download_that_ends_early(face: Face, fault: str) -> None:
    """With or without an error, at a line's end or inside it: short either way, and whole the next time."""

    async def story() -> None:
        sandbox = still_sandbox(instant=True)
        async with http_client(sandbox, face, timeout=httpx2.Timeout(5, read=0.3)) as client:
            path = f"{BATCHES}/{await ended_batch(sandbox, client)}/results"
            sandbox.machine.plan.script("results", fault)
            content = bytearray()
            broke = False
            try:
                async with client.stream("GET", path) as stream:
                    async for piece in stream.aiter_bytes():
                        content += piece
            except CUTS[fault]:
                broke = True
            assert broke == bool(CUTS[fault])
            assert content.count(b"\n") < 2000
            assert content.endswith(b"\n") == (fault == "cut_clean")
            assert (await client.get(path)).content.count(b"\n") == 2000

    run(story())


@both
def test_timeouts_are_those_of_the_request(face: Face) -> None:
    """A silent server is left after the read timeout, not before and not never."""

    async def story() -> None:
        sandbox = still_sandbox()
        sandbox.machine.plan.script("list", "hang")
        async with http_client(sandbox, face) as client:
            with pytest.raises(httpx2.ReadTimeout):
                await client.get(BATCHES, timeout=httpx2.Timeout(5, read=0.1))
            assert (await client.get(BATCHES)).status_code == 200

    run(story())


def test_a_client_that_makes_its_body_slowly_is_not_timed_out() -> None:
    """The write timeout is the server's patience to read, not the client's time to think."""

    async def story() -> None:
        sandbox = still_sandbox()
        content = body(10)

        async def pieces() -> AsyncIterator[bytes]:
            yield content[:100]
            await asyncio.sleep(0.4)  # longer than the timeout: this is the client thinking
            yield content[100:]

        async with http_client(sandbox, "in process", timeout=0.3) as client:
            assert (await client.post(BATCHES, content=pieces())).status_code == 200

    run(story())


def test_a_fault_in_the_clients_own_body_passes_through() -> None:
    """A bug of the client is not dressed up as a network error, and creates nothing."""

    async def story() -> None:
        sandbox = still_sandbox()

        async def pieces() -> AsyncIterator[bytes]:
            yield b'{"requests":['
            raise KeyError("ours")

        async with http_client(sandbox, "in process") as client:
            with pytest.raises(KeyError):
                await client.post(BATCHES, content=pieces())
        assert sandbox.machine.batches_created == 0

    run(story())


def test_calls_are_counted_whatever_became_of_them() -> None:
    """The price of polling is measured here."""

    async def story() -> None:
        sandbox = still_sandbox(faults="list.429=1,retry_after=7")
        async with http_client(sandbox, "in process") as client:
            for _ in range(3):
                answer = await client.get(BATCHES)
                assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
            await client.post(BATCHES, content=body(1))
            await client.get(f"{BATCHES}/x", headers={"x-api-key": ""})
            assert (await client.get("/sandbox/stats")).json()["calls"] == {"list": 3, "create": 1, "retrieve": 1}

    run(story())


def test_rates_follow_the_seed() -> None:
    """The same seed draws the same faults; about as many as asked for."""
    options = parse_faults("429=.2,drop_after_accept=.1,cut_results=.3")
    plans = [FaultPlan(seed=3, options=options) for _ in range(2)]
    draws = [[plan.draw("create") for _ in range(1000)] for plan in plans]
    assert draws[0] == draws[1]
    assert 150 < draws[0].count("429") < 250
    assert 60 < draws[0].count("drop_after_accept") < 140
    assert {plans[0].draw("results") for _ in range(200)} == {None, "429", "cut_clean", "cut_line", "cut_reset"}
    assert "cut_clean" not in {plans[0].draw("list") for _ in range(200)}


@pytest.mark.parametrize("text", ["nope=1", "list.cut_clean=1", "create.error=1", "where.429=1", "429=x"])
def test_an_unknown_fault_is_refused_by_name(text: str) -> None:
    """A typing error must not give a sandbox without faults."""
    with pytest.raises(ValueError, match="fault"):
        parse_faults(text)


@both
def test_the_admin_routes_steer_and_show(face: Face) -> None:
    """Faults, scripts, time and neighbours by HTTP; the ledger as truth."""

    async def story() -> None:
        sandbox = still_sandbox()
        async with http_client(sandbox, face) as client:
            assert (await client.post("/sandbox/faults", json={"faults": "error=1"})).json() == {"faults": {"error": 1}}
            assert (await client.post("/sandbox/faults", json={"faults": {"nope": 1}})).status_code == 400
            assert (await client.post("/sandbox/script", json={"endpoint": "list", "fault": "529"})).status_code == 200
            assert (await client.get(BATCHES)).status_code == 529
            made = (await client.post(BATCHES, content=body(3))).json()
            await client.post("/sandbox/foreign", json={"total": 3, "count": 2})
            assert len((await client.get(BATCHES)).json()["data"]) == 3
            stats = (await client.get("/sandbox/stats")).json()
            assert (stats["batches_created"], stats["faults_met"]) == (1, {"list.529": 1})
            before = stats["now"]
            assert (await client.post("/sandbox/advance", json={"seconds": 3600})).json()["now"] > before
            ledger = await client.get("/sandbox/ledger")
            rows = [httpx2.Response(200, content=line).json() for line in ledger.content.splitlines()]
            assert {(row["batch_id"], row["outcome"], row["billed"]) for row in rows} == {
                (made["id"], "errored", False)
            }
            assert (await client.get("/sandbox/nothing")).status_code == 404
            assert (await client.post("/sandbox/nothing")).status_code == 404

    run(story())


def test_serving_ends_with_its_caller_and_leaves_the_signals_alone() -> None:
    """The server lives in the caller's loop: cancelled, it closes its port; signals stay the caller's business."""

    async def story() -> None:
        sandbox = still_sandbox()
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        before = signal.getsignal(signal.SIGTERM)
        task = asyncio.create_task(serve(sandbox.app(), 0, ready=port.set_result))
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{await port}", headers=HEADERS) as client:
            assert (await client.get(BATCHES)).status_code == 200
            assert signal.getsignal(signal.SIGTERM) is before
            sandbox.machine.plan.script("list", "hang")
            waiting = asyncio.create_task(client.get(BATCHES))
            await asyncio.wait({waiting}, timeout=0.1)  # it hangs, or is still on its way: broken either way
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(httpx2.TransportError):
                await waiting
            with pytest.raises(httpx2.ConnectError):
                await client.get(BATCHES)

    run(story())


def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    """No second server hides behind the first."""

    async def story() -> None:
        sandbox = still_sandbox()
        async with sandbox.serving() as port:
            with pytest.raises(OSError, match="in use"):
                async with sandbox.serving(port):
                    pass

    run(story())
