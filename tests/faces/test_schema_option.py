"""The schema of a job at every face: handed in as text or as a dict, kept as it is sent, and shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from faces.api_world import NDJSON, api, lines
from faces.client_world import QUICK, SLOW, requests, short_runtime_folder
from support.world import in_a_loop

from orchestrator import Orchestrator, UsageError
from orchestrator.views.source_codec import encode_options, split_options

SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"label": {"type": "string"}},
    "required": ["label"],
    "additionalProperties": False,
}
TEXT: Final = json.dumps(SCHEMA, separators=(",", ":"))
#: By what is wrong, what nobody takes for a schema.
BAD: Final = {"list": "[]", "cut": '{"type":', "limits": '{"type":"object","properties":{"a":{"minimum":1}}}'}


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


@in_a_loop
async def test_the_library_takes_a_schema_as_a_dict_or_as_text(tmp_path: Path) -> None:
    """It is kept as it is sent; what is no schema makes no job."""
    async with Orchestrator(tmp_path / "x.db", sandbox=True, **SLOW) as orc:
        job = (await (await orc.submit(requests(1), name="one", schema=SCHEMA, retry_invalid=3)).status()).job
        assert (job.schema, job.retry_invalid) == (TEXT, 3)
        job = (await (await orc.submit(requests(1, said="b"), name="two", schema=json.dumps(SCHEMA))).status()).job
        assert (job.schema, job.retry_invalid) == (TEXT, 1)
        job = (await (await orc.submit(requests(1, said="e"), name="words", schema="label")).status()).job
        assert job.schema == TEXT
        rows = await orc.submit(
            [{"text": "nice"}], name="rows", prompt="{{ text }}", model="claude-haiku-4-5", schema="label"
        )
        assert (await rows.status()).job.schema == TEXT
        params = (await rows.request("row-1")).params
        assert json.loads(params or b"")["output_config"]["format"]["schema"] == SCHEMA
        job = (await (await orc.submit(requests(1, said="c"), name="three")).status()).job
        assert (job.schema, job.retry_invalid) == (None, 1)
        wrong: list[Any] = [*BAD.values(), [1], {"type": {1}}]
        for schema in wrong:
            with pytest.raises(UsageError, match="schema"):
                await orc.submit(requests(1, said="d"), schema=schema)
        with pytest.raises(UsageError, match="retry_invalid is 11"):
            await orc.submit(requests(1, said="d"), retry_invalid=11)
        assert len(await orc.jobs()) == 5


@in_a_loop
async def test_rest_takes_a_schema_in_the_query_in_a_form_and_in_json(tmp_path: Path) -> None:
    """And says it of the job, as JSON; a job that is there already keeps its own, and that is said."""
    async with api(tmp_path / "x.db", **SLOW) as (_, client):
        query = {"schema": TEXT, "retry_invalid": "0"}
        made = (await client.post("jobs", params=query, content=lines(1), headers=NDJSON)).json()
        assert (made["job"]["schema"], made["job"]["retry_invalid"]) == (SCHEMA, 0)
        body = {"requests": requests(1, said="b"), "schema": TEXT, "retry_invalid": 2}
        made = (await client.post("jobs", json=body)).json()
        assert (made["job"]["schema"], made["job"]["retry_invalid"]) == (SCHEMA, 2)
        file = {"file": ("f.jsonl", lines(1, said="c"))}
        made = (await client.post("jobs", data={"schema": TEXT}, files=file)).json()
        assert (made["job"]["schema"], made["job"]["retry_invalid"]) == (SCHEMA, 1)
        other = {"schema": '{"type":"object","additionalProperties":false}', "retry_invalid": "3"}
        again = (await client.post("jobs", params=other, content=lines(1), headers=NDJSON)).json()
        assert (again["attached"], again["job"]["schema"]) == (True, SCHEMA)
        assert "schema as given was not applied: the job has another" in again["not_applied"]
        assert "retry_invalid 3 was not applied: the job has 0" in again["not_applied"]
        for said, told in (({"retry_invalid": "1"}, "retry_invalid 1 was not applied: the job has 0"), ({}, None)):
            again = (
                await client.post("jobs", params={"schema": TEXT, **said}, content=lines(1), headers=NDJSON)
            ).json()
            assert again.get("not_applied") == told  # also where it is what a new job would have
        for text in BAD.values():
            refused = await client.post("jobs", params={"schema": text}, content=lines(1, said="d"), headers=NDJSON)
            assert (refused.status_code, "schema" in refused.json()["title"]) == (400, True), refused.text


@in_a_loop
async def test_a_long_schema_reaches_an_engine_in_another_process(tmp_path: Path) -> None:
    """It goes in the body: the head of an HTTP request has 64 KiB at most, in which this one, quoted, does not fit."""
    long = {**SCHEMA, "properties": {"label": {"type": "string", "description": "é" * 20_000}}}
    async with (
        Orchestrator(tmp_path / "x.db", sandbox=True, **SLOW),
        Orchestrator(tmp_path / "x.db", sandbox=True, **QUICK) as other,
    ):
        assert not other.embedded
        job = await other.submit(requests(2), name="long", schema=long)
        found = (await job.status()).job
        assert found.schema is not None
        assert json.loads(found.schema) == long
        assert found.requests.total == 2


@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("options", [{}, {"schema": "{\n}"}])
def test_options_are_told_from_what_follows_however_the_bytes_are_cut(options: dict[str, str], block: int) -> None:
    """And where there is nothing else, or nothing at all."""

    async def cut(stream: bytes) -> AsyncGenerator[bytes, None]:
        for start in range(0, len(stream), block):
            yield stream[start : start + block]

    async def parted(stream: bytes) -> tuple[dict[str, str], bytes]:
        found, rest = await split_options(cut(stream))
        return found, b"".join([piece async for piece in rest])

    for follows in (b"", b'+[1,"a",{}]\n.{}\n'):
        assert asyncio.run(parted(encode_options(options) + follows)) == (options, follows)


@pytest.mark.parametrize("stream", [b"?[1]\n", b"?{\n", b'?{"a":1}\n', b"?" + b"x" * (600 << 10)])
def test_options_that_are_none_are_refused(stream: bytes) -> None:
    """A command and an engine of different versions do not misunderstand each other; nothing endless is held."""

    async def blocks() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(stream), 1 << 16):
            yield stream[start : start + (1 << 16)]

    with pytest.raises(UsageError, match="cannot read what it was sent"):
        asyncio.run(split_options(blocks()))
