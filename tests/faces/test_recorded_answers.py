"""Every answer of every face, compared to the byte with the one that is kept in `recorded/`.

An answer that is meant to change is recorded anew, and the change is read where it is reviewed:

    RECORD_ANSWERS=1 .venv/bin/python -m pytest tests/faces/test_recorded_answers.py
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

import pytest
from faces.recorded_world import JOBS, Faces, faces

RECORDED: Final = Path(__file__).with_name("recorded")
V1: Final = "/api/v1"
#: A list, a page of it, one entry of it, and what is refused.
REST: Final = (
    *("/version", "/livez", "/readyz", "/api/v1/health", "/api/v1/totals", "/api/v1/limits"),
    f"{V1}/fleet",
    *(f"{V1}/jobs{more}" for more in ("", "?limit=2", "?state=finished&q=mixed", "?cursor=x", "?none=1")),
    *(f"{V1}/batches{more}" for more in ("", "?limit=2", "?state=in_doubt", "/1", "/nothing")),
    *(f"{V1}/jobs/{ref}" for ref in ("all%20good", "mixed", "all%20failed", "purged", "canceled", "open", "@last")),
    *(f"{V1}/jobs/{ref}" for ref in ("in%20doubt", "waits", "on%20the%20third%20try", "nothing")),
    *(f"{V1}/jobs/on%20the%20third%20try/{inside}" for inside in ("errors", "batches", "events", "results")),
    *(f"{V1}/jobs/on%20the%20third%20try/requests{more}" for more in ("", "?limit=2", "?stop_reason=refusal", "?x=1")),
    *(f"{V1}/jobs/on%20the%20third%20try/requests.jsonl{more}" for more in ("", "?only=succeeded&limit=1&after=r1")),
    f"{V1}/jobs/purged/requests.jsonl",
    *(f"{V1}/jobs/on%20the%20third%20try/requests/r{number}" for number in (1, 2, 3, 4, 99)),
    *(f"{V1}/jobs/on%20the%20third%20try/results/page{more}" for more in ("", "?limit=2&above=3")),
    *(f"{V1}/jobs/purged/{inside}" for inside in ("requests", "requests/r1", "results", "results/page", "errors")),
    *(f"{V1}/jobs/bad%20lines/{inside}" for inside in ("refused", "requests", "requests/a")),
    *(f"{V1}/jobs/all%20failed/errors?groups=1&examples=1", f"{V1}/jobs/canceled/requests?limit=0"),
    *(f"{V1}/jobs/{ref}/cost" for ref in ("mixed", "purged", "all%20failed", "nothing")),
    *(
        f"{V1}/spend{more}"
        for more in ("", "?by=model", "?by=job&since=2026-11-23", "?since=2026-11-25", "?since=soon")
    ),
    *(f"{V1}/events{more}" for more in ("", "?after=40&limit=3")),
    *(f"{V1}/remote-batches", f"{V1}/remote-batches?limit=1"),
    *(f"{V1}/webhooks{more}" for more in ("", "/deliveries", "/deliveries?limit=1&state=delivered")),
    *("/api/v2", "/api/v1/jobs/"),
)
#: What the last of these does is seen by those after it.
CHANGES: Final = (
    ("POST", f"{V1}/jobs/all%20good/pause"),
    ("POST", f"{V1}/jobs/waits/pause"),
    ("POST", f"{V1}/jobs/waits/resume"),
    ("POST", f"{V1}/jobs/mixed/cancel"),
    ("POST", f"{V1}/jobs/all%20failed/retry?only=invalid_request_error"),
    ("DELETE", f"{V1}/jobs/all%20good"),
    ("DELETE", f"{V1}/jobs/all%20good"),
    ("POST", f"{V1}/jobs/open/close"),
    ("POST", f"{V1}/prune?older_than=400d"),
    ("POST", f"{V1}/prune?older_than=soon"),
    ("POST", f"{V1}/batches/msgbatch_0/disown"),
    ("POST", f"{V1}/webhooks/test"),
    ("POST", f"{V1}/webhooks/deliveries/1/replay"),
    ("POST", f"{V1}/webhooks/deliveries/99/replay"),
    ("PUT", f"{V1}/jobs"),
)
LINE: Final = b'{"custom_id":"n-%d","params":{"model":"claude-haiku-4-5","max_tokens":8,"messages":%b}}\n'
GOOD: Final = b'[{"role":"user","content":"hello"}]'
#: (route, type of the body, body): jobs that are made, checked and refused.
UPLOADS: Final = (
    ("check?name=x&beta=a-1&priority=7", "application/x-ndjson", LINE % (1, GOOD) + LINE % (2, GOOD)),
    ("check", "application/x-ndjson", LINE % (1, GOOD) + LINE % (1, GOOD) + b"{}\n"),
    ("jobs?name=new", "application/x-ndjson", LINE % (1, GOOD)),
    ("jobs?name=new", "application/x-ndjson", LINE % (1, GOOD)),
    ("jobs", "application/x-ndjson", LINE % (1, b"[]")),
    ("jobs?skip_bad=1&new=1&max_problems=1", "application/x-ndjson", LINE % (1, GOOD) + b"{}\n[]\n"),
    ("jobs", "application/json", b'{"name":"small","betas":["b-2","b-1"],"requests":[' + (LINE % (3, GOOD)) + b"]}"),
    ("jobs", "application/json", b'{"requests":{}}'),
    ("jobs?priority=101", "application/x-ndjson", LINE % (1, GOOD)),
    ("jobs?api_version=soon", "application/x-ndjson", LINE % (1, GOOD)),
    ("jobs?open=2", "application/x-ndjson", LINE % (1, GOOD)),
    ("jobs", "text/html", b"<p>"),
    ("jobs/open/requests", "application/x-ndjson", LINE % (9, GOOD)),
    ("jobs/all%20good/requests", "application/x-ndjson", LINE % (9, GOOD)),
)
COMMANDS: Final = (
    ("ls",),
    ("ls", "--unfinished", "-n", "1"),
    *(("status", ref) for ref in ("all good", "mixed", "purged", "open", "in doubt", "no credit", "nothing")),
    ("errors", "on the third try"),
    ("errors", "all failed", "--examples", "1"),
    ("requests", "on the third try", "-n", "2"),
    ("show", "on the third try", "r3"),
    ("show", "purged", "r1"),
    ("events", "waits", "-n", "2"),
    ("requests", "mixed", "--only", "failed", "--stop", "refusal"),
    ("batches", "show", "1"),
    ("webhooks", "ls"),
)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The answers of all faces, by the name of the file that keeps them."""
    return asyncio.run(_answers(tmp_path_factory.mktemp("recorded")))


async def _answers(folder: Path) -> dict[str, str]:
    async with faces(folder) as those:
        found = {
            "rest": [(path, await those.ask("GET", path)) for path in REST],
            "drop_in": [await _drop_in(those, path) for path in _drop_in_paths(those)],
            "webhooks": [(f"notice {place}", notice) for place, notice in enumerate(those.notices(), start=1)],
            "commands": [(" ".join(argv), await those.run(*argv, "--db", str(those.db))) for argv in COMMANDS],
            "remote_commands": [(" ".join(argv), await those.run(*argv, "--server", those.url)) for argv in COMMANDS],
            "rest_changes": [(f"{how} {path}", await those.ask(how, path)) for how, path in CHANGES],
            "rest_uploads": [await _upload(those, *upload) for upload in UPLOADS],
        }
    return {name: "".join(f"== {what}\n{answer.rstrip()}\n\n" for what, answer in many) for name, many in found.items()}


def _drop_in_paths(those: Faces) -> list[str]:
    """What the official SDK asks for."""
    listed = [f"/v1/messages/batches{more}" for more in ("", "?limit=2", "?limit=0")]
    single = [f"/v1/messages/batches/{those.batch_id(job)}" for job in JOBS]
    results = [f"/v1/messages/batches/{those.batch_id(job)}/results" for job in (2, 4, 10)]
    return [*listed, *single, *results, "/v1/messages/batches/msgbatch_0", "/v1/messages"]


async def _drop_in(those: Faces, path: str) -> tuple[str, str]:
    answer = await those.ask("GET", path, headers={"anthropic-version": "2023-06-01", "x-api-key": "sandbox"})
    return those.steady(path), answer


async def _upload(those: Faces, route: str, kind: str, body: bytes) -> tuple[str, str]:
    answer = await those.ask("POST", f"{V1}/{route}", content=body, headers={"content-type": kind})
    return f"POST {route} {kind}", answer


@pytest.mark.parametrize("face", ["rest", "drop_in", "webhooks", "commands", "rest_changes", "rest_uploads"])
def test_answers_are_the_same_to_the_byte(face: str, answers: dict[str, str]) -> None:
    """Programs read them: a key that goes, comes or moves is a change that somebody decides on, and no accident."""
    kept = RECORDED / f"{face}.txt"
    if os.environ.get("RECORD_ANSWERS"):
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(answers[face])
    assert answers[face].split("\n== ") == kept.read_text().split("\n== ")


def test_a_command_says_the_same_of_a_server_as_of_a_file(answers: dict[str, str]) -> None:
    """What goes over the network loses nothing on the way."""
    assert answers["remote_commands"] == answers["commands"]
