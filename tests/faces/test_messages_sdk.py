"""The unmodified official SDK against a daemon: only its `base_url` is another."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types.messages import MessageBatch
from faces.client_world import SLOW
from faces.messages_world import Served, ended, polled, requests, served

from orchestrator.config import default_socket_path
from orchestrator.domain.states import BatchState
from orchestrator.ports.job_store import BY_RETENTION

#: Batches of two requests, so that a create needs several.
SMALL: dict[str, Any] = {"batching__max_requests": 2}


def sdk(world: Served, **options: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=world.url, api_key="any", **options)


def total(batch: MessageBatch) -> int:
    counts = batch.request_counts
    return counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired


def test_a_batch_is_created_polled_and_read(tmp_path: Path) -> None:
    """The whole way of the SDK's guide; the counts add up at every look, and the results are in input order."""
    with served(tmp_path, **SMALL) as world, sdk(world) as client:
        made = client.messages.batches.create(requests=requests(7))
        assert (made.type, made.processing_status, made.results_url) == ("message_batch", "in_progress", None)
        assert (made.id.startswith("msgbatch_01"), len(made.id), total(made)) == (True, 33, 7)
        assert (made.ended_at, made.archived_at, made.cancel_initiated_at) == (None, None, None)
        assert (made.expires_at - made.created_at).total_seconds() == 5 * 24 * 3600
        done = polled(
            lambda: client.messages.batches.retrieve(made.id),
            lambda one: total(one) == 7 and one.processing_status == "ended",
        )
        assert (done.id, done.created_at, done.request_counts.succeeded) == (made.id, made.created_at, 7)
        assert done.ended_at is not None
        assert done.results_url == f"{world.url}/v1/messages/batches/{made.id}/results"
        results = list(client.messages.batches.results(made.id))
        assert [one.custom_id for one in results] == [f"r{number}" for number in range(7)]
        for number, one in enumerate(results):
            assert one.result.type == "succeeded"
            block = one.result.message.content[0]
            assert block.type == "text"
            assert block.text.endswith(f"hello {number}")
            assert one.result.message.usage.service_tier == "batch"


@pytest.mark.parametrize("headers", [{"host": "localhost:18443"}, {"x-forwarded-proto": "https"}])
def test_behind_a_proxy_with_tls_the_link_to_the_results_is_https(tmp_path: Path, headers: dict[str, str]) -> None:
    """F1: the SDK follows `results_url` as it is given, and a bearer token must not go there in the clear."""
    with served(tmp_path, server__allowed_hosts="localhost") as world, sdk(world) as client:
        made = client.messages.batches.create(requests=requests(1))
        ended(client, made.id)
        host = headers.get("host", world.url.removeprefix("http://"))
        batch = client.messages.batches.retrieve(made.id, extra_headers=headers)
        assert batch.results_url == f"https://{host}/v1/messages/batches/{made.id}/results"


def test_the_async_client_works_alike(tmp_path: Path) -> None:
    """Create, poll, read and list with `AsyncAnthropic`."""

    async def check(world: Served) -> None:
        async with anthropic.AsyncAnthropic(base_url=world.url, api_key="any") as client:
            made = [await client.messages.batches.create(requests=requests(3, said=f"{n}")) for n in range(3)]
            async with asyncio.timeout(30):
                for one in made:
                    while (await client.messages.batches.retrieve(one.id)).processing_status != "ended":  # noqa: ASYNC110 - an API to poll
                        await asyncio.sleep(0.02)
            read = [one.custom_id async for one in await client.messages.batches.results(made[1].id)]
            assert read == ["r0", "r1", "r2"]
            listed = [one.id async for one in client.messages.batches.list(limit=2)]
            assert listed == [one.id for one in reversed(made)]
            raw = await client.messages.batches.with_raw_response.retrieve(made[0].id)
            assert (await raw.parse()).id == made[0].id
            assert raw.headers["request-id"].startswith("req_")

    with served(tmp_path) as world:
        asyncio.run(check(world))


def test_raw_and_streamed_responses_are_the_apis_own_lines(tmp_path: Path) -> None:
    """`with_raw_response` and `with_streaming_response` see what a program that reads the API's files expects."""
    with served(tmp_path) as world, sdk(world) as client:
        raw = client.messages.batches.with_raw_response.create(requests=requests(3))
        made = raw.parse()
        assert (raw.http_response.status_code, raw.headers["content-type"]) == (200, "application/json")
        ended(client, made.id)
        with client.messages.batches.with_streaming_response.results(made.id) as response:
            assert response.headers["content-type"] == "application/x-jsonl"
            content = b"".join(response.iter_bytes())
        lines = content.splitlines()
        assert [json.loads(line)["custom_id"] for line in lines] == ["r0", "r1", "r2"]
        assert content.endswith(b"}\n")
        with client.messages.batches.with_streaming_response.retrieve(made.id) as response:
            assert response.parse().id == made.id
        plain = httpx2.get(
            f"{world.url}/v1/messages/batches/{made.id}/results?beta=true",
            headers={"anthropic-version": "2023-06-01", "accept-encoding": "identity"},
        )
        assert ("content-encoding" not in plain.headers, plain.content) == (True, content)


def test_results_are_packed_for_who_takes_gzip(tmp_path: Path) -> None:
    """A large download over a slow line is smaller; what it holds is the same."""
    with served(tmp_path) as world, sdk(world) as client:
        made = client.messages.batches.create(requests=requests(50))
        ended(client, made.id)
        url = f"{world.url}/v1/messages/batches/{made.id}/results"
        headers = {"anthropic-version": "2023-06-01", "accept-encoding": "br, gzip;q=0.5"}
        with httpx2.stream("GET", url, headers=headers) as packed:
            assert packed.headers["content-encoding"] == "gzip"
            content = b"".join(packed.iter_raw())
        headers["accept-encoding"] = "gzip;q=0, identity"
        assert gzip.decompress(content) == httpx2.get(url, headers=headers).content
        assert len(content) < 5_000


def test_pages_go_forward_and_backward(tmp_path: Path) -> None:
    """The SDK's paging, either way, meets every batch once; `has_more` looks in the direction of paging."""
    with served(tmp_path, **SLOW) as world, sdk(world) as client:
        made = [client.messages.batches.create(requests=requests(1, said=str(n))).id for n in range(5)]
        newest_first = made[::-1]
        assert [one.id for one in client.messages.batches.list(limit=2)] == newest_first
        assert [one.id for one in client.messages.batches.list()] == newest_first
        page = client.messages.batches.list(limit=2)
        assert (page.first_id, page.last_id, page.has_more) == (made[4], made[3], True)
        last = client.messages.batches.list(limit=2, after_id=made[1])
        assert ([one.id for one in last.data], last.has_more, last.last_id) == ([made[0]], False, made[0])
        newer = client.messages.batches.list(limit=2, before_id=made[0])
        assert ([one.id for one in newer.data], newer.has_more) == ([made[2], made[1]], True)
        assert {one.id for one in client.messages.batches.list(limit=2, before_id=made[0])} == set(made[1:])
        empty = client.messages.batches.list(after_id=made[0])
        assert (empty.data, empty.first_id, empty.last_id, empty.has_more) == ([], None, None, False)


def batches_of(world: Served) -> dict[str, int]:
    """How many batches of the only job are in each state."""
    found: dict[str, int] = world.wait_for(
        lambda: world.engine.read(lambda reads: reads.status(reads.jobs(limit=1)[0]).batches)
    )
    return found


def test_a_canceled_batch_is_canceling_first_and_ends_with_what_it_had(tmp_path: Path) -> None:
    """Cancel says `canceling`, can be repeated, and is harmless after the end."""
    with served(tmp_path, **SLOW, **SMALL) as world, sdk(world) as client:
        made = client.messages.batches.create(requests=requests(6))
        polled(lambda: batches_of(world), lambda batches: batches[BatchState.IN_PROGRESS] == 3)
        canceled = client.messages.batches.cancel(made.id)
        assert (canceled.processing_status, canceled.ended_at, total(canceled)) == ("canceling", None, 6)
        assert canceled.cancel_initiated_at is not None
        again = client.messages.batches.cancel(made.id)
        assert again.cancel_initiated_at == canceled.cancel_initiated_at
        polled(lambda: batches_of(world), lambda batches: batches[BatchState.CANCELING] == 3)
    with served(tmp_path) as world, sdk(world) as client:  # the same store, whose API ends its batches
        done = ended(client, made.id)
        assert (done.request_counts.canceled, total(done)) == (6, 6)
        assert done.cancel_initiated_at == canceled.cancel_initiated_at
        assert client.messages.batches.cancel(made.id) == done
        assert {one.result.type for one in client.messages.batches.results(made.id)} == {"canceled"}


def test_a_paused_job_is_in_progress(tmp_path: Path) -> None:
    """The API knows no pause: a client goes on polling, and a person resumes it elsewhere."""
    with served(tmp_path, **SLOW) as world, sdk(world) as client:
        made = client.messages.batches.create(requests=requests(2))
        job = world.jobs()[0].id
        assert world.wait_for(lambda: world.engine.commands.pause(job))
        paused = client.messages.batches.retrieve(made.id)
        assert (paused.processing_status, paused.request_counts.processing) == ("in_progress", 2)
        with pytest.raises(anthropic.BadRequestError, match="In progress batches cannot be deleted"):
            client.messages.batches.delete(made.id)


def test_what_expired_is_told_apart_from_what_failed(tmp_path: Path) -> None:
    """`expired` and `errored` are different counts, and different results, as at the API."""
    with served(tmp_path, sandbox__faults="expire=.4", retry__max_attempts=1) as world, sdk(world) as client:
        wrong = {"custom_id": "wrong", "params": {"model": "claude-haiku-4-5", "max_tokens": 5}}
        made = client.messages.batches.create(requests=[*requests(20), wrong])  # type: ignore[list-item] # on purpose
        assert (made.expires_at - made.created_at).total_seconds() == 24 * 3600
        counts = ended(client, made.id).request_counts
        types = [one.result.type for one in client.messages.batches.results(made.id)]
        assert (counts.errored, types.count("errored")) == (1, 1)
        assert counts.expired == types.count("expired") > 0
        assert counts.succeeded == types.count("succeeded") > 0
        assert len(types) == 21
        last = list(client.messages.batches.results(made.id))[-1]
        assert last.result.type == "errored"
        assert last.result.error.error.message == "messages: Field required"


def test_the_callers_bytes_version_and_betas_are_kept(tmp_path: Path) -> None:
    """`params` reach the API as they were sent; the headers of the create hold for its requests."""
    params = (
        b'{"model" : "claude-haiku-4-5","max_tokens":1e1, "messages":[{"role":"user","content":"\\u00e9 \xc3\xa9"}]}'
    )
    with served(tmp_path, **SLOW) as world:
        answer = httpx2.post(
            f"{world.url}/v1/messages/batches?beta=true",
            content=b'{"requests" : [ {"params": %b , "custom_id" : "a"} ] }' % params,
            headers=[
                ("anthropic-version", "2023-06-01"),
                ("anthropic-beta", "output-300k-2026-03-24, message-batches-2024-09-24"),
                ("anthropic-beta", "files-api-2025-04-14"),
            ],
        )
        assert answer.status_code == 200
        job = world.jobs()[0]
        kept = world.wait_for(lambda: world.engine.read(lambda reads: reads.request(job.id, "a")))
        assert kept.params == params
        assert (job.api_version, job.source) == ("2023-06-01", "<messages api>")
        assert job.betas == ("files-api-2025-04-14", "message-batches-2024-09-24", "output-300k-2026-03-24")


def test_an_id_of_another_store_is_unknown(tmp_path: Path) -> None:
    """Ids are this store's alone: nobody reads a batch by counting, or with another daemon's id."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with served(tmp_path / "a", **SLOW) as world, sdk(world) as client:
        first = client.messages.batches.create(requests=requests(1)).id
    with served(tmp_path / "b", **SLOW) as world, sdk(world) as client:
        second = client.messages.batches.create(requests=requests(1)).id
        assert first != second
        for unknown in (first, f"{second[:-1]}{'A' if second[-1] != 'A' else 'B'}", "msgbatch_01", "x"):
            with pytest.raises(anthropic.NotFoundError, match=f"Message Batch {unknown} not found."):
                client.messages.batches.retrieve(unknown)


def test_the_unix_socket_serves_the_sdk_too(tmp_path: Path) -> None:
    """Without any port: the SDK's own HTTP client over the socket that every engine has."""
    with served(tmp_path) as world:
        socket = httpx2.HTTPTransport(uds=str(default_socket_path(tmp_path / "x.db", os.environ)))
        with httpx2.Client(transport=socket) as http:
            client = anthropic.Anthropic(base_url="http://daemon", api_key="unused", http_client=http)
            made = client.messages.batches.create(requests=requests(2))
            assert ended(client, made.id).results_url == f"http://daemon/v1/messages/batches/{made.id}/results"
            assert [one.custom_id for one in client.messages.batches.results(made.id)] == ["r0", "r1"]
            assert world.jobs()[0].requests.succeeded == 2


def test_a_deleted_batch_is_gone(tmp_path: Path) -> None:
    """Nothing answers for it any more, and its bodies are gone from the store."""
    with served(tmp_path) as world, sdk(world) as client:
        made = [client.messages.batches.create(requests=requests(3, said=str(n))).id for n in range(2)]
        for one in made:
            ended(client, one)
        deleted = client.messages.batches.delete(made[0])
        assert (deleted.id, deleted.type) == (made[0], "message_batch_deleted")
        assert [one.id for one in client.messages.batches.list()] == [made[1]]
        batches = client.messages.batches
        for call in (batches.retrieve, batches.results, batches.cancel, batches.delete):
            with pytest.raises(anthropic.NotFoundError, match=f"Message Batch {made[0]} not found."):
                call(made[0])
        with pytest.raises(anthropic.NotFoundError):
            batches.list(after_id=made[0])
        gone = world.jobs()[1]
        assert (gone.purged_by, gone.requests.succeeded) == ("person", 3)
        request = world.wait_for(lambda: world.engine.read(lambda reads: reads.request(gone.id, "r0")))
        assert (request.params, request.result) == (None, None)
        assert len(list(batches.results(made[1]))) == 3


def test_a_batch_whose_results_were_kept_long_enough_is_archived(tmp_path: Path) -> None:
    """As after 29 days at the API: it is shown, with its counts, and has no results."""
    with served(tmp_path) as world, sdk(world) as client:
        made = client.messages.batches.create(requests=requests(2)).id
        ended(client, made)
        job = world.jobs()[0].id
        bodies = world.engine.store.purge
        assert world.wait_for(lambda: bodies.mark(job, BY_RETENTION, world.engine.clock.now()))
        archived = client.messages.batches.retrieve(made)
        assert (archived.processing_status, archived.request_counts.succeeded) == ("ended", 2)
        assert (archived.results_url, archived.archived_at is None) == (None, False)
        assert [one.id for one in client.messages.batches.list()] == [made]
        answer = httpx2.get(
            f"{world.url}/v1/messages/batches/{made}/results", headers={"anthropic-version": "2023-06-01"}
        )
        assert answer.json()["error"]["message"] == f"Message Batch {made} has no available results."
        with pytest.raises(anthropic.BadRequestError, match="archived"):
            client.messages.batches.delete(made)
