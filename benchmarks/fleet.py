"""Part `fleet`: both kinds of store side by side, and one, two and four daemons on one PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from benchmarks import hot_path, inputs, program
from benchmarks.measure import PROGRAM, ROOT, api, clean_env, cpu_s_of, ended, kill, run, start, stat_of
from benchmarks.outcome import Options, Outcome, Part
from benchmarks.postgres_server import Server, server

_BATCHES: Final = 40
_FLEETS: Final = (1, 2, 4)
#: Of each direction: a round trip takes two of them.
_DELAY_S: Final = 0.001
_TIMEOUT_S: Final = 300.0
_OVER: Final = "SELECT count(*) FROM job WHERE state = 'finished'"
_SUCCEEDED: Final = "SELECT count(*) FROM request WHERE state = 'succeeded'"
#: Daemons that are there, stages that somebody holds, and stages.
_HELD: Final = """
SELECT (SELECT count(*) FROM daemon), count(*) FILTER (WHERE status = 'picked'), count(*)
  FROM pgqueuer WHERE entrypoint LIKE 'stage.%'
"""

Ask = Callable[[str], Sequence[Sequence[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    """One whole job: seconds by the clock, of the daemons' CPU, and of the database's own, if that can be seen."""

    wall_s: float
    cpu_s: float
    server_cpu_s: float | None = None

    def served(self, before: float | None, after: float | None) -> _Whole:
        """With the difference of the database's two figures."""
        return self if before is None or after is None else replace(self, server_cpu_s=after - before)

    @property
    def cores(self) -> float:
        """How many were at work, as far as can be seen."""
        return (self.cpu_s + (self.server_cpu_s or 0.0)) / self.wall_s


def _cpu_cells(runs: Sequence[_Whole]) -> list[str]:
    """The CPU of the daemons, and of the database if that can be seen."""
    served = [each.server_cpu_s for each in runs if each.server_cpu_s is not None]
    own = statistics.median(each.cpu_s for each in runs)
    return [f"{own:.1f} s", f"{statistics.median(served):.1f} s" if served else ""]


def measure(options: Options) -> Outcome:
    """Every size; the sides of each comparison take turns. All is done in one database, which is empty between runs."""
    columns = ("", "requests", "daemons", "store", "wall", "requests/s", "CPU, daemons", "CPU, PostgreSQL", "so")
    outcome = Outcome(columns=columns)
    with server(options) as database:
        for size in options.sizes:
            for name, (part, share) in _QUESTIONS.items():
                if name in (options.only or _QUESTIONS):
                    part(outcome, options, database, int(size * share))
    return outcome


def _steps(outcome: Outcome, options: Options, database: Server, size: int) -> None:
    """Every step of the store's hot path."""
    for step, (file, served) in hot_path.both_stores(replace(options, db=database.url), size).items():
        ratio = outcome.put(f"{step}_vs_sqlite", served / file, size=size)
        for name, seconds, words in (("SQLite", file, ""), (database.name, served, f"{ratio:.1f} × SQLite's time")):
            is_a_look = step == "status"
            cells = [f"{seconds * 10:.2f} ms each", ""] if is_a_look else [f"{seconds:.2f} s", f"{size / seconds:,.0f}"]
            outcome.rows.append([f"step: {step}", f"{size:,}", "", name, *cells, "", "", words])


def _whole_jobs(outcome: Outcome, options: Options, database: Server, size: int) -> None:
    """A job from `submit` to its end, with one daemon on SQLite and with more and more of them on PostgreSQL."""
    source = inputs.usual(options.work / "whole.jsonl", size)
    sides = {0: partial(_on_sqlite, options, source)}
    sides |= {count: partial(_on_postgres, options, database, source, count) for count in _FLEETS}
    found: dict[int, list[_Whole]] = {count: [] for count in sides}
    for _ in range(options.rounds):
        for count, side in sides.items():
            found[count].append(side())
    alone = statistics.median(each.wall_s for each in found[0])
    for count, runs in found.items():
        wall = statistics.median(each.wall_s for each in runs)
        words = f"{wall / alone:.2f} × one on SQLite" if count else ""
        outcome.put("job_on_sqlite_s" if count == 0 else f"job_by_{count}_s", wall, size=size)
        cells = [f"{wall:.2f} s", f"{size / wall:,.0f}", *_cpu_cells(runs), words]
        name = database.name if count else "SQLite"
        outcome.rows.append([f"a job in {_BATCHES} batches", f"{size:,}", str(count or 1), name, *cells])


def _settings(source: Path) -> dict[str, str]:
    requests = -(-program.count_lines(source) // _BATCHES)
    return {"batching__max_requests": str(requests), "batching__linger": "0s", "limits__poll_interval_max": "0.5s"}


def _on_sqlite(options: Options, source: Path) -> _Whole:
    store = program.fresh(options.work / "store")

    def ask(sql: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()

    with api() as base_url:
        env = program.env(base_url, store, **_settings(source))
        with _daemon(options.work, 0, env) as pid:
            return _job(source, env, [pid], ask)


def _on_postgres(options: Options, database: Server, source: Path, count: int) -> _Whole:
    folder = program.fresh(options.work / "store")
    with _emptied(database), api() as base_url:
        env = program.env(base_url, folder, **_settings(source)) | {"ORCHESTRATOR_DATABASE__URL": database.url}
        with _daemons(options.work, env, count) as pids:
            program.wait_until(lambda: _is_held(database, count), timeout_s=_TIMEOUT_S)
            before = database.cpu_s()
            found = _job(source, env, pids, database.ask)
            return found.served(before, database.cpu_s())


def _is_held(database: Server, count: int) -> bool:
    daemons, held, stages = database.ask(_HELD)[0]
    return bool(daemons == count and stages and held == stages)


def _job(source: Path, env: dict[str, str], pids: Sequence[int], ask: Ask) -> _Whole:
    """From the start of `submit`, which no figure of CPU has, to the end of the job."""
    before = sum(map(cpu_s_of, pids))
    began = time.monotonic()
    run(program.submit_command(source), env=env, timeout_s=_TIMEOUT_S)
    program.wait_until(lambda: ask(_OVER)[0][0] == 1, timeout_s=_TIMEOUT_S, pause_s=0.05)
    wall_s = time.monotonic() - began
    assert ask(_SUCCEEDED)[0][0] == program.count_lines(source), "results are missing"
    return _Whole(wall_s=wall_s, cpu_s=sum(map(cpu_s_of, pids)) - before)


@contextmanager
def _emptied(database: Server) -> Iterator[None]:
    """The store that is made in the block goes with it."""
    try:
        yield
    finally:
        database.clear()


@contextmanager
def _daemons(work: Path, env: dict[str, str], count: int) -> Iterator[list[int]]:
    """So many, one after the other: the first one makes the store."""
    if not count:
        yield []
        return
    named = {**env, "ORCHESTRATOR_FLEET__NAME": f"daemon-{count}"}
    with _daemons(work, env, count - 1) as others, _daemon(work, count, named) as pid:
        yield [*others, pid]


@contextmanager
def _daemon(work: Path, number: int, env: dict[str, str]) -> Iterator[int]:
    """`serve` without HTTP, once it says that it works; ends by SIGKILL, as everything is stored."""
    said = work / f"daemon-{number}.log"
    with said.open("wb") as log:
        started = time.monotonic()
        process = start([PROGRAM, "serve", "--listen", ""], env=env, stderr=log.fileno())
        try:
            program.wait_until(lambda: _is_ready(process, said), timeout_s=_TIMEOUT_S)
            yield process.pid
        finally:
            kill(process)
            ended(process, started)


def _is_ready(process: subprocess.Popen[bytes], said: Path) -> bool:
    text = said.read_text(encoding="utf-8")
    assert stat_of(process.pid)[0] != "Z", f"the daemon has ended: {text}"
    return "the engine runs on" in text


def _stored(outcome: Outcome, options: Options, database: Server, size: int) -> None:
    """The same number of results for each daemon, by one and by two at once."""
    source = inputs.small(options.work / "stored.jsonl", size)
    answers = hot_path.make_answers(options.work / "stored-answers.jsonl", size)
    one: list[_Whole] = []
    two: list[_Whole] = []
    for _ in range(options.rounds):
        with _made(database):
            first, *others = _side(database.url, "prepare", str(source), "3")
            one.append(_store_at_once(database, answers, [first]))
            two.append(_store_at_once(database, answers, others))
    outcome.put("stored_per_s", size / statistics.median(each.wall_s for each in one), size=size)
    gains = (2 * a.wall_s / b.wall_s for a, b in zip(one, two, strict=True))
    gain = outcome.put("stored_by_two", statistics.median(gains), size=size)
    for daemons, runs, words in ((1, one, ""), (2, two, f", {gain:.2f} × one's rate")):
        seconds = statistics.median(each.wall_s for each in runs)
        cores = statistics.median(each.cores for each in runs)
        cells = [f"{seconds:.2f} s", f"{size * daemons / seconds:,.0f}", *_cpu_cells(runs), f"{cores:.1f} cores{words}"]
        outcome.rows.append(["results are stored", f"{size * daemons:,}", str(daemons), database.name, *cells])


def _store_at_once(database: Server, answers: Path, batches: Sequence[int]) -> _Whole:
    """From the word to begin until the last one has ended."""
    sides = [_started(database.url, "store", str(answers), str(batch)) for batch in batches]
    for side in sides:
        _expect(side, "ready")
    before = database.cpu_s()
    for side in sides:
        assert side.stdin is not None
        side.stdin.write("go\n")
        side.stdin.flush()
    told = [_end(side) for side in sides]
    found = _Whole(wall_s=max(each["seconds"] for each in told), cpu_s=sum(each["cpu_s"] for each in told))
    return found.served(before, database.cpu_s())


def _failed(outcome: Outcome, options: Options, database: Server, size: int) -> None:
    """Requests that failed are settled by a daemon that is far from its database."""
    source = inputs.small(options.work / "failed.jsonl", size)
    answers = hot_path.make_answers(options.work / "failed-answers.jsonl", size, failing=1)
    with _made(database), _far(database.url) as url:
        _side(database.url, "fail", str(source), str(answers))
        found = _side(url, "settle")
    seconds = outcome.put("settle_s", found["settle_s"], size=size)
    longest = outcome.put("longest_turn_s", found["longest_turn_s"], size=size)
    words = f"{found['turns']} turns, the longest {longest:.2f} s"
    cells = [f"{seconds:.2f} s", f"{size / seconds:,.0f}", "", "", words]
    what = f"failures are settled, a round trip takes {2 * _DELAY_S * 1e3:.0f} ms"
    outcome.rows.append([what, f"{size:,}", "1", database.name, *cells])


@contextmanager
def _made(database: Server) -> Iterator[None]:
    """A schema for a store, for the block."""
    with _emptied(database):
        database.ask("CREATE SCHEMA orchestrator")
        yield


@contextmanager
def _far(url: str) -> Iterator[str]:
    """The URL of the same database, a long way off."""
    parts = urlsplit(url)
    words = [parts.hostname or "127.0.0.1", str(parts.port or 5432), str(_DELAY_S)]
    command = [sys.executable, "-m", "benchmarks.far_way", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=clean_env()) as process:
        try:
            assert process.stdout is not None
            account, at, _ = parts.netloc.rpartition("@")
            yield urlunsplit(parts._replace(netloc=f"{account}{at}127.0.0.1:{int(process.stdout.readline())}"))
        finally:
            process.kill()


def _side(url: str, *words: str) -> Any:  # noqa: ANN401 - whatever it prints
    return _end(_started(url, *words))


def _started(url: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.fleet_side", *words]
    env = clean_env() | {hot_path.DB: url}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env)


def _expect(side: subprocess.Popen[str], word: str) -> None:
    assert side.stdout is not None
    said = side.stdout.readline()
    assert said == f"{word}\n", f"a side of the benchmark said {said!r}"


def _end(side: subprocess.Popen[str]) -> Any:  # noqa: ANN401 - whatever it prints
    said, _ = side.communicate()
    assert side.returncode == 0, f"a side of the benchmark ended with {side.returncode}"
    return json.loads(said)


#: By the name that `--only` takes: what answers it, and of how many requests, as a share of the part's size.
_QUESTIONS: Final = {
    "steps": (_steps, 0.5),
    "job": (_whole_jobs, 0.2),
    "stored": (_stored, 1.0),
    "failed": (_failed, 0.5),
}

PART: Final = Part(name="fleet", measure=measure, sizes=(100_000,), quick=(10_000,))
