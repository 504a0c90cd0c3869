"""One fault on stage: an API in a process of its own, the real command as often as the story wants, and the audit.

The API's own ledger is the judge of what was accepted and billed; the output file of what was answered.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from support.forked import DEVNULL, PIPE, Process, run, start
from support.processes import Api, Stats, program_env

from orchestrator.sandbox.request_rows import CANNED

MODEL: Final = "claude-haiku-4-5"
KILLED: Final = -9
#: The API's hours are seconds: so are the looks at it.
_PACE: Final = MappingProxyType({"LIMITS__POLL_INTERVAL": "0.05s", "LIMITS__POLL_INTERVAL_MAX": "0.5s"})
_BURNT: Final = """
SELECT (SELECT total(attempts) FROM request WHERE state <> 'succeeded'), (SELECT count(*) FROM attempt)
"""
_PATIENCE_S: Final = 240
_MOMENT_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a cell is played: requests, requests per batch, and how often the API rejects a POST."""

    requests: int
    per_batch: int
    rejections: int

    @property
    def batches(self) -> int:
        """How many batches the requests fill."""
        return self.requests // self.per_batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the API's ledger and the output file say together.

    accepted: requests in all accepted batches. outcomes: what they came to. billed_twice: requests that were paid for
    more than once. lost: requests without the line that they should have. wrong: answers to another question.
    in_order: the ids of the output are those of the input. lines: how many lines there are of each kind.
    """

    accepted: int
    outcomes: Mapping[str, int]
    billed_twice: int
    lost: int
    wrong: int
    in_order: bool
    lines: Mapping[str, int]


class Scene:
    """The requests, the program and its exit codes.

    `env` is the program's environment, for the next run. `flaws`: what went otherwise than the story says.
    """

    def __init__(
        self, folder: Path, api: Api, size: Size, settings: Mapping[str, str], prompt: Callable[[int], str]
    ) -> None:
        self.api = api
        self.size = size
        self.exits: list[int] = []
        self.flaws: list[str] = []
        self.hidden: frozenset[str] = frozenset()
        self._folder = folder
        self._output = folder / "out.jsonl"
        self._command = ("orchestrator", "run", str(folder / "in.jsonl"), "-o", str(self._output), "-q")
        self.env = program_env(
            api.base_url, folder, **{"BATCHING__MAX_REQUESTS": str(size.per_batch), **_PACE, **settings}
        )
        self.prompts = {f"id {n}": prompt(n) for n in range(size.requests)}
        self.digests: dict[str, str] = {}
        self._write_input(folder / "in.jsonl")

    def _write_input(self, path: Path) -> None:
        with path.open("wb") as out:
            for custom_id, prompt in self.prompts.items():
                turn = {"role": "user", "content": prompt}
                params = json.dumps({"model": MODEL, "max_tokens": 16, "messages": [turn]}, ensure_ascii=False).encode()
                out.write(b'{"custom_id":%b,"params":%b}\n' % (json.dumps(custom_id).encode(), params))
                self.digests[custom_id] = hashlib.sha256(params).hexdigest()

    # --- the story ----------------------------------------------------------------------------------------------------

    def script(self, endpoint: str, fault: str, times: int) -> None:
        """The next *times* calls of *endpoint* meet *fault*."""
        self.api.order("script", endpoint=endpoint, fault=fault, times=times)

    def run(self) -> str:
        """The command, to its end; what it said on stderr."""
        done = run(*self._command, env=self.env, cwd=self._folder, timeout=_PATIENCE_S)
        self.exits.append(done.returncode)
        return done.stderr.decode()

    def run_until(self, holds: Callable[[Stats], bool], act: Callable[[], object]) -> str:
        """As `run`, but once the API's figures are such, *act*."""
        with self._started() as process:
            self._wait(process, holds)
            act()
            _, said = process.communicate(timeout=_PATIENCE_S)
            self.exits.append(process.wait())
        return said.decode()

    def kill_when(self, holds: Callable[[Stats], bool]) -> None:
        """The command, until the API's figures are such that it must die: SIGKILL."""
        with self._started() as process:
            self._wait(process, holds)
            process.kill()
            self.exits.append(process.wait())
        self.must(self.exits[-1] == KILLED, "the command ended before its kill")

    def _started(self) -> Process:
        return start(*self._command, env=self.env, cwd=self._folder, stdout=DEVNULL, stderr=PIPE)

    def _wait(self, process: Process, holds: Callable[[Stats], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not holds(self.api.stats()) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(_MOMENT_S)

    def status(self) -> dict[str, Any]:
        """What `status` says of the job, whether the command runs or not."""
        done = run("orchestrator", "status", "@last", "--json", env=self.env, cwd=self._folder, timeout=60)
        done.check_returncode()
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def burnt(self) -> tuple[int, int]:
        """From the store: attempts of requests that have not succeeded, and results that were no success."""
        with closing(sqlite3.connect(f"file:{self._folder / 'store' / 'store.db'}?mode=ro", uri=True)) as store:
            row = store.execute(_BURNT).fetchone()
        return (int(row[0]), int(row[1]))

    def must(self, holds: bool, otherwise: str) -> None:
        """The story stands on this."""
        if not holds:
            self.flaws.append(otherwise)

    def must_have_met(self, fault: str, times: int) -> None:
        """The API says that *fault* struck so often; a fault that never struck proves nothing."""
        met = self.api.stats().faults_met.get(fault, 0)
        self.must(met == times, f"{fault} struck {met} times, not {times}")

    def raw_results(self) -> bytes:
        """The result lines of every batch, as the API sends them."""
        return b"".join(self.api.results(batch) for batch in sorted({str(r["batch_id"]) for r in self.api.ledger()}))

    # --- the audit ----------------------------------------------------------------------------------------------------

    def audit(self, fails_as: str | None) -> Audit:
        """The books. fails_as: the error of requests that the API never answers, where that is their right end."""
        ledger = self.api.ledger()
        billed = Counter(str(row["params_sha256"]) for row in ledger if row["billed"])
        lines = [json.loads(line) for line in _lines(self._output)]
        kinds = {line["custom_id"]: _kind(line) for line in lines}
        return Audit(
            accepted=len(ledger),
            outcomes=Counter(str(row["outcome"]) for row in ledger),
            billed_twice=sum(1 for times in billed.values() if times > 1),
            lost=sum(1 for name in self.prompts if kinds.get(name) != self._right_kind(name, billed, fails_as)),
            wrong=sum(1 for line in lines if not self._answers(line)),
            in_order=[line["custom_id"] for line in lines] == list(self.prompts),
            lines=Counter(kinds.values()),
        )

    def _right_kind(self, custom_id: str, billed: Mapping[str, int], fails_as: str | None) -> str:
        digest = self.digests[custom_id]
        answered = digest in billed and digest not in self.hidden
        return "succeeded" if answered or fails_as is None else fails_as

    def _answers(self, line: dict[str, Any]) -> bool:
        if _kind(line) != "succeeded":
            return True
        text = line["result"]["message"]["content"][0]["text"]
        return bool(text == CANNED + self.prompts.get(line["custom_id"], ""))


def _lines(output: Path) -> Iterator[bytes]:
    """Cut at line feeds only: U+2028 does not end a line of JSON."""
    return filter(None, output.read_bytes().split(b"\n")) if output.exists() else iter(())


def _kind(line: dict[str, Any]) -> str:
    """`succeeded`, or the type of the error, or the type of the result."""
    result = line["result"]
    return str(result["error"]["error"]["type"] if result["type"] == "errored" else result["type"])
