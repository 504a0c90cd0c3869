"""One store, one input, one API on a port, and life after life of the real program: what the drivers share.

Nothing in the program knows that it is tested: it is the command that users give, in an environment of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from support.forked import DEVNULL, Process, start
from support.postgres import PostgresServer
from support.processes import Api, program_env, running_api

from proof.shelf import Shelf, looking, shelf_in

PATIENCE_S: Final = 120
PARAMS: Final = b'{"model":"claude-haiku-4-5","max_tokens":16,"messages":[{"role":"user","content":"say %d"}]}'
#: Looks are close together: an hour at the API is a second here.
QUICK: Final = {"LIMITS__POLL_INTERVAL": "0.1s", "LIMITS__POLL_INTERVAL_MAX": "0.1s", "LIMITS__DOUBT_WAIT": "10m"}
#: On a server: what a killed life had in hand is soon taken over.
QUICK_FLEET: Final = {"FLEET__HEARTBEAT": "1s"}
#: What the last life of a campaign is given: the rest at once.
UNBOUND: Final = {"LIMITS__MAX_IN_FLIGHT_REQUESTS": "1000000", "LIMITS__MAX_UPLOADS": "4"}


class Broken(Exception):
    """A promise was seen broken; the words say how."""


def until(holds: Callable[[], bool], what: str) -> None:
    """Return once *holds*; it is looked at again and again, and must come true in time. Raises Broken."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() >= deadline:
            raise Broken(f"it never came to this: {what}")
        time.sleep(0.01)


class Life:
    """One process of the program, from its start to its end."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log
        self.pid: Final = process.pid

    @property
    def err(self) -> str:
        """What it has said on stderr by now."""
        return self._log.read_text()

    @property
    def is_over(self) -> bool:
        """True once it has ended, in whichever way."""
        return self._process.poll() is not None

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end, *seconds* at most."""
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self, within_s: float = PATIENCE_S) -> int:
        """Wait for its end and return its code, which is negative for a signal. Raises Broken for one that stays."""
        if not self.ends_within(within_s):
            raise Broken(f"the process did not end: {self.err}")
        if "Traceback" in self.err:
            raise Broken(f"a traceback for the user: {self.err}")
        return self._process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """Lives on one store. digests: custom_id → sha256 of the params as they stand in the input."""

    folder: Path
    api: Api
    settings: Mapping[str, str]
    digests: Mapping[str, str] = field(repr=False)
    shelf: Shelf

    @property
    def source(self) -> Path:
        """The input."""
        return self.folder / "in.jsonl"

    @property
    def output(self) -> Path:
        """Where `run` writes the results."""
        return self.folder / "out.jsonl"

    @property
    def db(self) -> Path:
        """The store, where it is a file."""
        return self.folder / "store" / "store.db"

    def env(self, **settings: str) -> dict[str, str]:
        """The environment of a life."""
        return program_env(self.api.base_url, self.folder, **{**self.settings, **self.shelf.settings, **settings})

    @contextmanager
    def life(self, *arguments: str, **settings: str) -> Iterator[Life]:
        """Start the program: `run` on the input, or with *arguments*. It is killed at the end if it still lives."""
        chosen = arguments if len(arguments) > 0 else ("run", str(self.source), "-o", str(self.output), "-q")
        log = self.folder / "stderr"
        with log.open("wb") as err:
            process = start("orchestrator", *chosen, env=self.env(**settings), stdout=DEVNULL, stderr=err)
        with process:
            try:
                yield Life(process, log)
            finally:
                process.kill()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the store says, through a connection that can only read; nothing while there is no store yet."""
        if not self.shelf.has_store:
            return []
        with looking(self.shelf) as store:
            found: list[tuple[Any, ...]] = store.execute(query).fetchall()
            return found

    def count(self, query: str) -> int:
        """The one number that *query* gives."""
        rows = self.rows(query)
        return int(rows[0][0]) if rows else 0

    def until_it_works(self, life: Life) -> None:
        """Return once *life* has called the API. Raises Broken if it ends before."""
        before = self.api.calls()
        until(lambda: life.is_over or self.api.calls() > before, "the process calls the API")
        if life.is_over:
            raise Broken(f"it ended before it was touched, with {life.end()}: {life.err}")

    def check_store(self) -> None:
        """Between two lives: the file is whole, and every job's counts are those of its requests. Raises Broken."""
        if found := self.shelf.check():
            raise Broken(f"the store is damaged: {found}")
        wrong = self.rows(MISCOUNTED)
        if wrong:
            raise Broken(f"the counts of a job do not add up (total, by state, against its requests): {wrong}")

    def finish(self, **settings: str) -> None:
        """Let one more life end by itself, without faults, and audit the books. Raises Broken."""
        self.api.order("faults", faults="")
        with self.life(**{**UNBOUND, **settings}) as last:
            code = last.end()
            if (code, last.err) != (0, ""):
                raise Broken(f"the last run ended with {code}: {last.err}")
        self.check_store()
        self.audit()

    def audit(self) -> None:
        """Every request executed and billed once, every answer right and in its place, no batch more. Raises Broken."""
        executed: Counter[str] = Counter()
        billed: Counter[str] = Counter()
        for row in self.api.ledger():
            executed[str(row["params_sha256"])] += 1
            billed[str(row["params_sha256"])] += bool(row["billed"])
        lost = sum(billed[digest] == 0 for digest in self.digests.values())
        twice = sum(executed[digest] > 1 or billed[digest] > 1 for digest in self.digests.values())
        alien = len(executed.keys() - set(self.digests.values()))
        if lost or twice or alien:
            raise Broken(f"of {len(self.digests)} requests {lost} were never bought, {twice} twice; {alien} unknown")
        lines = [json.loads(line) for line in self.output.read_text().splitlines()]
        if [line["custom_id"] for line in lines] != list(self.digests):
            raise Broken(f"the output has {len(lines)} lines, and not those of the input")
        wrong = [line["custom_id"] for line in lines if not _answers(line)]
        if wrong:
            raise Broken(f"{len(wrong)} answers belong to another request, such as that of {wrong[0]!r}")
        created, known = self.api.stats().batches_created, self.count(KNOWN)
        if created != known:
            raise Broken(f"the API has {created} batches, the store knows {known}")


#: Jobs whose counts are not those of their requests.
MISCOUNTED: Final = """
SELECT total, queued || ' ' || batched || ' ' || succeeded || ' ' || failed || ' ' || canceled AS counts, counted
  FROM (SELECT job.*, (SELECT count(*) || ': ' || count(*) FILTER (WHERE state = 'queued') || ' '
                           || count(*) FILTER (WHERE state = 'batched') || ' '
                           || count(*) FILTER (WHERE state = 'succeeded') || ' '
                           || count(*) FILTER (WHERE state = 'failed') || ' '
                           || count(*) FILTER (WHERE state = 'canceled')
                         FROM request WHERE request.id BETWEEN job.id << 32 AND ((job.id + 1) << 32) - 1) AS counted
          FROM job) AS each_job
 WHERE counted <> total || ': ' || queued || ' ' || batched || ' ' || succeeded || ' ' || failed || ' ' || canceled
"""
#: Batches that the store knows to be at the API.
KNOWN: Final = "SELECT count(*) FROM batch WHERE remote_id IS NOT NULL"


@contextmanager
def campaign(
    requests: int, settings: Mapping[str, str], *, server: PostgresServer | None = None, **api_options: object
) -> Iterator[Campaign]:
    """A campaign with an input of *requests* lines; its folder has a short path, for a unix socket lies in it.

    server: where its store lies; None: in a file.
    """
    folder = Path(tempfile.mkdtemp(prefix="o-"))
    try:
        with running_api(**{"speed": 3600, **api_options}) as api:
            digests = _write_input(folder / "in.jsonl", requests)
            with shelf_in(folder, server) as shelf:
                quick = {**QUICK, **({} if server is None else QUICK_FLEET)}
                yield Campaign(folder=folder, api=api, settings={**quick, **settings}, digests=digests, shelf=shelf)
    finally:
        shutil.rmtree(folder)


def violation(run: Callable[[], None], module: str, call: str) -> tuple[str, ...]:
    """What *run* found: nothing, or one sentence with the command that does it again."""
    try:
        run()
    except Broken as exc:
        command = f"PYTHONPATH=.{os.pathsep}tests python -c 'from {module} import *; print({call})'"
        return (f"{str(exc).strip()}. Replay: {command}",)
    return ()


def _write_input(path: Path, count: int) -> dict[str, str]:
    digests: dict[str, str] = {}
    with path.open("wb") as out:
        for number in range(count):
            params = PARAMS % number
            out.write(b'{"custom_id":"id %d","params":%b}\n' % (number, params))
            digests[f"id {number}"] = hashlib.sha256(params).hexdigest()
    return digests


def _answers(line: dict[str, Any]) -> bool:
    """True if the answer is the one to its request: the sandbox repeats what it was asked."""
    number = line["custom_id"].removeprefix("id ")
    text: str = line["result"]["message"]["content"][0]["text"]
    return text.endswith(f"say {number}")
