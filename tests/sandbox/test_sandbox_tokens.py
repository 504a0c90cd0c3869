"""count_tokens, and that what it says is near to what is billed; how many tokens a text, an image and a tool have."""

import base64
import json
import struct
from datetime import timedelta
from typing import Any

import anthropic
import pytest
from sandbox.sandbox_world import MODEL, World, http_client, params, run, sdk_client, still_sandbox
from sandbox.test_sandbox_cache import marked, usages

from orchestrator.sandbox import ApiError, Caller
from orchestrator.sandbox.token_count import NEWER, OLDER, size_in, tokens_of

COUNT = "/v1/messages/count_tokens"
ENGLISH = "The parcel came two days late, but what was in it works well enough for my mother. " * 20
CHINESE = "这个包裹晚到了两天，不过里面的东西对我母亲来说还算好用。" * 20
PARTS = ("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control")


def counted(world: World, request: dict[str, Any]) -> int:
    kept = {name: value for name, value in request.items() if name in PARTS}
    return world.machine.count_tokens(json.dumps(kept).encode())["input_tokens"]


def billed(world: World, *requests: dict[str, Any]) -> list[int]:
    """All input tokens of each row, however they are divided."""
    lines = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return [sum(usage[line] for line in lines) for usage in usages(world, *requests)]


def image(head: bytes) -> list[dict[str, Any]]:
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(head).decode()}
    return [{"role": "user", "content": [{"type": "image", "source": source}]}]


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(3000)


TOOL = {"name": "look", "description": "Looks a word up.", "input_schema": {"type": "object", "properties": {}}}
FIELDS = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
SCHEMA = {"format": {"type": "json_schema", "schema": FIELDS}}
REQUESTS: dict[str, dict[str, Any]] = {
    "plain": params(ENGLISH),
    "short": params("Hi"),
    "blocks": params([{"type": "text", "text": ENGLISH}, {"type": "text", "text": CHINESE}]),  # type: ignore[arg-type]  # content may be blocks
    "system": params("Hi", system=ENGLISH),
    "a marked system": params("Hi", system=marked(ENGLISH * 10)),
    "tools": params("Hi", tools=[TOOL, TOOL | {"name": "other"}]),
    "marked tools": params("Hi", tools=[TOOL, TOOL | {"cache_control": {"type": "ephemeral"}}], system=marked()),
    "no tools": params("Hi", tools=[]),
    "a schema": params("Hi", output_config=SCHEMA),
    "an image": params(messages=image(png(1001, 1001))),
    "turns": params(
        messages=[
            {"role": "user", "content": "Look it up."},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "look", "input": {"word": "x"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": ENGLISH}]},
        ]
    ),
    "a document elsewhere": params(
        messages=[{"role": "user", "content": [{"type": "document", "source": {"type": "url", "url": "https://x"}}]}]
    ),
}


@pytest.mark.parametrize("model", [MODEL, "claude-sonnet-5"])
@pytest.mark.parametrize("case", REQUESTS)
def test_a_bill_is_within_two_percent_of_the_count(case: str, model: str) -> None:
    """Also where a prefix is written or read: the parts add up to the whole."""
    request = REQUESTS[case] | {"model": model}
    world = World(instant=True)
    count = counted(world, request)
    cold, warm = billed(world, request), billed(world, request)
    assert cold == warm
    assert count / 1.02 - 1 <= cold[0] <= count * 1.02
    assert counted(world, request) == count


def test_the_difference_is_seeded_and_different_for_each_request() -> None:
    """Nobody can calibrate it away with one call, and everybody can play it again."""

    def ratios(seed: int) -> list[float]:
        world = World(seed=seed, instant=True)
        requests = [params(ENGLISH * 5 + str(number)) for number in range(100)]
        return [
            count / bill
            for count, bill in zip((counted(world, r) for r in requests), billed(world, *requests), strict=True)
        ]

    found = ratios(1)
    assert found == ratios(1) != ratios(2)
    assert 0.98 < min(found) < 0.985
    assert 1.015 < max(found) < 1.021
    assert 0.995 < sum(found) / 100 < 1.005


def test_scripts_and_families_have_rates_of_their_own() -> None:
    """Some 0.23 tokens a byte of English up to 4.6, 1.47 times that from 4.7 on; Chinese stays what it was."""
    english, chinese, emoji = (text.encode() for text in (ENGLISH, CHINESE, "😀🚀" * 50))
    assert 0.21 < OLDER.text(english) / len(english) < 0.26
    assert 1.4 < NEWER.text(english) / OLDER.text(english) < 1.5
    assert 0.97 < NEWER.text(chinese) / OLDER.text(chinese) < 1.03
    assert 0.9 < OLDER.text(chinese) / len(CHINESE) < 1.2
    assert 2 < OLDER.text(emoji) / 100 < 3
    dense = b'{"a":[1,2,3],"b":{"c":"d"}}' * 20
    assert OLDER.text(dense) / len(dense) > 1.5 * OLDER.text(english) / len(english)


def test_no_text_has_more_tokens_than_bytes() -> None:
    """What held for every recorded pair: at most the bytes, ten a message, and twenty."""
    world = World(instant=True)
    texts = ["", " " * 500, "!" * 500, "0" * 500, "é" * 500, "漢" * 500, "😀" * 500, ENGLISH, "a b " * 200]
    for model in (MODEL, "claude-opus-5-5"):
        found = billed(world, *(params(text, model=model) for text in texts))
        assert all(count <= len(text.encode()) + 30 for count, text in zip(found, texts, strict=True))


SIZES: dict[str, tuple[bytes, tuple[int, int]]] = {
    "png": (png(1001, 640), (1001, 640)),
    "gif": (b"GIF89a" + struct.pack("<HH", 540, 360), (540, 360)),
    "jpeg": (
        b"\xff\xd8\xff\xe0" + struct.pack(">H", 16) + bytes(14) + b"\xff\xc2" + struct.pack(">HBHH", 17, 8, 360, 540),
        (540, 360),
    ),
    "webp, lossy": (b"RIFF....WEBPVP8 " + bytes(10) + struct.pack("<HH", 60, 30), (60, 30)),
    "webp, lossless": (b"RIFF....WEBPVP8L" + bytes(5) + struct.pack("<I", 59 | 29 << 14) + bytes(8), (60, 30)),
    "webp, extended": (
        b"RIFF....WEBPVP8X" + bytes(8) + (59).to_bytes(3, "little") + (29).to_bytes(3, "little"),
        (60, 30),
    ),
}


@pytest.mark.parametrize("case", SIZES)
def test_an_image_is_measured_by_its_head(case: str) -> None:
    """The four formats that the API takes; a head that ends too early says nothing."""
    content, size = SIZES[case]
    assert size_in(content) == size
    assert size_in(content[:9]) is None
    assert size_in(b"BM" + content) is None


def test_an_image_has_a_token_for_each_square_after_it_was_scaled_down() -> None:
    """Recorded: 1001 × 1001 has 1,296, 540 × 360 has 260, 60 × 30 has 6. Larger ones meet the limit of the model."""
    older, newer = {"edge": 1568, "most": 1568}, {"edge": 2576, "most": 4784}
    for size, tokens in (((1001, 1001), 1296), ((540, 360), 260), ((60, 30), 6)):
        assert tokens_of(size, **older) == tokens_of(size, **newer) == tokens
    assert 1400 < tokens_of((4000, 4000), **older) <= 1568
    assert 4500 < tokens_of((4000, 4000), **newer) <= 4784
    assert tokens_of((4000, 40), **older) == 56
    assert (tokens_of(None, **older), tokens_of((0, 5), **newer)) == (1568, 4784)
    world = World(instant=True)
    assert billed(world, params(messages=image(png(1001, 1001)))) == [1296 + 8]
    assert billed(world, params(messages=image(b"nothing that is known"))) == [1568 + 8]


def test_tools_and_pages_bring_tokens_of_their_own() -> None:
    """The system prompt for tools, once; a page of a PDF as text and as an image."""
    world = World(instant=True)
    none, one, two = billed(world, params(), params(tools=[TOOL]), params(tools=[TOOL, TOOL]))
    assert one - none > 346 > two - one > 10
    data = base64.b64encode(b"%PDF /Type /Pages /Type/Page /Type /Page").decode()
    pdf = [{"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}]
    assert billed(world, params(pdf)) == [2 * (2000 + 1568) + 8]  # type: ignore[arg-type]  # content may be blocks


@pytest.mark.parametrize("extra", ["max_tokens", "stream", "metadata", "temperature", "inference_geo", "foo"])
def test_fields_that_only_a_message_has_are_refused(extra: str) -> None:
    """So a client sends a whitelist of its params."""
    request = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], extra: None}
    with pytest.raises(ApiError, match=f"400 .*{extra}: Extra inputs are not permitted"):
        World().machine.count_tokens(json.dumps(request).encode())


WRONG = {
    b"{": "400",
    b"[]": "400",
    b'{"messages":[]}': "model: Field required",
    b'{"model":"claude-haiku-4-5"}': "messages: Field required",
    b'{"model":"claude-haiku-4-5","messages":[]}': "at least one message is required",
    b'{"model":"claude-haiku-4-5","messages":[{"role":"user","content":7}]}': r"messages\[0\]",
    b'{"model":"claude-none","messages":[{"role":"user","content":"Hi"}]}': "404 .*model: claude-none",
}


@pytest.mark.parametrize("content", WRONG)
def test_a_wrong_prompt_is_refused(content: bytes) -> None:
    """With the words that a batch's errored row has."""
    with pytest.raises(ApiError, match=WRONG[content]):
        World().machine.count_tokens(content)


def test_the_calls_of_a_minute_are_limited_by_workspace() -> None:
    """429 with retry-after; the allowance fills up steadily, by the sandbox's clock."""
    world = World(count_tokens_a_minute=60)
    prompt = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}).encode()
    for _ in range(60):
        world.machine.count_tokens(prompt)
    with pytest.raises(ApiError, match="429 rate_limit_error") as caught:
        world.machine.count_tokens(prompt)
    assert caught.value.headers == (("retry-after", "1"),)
    world.machine.count_tokens(prompt, Caller(workspace="another"))
    world.advance(timedelta(seconds=2))
    for _ in range(2):
        world.machine.count_tokens(prompt)
    with pytest.raises(ApiError, match="429"):
        world.machine.count_tokens(prompt)
    world.advance(timedelta(hours=1))
    for _ in range(60):
        world.machine.count_tokens(prompt)


def test_the_sdk_sees_the_limit_and_the_faults_of_the_endpoint() -> None:
    """Faults may be asked for, as for any other endpoint; 32 MB is the most."""

    async def story() -> None:
        sandbox = still_sandbox(count_tokens_a_minute=2, faults="")
        prompt: Any = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
        async with sdk_client(sandbox) as client:
            sandbox.machine.plan.script("count_tokens", "529")
            with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
                await client.messages.count_tokens(**prompt)
            for _ in range(2):
                assert (await client.messages.count_tokens(**prompt)).input_tokens > 5
            with pytest.raises(anthropic.RateLimitError) as caught:
                await client.messages.count_tokens(**prompt)
            assert caught.value.response.headers["retry-after"] == "30"
        async with http_client(sandbox, "in process") as plain:
            assert (await plain.post(COUNT, content=b" " * 32_000_001)).status_code == 413

    run(story())


def test_a_model_says_when_it_retires() -> None:
    """What is announced; `lifecycle` as the SDK's types have it."""

    async def story() -> None:
        async with sdk_client(still_sandbox()) as client:
            ending = await client.models.retrieve("claude-sonnet-4-5")
            assert ending.retires_at is not None
            assert (ending.lifecycle, ending.retires_at.date().isoformat()) == ("deprecated", "2026-11-30")
            lasting = await client.models.retrieve("claude-sonnet-4-6")
            assert (lasting.lifecycle, lasting.retires_at, lasting.deprecated_at) == ("active", None, None)

    run(story())
