"""Messages of `run`, `submit` and `resume` before and after the work."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from orchestrator.cli.hints import pasteable, results_line
from orchestrator.cli.output import coloured, near_path, say
from orchestrator.domain import humanize
from orchestrator.domain.states import OVER, JobState
from orchestrator.views import status_text
from orchestrator.views.status_text import Tone

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.domain.model import JobStatus
    from orchestrator.ports.engine import IngestResult


def say_taken_in(options: GlobalOptions, source_name: str, size_bytes: int, taken: IngestResult) -> None:
    """The input that was read, and the job that it became or was already."""
    job = taken.job
    if job is None:
        return
    bad = "all valid" if taken.refused == 0 else f"{humanize.count(taken.refused, 'bad line')} left out"
    shown = humanize.plain(near_path(source_name))
    total = humanize.count(job.requests.total, "request")
    say(options, _line("done", "read", f"{shown}: {total}, {humanize.size(size_bytes)}, {bad}"))
    if not taken.attached:
        say(options, _line("done", "job", job.public_id))
        return
    found = job.requests
    settled = found.settled
    where = job.state.value if job.state in OVER else f"{job.state.value}, {settled:,}/{found.total:,} settled"
    say(options, _line("done", "job", f"{job.public_id} is there already: {where} (--new would start another one)"))
    if taken.renamed_from is not None:
        now, before = humanize.plain(job.name), humanize.plain(taken.renamed_from)
        say(options, _line("done", "name", f"it is called {now} now; it was {before}"))


def say_refused_lines(options: GlobalOptions, count: int, path: str) -> None:
    """Where the lines that were left out are."""
    say(options, _line("next", "refused", f"{path}  {humanize.count(count, 'line')}, with what is wrong"))


def say_end(options: GlobalOptions, status: JobStatus, output: str | None) -> None:
    """How the job ended, where its results are, and what to do next."""
    perfect = status_text.exit_code_of(status) == 0
    say_outcome(options, status, output)
    ref = status.job.public_id
    if output is None:
        say(options, f"  next     {results_line(options, status)}")
    for name in () if perfect else ("errors", "retry"):
        say(options, f"  next     {pasteable(options, f'orchestrator {name} {ref}', sandbox=status.sandbox)}")


def say_outcome(options: GlobalOptions, status: JobStatus, output: str | None) -> None:
    """How the job ended, and where its results are."""
    what = "canceled" if status.job.state is JobState.CANCELED else "done"
    mark = {Tone.OK: "done", Tone.WARN: "part"}.get(status_text.tone_of(status.job), "poor")
    say(options, _line(mark, what, status_text.outcome_words(status)))
    if output is not None and output != "-":
        say(options, _line("next", "results", humanize.plain(output)))


def _line(mark: str, title: str, text: str) -> str:
    return f"{_mark(mark)} {title:<8} {text}"


def _mark(kind: str) -> str:
    """A sign in front of a line; plain ASCII where stderr cannot show others."""
    signs = {
        "done": ("✓", "*", "green"),
        "part": ("⚠", "!", "yellow"),
        "poor": ("✗", "!", "red"),
        "next": ("→", ">", "cyan"),
    }
    sign, ascii_sign, colour = signs[kind]
    is_wide = (sys.stderr.encoding or "ascii").lower().replace("-", "") == "utf8"
    return coloured(sign if is_wide else ascii_sign, colour)
