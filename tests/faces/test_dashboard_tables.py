"""The dashboard's form for a table: what the server shows of its first rows, and the job that it becomes."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import pytest
from faces.api_world import api

HERE = {"origin": "http://engine", "accept": "application/json"}
CSV = b"id,text\n" + b"".join(b"%d,row %d\n" % (number, number) for number in range(9))


def ask(body: bytes, name: str = "in.csv", **fields: str) -> dict[str, Any]:
    return {"data": {"cut": "0", **fields}, "files": {"file": (name, body)}, "headers": HERE}


@pytest.mark.parametrize(
    ("how", "columns", "rows", "problem"),
    [
        (ask(CSV), ["id", "text"], [], ""),
        (
            ask(CSV, template="Is {{ text }}?", system="Be {{ id }}", id_column="id"),
            ["id", "text"],
            [{"id": str(n), "system": f"Be {n}", "prompt": f"Is row {n}?"} for n in range(3)],
            "",
        ),
        (ask(CSV, template="{{ txt }}"), ["id", "text"], [], "is no column, and the prompt uses it (line 2)"),
        (ask(CSV, template="{{ text"), ["id", "text"], [], "the prompt is not a template that can be read"),
        (ask(CSV, template="x", max_tokens="many"), ["id", "text"], [], "max_tokens cannot be used"),
        (ask(CSV, template="x", schema="{}x"), ["id", "text"], [], "schema"),
        (ask(CSV, template="x", param="top_k=5\n\nsystem=1"), ["id", "text"], [], "param does not set system"),
        (ask(CSV, template="x", param="top_k"), ["id", "text"], [], "param top_k has no value"),
        (ask(CSV, template="x", image="photo"), ["id", "text"], [], "is no column (line 2)"),
        (
            ask(b"id,photo\n1,https://example.org/a.png\n", template="What?", image=" photo \n"),
            ["id", "photo"],
            [{"prompt": "[image]\nWhat?"}],
            "",
        ),
        (ask(CSV[:20], cut="1", template="{{ text }}"), ["id", "text"], [{"id": "row-1", "prompt": "row 0"}], ""),
        (ask(b'id,text\n1,"aaaaaaaa', cut="1"), [], [], "its first row is longer than what is looked at here"),
        (ask(b"id\n1,2\n"), [], [], "column 2 has no name"),
        (ask(b"", name="in.csv"), [], [], "has no header: it is empty"),
        (
            ask(gzip.compress(CSV, mtime=0), name="in.csv.gz", template='x{{ "" }}'),
            ["id", "text"],
            [{"prompt": "x"}] * 3,
            "",
        ),
        (ask(CSV, template="Is {text}?"), ["id", "text"], [], "the prompt names no column"),
        (ask(b'{"a":1}\n', name="in.jsonl", template="{{ a }}"), ["a"], [{"prompt": "1"}], ""),
        (ask(b'{"custom_id":"a","params":{}}\n', name="in.jsonl"), None, [], ""),
        (ask(b'{"custom_id":"a"}\n', name="in.jsonl"), None, [], ""),
        (ask(b"\x00\x01", name="a.bin"), None, [], ""),
    ],
)
def test_the_first_rows_of_a_table_are_shown(
    tmp_path: Path, how: Any, columns: list[str] | None, rows: list[dict[str, str]], problem: str
) -> None:
    """Its columns, three prompts, or what is wrong; what is no table is told so, and goes the way of requests."""

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            answer = await client.post("http://engine/new/preview", **how)
            assert answer.status_code == 200, answer.text
            found = answer.json()
            assert found["columns"] == columns
            assert len(found["rows"]) == len(rows)
            assert all(shown.items() >= wanted.items() for shown, wanted in zip(found["rows"], rows, strict=True))
            assert [problem in each["problem"] for each in found["problems"]] == ([True] if problem else [])

    asyncio.run(check())


def test_the_form_makes_a_job_of_a_table_without_a_script(tmp_path: Path) -> None:
    """Empty fields say nothing; what is wrong is told on the page; another site's page is refused."""

    async def check() -> None:
        async with api(tmp_path / "x.db") as (_, client):
            page = {"origin": "http://engine"}
            file = {"file": ("reviews.csv", CSV)}
            empty = {"template": "", "system": "", "model": "", "max_tokens": "", "id_column": "", "name": ""}
            bare = await client.post("http://engine/new", data=empty, files=file, headers=page)
            assert "reviews.csv is a table (csv), and no template is given" in bare.text
            wrong = {**empty, "template": "{{ txt }}", "model": "claude-haiku-4-5"}
            refused = await client.post("http://engine/new", data=wrong, files=file, headers=page)
            assert refused.status_code == 422
            assert "is no column, and the prompt uses it (line 2)" in refused.text
            assert "{{ txt }}" in refused.text
            data = {**wrong, "template": "Is {{ text }} good?", "id_column": "id", "schema": "label"}
            bad = await client.post("http://engine/new", data={**data, "retry_invalid": "11"}, files=file, headers=page)
            assert "a whole number from 0 to 10" in bad.text
            data |= {"retry_invalid": "3", "param": 'stop_sequences=["."]\nmetadata={"user_id":"u"}'}
            made = await client.post("http://engine/new", data=data, files=file, headers=page)
            assert (made.status_code, made.headers["location"].startswith("/jobs/reviews-")) == (303, True)
            (job,) = (await client.get("jobs")).json()["jobs"]
            assert (job["requests"]["total"], list(job["schema"]["properties"])) == (9, ["label"])
            params = (await client.get(f"jobs/{job['id']}/requests/1")).json()["params"]
            assert (job["retry_invalid"], params["stop_sequences"], params["metadata"]) == (3, ["."], {"user_id": "u"})
            for path in ("http://engine/new", "http://engine/new/preview"):
                other = await client.post(path, files=file, headers={"origin": "http://evil.example"})
                assert other.status_code == 403

    asyncio.run(check())
