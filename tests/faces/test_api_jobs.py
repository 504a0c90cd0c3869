"""Jobs over the REST API: handed in in every form, listed, waited for, looked into."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from faces.api_world import LINES, NDJSON, api, finished, lines
from faces.client_world import SLOW, requests

from orchestrator.config import format_duration
from orchestrator.domain.errors import BadCursor
from orchestrator.domain.queries import decode_cursor, encode_cursor


def form(*parts: tuple[str, bytes], boundary: str = "seam") -> dict[str, Any]:
    """A form of *parts*; the one called "file" has a file's name."""
    body = b"".join(
        b'--%b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'
        % (boundary.encode(), name.encode(), b'; filename="C:\\data\\five.jsonl"' if name == "file" else b"", value)
        for name, value in parts
    )
    return {
        "content": body + b"--%b--\r\n" % boundary.encode(),
        "headers": {"content-type": f"multipart/form-data; boundary={boundary}"},
    }


def test_the_same_requests_are_the_same_job_in_whatever_form_they_come(tmp_path: Path) -> None:
    """Promise 7: JSON Lines, a form, or one JSON object, plain or compressed: one job, made once."""

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            sent = [
                await client.post("jobs", json={"name": "small", "requests": requests(5), "priority": 3}),
                await client.post("jobs", content=LINES, headers=NDJSON),
                await client.post("jobs", content=gzip.compress(LINES), headers={"content-type": "application/gzip"}),
                await client.post("jobs", **form(("name", b"other"), ("file", gzip.compress(LINES)))),
                await client.post("jobs", content=json.dumps({"requests": requests(5)}, indent=1), headers=JSON),
            ]
            compact = "".join(json.dumps(request, separators=(",", ":")) + "\n" for request in requests(5))
            assert [answer.status_code for answer in sent[1:4]] == [201, 200, 200]
            ids = [answer.json()["job"]["id"] for answer in sent]
            assert ids[1] == ids[2] == ids[3]
            assert sent[1].headers["location"] == f"/api/v1/jobs/{ids[1]}"
            job = sent[0].json()["job"]
            assert (job["name"], job["priority"], job["requests"]["total"]) == ("small", 3, 5)
            same = await client.post("jobs", content=compact.encode(), headers=NDJSON)
            assert (same.status_code, same.json()["job"]["id"]) == (200, ids[0])

    asyncio.run(check())


JSON = {"content-type": "application/json"}


def test_a_check_says_what_goes_ahead_for_the_cache(tmp_path: Path) -> None:
    """As `orchestrator check` does; with cache auto a marker of one's own is a problem there, too."""

    async def check() -> None:
        system = [{"type": "text", "text": "word " * 4_400, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
        rows = requests(90)
        for row in rows:
            row["params"]["system"] = system
        body = "".join(json.dumps(row) + "\n" for row in rows).encode()
        async with api(tmp_path / "x.db") as (_, client):
            told = (await client.post("check", content=body, headers=NDJSON)).json()
            assert [(batch["requests"], batch["turn"]) for batch in told["batches"]] == [(1, "ahead"), (89, "after")]
            assert told["ahead"] == [rows[0]["custom_id"]]
            off = (await client.post("check", params={"cache": "off"}, content=body, headers=NDJSON)).json()
            assert ([batch["turn"] for batch in off["batches"]], off["ahead"]) == (["at_once"], [])
            auto = (await client.post("check", params={"cache": "auto"}, content=body, headers=NDJSON)).json()
            assert (auto["valid"], auto["problem_count"]) == (False, 1)

    asyncio.run(check())


def test_a_form_gives_its_options_before_its_file_and_the_file_is_not_held(tmp_path: Path) -> None:
    """Promise 8: the file is read as it arrives, so what is said after it comes too late."""

    async def check() -> None:
        async with api(tmp_path / "x.db", **SLOW) as (engine, client):
            told = form(("name", b"mine"), ("beta", b"one"), ("beta", b"two"), ("priority", b"7"), ("file", LINES))
            job = (await client.post("jobs", **told)).json()["job"]
            assert (job["name"], job["betas"], job["priority"]) == ("mine", ["one", "two"], 7)
            assert job["source"] == "five.jsonl"
            unnamed = (await client.post("jobs?new=1", **form(("file", LINES)))).json()["job"]
            assert unnamed["name"] == "five"
            before = len(await engine.read(lambda reads: reads.jobs(limit=100)))
            cut = form(("file", lines(3, said="cut")))
            cut["content"] = cut["content"].removesuffix(b"--seam--\r\n")
            wrong = [
                form(("file", lines(3, said="late")), ("name", b"late")),
                form(("file", LINES), ("file", LINES)),
                form(("name", b"no file")),
                form(("nmae", b"x"), ("file", LINES)),
                form(("priority", b"101"), ("file", LINES)),
                form(("name", b"\xff"), ("file", LINES)),
                cut,
                {"content": b"", "headers": {"content-type": "multipart/form-data"}},
            ]
            for each in wrong:
                answer = await client.post("jobs", **each)
                assert (answer.status_code, answer.json()["type"]) == (400, "usage-error"), each
            assert len(await engine.read(lambda reads: reads.jobs(limit=100))) == before

    asyncio.run(check())


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "image/png"])
@pytest.mark.parametrize("path", ["jobs", "check", "jobs/@last/requests"])
def test_a_body_of_another_type_is_refused_with_the_header_to_send(tmp_path: Path, kind: str, path: str) -> None:
    """`curl -d @file` says it is a form, and takes the line ends out: nothing of that is guessed at."""

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            await client.post("jobs?open=1", content=LINES, headers=NDJSON)
            answer = await client.post(path, content=LINES, headers={"content-type": kind})
            assert (answer.status_code, answer.json()["type"]) == (415, "unsupported-media-type")
            assert "application/x-ndjson" in answer.json()["hint"]

    asyncio.run(check())


def test_a_small_job_is_small(tmp_path: Path) -> None:
    """What is held whole in memory is bounded; a body that is no job is told apart from one with bad requests."""

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            large = await client.post("jobs", content=b" " * ((8 << 20) + 1), headers=JSON)
            assert (large.status_code, large.json()["type"]) == (413, "body-too-large")
            assert "application/x-ndjson" in large.json()["hint"]
            for body in (b"", b"[]", b'{"requests":{}}', b'{"requests":[],"x":1}', b"\xff"):
                answer = await client.post("jobs", content=body, headers=JSON)
                assert (answer.status_code, answer.json()["type"]) == (400, "usage-error"), body
            refused = await client.post("jobs", json={"requests": [{"custom_id": "a"}, 7]})
            assert (refused.status_code, refused.json()["type"]) == (422, "input-refused")
            assert {problem["line"] for problem in refused.json()["problems"]} == {1, 2}

    asyncio.run(check())


def test_a_key_makes_a_hand_over_safe_to_repeat(tmp_path: Path) -> None:
    """`Idempotency-Key`: the same key and content is the same job; with other content it is refused."""

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            keyed = {**NDJSON, "idempotency-key": "order-1"}
            first = await client.post("jobs", content=LINES, headers=keyed)
            again = await client.post("jobs?new=1", content=LINES, headers=keyed)
            assert (first.status_code, again.status_code) == (201, 200)
            assert first.json()["job"]["id"] == again.json()["job"]["id"]
            other = await client.post("jobs", content=lines(2, said="other"), headers=keyed)
            assert (other.status_code, other.json()["type"]) == (409, "key-reused")

    asyncio.run(check())


def test_a_check_tells_all_and_stores_nothing(tmp_path: Path) -> None:
    """The same report as `check`, of the same forms."""

    async def check() -> None:
        async with api(tmp_path / "x.db") as (engine, client):
            good = (await client.post("check?source=five.jsonl", content=LINES, headers=NDJSON)).json()
            assert (good["valid"], good["requests"], good["bytes"]) == (True, 5, len(LINES))
            assert [batch["requests"] for batch in good["batches"]] == [5]
            bad = (await client.post("check", **form(("file", LINES + LINES)))).json()
            assert (bad["valid"], bad["requests"], bad["problem_count"]) == (False, 5, 1)
            assert bad["problems"][0]["problem"] == "is taken by five.jsonl:1: 5 lines are like it (6, 7, 8, 9, 10)"
            assert await engine.read(lambda reads: reads.jobs(limit=10)) == []

    asyncio.run(check())


def test_jobs_are_listed_in_pages_by_state_and_name(tmp_path: Path) -> None:
    """Every job is on one page and on one only."""

    async def check() -> None:
        async with api(tmp_path / "x.db", **SLOW) as (_, client):
            for number in range(5):
                await client.post(f"jobs?name=job-{number}", content=lines(1, said=str(number)), headers=NDJSON)
            await client.post("jobs/job-3/pause")
            seen: list[str] = []
            query: dict[str, str] = {"limit": "2"}
            while True:
                page = (await client.get("jobs", params=query)).json()
                seen += [job["name"] for job in page["jobs"]]
                if page["next"] is None:
                    break
                query["cursor"] = page["next"]
            assert seen == [f"job-{number}" for number in reversed(range(5))]
            paused = (await client.get("jobs?state=paused&state=canceled")).json()["jobs"]
            assert [job["name"] for job in paused] == ["job-3"]
            assert [job["name"] for job in (await client.get("jobs?q=B-2")).json()["jobs"]] == ["job-2"]
            for wrong in ("cursor=x", "cursor=WzIsMV0", "cursor=WzEsMV0%3D", "state=lost", "limit=1001"):
                assert (await client.get(f"jobs?{wrong}")).status_code == 400, wrong
            assert (await client.get("jobs?cursor=x")).json()["type"] == "bad-cursor"

    asyncio.run(check())


@pytest.mark.parametrize(
    "text", ["", "!", "WzEsLTFd", "WzEsIDFd", "é", "W10", encode_cursor("x"), encode_cursor(1 << 64)]
)
def test_a_cursor_that_no_list_gave_is_refused(text: str) -> None:
    """Opaque means that nobody builds one."""
    with pytest.raises(BadCursor):
        decode_cursor(text)
    assert decode_cursor(encode_cursor(17)) == 17


def test_a_job_that_did_not_change_is_not_told_again(tmp_path: Path) -> None:
    """ETag: 304 while it is as before; `wait` answers when it is not, or after the time."""

    async def check() -> None:
        async with api(tmp_path / "x.db", **SLOW) as (engine, client):
            await client.post("jobs?name=five", content=LINES, headers=NDJSON)
            await client.post("jobs/five/pause")
            first = await client.get("jobs/five")
            known = {"if-none-match": first.headers["etag"]}
            assert (await client.get("jobs/five", headers=known)).status_code == 304
            same = await client.get("jobs/five", headers=known, params={"wait": "0.1s"})
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", first.headers["etag"])
            assert (await client.get("jobs/five?wait=50ms")).json() == first.json()
            waiting = asyncio.create_task(client.get("jobs/five", headers=known, params={"wait": "20s"}))
            without = asyncio.create_task(client.get("jobs/five?wait=20s"))
            await asyncio.sleep(0)
            assert (await client.post("jobs/five/resume")).status_code == 200
            for task in (waiting, without):
                answer = await task
                assert (answer.status_code, answer.json()["state"]) == (200, "running")
            for wrong in ("61s", "x", "5", format_duration(engine.settings.api.timeout)):
                assert (await client.get("jobs/five", params={"wait": wrong})).status_code == 400, wrong

    asyncio.run(check())


def test_a_request_is_shown_with_its_prompt_its_answer_and_its_cost(tmp_path: Path) -> None:
    """Everything that is known of one request, by the id that the caller gave it, whatever characters it has."""
    odd = {**requests(1)[0], "custom_id": "a/b c?#é"}

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            body = {"name": "odd", "requests": [odd, *requests(2)]}
            await client.post("jobs", json=body)
            await finished(client, "odd")
            shown = (await client.get("jobs/odd/requests/a%2Fb%20c%3F%23%C3%A9")).json()
            assert (shown["custom_id"], shown["state"], shown["number"]) == (odd["custom_id"], "succeeded", 1)
            assert shown["params"] == odd["params"]
            assert shown["result"]["type"] == "succeeded"
            assert shown["usage"]["output_tokens"] == shown["result"]["message"]["usage"]["output_tokens"]
            assert (shown["previous"], shown["following"]) == (None, 2)
            first = (await client.get("jobs/odd/requests?limit=2")).json()
            rest = (await client.get("jobs/odd/requests", params={"limit": 2, "cursor": first["next"]})).json()
            assert [row["number"] for row in first["requests"] + rest["requests"]] == [1, 2, 3]
            assert rest["next"] is None
            assert (await client.get("jobs/odd/requests?state=failed")).json()["requests"] == []
            assert (await client.get("jobs/odd/requests/nobody")).json()["type"] == "no-such-thing"

    asyncio.run(check())


def test_requests_bring_their_rows_in_every_form_of_a_body(tmp_path: Path) -> None:
    """JSON Lines, a form, one JSON object, and what is added to an open job; each is shown with its request."""
    given = [{**request, "row": {"id": "007", "n": [number]}} for number, request in enumerate(requests(2))]
    body = "".join(json.dumps(each) + "\n" for each in given).encode()
    plain = {**requests(1, said="other")[0], "custom_id": "plain"}

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            made = await client.post("jobs?name=table", content=body, headers=NDJSON)
            assert made.status_code == 201
            for again in (form(("name", b"table"), ("file", body)), {"json": {"name": "table", "requests": given}}):
                answer = await client.post("jobs", **again)
                assert answer.status_code == (200 if "content" in again else 201), "JSON is written in another way"
            await client.post("jobs?name=open&open=1", content=body, headers=NDJSON)
            await client.post("jobs/open/requests", content=json.dumps(plain), headers=NDJSON)
            for job in ("table", "open"):
                shown = (await client.get(f"jobs/{job}/requests/r1")).json()
                assert shown["row"] == {"id": "007", "n": [1]}
            assert (await client.get("jobs/open/requests/plain")).json()["row"] is None
            wrong = await client.post("jobs", json={"requests": [{**plain, "row": [1]}]})
            assert wrong.json()["problems"][0]["field"] == "row"

    asyncio.run(check())


def test_failures_are_grouped_listed_and_tried_again_by_cause(tmp_path: Path) -> None:
    """From the group to its requests, and back into the queue."""

    async def check() -> None:
        async with api(tmp_path / "x.db", sandbox__faults="invalid=1") as (_, client):
            await client.post("jobs?name=bad", content=LINES, headers=NDJSON)
            await finished(client, "bad")
            groups = (await client.get("jobs/bad/errors?examples=2")).json()["groups"]
            assert [(group["type"], group["count"]) for group in groups] == [("invalid_request_error", 5)]
            assert len(groups[0]["examples"]) == 2
            cause = {"error_type": groups[0]["type"], "error_message": groups[0]["message"]}
            rows = (await client.get("jobs/bad/requests", params=cause)).json()["requests"]
            assert [row["state"] for row in rows] == ["failed"] * 5
            last = await client.get("jobs/bad/requests", params={**cause, "from_number": 5, "custom_id_prefix": "r"})
            assert [row["custom_id"] for row in last.json()["requests"]] == ["r4"]
            one = await client.get("jobs/bad/requests.jsonl?custom_id_prefix=r3")
            assert json.loads(one.text)["custom_id"] == "r3"
            assert (await client.post("jobs/bad/retry", json={"only": "api_error"})).json()["queued"] == 0
            assert (await client.post("jobs/bad/retry", json={"all": 1})).status_code == 400
            assert (await client.post("jobs/bad/retry", json={"error_cause": ["no", "none"]})).json()["queued"] == 0
            of_it = {"error_cause": groups[0]["cause"]}
            of_cause = await client.post("jobs/bad/retry", params=of_it, json={"drop": ["model"]})
            assert of_cause.json()["title"] == "request r0 would not be taken: params.model is missing"
            wrong = await client.post("jobs/bad/retry", json={"only": [groups[0]["type"]], "drop": ["model"]})
            assert (wrong.status_code, wrong.json()["title"]) == (
                422,
                "request r0 would not be taken: params.model is missing",
            )
            both = await client.post("jobs/bad/retry", json={"set": {"max_tokens": 9}, "grow": True})
            assert both.status_code == 400
            mended = {"only": [groups[0]["type"], "api_error"], "set": {"max_tokens": 9}}
            assert (await client.post("jobs/bad/retry", json=mended)).json()["queued"] == 5
            found = (await client.get("jobs/bad/requests/r0")).json()
            assert (found["params"]["max_tokens"], "original_params" in found) == (9, True)

    asyncio.run(check())


def test_the_readmes_rest_section_works_after_its_daemon_section(tmp_path: Path) -> None:
    """README (ii): the same file handed in again under a name: it attaches, says so, and the name works everywhere."""

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            await client.post("jobs?source=/home/me/requests.jsonl", content=LINES, headers=NDJSON)
            sent = form(("name", b"reviews"), ("file", LINES))
            sent["headers"] = {**sent["headers"], "idempotency-key": "order-17"}
            answer = await client.post("jobs", **sent)
            told = answer.json()
            assert (answer.status_code, told["attached"], told["renamed_from"]) == (200, True, "requests")
            assert told["job"]["name"] == "reviews"
            assert (await finished(client, "reviews"))["id"] == told["job"]["id"]
            for path in ("jobs/reviews", "jobs/reviews/results?order=settled", "jobs/reviews/errors"):
                assert (await client.get(path)).status_code == 200
            assert (await client.post("jobs/reviews/retry?only=overloaded_error")).status_code == 200
            again = await client.post("jobs?default_name=x", content=LINES, headers=NDJSON)
            assert (again.json()["renamed_from"], again.json()["job"]["name"]) == (None, "reviews")
            other = await client.post("jobs?name=reviews", content=lines(2, said="other"), headers=NDJSON)
            assert (other.status_code, other.json()["renamed_from"]) == (201, None)
            taken = await client.post("jobs?name=reviews&new=0", content=LINES, headers=NDJSON)
            assert taken.json()["attached"]
            renamed = await client.post("jobs?name=mine", content=LINES, headers=NDJSON)
            assert renamed.json()["renamed_from"] == "reviews"
            refused = await client.post("jobs?name=reviews", content=LINES, headers=NDJSON)
            assert (refused.status_code, refused.json()["type"]) == (409, "guard-refused")
            assert other.json()["job"]["id"] in refused.json()["title"]
            assert told["job"]["id"] in refused.json()["hint"]

    asyncio.run(check())
