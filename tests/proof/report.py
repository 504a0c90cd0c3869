"""`docs/proof.md` and `docs/proof.json`: what the last long tier did, where, and what it takes for granted."""

from __future__ import annotations

import json
import platform
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from proof.cases import NAMED_CASES
from proof.coverage import matrix, unreached
from proof.tier import PARTS, ROOT

PAGE: Final = ROOT / "docs" / "proof.md"
DATA: Final = ROOT / "docs" / "proof.json"

_HEAD: Final = """# Proof

What this project promises (README, "What is promised") is tried here by the program's own engine, store and provider
code: in simulated worlds on virtual time, with real processes and real SIGKILLs, and with bugs planted in a copy of the
tree to see that the proof would find them. `make proof MINUTES=60` runs it, `make proof-report` writes this page and
[proof.json](proof.json). `make test` runs a part with fixed seeds. A failing world prints the one command that
replays it (`make proof-replay`).
"""

_RULES: Final = """## The judge

It knows the store's rows and the API's own books, and nothing of how the engine works. It judges every committed state,
every POST before its body, and the end of every world.

| | rule |
| --- | --- |
| I1 | no request is lost: each is stored once and settled once; what was paid for is not called failed |
| | what failed has the API's own words for it, after as many attempts as are set; what is canceled, a person's |
| I2 | none is paid for twice: each is billed at most once, a nonce makes one batch; no false duplicate is reported |
| I3 | every stored answer is, byte for byte, what the API served for that request |
| I4 | counts add up in every committed snapshot |
| I5 | what is settled never changes |
| I6 | 30 virtual hours after faults stop everything is settled |
| I7 | the key is nowhere in the store's files |
| I8 | no body reaches the API without its intent on the disk before the first byte; nothing of a paused job is sent |
| I9 | a neighbour's batch is never canceled or deleted |
| I10 | the engine's tasks, its calls of the API and the database's log stay within bounds |
| I11 | no batch comes back from its end |
| I12 | a store never has two owners |
| I13 | the engine dies of nothing but a kill (or a disk that is full before it is up) |
| I14 | the same seed gives the same trace |
| I15 | what answers cost, the ledger and what a job has spent agree in every committed snapshot, the unknown included |
| I16 | billed <= spent + reserved <= cap for every job with a cap in every committed snapshot, by the API's own bill |
| I17 | while the pilot of a job goes nothing else of it is sent; it ends with its last request, and the job waits |
| I18 | of requests that share a marked prefix one goes ahead, the others once its batch has ended, all marked alike |
| I19 | of identical requests one is sent, where a job says so; the others wait, or have what it has |
"""

_ASSUMED: Final = """## What is taken for granted

- A batch that the API made is in its list within `doubt_wait` (20 minutes), and the API acts on a whole body within it.
  The worlds' lists lag up to 15 minutes, each batch by its own; the API takes up to 45 seconds to act on a body.
  In the worlds of T3 the list lags up to 100 minutes: duplicates then happen, and every one is reported.
- What the API says of a batch is true: its results are its own, its `Date` runs with real time.
- A 529 with the API's own error body means "not created".
- A disk that keeps what it has synced. The worlds' stores lie on a RAM disk; power cuts are not part of this proof.
- Simulated pauses may be longer than asked for (a busy machine), never shorter. Worlds that need the same second of two
  threads do not exist in the simulation: the database's steps and the engine share one thread there; the process parts
  have both.
- Rows that end in (PostgreSQL) have their stores on a server, which answers always, and whose disk is not full; I12 is
  about files. `python -m fleet.chaos` restarts the server and cuts daemons off from it.
"""


def write() -> int:
    """Write both files; 1 if something was violated, or the run was cut."""
    if not PARTS.exists():
        sys.stderr.write("there is nothing to report yet: `make proof MINUTES=60` comes first\n")
        return 2
    said: dict[str, Any] = json.loads(PARTS.read_text(encoding="utf-8"))
    said |= {"machine": _machine(said["cores"], said.get("postgres"))}
    PAGE.write_text("\n".join(_page(said)) + "\n", encoding="utf-8")
    DATA.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} and {DATA.relative_to(ROOT)} are written\n")
    return 1 if said["missing"] or any(part["violations"] for part in said["parts"]) else 0


def _page(said: Mapping[str, Any]) -> Iterator[str]:
    parts = said["parts"]
    violations = [violation for part in parts for violation in part["violations"]]
    yield _HEAD
    when = f"Begun {said['began']}, {said['minutes']:g} minutes by the clock"
    yield f"{when}, {said['machine']}.\n"
    if len({part["commit"] for part in parts}) > 1:
        yield "Each row says on which commit it ran: those of an earlier one were not run again since.\n"
    if said["missing"]:
        yield f"**Unfinished**: the run was cut; not run were {', '.join(said['missing'])}.\n"
    yield f"## Violations: {len(violations)}\n"
    yield from (f"- {violation}" for violation in violations)
    yield "| part | N | violations | less than (95 %) | per second | seconds | commit |"
    yield f"|{' --- |' * 7}"
    yield from map(_row, parts)
    yield "\n*Less than*: with no violation in N, the rate is below 3/N with 95 % confidence.\n"
    yield from _facts(parts)
    yield _RULES
    yield _ASSUMED
    yield from _coverage(said["cells"])
    yield from _planted(said["planted"])
    yield "## The ten named cases\n"
    yield from (f"- {case}: {len(tests)} test{'s'[: len(tests) != 1]}" for case, tests in NAMED_CASES.items())


def _row(part: Mapping[str, Any]) -> str:
    trials, violations, rarer = part["trials"], len(part["violations"]), part["upper_bound"]
    bound = "—" if rarer is None else f"{rarer:.2g}"
    rate = trials / part["seconds"] if part["seconds"] else 0.0
    figures = f"{trials:,} {part['unit']} | {violations} | {bound} | {rate:.1f} | {part['seconds']:.0f}"
    return f"| {part['test']} | {figures} | `{part['commit']}` |"


def _facts(parts: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for part in parts:
        if part["facts"]:
            shown = ", ".join(f"{name} {_figure(value)}" for name, value in part["facts"].items())
            yield f"- *{part['test']}*: {shown}"
    yield ""


def _coverage(cells: list[list[Any]]) -> Iterator[str]:
    if not cells:
        return
    hit = {(fault, state): times for fault, state, times in cells}
    yield "## Which fault met which state (T8)\n"
    yield "How often a fault struck while a batch, or a job, was in a state, in worlds with stores in files.\n"
    yield from matrix(hit)
    yield ""
    yield from unreached(hit)
    yield ""


def _planted(planted: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    planted = list(planted)
    if not planted:
        return
    yield "## Planted bugs (T98)\n"
    yield "Each in a copy of the tree. *Took*: cases of the test, or seeds of worlds where it was hunted in them.\n"
    yield "| bug | caught | took | by |\n| --- | --- | --- | --- |"
    for bug in planted:
        caught = "yes" if bug["caught"] else "**no**"
        yield f"| {bug['name']} | {caught} | {bug['took']} | `{bug['test'].split('/')[-1]}` |"
    yield ""


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def _machine(cores: int, postgres: str | None) -> str:
    server = "" if postgres is None else f", PostgreSQL {postgres}"
    programs = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}{server}"
    return f"{cores} cores, {platform.system()} {platform.machine()}, {programs}"


__all__ = ["DATA", "PAGE", "Path", "write"]
