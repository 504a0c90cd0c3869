"""Webhooks as people and programs meet them: a daemon with [[webhooks]], the commands, and the REST API."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from faces.cli_world import Program, program_in, request, select_a_moment, write_lines
from standardwebhooks import Webhook
from support.receiver import Receiver, receiving

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with program_in(tmp_path) as found:
        write_lines(tmp_path / "in.jsonl", [request(n) for n in range(4)])
        yield found


@contextmanager
def receiver_beside(*answers: int | bytes | None) -> Iterator[Receiver]:
    """A receiver on a loop of its own, for tests that wait for processes."""
    ready, stop = threading.Event(), asyncio.Event()
    found: list[tuple[Receiver, asyncio.AbstractEventLoop]] = []

    async def listen() -> None:
        async with receiving(*answers) as receiver:
            found.append((receiver, asyncio.get_running_loop()))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(listen()))
    thread.start()
    assert ready.wait(30)
    receiver, loop = found[0]
    try:
        yield receiver
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def configure(program: Program, receiver: Receiver) -> None:
    folder = program.folder / "home/.config/orchestrator"
    folder.mkdir(parents=True)
    (folder / "secret").write_text(SECRET)
    (folder / "secret").chmod(0o600)
    (folder / "config.toml").write_text(
        f'[[webhooks]]\nurl = "{receiver.url}"\nsecret_file = "secret"\nallow_private = true\n'
    )


def deliveries(program: Program, *more: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = program("webhooks", "ls", "--json", *more).facts["deliveries"]
    return found


def await_(holds: Callable[[], bool]) -> None:
    """Look again and again until it *holds*."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        select_a_moment()


def await_state(program: Program, number: int, state: str) -> dict[str, Any]:
    def of_it() -> dict[str, Any]:
        return {row["id"]: row for row in deliveries(program)}[number]

    await_(lambda: of_it()["state"] == state)
    return of_it()


def test_a_daemon_tells_that_a_job_is_finished(program: Program) -> None:
    """Signed with the secret of the settings; `webhooks ls` shows that it arrived."""
    with receiver_beside() as receiver:
        configure(program, receiver)
        with program.started("serve", "--sandbox") as engine:
            engine.says("the engine runs on")
            job = program("submit", "in.jsonl", "--sandbox").out.strip()
            assert program("wait", job).code == 0
            assert await_state(program, 1, "delivered")["type"] == "job.finished"
            assert engine.signal(signal.SIGTERM).code == 0
        (got,) = receiver.got
    told = Webhook(SECRET).verify(got.body, got.headers)
    assert told["data"]["job"]["id"] == job
    shown = program("webhooks", "ls").out
    assert receiver.url in shown
    assert "job.finished" in shown
    assert SECRET not in engine.err + shown


@pytest.mark.long
def test_a_test_and_a_replay_reach_the_running_engine(program: Program) -> None:
    """By the commands; the same notice again has the same id."""
    with receiver_beside(500, 200) as receiver:
        configure(program, receiver)
        with program.started("serve", "--sandbox") as engine:
            engine.says("the engine runs on")
            assert "on its way" in program("webhooks", "test", "--sandbox").err
            await_(lambda: deliveries(program)[0]["tries"] > 0)
            assert deliveries(program)[0]["last_status"] == 500
            assert program("webhooks", "replay", "1", "--sandbox").code == 5  # it waits for its next try
            await_state(program, 1, "delivered")
            assert program("webhooks", "replay", "1", "--sandbox").code == 0
            await_(lambda: len(receiver.got) == 3)
            await_state(program, 1, "delivered")
            assert program("webhooks", "replay", "9", "--sandbox").code == 4
            assert program("webhooks", "test", "https://other.example", "--sandbox").code == 4
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1


def test_without_an_engine_a_test_waits_for_the_next(program: Program) -> None:
    """It is stored, and says so; without endpoints there is nothing to test."""
    assert program("submit", "in.jsonl", "--sandbox").code == 0
    assert program("webhooks", "test", "--sandbox").code == 4
    assert "no endpoints" in program("webhooks", "ls").err
    with receiver_beside() as receiver:
        configure(program, receiver)
        assert program("run", "in.jsonl", "--sandbox").code == 0
        stored = program("webhooks", "test", "--sandbox", "--json").facts["sent"]
        with program.started("serve", "--sandbox") as engine:
            engine.says("the engine runs on")
            assert await_state(program, stored[0], "delivered")["type"] == "webhook.test"
        kinds = {json.loads(got.body)["type"] for got in receiver.got}
    assert kinds == {"job.finished", "webhook.test"}
    assert deliveries(program, "--state", "failed") == []


def test_a_daemon_that_is_killed_over_a_notice_sends_it_again_with_the_same_id(program: Program) -> None:
    """Kill -9 after the POST and before its answer: at least once, and whoever gets it twice can tell."""
    with receiver_beside() as receiver:
        configure(program, receiver)
        with program.started("serve", "--sandbox") as engine:
            engine.says("the engine runs on")
            receiver.heard = lambda _: engine.send(signal.SIGKILL)
            assert program("webhooks", "test", "--sandbox").code in {0, 5}  # 5: the kill was faster than the answer
            assert engine.end().code == -signal.SIGKILL
        assert deliveries(program)[0]["state"] == "waiting"
        receiver.heard = lambda _: None
        with program.started("serve", "--sandbox") as engine:
            engine.says("the engine runs on")
            await_state(program, 1, "delivered")
    assert len(receiver.got) == 2
    assert len({(got.headers["webhook-id"], got.body) for got in receiver.got}) == 1


def test_a_run_tells_of_its_end_before_it_ends(program: Program) -> None:
    """Nobody is there afterwards; and an endpoint that hangs does not keep it, nor is its notice lost."""
    with receiver_beside() as receiver:
        configure(program, receiver)
        assert program("run", "in.jsonl", "--sandbox").code == 0
        assert {json.loads(got.body)["type"] for got in receiver.got} == {"job.finished"}
        assert len({got.headers["webhook-id"] for got in receiver.got}) == 1  # sent twice if the end cuts the first try
        assert deliveries(program)[0]["state"] == "delivered"
        receiver.answers[:] = [None]
        assert program("run", "in.jsonl", "--sandbox", "--new").code == 0
        assert deliveries(program)[0]["state"] == "waiting"


def test_a_missing_secret_ends_the_daemon_at_its_start(program: Program) -> None:
    """Rather than at the first notice, in the night."""
    with receiver_beside() as receiver:
        configure(program, receiver)
    (program.folder / "home/.config/orchestrator/secret").unlink()
    ended = program("serve", "--sandbox")
    assert ended.code == 2
    assert "secret" in ended.err
    assert program("webhooks", "ls").code == 4  # no store was made


def test_the_rest_api_shows_tests_and_replays(program: Program) -> None:
    """What the commands can, by HTTP; a page ends in a cursor; an unknown number is a 404."""
    with receiver_beside(410, 200) as receiver:
        configure(program, receiver)
        with program.started("serve", "--sandbox") as engine:
            engine.says("the engine runs on")
            with _talking(program) as client:
                (endpoint,) = client.get("webhooks").json()["endpoints"]
                assert endpoint == {"url": receiver.url, "events": [], "active": True}
                assert client.post("webhooks/test").json() == {"sent": [1]}
                await_state(program, 1, "failed")
                assert client.post("webhooks/deliveries/1/replay").json()["state"] in {"waiting", "delivered"}
                await_state(program, 1, "delivered")
                assert client.post("webhooks/test", params={"url": receiver.url}).json() == {"sent": [2]}
                await_state(program, 2, "delivered")
                first = client.get("webhooks/deliveries", params={"limit": 1}).json()
                rest = client.get("webhooks/deliveries", params={"cursor": first["next"]}).json()
                assert [row["id"] for row in first["deliveries"] + rest["deliveries"]] == [2, 1]
                assert rest["next"] is None
                chosen = client.get("webhooks/deliveries", params={"state": "failed"}).json()
                assert chosen["deliveries"] == []
                assert client.post("webhooks/deliveries/99/replay").status_code == 404
                assert client.post("webhooks/test", params={"url": "https://no.example"}).status_code == 404


@contextmanager
def _talking(program: Program) -> Iterator[httpx2.Client]:
    (socket,) = Path(program.env()["XDG_RUNTIME_DIR"]).glob("*.sock")
    transport = httpx2.HTTPTransport(uds=str(socket))
    with httpx2.Client(transport=transport, base_url="http://engine/api/v1/", timeout=20) as client:
        yield client


def test_the_dashboard_shows_tests_and_replays(program: Program) -> None:
    """Endpoints, and of each notice its state, its tries, the last answer; buttons only where they can do something."""
    with receiver_beside(410, 200) as receiver:
        configure(program, receiver)
        with program.started("serve", "--sandbox") as engine:
            engine.says("the engine runs on")
            with _talking(program) as api:

                def act(**form: str) -> httpx2.Response:
                    return api.post("http://engine/act", data=form, headers={"origin": "http://engine"})

                def shown() -> str:
                    return html.unescape(api.get("http://engine/webhooks", headers={"accept": "text/html"}).text)

                assert ("No notice" in shown(), receiver.url in shown()) == (True, True)
                assert act(verb="test", url="https://no.example").status_code == 404
                assert act(verb="test").headers["location"] == "/webhooks"
                await_state(program, 1, "failed")
                page = shown()
                assert "410 words" in page
                assert 'name="notice" value="1"' in page
                assert act(verb="replay", notice="x").status_code == 400
                assert act(verb="replay", notice="99").status_code == 409
                assert act(verb="replay", notice="1").status_code == 303
                await_state(program, 1, "delivered")
                assert act(verb="test", url=receiver.url).status_code == 303
                await_state(program, 2, "delivered")
                assert api.get("http://engine/webhooks?state=failed").text.count("data-row") == 0
