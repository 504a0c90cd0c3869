"""Tables over REST: a file with a template is a job, and what does not fit is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from faces.api_world import api
from support.world import in_a_loop

from orchestrator.domain.answer_table import OutputFormat
from orchestrator.http_api.api.result_tables import accepted_format

CSV = b'id,text\n007,"good\nline"\n008,bad\n'
ASK: dict[str, Any] = {"template": "Classify: {{ text }}", "model": "claude-haiku-4-5"}


def form(name: str = "in.csv", body: bytes = CSV, **fields: Any) -> dict[str, Any]:
    return {"data": fields, "files": {"file": (name, body)}}


def test_a_table_with_a_template_is_a_job_and_comes_back_as_tables(tmp_path: Path) -> None:
    """`curl -F template=… -F file=@reviews.csv`; check and estimate read the same, and so does a bare body."""

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            how = form(**ASK, id_column="id", param='stop_sequences=["END"]')
            looked = (await client.post("check", **how)).json()
            assert (looked["valid"], looked["requests"], looked["notices"]) == (True, 2, [])
            assert (await client.post("estimate", params={"count": "offline"}, **how)).json()["requests"] == 2
            taken = await client.post("jobs", **how)
            assert (taken.status_code, taken.json()["notices"]) == (201, [])
            job = taken.json()["job"]
            assert job["name"] == "in"
            again = await client.post(
                "jobs",
                params={**ASK, "id_column": "id", "param": 'stop_sequences=["END"]'},
                content=CSV,
                headers={"content-type": "text/csv"},
            )
            assert (again.status_code, again.json()["job"]["id"]) == (200, job["id"])
            places = {kind: f"jobs/{job['id']}/results.{kind}?follow=1" for kind in ("csv", "tsv", "txt")}
            texts = {kind: await client.get(place) for kind, place in places.items()}
            assert texts["csv"].text.splitlines()[1:3] == [
                '007,007,"good',
                'line","SANDBOX canned answer to: Classify: good',
            ]
            assert texts["tsv"].text.splitlines()[0].split("\t")[:4] == ["custom_id", "id", "text", "answer"]
            assert texts["tsv"].headers["content-type"].startswith("text/tab-separated-values")
            assert texts["txt"].text.startswith("SANDBOX canned answer to: Classify: good\nline\n\nSANDBOX")
            by_accept = await client.get(f"jobs/{job['id']}/results", headers={"accept": "text/plain"})
            assert by_accept.text == texts["txt"].text
            tried = await client.post("jobs", **form(**ASK, limit="1"))
            assert tried.json()["job"]["trial"] == 1

    asyncio.run(check())


@in_a_loop
async def test_cells_that_are_empty_are_told_by_a_check_and_by_a_hand_in(tmp_path: Path) -> None:
    """Their rows ask all the same, and are paid for; it is no problem of the input."""
    async with api(tmp_path / "x.db") as (_, client):
        for path in ("check", "jobs"):
            answer = await client.post(path, **form(body=b"id,text\n1,\n2,b\n", **ASK))
            assert answer.json()["notices"] == ["1 row where text is empty"]


@pytest.mark.parametrize(
    ("how", "status", "says"),
    [
        (form(), 400, "in.csv is a table (csv), and no template is given"),
        (form("in.jsonl", b"{}\n", model="m"), 400, "model needs a template"),
        (form(template="{{ text }}"), 400, "which model to ask is not said"),
        (form(template="{{ text", model="m"), 400, "the prompt is not a template that can be read"),
        (form(**ASK, param="top"), 400, "param top has no value"),
        (form(**ASK, max_tokens="0"), 400, "max_tokens is 0"),
        (form(**ASK, max_tokens="x"), 400, "max_tokens cannot be used"),
        (form(**ASK, format="xls"), 400, "there is no format 'xls'"),
        (form("table", **ASK), 400, "what kind of table table is cannot be told"),
        (form(template="{{ txt }}", model="m"), 422, "is no column, and the prompt uses it (line 2)"),
        (form(**ASK, image="text"), 422, "is a path, and a server reads no files"),
        (form(body=b'id,text\n1,"a', **ASK), 422, "has a quote that is not closed: in the row of line 2, column text"),
        (form("r.jsonl", b'{"custom_id":"a","params":{}}\n', **ASK), 400, "r.jsonl has requests of the API's own form"),
        ({"json": {"requests": []}, "params": ASK}, 400, "a template makes requests of a table, and this body is none"),
        ({"content": CSV, "headers": {"content-type": "text/csv"}}, 400, "<http> is a table (csv)"),
    ],
)
def test_what_does_not_fit_is_one_clear_problem(tmp_path: Path, how: Any, status: int, says: str) -> None:
    """With what to do; nothing is stored."""

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            answer = await client.post("jobs", **how)
            assert answer.status_code == status, answer.text
            problem = answer.json()
            assert says in problem["title"] + "".join(each["problem"] for each in problem.get("problems", []))
            assert problem["hint"]
            assert (await client.get("jobs")).json()["jobs"] == []

    asyncio.run(check())


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", OutputFormat.JSONL),
        ("*/*", OutputFormat.JSONL),
        ("application/json, text/plain, */*", OutputFormat.JSONL),
        ("text/plain", OutputFormat.TXT),
        ("text/tab-separated-values, */*", OutputFormat.TSV),
        ("text/csv;q=0.5, application/vnd.apache.parquet", OutputFormat.PARQUET),
        ("text/csv;q=0, application/x-ndjson;q=0.1", OutputFormat.JSONL),
    ],
)
def test_what_is_accepted_says_what_is_sent(accept: str, wanted: OutputFormat) -> None:
    """A library that asks for anything, JSON first, gets lines as ever."""
    assert accepted_format(accept) is wanted
