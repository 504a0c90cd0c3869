"""What the API refuses, the daemon refuses in the same words: each call is made to both, and the answers compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from faces.client_world import SLOW
from faces.messages_world import Served, requests, served

BATCHES = "/v1/messages/batches"
ONE = requests(1)[0]
VERSION = {"anthropic-version": "2026-10-21"}


def item(**changes: Any) -> dict[str, Any]:
    return {**ONE, **changes}


def body(*items: Any, **more: Any) -> bytes:
    return json.dumps({"requests": list(items), **more}).encode()


MANY = [item(custom_id=f"m{n}") for n in range(3000)]
CREATES = {
    "empty list": body(),
    "no list": b"{}",
    "list is null": b'{"requests":null}',
    "list is an object": b'{"requests":{}}',
    "body is a list": b"[]",
    "body is a number": b"17",
    "body is empty": b"",
    "not JSON": b"{not json",
    "cut off": body(ONE, item(custom_id="b"))[:-1],
    "cut off in an item": body(ONE, item(custom_id="b"))[:-20],
    "more behind it": body(ONE) + b"x",
    "a comma too many": b'{"requests":[{"custom_id":"a","params":{}},]}',
    "not UTF-8": b'{"requests":[{"custom_id":"a","params":{"x":"\xff"}}]}',
    "a key too many": body(ONE, name="mine"),
    "a key too many before": b'{"name":"mine","requests":[{"custom_id":"a","params":{}}]}',
    "a key too many in an item": body(item(betas=["x"])),
    "no custom_id": body({"params": ONE["params"]}),
    "no custom_id later": body(*MANY, {"params": ONE["params"]}),
    "no params": body({"custom_id": "a"}),
    "params is a list": body(item(params=[])),
    "params is a number later": body(*MANY, item(params=5), *MANY[:10]),
    "item is a number": body(ONE, 5),
    "custom_id is a number": body(item(custom_id=5)),
    "custom_id is empty": body(item(custom_id="")),
    "custom_id is long": body(item(custom_id="x" * 65)),
    "custom_id has a space": body(item(custom_id="a b")),
    "custom_id has an umlaut": body(item(custom_id="ä")),
    "custom_id ends with a newline": body(item(custom_id="a\n")),
    "duplicate": body(ONE, item(custom_id="b"), ONE),
    "duplicate far away": body(*MANY, item(custom_id="m7"), item(custom_id="m3")),
    "duplicate, then wrong": body(ONE, ONE, item(custom_id="a b")),
    "wrong, then duplicate": body(ONE, item(custom_id="a b"), ONE),
    "duplicate, and a key too many": body(ONE, ONE, x=1),
    "duplicate, and cut off": body(ONE, ONE)[:-1],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("errors"), **SLOW) as one:
        yield one


def told(answer: httpx2.Response, **ids: str) -> tuple[Any, ...]:
    """Status, type, message and the header that tells an SDK not to retry; ids by their names."""
    said = answer.json()
    assert said["type"] == "error"
    assert said["request_id"] == answer.headers["request-id"]
    assert answer.headers["content-type"] == "application/json"
    message = said["error"]["message"]
    for name, value in ids.items():
        message = message.replace(value, name)
    return answer.status_code, said["error"]["type"], message, answer.headers.get("x-should-retry")


def both(world: Served, method: str, path: str, headers: dict[str, str] | None = None, content: bytes = b"") -> Any:
    """What the API says and what the daemon says."""
    sent = {"x-api-key": "any", **(VERSION if headers is None else headers)}
    urls = (world.sandbox_url, world.url)
    return [told(httpx2.request(method, url + path, headers=sent, content=content, timeout=60)) for url in urls]


@pytest.mark.parametrize("name", CREATES)
def test_a_create_is_refused_in_the_apis_words(world: Served, name: str) -> None:
    """Status, type and message are the API's, and nothing is stored."""
    theirs, ours = both(world, "POST", BATCHES, content=CREATES[name])
    assert ours == theirs
    assert ours[0] == 400
    assert world.jobs() == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{BATCHES}?limit=0"),
        ("GET", f"{BATCHES}?limit=1001"),
        ("GET", f"{BATCHES}?limit=-1"),
        ("GET", f"{BATCHES}?limit=many"),
        ("GET", f"{BATCHES}?after_id=a&before_id=b"),
        ("GET", f"{BATCHES}?after_id=msgbatch_01x"),
        ("GET", f"{BATCHES}?before_id=msgbatch_01x"),
        ("GET", f"{BATCHES}/msgbatch_013Zva2CMHLNnXjNJJKqJ2EF"),
        ("DELETE", f"{BATCHES}/msgbatch_013Zva2CMHLNnXjNJJKqJ2EF"),
        ("POST", f"{BATCHES}/msgbatch_013Zva2CMHLNnXjNJJKqJ2EF/cancel"),
        ("GET", f"{BATCHES}/msgbatch_013Zva2CMHLNnXjNJJKqJ2EF/results"),
        ("GET", f"{BATCHES}/..%2F..%2Fetc/results"),
        ("PUT", BATCHES),
        ("POST", f"{BATCHES}/x"),
        ("GET", f"{BATCHES}/x/cancel"),
        ("GET", f"{BATCHES}/x/other"),
    ],
)
def test_a_wrong_call_is_refused_in_the_apis_words(world: Served, method: str, path: str) -> None:
    """Unknown ids, wrong pages, paths and methods that there are not."""
    theirs, ours = both(world, method, path)
    assert ours == theirs


@pytest.mark.parametrize("version", [{}, {"anthropic-version": "2020-01-01"}, {"anthropic-version": ""}])
def test_the_version_header_is_required_of_every_call(world: Served, version: dict[str, str]) -> None:
    """A client that forgets it learns that here, not when it goes back to the API."""
    for method, path in (
        ("POST", BATCHES),
        ("GET", BATCHES),
        ("GET", f"{BATCHES}/x"),
        ("GET", f"{BATCHES}/x/results"),
        ("POST", f"{BATCHES}/x/cancel"),
        ("DELETE", f"{BATCHES}/x"),
    ):
        theirs, ours = both(world, method, path, headers=version, content=body(ONE) if method == "POST" else b"")
        assert ours == theirs
        assert ours[0] == 400


def test_a_batch_in_progress_has_no_results_and_cannot_be_deleted(tmp_path: Path) -> None:
    """The two refusals that a polling program meets in daily life."""
    with served(tmp_path, **SLOW) as world:
        answers: list[list[tuple[Any, ...]]] = []
        for url in (world.sandbox_url, world.url):
            headers = {"x-api-key": "any", **VERSION}
            made = httpx2.post(url + BATCHES, headers=headers, content=body(*MANY)).json()["id"]
            results = httpx2.get(f"{url}{BATCHES}/{made}/results", headers=headers)
            deleted = httpx2.delete(f"{url}{BATCHES}/{made}", headers=headers)
            answers.append([told(results, ID=made), told(deleted, ID=made)])
        assert answers[0] == answers[1]
        assert [one[0] for one in answers[1]] == [404, 400]


def test_a_beta_that_is_no_name_is_refused(world: Served) -> None:
    """It would go into headers of ours."""
    headers = {**VERSION, "anthropic-beta": "a b"}
    answer = httpx2.post(world.url + BATCHES, headers=headers, content=body(ONE))
    assert told(answer)[:2] == (400, "invalid_request_error")


def test_another_part_of_the_api_is_told_with_what_is_served(world: Served) -> None:
    """N 1.14: a program that does more than batches learns it from the SDK's own error, not from a bare "Not found"."""
    with anthropic.Anthropic(base_url=world.url, api_key="any", max_retries=0) as client:
        hello: Any = {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "hi"}]}
        calls: list[Callable[[], object]] = [
            lambda: client.messages.create(max_tokens=5, **hello),
            lambda: client.messages.count_tokens(**hello),
            lambda: list(client.models.list()),
            lambda: client.models.retrieve("claude-haiku-4-5"),
            lambda: client.beta.messages.count_tokens(**hello),
            lambda: client.beta.messages.create(max_tokens=5, **hello),
            lambda: list(client.beta.files.list()),
        ]
        for call in calls:
            with pytest.raises(anthropic.NotFoundError) as told_so:
                call()
            error: Any = told_so.value.body
            assert (error["type"], error["error"]["type"]) == ("error", "not_found_error")
            assert BATCHES in error["error"]["message"]
            assert told_so.value.request_id
    twice = anthropic.Anthropic(base_url=f"{world.url}/v1", api_key="any", max_retries=0)
    with twice as client, pytest.raises(anthropic.NotFoundError, match="Leave /v1 out of base_url"):
        client.messages.batches.retrieve("msgbatch_x")
    for path in ("/v1/complete", "/v1/", "/v1/nowhere?x=y"):
        answer = httpx2.get(world.url + path)
        assert told(answer)[:2] == (404, "not_found_error")
        assert "is not served here" in answer.text
