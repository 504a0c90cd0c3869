"""What `run`, `submit` and `resume` say on stderr before and after the work."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from orchestrator.cli import words
from orchestrator.cli.hints import joined, pasteable
from orchestrator.cli.out import say
from orchestrator.domain.states import OVER, JobState
from orchestrator.views import status_text
from orchestrator.views.status_text import Tone

if TYPE_CHECKING:
    from orchestrator.cli.options import Ask
    from orchestrator.domain.model import JobStatus
    from orchestrator.ports.engine import IngestResult


def say_taken_in(ask: Ask, source_name: str, size_bytes: int, taken: IngestResult) -> None:
    """What was read, and the job that it became or was already."""
    job = taken.job
    if job is None:
        return
    bad = "all valid" if taken.refused == 0 else f"{words.count(taken.refused, 'bad line')} left out"
    shown = words.plain(words.near_path(source_name))
    total = words.count(job.requests.total, "request")
    say(ask, _line("done", "read", f"{shown}: {total}, {words.size(size_bytes)}, {bad}"))
    if not taken.attached:
        say(ask, _line("done", "job", job.public_id))
        return
    found = job.requests
    settled = found.succeeded + found.failed + found.canceled
    where = job.state.value if job.state in OVER else f"{job.state.value}, {settled:,}/{found.total:,} settled"
    say(ask, _line("done", "job", f"{job.public_id} is there already: {where} (--new would start another one)"))
    if taken.renamed_from is not None:
        now, before = words.plain(job.name), words.plain(taken.renamed_from)
        say(ask, _line("done", "name", f"it is called {now} now; it was {before}"))


def say_refused_lines(ask: Ask, count: int, path: str) -> None:
    """Where the lines that were left out are."""
    say(ask, _line("next", "refused", f"{path}  {words.count(count, 'line')}, with what is wrong"))


def say_end(ask: Ask, status: JobStatus, output: str | None) -> None:
    """How the job ended, where its results are, and what to do next."""
    perfect = status_text.exit_code_of(status) == 0
    say_outcome(ask, status, output)
    ref = status.job.public_id
    if output is None:
        say(ask, f"  next     {results_line(ask, status)}")
    for name in () if perfect else ("errors", "retry"):
        say(ask, f"  next     {pasteable(ask, f'orchestrator {name} {ref}', sandbox=status.sandbox)}")


def say_outcome(ask: Ask, status: JobStatus, output: str | None) -> None:
    """How the job ended, and where its results are."""
    what = "canceled" if status.job.state is JobState.CANCELED else "done"
    mark = {Tone.OK: "done", Tone.WARN: "part"}.get(status_text.tone_of(status.job), "poor")
    say(ask, _line(mark, what, status_text.outcome_words(status)))
    if output is not None and output != "-":
        say(ask, _line("next", "results", words.plain(output)))


def resume_line(ask: Ask, job: str, output: str | None, *, sandbox: bool = False) -> str:
    """The command that goes on with *job*. sandbox: its store holds sandbox work."""
    out = "" if output is None else f" -o {joined([output])}"
    return pasteable(ask, f"orchestrator resume {job}{out}", sandbox=sandbox)


def results_line(ask: Ask, status: JobStatus) -> str:
    """The command that writes the results of the job."""
    return pasteable(ask, f"orchestrator results {status.job.public_id} -o FILE", sandbox=status.sandbox)


def same_line(ask: Ask) -> str:
    """The command as it was given, to give it again."""
    return joined(["orchestrator", *ask.argv])


def engine_lines(ask: Ask, job: str, *, sandbox: bool = False) -> str:
    """The two commands that work on *job* when no engine does."""
    serve = pasteable(ask, "orchestrator serve", sandbox=sandbox)
    return f"`{serve}` or `{resume_line(ask, job, None, sandbox=sandbox)}`"


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
    return words.coloured(sign if is_wide else ascii_sign, colour)
