"""Creates that go wrong on their way: what is sent again is one batch, what is wrong or cut off is none."""

from __future__ import annotations

import json
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from faces.client_world import OWNER, SLOW, line_of, running, short_runtime_folder
from faces.messages_world import Served, ended, polled, requests, served
from support.forked import Process

from orchestrator.config import default_socket_path
from orchestrator.domain.states import JobState

VERSION = {"anthropic-version": "2026-10-21"}
BODY = json.dumps({"requests": requests(3)}).encode()


def create(world: Served, body: bytes = BODY, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.post(f"{world.url}/v1/messages/batches", content=body, headers={**VERSION, **named}, timeout=60)


class LosesAnswers(httpx2.HTTPTransport):
    """A network that loses the first answers after the server gave them."""

    def __init__(self, lost: int) -> None:
        super().__init__()
        self.left = lost
        self.counts: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.counts.append(request.headers["x-stainless-retry-count"])
        response = super().handle_request(request)
        if self.left == 0:
            return response
        self.left -= 1
        response.read()
        response.close()
        raise httpx2.ReadError("lost", request=request)


def test_a_create_that_the_sdk_sends_again_is_one_batch(tmp_path: Path) -> None:
    """The SDK repeats a create by itself when an answer is lost; at the API that makes up to three batches."""
    network = LosesAnswers(2)
    with served(tmp_path, **SLOW) as world, httpx2.Client(transport=network) as http:
        client = anthropic.Anthropic(base_url=world.url, api_key="any", http_client=http)
        made = client.messages.batches.create(requests=requests(3))
        assert network.counts == ["0", "1", "2"]
        assert [one.id for one in client.messages.batches.list()] == [made.id]


def test_two_creates_with_the_same_content_are_two_batches(tmp_path: Path) -> None:
    """As at the API: who asks twice gets two answers. Only a retry attaches, and to the newest of them."""
    with served(tmp_path, **SLOW) as world:
        first, second = create(world).json()["id"], create(world, x_stainless_retry_count="0").json()["id"]
        assert first != second
        assert create(world, x_stainless_retry_count="1").json()["id"] == second
        other = json.dumps({"requests": requests(2)}).encode()
        assert create(world, other, x_stainless_retry_count="1").json()["id"] not in {first, second}
        assert len(world.jobs()) == 3


def test_a_retry_with_other_headers_is_another_batch(tmp_path: Path) -> None:
    """The same body for another API version or with other betas is not the same create."""
    with served(tmp_path, **SLOW) as world:
        made = {create(world).json()["id"]}
        made.add(create(world, x_stainless_retry_count="1", anthropic_beta="x-1").json()["id"])
        made.add(create(world, x_stainless_retry_count="1", anthropic_version="2023-06-01").json()["id"])
        assert len(made) == 3


def test_an_idempotency_key_names_a_create(tmp_path: Path) -> None:
    """The same key again is the same batch, whoever sends it and when; with other content it is a mistake."""
    with served(tmp_path, **SLOW) as world:
        made = [create(world, idempotency_key="one") for _ in range(2)] + [create(world)]
        assert [one.status_code for one in made] == [200, 200, 200]
        assert made[0].json()["id"] == made[1].json()["id"] != made[2].json()["id"]
        reused = create(world, json.dumps({"requests": requests(1)}).encode(), idempotency_key="one")
        assert (reused.status_code, reused.json()["error"]["type"]) == (422, "invalid_request_error")
        assert create(world, idempotency_key="x" * 256).status_code == 400
        assert len(world.jobs()) == 2


def test_a_client_that_goes_away_leaves_nothing(tmp_path: Path) -> None:
    """Half a body is no batch, and is not listed while it comes."""
    with served(tmp_path, **SLOW) as world, anthropic.Anthropic(base_url=world.url, api_key="any") as client:
        host, port = world.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /v1/messages/batches HTTP/1.1\r\nhost: {host}:{port}\r\nanthropic-version: 2023-06-01\r\n"
            connection.sendall(f"{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY[:-10])
            polled(world.jobs, lambda jobs: [job.state for job in jobs] == [JobState.IMPORTING])
            assert client.messages.batches.list().data == []
        polled(world.jobs, lambda jobs: jobs == [])


def test_a_create_whose_client_is_gone_at_its_end_is_let_go(tmp_path: Path) -> None:
    """A try that was slow must not become a second batch beside that of its own retry."""
    messages = [{"type": "http.request", "body": BODY, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    with served(tmp_path, **SLOW) as world:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/messages/batches",
            "query_string": b"",
            "headers": [(b"anthropic-version", b"2023-06-01"), (b"host", b"x")],
        }
        world.wait_for(lambda: world.app(scope, receive, send))
        assert (messages, world.jobs()) == ([], [])
        assert create(world, x_stainless_retry_count="1").status_code == 200
        assert len(world.jobs()) == 1


@pytest.mark.long
def test_a_create_beyond_every_limit_of_the_api_is_one_batch(tmp_path: Path) -> None:
    """25,000 requests where the API's batch holds 10,000: three batches there, one here, and every result comes."""

    def pieces() -> Any:
        yield b'{"requests":['
        for number, one in enumerate(requests(25_000)):
            yield (b"," if number else b"") + json.dumps(one).encode()
        yield b"]}"

    with (
        served(tmp_path, batching__max_requests=10_000) as world,
        anthropic.Anthropic(base_url=world.url, api_key="any") as client,
    ):
        url = f"{world.url}/v1/messages/batches"
        made = httpx2.post(url, content=pieces(), headers=VERSION, timeout=60).json()
        assert made["request_counts"]["processing"] == 25_000
        done = ended(client, made["id"])
        assert done.request_counts.succeeded == 25_000
        with client.messages.batches.with_streaming_response.results(done.id) as response:
            ids = [json.loads(line)["custom_id"] for line in b"".join(response.iter_bytes(1 << 20)).splitlines()]
        assert ids == [f"r{number}" for number in range(25_000)]
        job = world.jobs()[0]
        batches = world.wait_for(lambda: world.engine.read(lambda reads: reads.batches(job.id)))
        assert sorted(batch.count for batch in batches) == [5_000, 10_000, 10_000]


def test_a_request_that_fits_no_batch_is_too_large(tmp_path: Path) -> None:
    """The one limit that stays: a single request must fit into a batch at the API."""
    large = [{"custom_id": "a", "params": {"text": "x" * 200_000}}]
    with served(tmp_path, **SLOW, batching__max_bytes=100_000) as world:
        for body in (large, [*requests(3), *large], [*large, *requests(3)]):
            answer = create(world, json.dumps({"requests": body}).encode())
            assert (answer.status_code, answer.json()["error"]["type"]) == (413, "request_too_large")
        assert world.jobs() == []


def test_a_daemon_that_is_killed_before_its_answer_arrives_has_made_one_batch(tmp_path: Path) -> None:
    """What was stored is found again by the SDK's retry, whatever process answers it."""
    database = tmp_path / "x.db"
    owners: list[Process] = []

    class KilledOnce(httpx2.HTTPTransport):
        """The daemon dies when it has answered for the first time, and another takes its place."""

        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            response = super().handle_request(request)
            if len(owners) > 1:
                return response
            response.close()
            owners[0].kill()
            owners[0].wait()
            owners.append(stack.enter_context(running(OWNER, database, 0.01)))
            assert line_of(owners[1]) == "open"
            raise httpx2.ReadError("killed", request=request)

    with short_runtime_folder(), ExitStack() as stack:
        owners.append(stack.enter_context(running(OWNER, database, 0.01)))
        assert line_of(owners[0]) == "open"
        network = KilledOnce(uds=str(default_socket_path(database, os.environ)))
        http = stack.enter_context(httpx2.Client(transport=network))
        client = anthropic.Anthropic(base_url="http://daemon", api_key="any", http_client=http)
        made = client.messages.batches.create(requests=requests(3))
        assert len(owners) == 2
        assert [one.id for one in client.messages.batches.list()] == [made.id]


@pytest.mark.long
def test_a_download_that_the_end_of_the_daemon_cuts_is_no_short_success(tmp_path: Path) -> None:
    """A stream that ends cleanly too early would be taken for all there is."""
    with ExitStack() as stack:
        world = stack.enter_context(served(tmp_path))
        body = json.dumps({"requests": requests(12_000)}).encode()
        made = create(world, body).json()["id"]
        with anthropic.Anthropic(base_url=world.url, api_key="any") as client:
            ended(client, made)
        url = f"{world.url}/v1/messages/batches/{made}/results"
        headers = {**VERSION, "accept-encoding": "identity"}
        with httpx2.stream("GET", url, headers=headers, timeout=60) as answer:
            pieces = answer.iter_bytes()
            assert next(pieces).startswith(b'{"custom_id":"r0"')
            stack.close()
            with pytest.raises(httpx2.TransportError):
                list(pieces)


@pytest.mark.long
def test_an_upload_that_the_end_of_the_daemon_cuts_is_to_be_tried_again(tmp_path: Path) -> None:
    """In the API's form, with a status that the SDK retries; and nothing is left of it."""
    with ExitStack() as stack:
        world = stack.enter_context(served(tmp_path, **SLOW))
        host, port = world.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            head = f"POST /v1/messages/batches HTTP/1.1\r\nhost: {host}:{port}\r\nanthropic-version: 2023-06-01\r\n"
            connection.sendall(f"{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY[:-10])
            polled(world.jobs, lambda jobs: len(jobs) == 1)
            stack.close()
            told = connection.makefile("rb").read()
    assert told.startswith(b"HTTP/1.1 503")
    said = json.loads(told.partition(b"\r\n\r\n")[2])
    assert (said["type"], said["error"]["type"]) == ("error", "api_error")
    assert f"request-id: {said['request_id']}".encode() in told
    with served(tmp_path, **SLOW) as world:
        assert world.jobs() == []
