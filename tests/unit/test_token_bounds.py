"""What a request costs at most, by its bytes: text, images, tools, the cache, the US, and what has no bound."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from orchestrator.domain.billing import Rates, Tokens, cost_of
from orchestrator.domain.cache_marker import own_marker
from orchestrator.domain.json_text import plain_ascii
from orchestrator.domain.model_generation import NEWEST, generation_of, takes_geo
from orchestrator.domain.token_bounds import (
    WorstUsage,
    content_of,
    image_tokens,
    read_request,
    size_of_image,
    unbounded_field,
    worst_cost,
    worst_input,
    worst_of,
)

HAIKU_4_5 = Rates(500_000, 2_500_000, 625_000, 1_000_000, 50_000)
HAIKU_5_5 = Rates(50_000, 250_000, 62_500, 100_000, 5_000, 100_000, (250_000, 1_250_000, 312_500, 500_000, 25_000))
SONNET_5_5 = Rates(1_000_000, 5_000_000, 1_250_000, 2_000_000, 50_000)


def params(content: object = "Hi", model: object = "claude-haiku-4-5", **more: object) -> bytes:
    messages = [{"role": "user", "content": content}]
    return json.dumps({"model": model, "max_tokens": 64, "messages": messages, **more}).encode()


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(5)


def image(data: bytes) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(data).decode()}
    return {"type": "image", "source": source}


def worst(raw: bytes) -> WorstUsage:
    request = read_request(raw)
    return worst_of(request, content_of(request))


def test_a_max_tokens_that_no_model_can_write_is_no_bound() -> None:
    """The API refuses it; until then its cost must fit into a store."""
    raw = params("x").replace(b'"max_tokens": 64', b'"max_tokens": 1' + b"0" * 30)
    assert worst(raw).output == 1_000_000


def test_a_thousand_tokens_and_their_price() -> None:
    """A text of 970 bytes is at most 1,000 tokens; with 64 to answer that is $0.66 for a thousand of them."""
    found = worst(params("x" * 970))
    assert found == WorstUsage(1_000, 64)
    assert worst_cost(found, HAIKU_4_5) == 660_000


@pytest.mark.parametrize("text", ["plain", "tab\tand \u4e2d\u6587 and \U0001f600", 'quotes " and \\', ""])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_no_text_has_more_bytes_than_are_counted(text: str, is_ascii: bool) -> None:
    """An escape in JSON is at least as long as what it stands for, so the bytes in JSON are a bound as well."""
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": [{"type": "text", "text": text}]}]
    raw = json.dumps({"model": "m", "max_tokens": 1, "messages": messages}, ensure_ascii=is_ascii).encode()
    assert worst_input(raw) >= 2 * len(text.encode()) + 2 * 10 + 20


def test_system_tools_and_a_schema_are_counted() -> None:
    """Each brings its bytes; tools and a schema words of the API's own, as many as the model's generation takes."""
    plain = worst_input(params())
    assert worst_input(params(system="s" * 98)) == plain + 100
    tools = [{"name": "t", "input_schema": {}}]
    size = len(json.dumps(tools))
    assert worst_input(params(tools=tools)) == plain + size + 589
    assert worst_input(params(model="claude-opus-4-7", tools=tools)) == plain + size + 804
    schema = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert worst_input(params(output_format=schema)) == worst_input(params(output_config=schema))
    assert worst_input(params(output_config=schema)) == plain + len(json.dumps(schema)) + 200


def test_a_field_that_nothing_is_known_of_is_counted_by_its_bytes() -> None:
    """It may bring words; what is known to bring none does not count."""
    plain = worst_input(params())
    assert worst_input(params(examples=["e" * 96])) == plain + len("examples") + 100
    assert worst_input(params(**{" others": -1_000_000})) >= plain
    free = {"metadata": {"user_id": "u"}, "temperature": 0.5, "stop_sequences": ["stop"], "top_p": 1, "stream": False}
    assert worst_input(params(**free)) == plain


@pytest.mark.parametrize(
    ("size", "tokens"),
    [((1001, 1001), 1296), ((540, 360), 260), ((60, 30), 6), ((1, 1), 1), ((9000, 9000), 1568), (None, 1568)],
)
def test_an_image_takes_its_squares(size: tuple[int, int] | None, tokens: int) -> None:
    """As recorded answers say; a large one is made smaller first, and one whose size is not known takes the most."""
    assert image_tokens(size, (4, 5)) == tokens
    assert image_tokens((9000, 9000), (4, 7)) == 4784


def test_the_size_stands_in_the_first_bytes() -> None:
    """PNG, GIF, JPEG (behind other segments, one of them with a picture inside) and the three kinds of WebP."""
    jpeg = b"\xff\xd8\xff\xe1\x00\x14" + b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x01\x00\x01" + bytes(7)
    jpeg += b"\xff\xc2\x00\x11\x08" + struct.pack(">HH", 600, 800) + bytes(10)
    webp = b"RIFF\0\0\0\0WEBP"
    files = {
        (640, 480): png(640, 480),
        (30, 20): b"GIF89a" + struct.pack("<HH", 30, 20) + bytes(10),
        (800, 600): jpeg,
        (5, 7): webp + b"VP8X" + bytes(8) + b"\x04\0\0\x06\0\0",
        (17, 9): webp + b"VP8L" + bytes(5) + struct.pack("<I", 16 | 8 << 14),
        (33, 44): webp + b"VP8 " + bytes(10) + struct.pack("<HH", 33, 44),
    }
    for size, data in files.items():
        assert size_of_image(base64.b64encode(data)) == size
    assert size_of_image(base64.b64encode(b"BM no such image")) is None
    assert size_of_image(b"%%%%") is None


def test_images_count_by_their_size_not_by_their_bytes() -> None:
    """Also inside of a tool's result; one that is elsewhere takes the most that there is."""
    large = image(png(540, 360) + bytes(50_000))
    assert worst(params([large])).input == worst(params([])).input - 0 + 260
    elsewhere = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    assert worst(params([elsewhere])).input == worst(params([])).input + 1568
    result = {"type": "tool_result", "tool_use_id": "t", "content": [large]}
    without = {"type": "tool_result", "tool_use_id": "t", "content": []}
    assert worst(params([result])).input - 260 <= worst(params([without])).input


ELSEWHERE = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}


@pytest.mark.parametrize(
    "block",
    [
        {"type": "document", "source": {"type": "content", "content": [ELSEWHERE]}},
        {"type": "search_result", "source": "https://example.com", "title": "t", "content": [ELSEWHERE]},
        {"type": "mcp_tool_result", "tool_use_id": "t", "content": [ELSEWHERE]},
        {"type": "web_fetch_tool_result", "tool_use_id": "t", "content": {"type": "x", "content": ELSEWHERE}},
    ],
)
def test_an_image_counts_wherever_it_stands(block: dict[str, Any]) -> None:
    """Inside of a document, or of any block that has content of its own."""
    assert worst(params([block])).input >= worst(params([])).input + 1568


def test_a_file_that_is_no_text_may_take_all_that_a_model_reads() -> None:
    """How many pages a PDF has is not told by its bytes."""
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}}
    assert worst_input(params([pdf])) > 1_000_000
    assert worst_input(params([text])) < 1_000


def test_a_marker_for_the_cache_may_be_written() -> None:
    """Writing is dearer than reading anew: 1.25 times for five minutes, twice for an hour. Words about it are not."""
    marker = {"type": "ephemeral"}
    assert worst(params(cache_control=marker)).write == "5m"
    assert worst(params([{"type": "text", "text": "a", "cache_control": {**marker, "ttl": "1h"}}])).write == "1h"
    assert worst(params('about "cache_control" and "1h"')).write == ""
    assert worst_cost(WorstUsage(1_000, 0, "1h"), HAIKU_4_5) == 1_000_000
    assert worst_cost(WorstUsage(1_000, 0, "5m"), HAIKU_4_5) == 625_000


@pytest.mark.parametrize(
    ("model", "geo", "is_us"),
    [
        ("claude-sonnet-5-5", "us", True),
        ("claude-sonnet-5-5", None, True),
        ("claude-sonnet-5-5", "global", False),
        ("claude-haiku-4-5", None, False),
        ("claude-x", None, True),
    ],
)
def test_a_request_that_may_stay_in_the_us_costs_a_tenth_more(model: str, geo: str | None, is_us: bool) -> None:
    """Who says nothing may have a workspace that does; models before 4.6 know no such thing."""
    assert worst(params(model=model, **({} if geo is None else {"inference_geo": geo}))).is_us is is_us
    assert worst_cost(WorstUsage(1_000, 100, is_us=is_us), SONNET_5_5) == (1_650_000 if is_us else 1_500_000)


def test_a_long_prompt_has_the_rates_of_long_prompts() -> None:
    """The bound decides: a prompt that may be long is priced as one."""
    assert worst_cost(WorstUsage(100_000, 0), HAIKU_5_5) == 5_000_000
    assert worst_cost(WorstUsage(100_001, 0), HAIKU_5_5) == 25_000_250


def test_an_odd_list_of_prices_makes_no_bound_too_low() -> None:
    """Reading dearer than writing, five minutes dearer than an hour, long prompts cheaper than short ones."""
    read = Rates(3_000_000, 15_000_000, 3_750_000, 6_000_000, 9_000_000)
    assert worst_cost(WorstUsage(1_000, 5, "5m"), read) == cost_of(Tokens(0, 5, read=1_000), read)
    minutes = HAIKU_4_5._replace(write_5m=2_000_000)
    assert worst_cost(WorstUsage(1_000, 5, "1h"), minutes) == cost_of(Tokens(0, 5, write_5m=1_000), minutes)
    long = HAIKU_4_5._replace(above=100, long=(100_000, 500_000, 125_000, 200_000, 10_000))
    assert worst_cost(WorstUsage(101, 5), long) >= cost_of(Tokens(100, 5), long)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({}, None),
        ({"tools": [{"name": "t", "input_schema": {"type": "object"}}]}, None),
        ({"tools": [{"type": "custom", "name": "t"}, {"type": "bash_20250124", "name": "bash"}]}, None),
        ({"tools": [{"name": "t"}, {"type": "web_search_20250305"}]}, "tools.1 (web_search_20250305)"),
        ({"tools": [{"type": "advisor_20260801"}]}, "tools.0 (advisor_20260801)"),
        ({"mcp_servers": [{"url": "https://example.com"}]}, "mcp_servers"),
        ({"mcp_servers": []}, None),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management (compaction)"),
        ({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, None),
    ],
)
def test_what_the_api_does_again_by_itself_has_no_bound(more: dict[str, object], field: str | None) -> None:
    """Tools that it runs itself, servers that it asks, compaction and advisors: named by their field."""
    assert unbounded_field(read_request(params(**more))) == field


def escaped(raw: bytes, word: bytes) -> bytes:
    r"""*raw*, which means the same, with the second letter of *word* as an escape: `"c\u0061che_control"`."""
    at = raw.index(b'"' + word) + 2
    return raw[:at] + b"\\u%04x" % raw[at] + raw[at + 1 :]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (params(tools=[{"type": "web_search_20250305"}]), [b"type", b"tools"]),
        (params(context_management={"edits": [{"type": "compact_20260112"}]}), [b"compact", b"context_management"]),
        (params([ELSEWHERE]), [b"image", b"type", b"content"]),
        (params([{"type": "document", "source": {"type": "url", "url": "u"}}]), [b"document"]),
        (params([{"type": "text", "text": "a", "cache_control": {"ttl": "1h"}}]), [b"cache_control", b"1h"]),
    ],
)
def test_an_escape_hides_nothing(raw: bytes, words: list[bytes]) -> None:
    r"""`"\u0074ype"` is `"type"`: for the bound, and for what is told of an input while it is taken in."""
    for word in words:
        hidden = escaped(raw, word)
        assert json.loads(hidden) == json.loads(raw)
        assert worst(hidden) == worst(raw)
        assert unbounded_field(read_request(hidden)) == unbounded_field(read_request(raw))
        assert plain_ascii(hidden) == raw
        assert own_marker(hidden) == own_marker(raw)


@pytest.mark.parametrize("text", [r"\\u0074ype", r"\u0022", r"\u005c", r"\u005Cu0074", r"\u00e9 \u001b", r"\\\u0074\n"])
def test_a_text_means_the_same_without_its_escapes(text: str) -> None:
    """A quote, a backslash, and what only looks like an escape stay."""
    raw = b'"%b"' % text.encode()
    assert json.loads(plain_ascii(raw)) == json.loads(raw)


def test_a_generation_is_read_from_the_name() -> None:
    """Old and new forms of names; one that is not known is of the newest, where everything takes the most."""
    names = {
        "claude-haiku-4-5-20251001": (4, 5),
        "claude-opus-5": (5, 0),
        "claude-opus-4-20250514": (4, 0),
        "claude-3-5-haiku-20241022": (3, 5),
        "claude-sonnet-latest": NEWEST,
        "gpt-9": NEWEST,
    }
    assert {name: generation_of(name) for name in names} == names
    assert [takes_geo(name) for name in ("claude-opus-4-5", "claude-opus-4-6")] == [False, True]
