"""The requests of a job on its page: found, read, gone through and taken along, without JavaScript."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Final

import httpx2
from faces.client_world import requests
from faces.test_dashboard_pages import finished, run, submitted

from orchestrator.assembly import Engine

#: 120 requests: a-0, b-0, c-0, a-1 …; those of c are longer than a preview is read for.
COUNT: Final = 120
FILTERS: Final = ("", "&state=failed", "&id=b-1", "&stop=max_tokens&id=c", "&state=succeeded&batch=1")
_ROW: Final = re.compile(r'id="request-(\d+)"')


def lines() -> bytes:
    """The input."""
    made = requests(COUNT)
    for number, each in enumerate(made):
        text = f"Which box is {'red' if number % 2 else 'blue'}? {'long ' * (300_000 if number == 2 else 0)}"
        each["custom_id"] = f"{'abc'[number % 3]}-{number // 3}"
        each["params"] = {**each["params"], "messages": [{"role": "user", "content": text}]}
    return "".join(json.dumps(each) + "\n" for each in made).encode()


def numbers(page: str) -> list[int]:
    """The requests in a page's list."""
    return [int(number) for number in _ROW.findall(page)]


def links(page: str, pattern: str) -> list[str]:
    """The addresses on a page that *pattern* matches."""
    return [found for found in map(html.unescape, re.findall(r'href="([^"]+)"', page)) if re.search(pattern, found)]


async def go(client: httpx2.AsyncClient, path: str) -> str:
    """The page at *path*."""
    answer = await client.get(path)
    assert answer.status_code == 200, path
    return answer.text


async def follow(client: httpx2.AsyncClient, page: str, rel: str) -> str:
    """Where the link *rel* of a page leads."""
    (path,) = set(re.findall(rf'<a[^>]*rel="{rel}"[^>]*href="([^"]+)"|<a[^>]*href="([^"]+)"[^>]*rel="{rel}"', page))
    return await go(client, html.unescape("".join(path)))


def test_requests_are_listed_with_what_they_say_and_found_in_every_way(tmp_path: Path) -> None:
    """By the beginning of their ids, by their place, from the end, by a text on the page."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        name = await submitted(client, lines(), "many")
        await finished(client, name)
        list_of = f"/jobs/{name}?tab=requests"
        first = await go(client, list_of)
        assert numbers(first) == list(range(1, 51))
        assert "Which box is blue?" in first
        assert "SANDBOX canned answer" in first
        assert "1.5 MB: open it to read" in first
        second = await follow(client, first, "next")
        assert numbers(second) == list(range(51, 101))
        assert numbers(await follow(client, second, "prev")) == list(range(1, 51))
        assert numbers(await follow(client, second, "first")) == list(range(1, 51))
        assert all(each.endswith("#job-tabs") for each in links(second, "^/jobs/[^/]*tab=requests.*from="))
        assert numbers(await go(client, f"{list_of}&from=1,18")) == [118, 119, 120]
        assert numbers(await go(client, f"{list_of}&id=b-1")) == [5, *range(32, 60, 3)]
        last = await go(client, f"{list_of}&order=last&id=b&from=9")
        assert numbers(last) == [8, 5, 2]
        assert numbers(await follow(client, last, "prev")) == list(range(119, 1, -3))
        red = await go(client, f"{list_of}&text=RED&from=101")
        assert numbers(red) == list(range(102, 121, 2))
        assert "10 of the 20 requests on this page" in red
        assert "<mark>red</mark>" in red
        assert "1 prompt too long to look into" in await go(client, f"{list_of}&text=red")
        assert "No request fits" in await go(client, f"{list_of}&id=d")
        assert (await client.get(f"{list_of}&order=odd")).status_code == 400

    run(tmp_path, check)


def test_from_a_request_one_goes_on_within_the_list_and_back_to_its_place(tmp_path: Path) -> None:
    """Next and previous are those of the filter, from either end; the way back leads to the page that has it."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        name = await submitted(client, lines(), "many")
        await finished(client, name)
        page = await go(client, f"/jobs/{name}?tab=requests&id=b&from=50&state=succeeded")
        (opened,) = set(links(page, "/requests/53"))
        one = await go(client, opened)
        assert "among succeeded · custom_id begins with b" in one
        assert "request 56" in await follow(client, one, "next")
        before = await follow(client, one, "prev")
        assert "request 50" in before
        (back,) = links(before, "#request-50$")
        assert numbers(await go(client, back)) == numbers(page)
        earlier = await follow(client, before, "prev")  # on the page before
        (back,) = links(earlier, "#request-47$")
        assert numbers(await go(client, back))[0] == 47
        backwards = await go(client, opened.replace("id=b", "id=b&order=last"))
        assert "request 50" in await follow(client, backwards, "next")
        assert links(await go(client, f"/jobs/{name}/requests/2?id=b"), "requests/1") == []
        inside = await go(client, f"/jobs/{name}/requests/53/inside")
        assert "Which box is blue?" in inside
        assert "<html" not in inside

    run(tmp_path, check)


def test_what_a_filter_has_is_taken_along_exactly(tmp_path: Path) -> None:
    """As an input, as results and as a table: what the links give is what the list has."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        name = await submitted(client, lines(), "many")
        await finished(client, name)
        for query, words in {
            "": "",
            "&state=failed": ".failed",
            "&id=b-1": ".b-1",
            "&stop=refusal": ".refusal",
            "&stop=max_tokens&id=c": ".max_tokens.c",
            "&state=succeeded&batch=1": ".succeeded.batch-1",
        }.items():
            page = await go(client, f"/jobs/{name}?tab=requests{query}")
            wanted = numbers(page)
            while 'rel="next"' in page:
                page = await follow(client, page, "next")
                wanted += numbers(page)
            ids = [f"{'abc'[(number - 1) % 3]}-{(number - 1) // 3}" for number in wanted]
            assert wanted, query
            taken = [path for path in links(page, f"^/api/v1/jobs/{name}/") if bool(query) == ("?" in path)]
            assert len(set(taken)) == 3
            saved = re.findall(r'class="button slim" href="[^"]+" download="([^"]+)[.](?:requests|results)[.]', page)
            assert saved == [f"{name}{words}"] * 3
            for path in taken:
                text = (await client.get(path)).raise_for_status().text.splitlines()
                found = text[1:] if ".csv" in path else [json.loads(line)["custom_id"] for line in text]
                assert found == ids if ".csv" not in path else len(found) == len(ids), path

    run(tmp_path, check, sandbox__faults="invalid=.2,refusal=.2,cut=.2")


def test_the_count_of_failures_on_the_tab_lives_with_the_counts_above(tmp_path: Path) -> None:
    """Both come from one look, and both are sent again when they change."""

    async def check(_: Engine, client: httpx2.AsyncClient) -> None:
        name = await submitted(client)
        await finished(client, name)
        sent = ""
        async with client.stream("GET", "/live", params={"at": f"/jobs/{name}?tab=failures"}) as stream:
            async for line in stream.aiter_lines():
                sent += line
                if not line:
                    break
        assert "<b>5</b> failed" in sent
        assert "failures <b>5</b>" in sent

    run(tmp_path, check, sandbox__faults="invalid=1")
