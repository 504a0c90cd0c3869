"""The endpoints through the real SDK, with its strict validation switched on."""

from datetime import timedelta
from typing import Any

import anthropic
import pytest
from sandbox.sandbox_world import BATCHES, HOUR, START, body, http_client, params, run, sdk_client, still_sandbox

from orchestrator.sandbox import Sandbox


async def create(client: anthropic.AsyncAnthropic, count: int = 5) -> Any:
    requests = [{"custom_id": f"r-{n}", "params": params(f"question {n}")} for n in range(count)]
    return await client.messages.batches.create(requests=requests)  # type: ignore[arg-type]  # plain dicts are what users pass


def test_a_batch_lives_from_create_to_delete() -> None:
    """The six endpoints tell one consistent story."""

    async def story() -> None:
        sandbox = still_sandbox()
        async with sdk_client(sandbox) as client:
            made = await create(client)
            assert (made.processing_status, made.request_counts.processing, made.results_url) == (
                "in_progress",
                5,
                None,
            )
            assert made.expires_at - made.created_at == timedelta(hours=24)
            sandbox.clock.advance(HOUR)
            ended = await client.messages.batches.retrieve(made.id)
            assert (ended.processing_status, ended.request_counts.succeeded) == ("ended", 5)
            rows = [row async for row in await client.messages.batches.results(made.id)]
            assert {row.custom_id for row in rows} == {f"r-{n}" for n in range(5)}
            assert [batch.id async for batch in client.messages.batches.list()] == [made.id]
            assert (await client.messages.batches.delete(made.id)).type == "message_batch_deleted"
            with pytest.raises(anthropic.NotFoundError):
                await client.messages.batches.retrieve(made.id)

    run(story())


def test_counts_are_zero_until_the_end_and_always_add_up() -> None:
    """Nobody may read progress from the counts."""

    async def story() -> None:
        sandbox = still_sandbox(batch_seconds=(100, 100))
        async with sdk_client(sandbox) as client:
            made = await create(client, 40)
            batch = made
            for _ in range(12):
                sandbox.clock.advance(timedelta(seconds=9))
                batch = await client.messages.batches.retrieve(made.id)
                counts = batch.request_counts.model_dump()
                assert sum(counts.values()) == 40
                done = 40 if batch.processing_status == "ended" else 0
                assert counts["succeeded"] == done
            assert batch.processing_status == "ended"

    run(story())


def test_answers_are_canned_and_say_so() -> None:
    """Nobody can take a sandbox answer for a real one, and everybody can see whose question it answers."""

    async def story() -> None:
        sandbox = still_sandbox()
        async with sdk_client(sandbox) as client:
            made = await create(client, 600)
            sandbox.clock.advance(HOUR)
            rows = [row async for row in await client.messages.batches.results(made.id)]
            assert [row.custom_id for row in rows] != [f"r-{n}" for n in range(600)]
            for row in rows:
                assert row.result.type == "succeeded"
                message = row.result.message
                block = message.content[0]
                assert block.type == "text"
                assert block.text == f"SANDBOX canned answer to: question {row.custom_id[2:]}"
                assert (message.usage.service_tier, message.usage.inference_geo) == ("batch", "not_available")

    run(story())


@pytest.mark.parametrize("headers", [{"x-api-key": "sk-a"}, {"authorization": "Bearer sk-a"}])
@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
def test_both_auth_headers_and_both_versions_are_taken(headers: dict[str, str], version: str) -> None:
    """SDK 1 sends x-api-key, SDK 2 a bearer token; both API versions exist."""

    async def story() -> None:
        async with http_client(still_sandbox(), "in process", headers=headers) as client:
            answer = await client.post(BATCHES + "?beta=true", content=body(1), headers={"anthropic-version": version})
            assert answer.status_code == 200

    run(story())


def test_answers_carry_the_headers_of_the_api() -> None:
    """The engine stores the account of a batch and trusts the API's date only."""

    async def story() -> None:
        async with http_client(still_sandbox(), "in process") as client:
            answer = await client.post(BATCHES, content=body(1))
            assert answer.headers["request-id"].startswith("req_")
            assert answer.headers["anthropic-organization-id"]
            assert answer.headers["anthropic-workspace-id"] == "wrkspc_sandbox"
            assert answer.headers["date"] == START.strftime("%a, %d %b %Y %H:%M:%S GMT")
            running = await client.get(f"{BATCHES}/{answer.json()['id']}")
            assert running.headers["retry-after"] == "10"

    run(story())


def test_results_url_is_absolute_on_the_callers_own_host() -> None:
    """The SDK follows it verbatim with the key."""

    async def story() -> None:
        sandbox = still_sandbox(instant=True)
        async with http_client(sandbox, "over TCP") as client:
            made = (await client.post(BATCHES, content=body(1))).json()
            url = (await client.get(f"{BATCHES}/{made['id']}")).json()["results_url"]
            assert url == f"{client.base_url}{BATCHES}/{made['id']}/results"
            assert (await client.get(url)).headers["content-type"] == "application/x-jsonl"

    run(story())


def test_an_instant_batch_is_created_running_and_ended_at_the_next_look() -> None:
    """The option for fast tests keeps the order of events."""

    async def story() -> None:
        async with sdk_client(still_sandbox(instant=True)) as client:
            made = await create(client)
            assert made.processing_status == "in_progress"
            assert (await client.messages.batches.retrieve(made.id)).processing_status == "ended"

    run(story())


def test_tokens_are_counted_and_models_are_listed() -> None:
    """The two endpoints a preflight asks."""

    async def story() -> None:
        async with sdk_client(still_sandbox()) as client:
            messages: Any = [{"role": "user", "content": "Hello"}]
            assert (await client.messages.count_tokens(model="claude-haiku-4-5", messages=messages)).input_tokens > 0
            assert [model.id async for model in client.models.list()]
            model = await client.models.retrieve("claude-haiku-4-5")
            assert (model.max_tokens, model.lifecycle) == (64_000, "active")
            assert model.capabilities is not None
            assert model.capabilities.batch.supported
            with pytest.raises(anthropic.NotFoundError):
                await client.messages.count_tokens(model="claude-none", messages=messages)

    run(story())


def test_a_key_sees_its_own_workspace_only() -> None:
    """The scope of a batch is the workspace of the key."""

    async def story() -> None:
        sandbox: Sandbox = still_sandbox(valid_keys={"sk-a": "wrkspc_a", "sk-b": "wrkspc_b"})
        async with sdk_client(sandbox, api_key="sk-a") as ours, sdk_client(sandbox, api_key="sk-b") as theirs:
            made = await create(ours)
            assert [batch.id async for batch in theirs.messages.batches.list()] == []
            with pytest.raises(anthropic.NotFoundError):
                await theirs.messages.batches.cancel(made.id)
            assert (await ours.messages.batches.retrieve(made.id)).id == made.id

    run(story())


def test_a_key_can_be_withdrawn_and_another_one_given() -> None:
    """What happens to keys while a job runs: the batches are the workspace's, so the new key sees them."""

    async def story() -> None:
        async with http_client(still_sandbox(), "in process") as client:
            made = (await client.post(BATCHES, content=body(1))).json()["id"]
            workspace = (await client.get(BATCHES)).headers["anthropic-workspace-id"]
            assert (await client.post("/sandbox/keys", json={"keys": {"new": workspace}})).json() == {"valid": 1}
            assert (await client.get(BATCHES)).status_code == 401
            listed = await client.get(BATCHES, headers={"x-api-key": "new"})
            assert [batch["id"] for batch in listed.json()["data"]] == [made]
            assert (await client.post("/sandbox/keys", json={"keys": None})).json() == {"valid": None}
            assert (await client.get(BATCHES)).status_code == 200

    run(story())


def test_twenty_thousand_requests_stream_through_both_faces() -> None:
    """Bodies and results go through in pieces, complete."""

    async def story() -> None:
        sandbox = still_sandbox(instant=True)
        whole = body(20_000)

        async def pieces() -> Any:
            for start in range(0, len(whole), 100_000):
                yield whole[start : start + 100_000]

        async with http_client(sandbox, "in process") as inside, http_client(sandbox, "over TCP") as outside:
            for client in (inside, outside):
                answer = await client.post(BATCHES, content=pieces())
                assert answer.json()["request_counts"]["processing"] == 20_000
                seen: set[bytes] = set()
                async with client.stream("GET", f"{BATCHES}/{answer.json()['id']}/results") as stream:
                    rest = b""
                    async for piece in stream.aiter_bytes():
                        *lines, rest = (rest + piece).split(b"\n")
                        seen.update(line[:24] for line in lines)
                assert (len(seen), rest) == (20_000, b"")

    run(story())
