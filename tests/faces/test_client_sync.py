"""The library without `await`."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from inspect import signature
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from faces.client_world import QUICK, SLOW, line_of, requests, running, short_runtime_folder
from support.world import in_a_loop

from orchestrator import (
    InputRefused,
    JobTimeout,
    Orchestrator,
    Result,
    RowSubmission,
    Submission,
    SyncOrchestrator,
)
from orchestrator.client import notebook
from orchestrator.domain.errors import GuardRefused, StoreError, UsageError
from orchestrator.domain.queries import ResultRow
from orchestrator.domain.states import RequestState

BEGIN = """
import sys
from orchestrator import SyncOrchestrator

def requests():
    for number in range(5):
        yield {"custom_id": f"r{number}", "params": {"model": "claude-haiku-4-5", "max_tokens": 9,
               "messages": [{"role": "user", "content": "hello"}]}}

orc = SyncOrchestrator(sys.argv[1], sandbox=True, sandbox__speed="0.01", limits__poll_interval="0.05s").open()
job = orc.submit(requests())
"""


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


def quick(tmp_path: Path, **overrides: Any) -> SyncOrchestrator:
    return SyncOrchestrator(tmp_path / "x.db", sandbox=True, **{**QUICK, **overrides})


def test_everything_works_without_a_loop(tmp_path: Path) -> None:
    """A script is the guide's loop without the loop: submit, wait, results."""
    with quick(tmp_path) as orc:
        job = orc.submit(requests(2500), name="plain")
        assert job.wait(60).job.requests.succeeded == 2500
        assert [result.custom_id for result in job.results()] == [f"r{number}" for number in range(2500)]
        assert job.export(tmp_path / "out.jsonl") == 2500
        filed = orc.submit_file(_file(tmp_path), skip_bad=True)
        assert (filed.refused_count, {problem.line for problem in filed.refused()}) == (1, {2})
        assert [status.job.name for status in orc.jobs()] == ["in", "plain"]
        assert (orc.fleet().fleet, orc.fleet().daemons) == (False, [])
        assert orc.job("plain").id == job.id
        assert job.request("r7").state.value == "succeeded"
        assert (job.errors(), job.retry(), orc.embedded) == ([], 0, True)
        with pytest.raises(GuardRefused):
            job.pause()


def _file(tmp_path: Path) -> Path:
    file = tmp_path / "in.jsonl"
    line = b'{"custom_id":"%d","params":{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}]}}\n'
    file.write_bytes(line % 1 + b"{}\n" + line % 2)
    return file


@in_a_loop
async def test_it_works_where_a_loop_runs_already(tmp_path: Path) -> None:
    """A notebook's cells run inside a loop, which cannot be entered again."""
    assert asyncio.get_running_loop().is_running()
    with quick(tmp_path) as orc:
        assert [result.type for result in orc.submit(requests(3)).results()] == ["succeeded"] * 3


def test_a_plain_iterable_is_read_in_the_callers_thread(tmp_path: Path) -> None:
    """What a generator uses (a cursor, say) may belong to its thread; and it never holds the engine up."""
    threads: set[int] = set()

    def source() -> Iterator[dict[str, Any]]:
        for request in requests(3000):
            threads.add(threading.get_ident())
            yield request

    async def stream() -> AsyncIterator[dict[str, Any]]:
        for request in requests(3, said="async"):
            yield request

    with quick(tmp_path) as orc:
        assert orc.submit(source()).status().job.requests.total == 3000
        assert threads == {threading.get_ident()}
        assert orc.submit(stream()).status().job.requests.total == 3


def test_a_list_of_prompts_is_asked_in_one_line(tmp_path: Path) -> None:
    """In their order; again it is the same job. What is no text is refused by its number, and nothing is stored."""
    with quick(tmp_path) as orc:
        prompts = [f"Say {number}." for number in range(30)]
        found = orc.map(prompts, model="claude-haiku-4-5", name="asked")
        assert [result.row for result in found] == [{"prompt": prompt} for prompt in prompts]
        assert all(result.text for result in found)
        assert len(orc.map(iter(prompts), model="claude-haiku-4-5")) == 30
        assert [status.job.name for status in orc.jobs()] == ["asked"]
        framed = orc.map(["Hallo"], model="claude-haiku-4-5", prompt="Translate: {{ prompt }}")
        sent = orc.jobs()[0].job.public_id
        assert b"Translate: Hallo" in (orc.job(sent).request(framed[0].custom_id).params or b"")
        with pytest.raises(UsageError, match="prompt 2 is of type float"):
            orc.map(["a", float("nan")], model="claude-haiku-4-5")  # type: ignore[list-item]
        with pytest.raises(UsageError, match="there are no prompts"):
            orc.map([], model="claude-haiku-4-5")
        with pytest.raises(UsageError, match="prompts is one text"):
            orc.map("a", model="claude-haiku-4-5")
        with pytest.raises(UsageError, match="map gives a result of every prompt, and skip_bad leaves some out"):
            orc.map(["a"], model="claude-haiku-4-5", skip_bad=True)
        while len(orc.jobs()) > 2:  # the import that was broken off is being taken away
            pass


def test_a_notebook_shows_a_job_and_a_result_and_no_markup_of_theirs(tmp_path: Path) -> None:
    """What a model, or a name, says stays text; without the orchestrator the job is shown by its id alone."""
    with quick(tmp_path) as orc:
        job = orc.submit(requests(3), name="<b>bold</b>")
        job.wait(60)
        card = job._repr_html_()
        assert card is not None
        assert all(each in card for each in ("&lt;b&gt;bold", "3 requests, all succeeded", 'max="3" value="3"'))
        (result, *_) = job.results()
        assert f"<td>{result.custom_id}</td>" in result._repr_html_()
    assert job._repr_html_() is None
    body = b'{"type":"succeeded","message":{"content":[{"type":"text","text":"<script>x</script>"}]}}'
    odd = Result(ResultRow(number=1, custom_id="<i>", state=RequestState.SUCCEEDED, body=body))._repr_html_()
    assert "&lt;script&gt;x" in odd
    assert ("<script>" in odd, "<i>" in odd) == (False, False)


def test_a_notebook_shows_how_far_a_job_is_and_nothing_else_does(tmp_path: Path) -> None:
    """In its cell, by one display that is updated; IPython in a terminal, and a plain script, are shown nothing."""
    shown: list[str] = []
    handle = SimpleNamespace(update=lambda card: shown.append(f"again {card}"))
    display = ModuleType("IPython.display")

    def show_card(card: str, *, display_id: bool) -> SimpleNamespace:
        assert display_id
        shown.append(card)
        return handle

    display.__dict__.update(HTML=str, display=show_card)
    ipython = ModuleType("IPython")
    ipython.__dict__.update(display=display, get_ipython=SimpleNamespace)
    with quick(tmp_path, **SLOW) as orc, pytest.MonkeyPatch.context() as patch:
        job = orc.submit(requests(3))
        patch.setitem(sys.modules, "IPython", ipython)
        patch.setitem(sys.modules, "IPython.display", display)
        with pytest.raises(JobTimeout):
            job.wait(0)
        assert shown == []
        ipython.__dict__.update(get_ipython=lambda: SimpleNamespace(kernel=object()))
        with pytest.raises(JobTimeout):
            job.wait(0)
        assert len(shown) == 1
        assert 'max="3" value="0"' in shown[0]
        show = notebook.live_card()
        assert show is not None
        show(job.status())
        show(job.status())
        assert [card.startswith("again ") for card in shown] == [False, False, True]


def test_help_lists_the_options_of_a_submission() -> None:
    """`**how` told nobody what may be written there; the names come from the classes that the checks go by."""
    for kind in (Orchestrator, SyncOrchestrator):
        for method in (kind.submit, kind.submit_file, kind.map, kind.estimate):
            assert {*RowSubmission.__annotations__, *Submission.__annotations__} < {*signature(method).parameters}
        assert list(signature(kind.open_job).parameters)[2:] == list(Submission.__annotations__)


def test_an_iterable_that_breaks_or_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    """Promise 1: a job is whole or not there."""

    def breaking() -> Iterator[dict[str, Any]]:
        yield from requests(9000)
        raise LookupError("the source broke")

    with quick(tmp_path) as orc:
        with pytest.raises(LookupError, match="the source broke"):
            orc.submit(breaking())
        with pytest.raises(InputRefused):
            orc.submit([*requests(9000), {}])
        with pytest.raises(UsageError):
            orc.submit(requests(1), priority=1000)
        while orc.jobs():  # the import that was broken off is being taken away
            pass


def test_an_open_job_grows_without_a_loop_too(tmp_path: Path) -> None:
    """The same open jobs, blocking."""
    with quick(tmp_path) as orc:
        growing = orc.open_job("live")
        assert orc.open_job("live").job is None
        assert growing.add(requests(3)) == 3
        assert growing.add(request for request in requests(2, first=3)) == 2
        assert growing.job is not None
        assert len(list(growing.close().results())) == 5


def test_a_timeout_and_steering_leave_the_job_alone(tmp_path: Path) -> None:
    """A call that ends by its own time limit ends alone."""
    with SyncOrchestrator(tmp_path / "x.db", sandbox=True, **SLOW) as orc:
        job = orc.submit(requests(1))
        with pytest.raises(JobTimeout):
            job.wait(0.05)
        states = [job.pause().job.state.value, job.resume().job.state.value, job.cancel().job.state.value]
        assert states[:2] == ["paused", "running"]
        assert states[2] in {"canceling", "canceled"}


def test_an_engine_that_fails_is_told_by_the_call_that_meets_it(tmp_path: Path) -> None:
    """Promise 11: no call waits for an engine that is dead, and the error is told once."""

    def damaged() -> None:
        with quick(tmp_path) as orc:
            job = orc.submit(requests(1))
            with sqlite3.connect(tmp_path / "x.db") as other:
                other.execute("ALTER TABLE gate RENAME TO gone")
            other.close()
            job.wait()

    with pytest.raises(StoreError, match="the store failed"):
        damaged()


def test_it_cannot_be_used_before_it_is_opened_or_after_it_was_closed(tmp_path: Path) -> None:
    """A closed face says so; closing twice is harmless; what fails to open raises there."""
    orc = quick(tmp_path)
    with pytest.raises(UsageError, match="not open\nhint: use it inside `with`, or call"):
        orc.jobs()
    orc.close()
    with orc:
        assert orc.jobs() == []
    orc.close()
    with pytest.raises(UsageError, match="not open\nhint: use it inside `with`, or call"):
        orc.jobs()
    with pytest.raises(UsageError, match="is or was open"):
        orc.open()
    with pytest.raises(UsageError):
        quick(tmp_path, limits__no_such_limit=1)
    with pytest.raises(UsageError, match=r"argument: \[limits\] poll_interval: expected"):
        quick(tmp_path, limits__poll_interval="soon").open()


def test_ctrl_c_ends_the_call_that_it_meets_and_nothing_else(tmp_path: Path) -> None:
    """An interrupted wait leaves the engine at work: the next cell of a notebook goes on with it."""
    script = f"""{BEGIN}
try:
    print("waiting", flush=True)
    job.wait()
except KeyboardInterrupt:
    print(job.status().job.state.value, flush=True)
orc.close()
print("closed", flush=True)
"""
    with running(script, tmp_path / "x.db") as process:
        assert line_of(process) == "waiting"
        process.send_signal(signal.SIGINT)
        assert (line_of(process), line_of(process)) == ("running", "closed")
        assert process.wait(20) == 0


def test_a_program_that_forgets_to_close_it_still_ends(tmp_path: Path) -> None:
    """The engine's thread does not keep a finished program alive."""
    with running(f"{BEGIN}\nprint(job.id, flush=True)", tmp_path / "x.db") as process:
        job = line_of(process)
        assert process.wait(20) == 0
    with quick(tmp_path) as orc:
        assert orc.job(job).wait(60).job.requests.succeeded == 5
