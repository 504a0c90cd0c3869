"""The progress of one job on stderr: lines, or on a terminal a few that are rewritten, with a bar."""

from __future__ import annotations

import os
import sys
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Self

import click
from typing_extensions import override

from orchestrator.domain import humanize, model, states
from orchestrator.views import status_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from orchestrator.cli.options import GlobalOptions

#: Between two lines that differ only in counts.
_QUIET: Final = timedelta(seconds=1)
#: Batches end one by one: over less time it would jump.
_OVER: Final = timedelta(minutes=10)
#: Columns of the bar, on a terminal of 80 and on wider ones.
_BAR: Final = 40


class ProgressDisplay:
    """Shows the progress of one job; a context that leaves a clean screen. This one shows nothing."""

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Show no more."""

    def show(
        self,
        status: model.JobStatus,
        ages: status_text.BatchAges,
        api_clock: status_text.ApiClock,
        trouble: str | None = None,
    ) -> None:
        """Show how far the job is. trouble: why the API does not answer at the moment."""


def progress_for(options: GlobalOptions) -> ProgressDisplay:
    """Nothing with `-q`; live on a terminal that can do it (unless the log is shown there); else lines."""
    if options.quiet:
        return ProgressDisplay()
    if sys.stderr.isatty() and options.verbose == 0 and os.environ.get("TERM") not in {None, "dumb"}:
        return LiveProgress()
    return LineProgress()


class LineProgress(ProgressDisplay):
    """One line per change; lines that differ only in counts come at most once a second."""

    def __init__(self) -> None:
        self._said: tuple[object, ...] | None = None
        self._line = ""
        self._at = datetime.min.replace(tzinfo=UTC)

    @override
    def show(
        self,
        status: model.JobStatus,
        ages: status_text.BatchAges,
        api_clock: status_text.ApiClock,
        trouble: str | None = None,
    ) -> None:
        if status.job.state in states.OVER or status.job.is_tried:
            return  # the command itself has the last word
        topic = (status.job.state, status.job.reason, trouble, status.attention)
        line = _one_line(status, trouble)
        if line == self._line or (topic == self._said and api_clock.now - self._at < _QUIET):
            return
        self._said, self._line, self._at = topic, line, api_clock.now
        age = status_text.age_words(status, ages, api_clock)
        click.echo(f"{line}; {age}" if age else line, err=True)


class LiveProgress(ProgressDisplay):
    """A few lines at the bottom of the terminal, rewritten, and removed at the end."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._throughput = Throughput()

    @override
    def __enter__(self) -> Self:
        from rich import console, live

        self._live = live.Live(console=console.Console(stderr=True), refresh_per_second=8, transient=True)
        self._live.start()
        return self

    @override
    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    @override
    def show(
        self,
        status: model.JobStatus,
        ages: status_text.BatchAges,
        api_clock: status_text.ApiClock,
        trouble: str | None = None,
    ) -> None:
        if self._live is None:
            return
        from rich import console, spinner, text

        self._throughput.see(status.job.requests.settled, api_clock.now)
        first, *rest = _screen(status, ages, api_clock, trouble)
        lines = [text.Text(f"  {line}") for line in rest]
        begin = spinner.Spinner("dots", text=text.Text(first))
        self._live.update(console.Group(begin, _bar(status.job, self._throughput), *lines))


class Throughput:
    """Requests that are settled a minute: over the last ten minutes, or since this was first looked at."""

    def __init__(self) -> None:
        self._seen: deque[tuple[datetime, int]] = deque()

    def see(self, settled: int, now: datetime) -> None:
        """So many are settled *now*."""
        while len(self._seen) > 1 and now - self._seen[1][0] >= _OVER:
            self._seen.popleft()
        if not self._seen or now - self._seen[-1][0] >= _QUIET:
            self._seen.append((now, settled))

    def words(self) -> str:
        """`1,200 a minute`; empty while nothing was settled."""
        (began, before), (until, settled) = self._seen[0], self._seen[-1]
        if settled <= before:
            return ""
        return f"{(settled - before) * 60 / (until - began).total_seconds():,.0f} a minute"


def _bar(job: model.JobSnapshot, throughput: Throughput) -> RenderableType:
    from rich import padding, progress_bar, table

    wanted = job.requests.total if job.trial is None else job.trial
    share = min(1.0, job.requests.settled / wanted) if wanted else 0.0
    line = table.Table.grid(padding=(0, 1))
    bar = progress_bar.ProgressBar(completed=share * 100, width=_BAR)
    line.add_row(bar, f"{int(share * 100)} %", throughput.words())
    return padding.Padding(line, (0, 0, 0, 2))


def _one_line(status: model.JobStatus, trouble: str | None) -> str:
    parts = [status_text.batch_words(status), status_text.request_words(status)]
    if status.job.state is not states.JobState.RUNNING:
        parts.insert(0, status_text.sentence(status))
    parts += _notes(status, trouble)
    name = status.job.public_id
    return f"{'SANDBOX ' if status.sandbox else ''}{name}: {'; '.join(parts)}"


def _screen(
    status: model.JobStatus, ages: status_text.BatchAges, api_clock: status_text.ApiClock, trouble: str | None
) -> list[str]:
    lines = [f"{'SANDBOX  ' if status.sandbox else ''}{status.job.public_id}  {status_text.batch_words(status)}"]
    lines.append(status_text.request_words(status))
    if age := status_text.age_words(status, ages, api_clock):
        lines.append(age)
    if status.job.state is not states.JobState.RUNNING:
        lines.append(status_text.sentence(status))
    return lines + _notes(status, trouble)


def _notes(status: model.JobStatus, trouble: str | None) -> list[str]:
    """Why the API does not answer at the moment, and matters that need attention."""
    told = [] if trouble is None else [f"the API does not answer, trying again: {humanize.plain(trouble)}"]
    return told + [humanize.plain(item.message) for item in status.attention]
