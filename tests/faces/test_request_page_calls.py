"""The page of a request: images, system and tools in sight, and the calls that a person can make by hand."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from faces.client_world import SLOW, short_runtime_folder
from faces.test_dashboard_pages import run, submitted

from orchestrator.assembly import Engine
from orchestrator.http_api.dashboard.thumbnails import image_parts, keep_within_page
from orchestrator.views.request_calls import MOST_BYTES

PNG: Final = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"x" * 40).decode()


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


def image(data: str, media_type: str = "image/png") -> dict[str, Any]:
    """A block of a prompt."""
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\nx", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", None),
        (b"RIFF\x00\x00\x00\x00WAVE", None),
        (b"", None),
    ],
)
def test_only_what_begins_as_a_picture_is_drawn(content: bytes, kind: str | None) -> None:
    """By its bytes, whatever it says of itself."""
    data = base64.b64encode(content).decode()
    found = image_parts(image(data, "image/svg+xml"))
    assert found["src"] == (None if kind is None else f"data:{kind};base64,{data}")


@pytest.mark.parametrize("source", [None, [], {"type": "url", "url": "https://evil.example/x.png"}, {"type": "file"}])
def test_nothing_is_fetched_from_elsewhere(source: object) -> None:
    """An address is told, and not asked."""
    assert image_parts({"source": source})["src"] is None
    for data in (f'{PNG}" onerror="alert(1)', "A" * 2_000_001, "not base64"):
        assert image_parts(image(data))["src"] is None


def test_a_page_has_room_for_so_many_pictures() -> None:
    """Sixteen of nearly the most that one may have would be 30 MB; one that still fits is drawn."""
    large = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"x" * 1_400_000).decode()
    blocks = [image_parts(image(data)) for data in (*[large] * 16, PNG)]
    keep_within_page(blocks)
    drawn = [str(block["src"]) for block in blocks if block["src"] is not None]
    assert len(drawn) == 3
    assert drawn[-1].endswith(PNG)
    assert sum(map(len, drawn)) < 4_000_000
    assert blocks[2]["words"] == "image/png, 1.4 MB: not shown, as this page has enough of pictures"


def test_a_request_is_seen_whole_and_can_be_sent_by_hand(tmp_path: Path) -> None:
    """System and tools without opening the raw text; the curl command has the very params; a long one says so."""
    tools = [{"name": "weather", "description": "What <b>weather</b> it is.", "input_schema": {"type": "object"}}]
    content = [image(PNG), {"type": "text", "text": "it's `here`"}]
    params = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": content}]}
    whole = params | {"system": "You are terse.", "tools": tools}
    long = params | {"system": "y" * MOST_BYTES}
    nested: object = [1] * 20_000
    for _ in range(500):
        nested = [nested]
    deep = params | {"tools": [{"name": "t", "input_schema": {"type": "object", "x": nested}}]}
    asked = enumerate((whole, long, deep))
    lines = "".join(json.dumps({"custom_id": f"r {n}", "params": each}) + "\n" for n, each in asked)

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        job = await submitted(client, lines.encode(), "images")
        first, second, third = [(await client.get(f"/jobs/{job}/requests/{n}")).text for n in (1, 2, 3)]
        assert f'src="data:image/png;base64,{PNG}"' in html.unescape(first)
        assert '<summary class="mono">weather: What &lt;b&gt;weather' in first
        assert "You are terse." in first
        (command,) = re.findall(r'<pre id="curl" tabindex="0">(.*?)</pre>', first, re.DOTALL)
        words = shlex.split(html.unescape(command))
        assert json.loads(words[-1]) == whole
        assert "x-api-key: $ANTHROPIC_API_KEY" in words
        assert f"http://engine/api/v1/jobs/{job}/requests/r%200" in html.unescape(first)
        assert 'id="curl"' not in second
        assert "more than a shell takes" in second
        assert "['params']" in html.unescape(second)
        assert "['params']" in html.unescape(third)
        assert 'id="curl"' in third
        assert len(third) < 1_000_000  # each number on a line of its own has 1,000 blanks before it

    run(tmp_path, check, **SLOW)
