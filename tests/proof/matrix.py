"""The fault matrix: our row measured by running the command, beside the rows of others. `python -m proof.matrix`.

Writes docs/fault-matrix.md. Exits with 1 if any cell is not what the promises say.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from support.forked import ROOT
from support.processes import running_api

from orchestrator import __version__
from proof.cells import CELLS, Cell, broken_promises
from proof.scene import Audit, Scene, Size
from proof.tally import Tally

PAGE: Final = ROOT / "docs" / "fault-matrix.md"
FULL: Final = Size(requests=1000, per_batch=250, rejections=6)
#: A cell is waiting most of the time, the last two longest: they start first, so that the others run beside them.
_SIDE_BY_SIDE: Final = 4
_AGAIN: Final = "make fault-matrix"


class Peer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another program's row, in its measurer's words."""

    name: str
    version: str
    cells: dict[str, str]


class Peers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rows of peers.json."""

    measured_on: str
    peers: list[Peer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One cell, played and audited."""

    cell: Cell
    size: Size
    audit: Audit
    exits: Sequence[int]
    violations: Sequence[str]
    seconds: float

    @property
    def words(self) -> str:
        """The cell of the table: how many requests the API accepted, and what came of them."""
        if self.violations:
            return f"**{self.audit.accepted}: {'; '.join(self.violations)}**"
        fails = self.cell.fails_as
        said = "ok" if fails is None else f"ok, {self.audit.lines[fails]} `{fails}`"
        return f"{self.audit.accepted} {said}"


def read_peers() -> Peers:
    """What was measured of the others, once."""
    return msgspec.json.decode(Path(__file__).with_name("peers.json").read_bytes(), type=Peers)


def play(cell: Cell, size: Size = FULL) -> Record:
    """Play one cell in a folder, with an API, of its own."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="o-"))  # short: a unix socket lies in it
    sized = cell.sized(size)
    try:
        with running_api(speed=cell.speed, batch_seconds=cell.span_s, faults=cell.faults) as api:
            scene = Scene(folder, api, sized, cell.settings, cell.prompt)
            cell.play(scene)
            audit = scene.audit(cell.fails_as)
    finally:
        shutil.rmtree(folder)
    return Record(
        cell=cell,
        size=sized,
        audit=audit,
        exits=scene.exits,
        violations=broken_promises(cell, scene, audit),
        seconds=time.monotonic() - began,
    )


def play_all(size: Size = FULL, cells: Sequence[Cell] = CELLS) -> list[Record]:
    """Play *cells*, some side by side; their records in the same order."""
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        return list(pool.map(partial(play, size=size), reversed(cells)))[::-1]


def tally(records: Sequence[Record]) -> Tally:
    """The matrix as a part of the proof."""
    return Tally(
        test="fault matrix",
        unit="cells",
        trials=len(records),
        violations=tuple(f"{r.cell.name}: {words}: {_AGAIN}" for r in records for words in r.violations),
        seconds=sum(record.seconds for record in records),
        facts={record.cell.name: record.words for record in records},
    )


# --- the page ---------------------------------------------------------------------------------------------------------


def page(records: Sequence[Record], peers: Peers, day: str) -> str:
    """docs/fault-matrix.md."""
    large = max((cell.sized(FULL) for cell in CELLS), key=lambda size: size.requests)
    figures = {"command": _AGAIN, "count": FULL.requests, "large": large.requests, "large_batches": large.batches}
    intro = _INTRO.format(batches=FULL.batches, per_batch=FULL.per_batch, version=__version__, day=day, **figures)
    beside = _BESIDE.format(day=peers.measured_on, **figures)
    return "\n".join((intro, *_our_table(records), "", beside, *_matrix(records, peers)))


def _our_table(records: Sequence[Record]) -> Iterable[str]:
    yield _row("fault", "what goes wrong", "accepted", "billed twice", "lost", "exit codes", "output", "as promised")
    yield _row(*["---"] * 8)
    for record in records:
        audit = record.audit
        lines = ", ".join(f"{number} {kind}" for kind, number in sorted(audit.lines.items(), reverse=True))
        exits = ", ".join(map(str, record.exits))
        verdict = "; ".join(record.violations) if record.violations else "yes"
        yield _row(
            record.cell.name, record.cell.fault, audit.accepted, audit.billed_twice, audit.lost, exits, lines, verdict
        )


def _matrix(records: Sequence[Record], peers: Peers) -> Iterable[str]:
    names = [record.cell.name for record in records]
    yield _row("program", *names)
    yield _row(*["---"] * (len(names) + 1))
    yield _row(f"**orchestrator {__version__}**", *(record.words for record in records))
    for peer in peers.peers:
        yield _row(f"{peer.name} {peer.version}", *(peer.cells[name] for name in names))
    yield ""


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


_INTRO: Final = """\
# Fault matrix

What becomes of {count} unique prompts when something goes wrong. `{command}` measures our row and writes this
page; it fails if a cell is not what the README promises. Each cell runs the real command against the sandbox
API, each in a process of its own, over TCP, with real SIGKILLs; then the API's own ledger and the output file
are audited.

{count} requests in {batches} batches of {per_batch}; in kill-ingest {large}, in {large_batches} batches. The API's
time is compressed: an hour is a second; in 404 ten seconds, in lose50 a fifth of one. `doubt_wait` is the default,
20 minutes, measured by the API's `Date`.

- *accepted*: requests that the API took in all batches: {count} ({large} for kill-ingest) means that none was sent
  twice. What expired or failed on the server's side is not billed and is sent again, so in these two rows the right
  figure is {count} and one for each request that was hit. A request is hit at its first execution only: sent again, it
  passes. Which are hit is drawn by their wire id, so the figure differs from run to run, and from the others' below.
- *billed twice*: prompts for which the API's ledger has more than one billed execution: money paid for one answer two
  times or more.
- *lost*: requests without the line that they should have in the output: the answer to their own prompt, or the
  error that the API has for them.
- *exit codes*: one for each time that the command was run; -9 is our SIGKILL.
- *as promised*: all of that, the output in the order of the input, and the fault did strike as often as it was
  ordered.
- *lose50*, a row of the table: the API leaves one result line in twenty, 50 of {count}, out of every download.
  A request whose result is left out of ten complete downloads, over a day of the API's time, becomes `missing_result`:
  an error in the output, attention in `status`, exit 1, and it is not bought again.

## orchestrator {version}, {day}
"""

_BESIDE: Final = """\
## Beside others

The rows of the other programs are stored figures of an earlier measurement, of {day}, with the versions named. The
harness that took them is not part of this repository, so nothing here can repeat them; `{command}` measures our
row alone. It was a local API with the same faults, one run per cell, on a machine with two processors.

- The number is again how many requests the API accepted for {count} prompts ({large} for kill-ingest; one program was
  given 20,000 there). "ok" without a number: as it should be, without the figure.
- **Bold** is what costs money (sent again without need), answers (lost, or not asked for again), or an operator (a
  crash, an error or a state that somebody must act on); what costs time alone is not. "-": there is no figure.
- After a crash or a kill the same script was run again ("rerun"): right for programs whose jobs have an identity, harsh
  for langasync, pydantic-ai and inspect_ai, which promise none.
- Expired and server-error: their draw was another one than ours, and hit 296 requests, so 1296 is right there as our
  own figures are here.
- "Invalid" was drawn for each submission, so a request that was sent again could pass; not to send it again is right.
"""


def main() -> int:
    """Measure, write the page, say how it went."""
    records = play_all()
    for record in records:
        sys.stdout.write(f"{record.cell.name:<18} {record.words}  ({record.seconds:.0f} s)\n")
    PAGE.write_text(page(records, read_peers(), f"{datetime.now(UTC):%Y-%m-%d}"), encoding="utf-8")
    violations = tally(records).violations
    for words in violations:
        sys.stdout.write(f"NOT AS PROMISED: {words}\n")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
