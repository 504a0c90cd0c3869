"""Progress on stderr: rewritten lines on a terminal, else one line per change."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Self

import click
from typing_extensions import override

from orchestrator.domain import humanize
from orchestrator.domain.states import OVER, JobState
from orchestrator.views import status_text
from orchestrator.views.status_text import ApiClock, BatchAges

if TYPE_CHECKING:
    from rich.live import Live

    from orchestrator.cli.options import GlobalOptions
    from orchestrator.domain.model import JobStatus

#: Between two lines that differ only in counts.
_QUIET: Final = timedelta(seconds=1)


class ProgressDisplay:
    """Shows the progress of one job; a context that leaves a clean screen. This one shows nothing."""

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Show no more."""

    def show(self, status: JobStatus, ages: BatchAges, api_clock: ApiClock, trouble: str | None = None) -> None:
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
    def show(self, status: JobStatus, ages: BatchAges, api_clock: ApiClock, trouble: str | None = None) -> None:
        if status.job.state in OVER:
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

    @override
    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), refresh_per_second=8, transient=True)
        self._live.start()
        return self

    @override
    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    @override
    def show(self, status: JobStatus, ages: BatchAges, api_clock: ApiClock, trouble: str | None = None) -> None:
        from rich.console import Group
        from rich.spinner import Spinner
        from rich.text import Text

        first, *rest = _screen(status, ages, api_clock, trouble)
        if self._live is not None:
            self._live.update(Group(Spinner("dots", text=Text(first)), *(Text(f"  {line}") for line in rest)))


def _one_line(status: JobStatus, trouble: str | None) -> str:
    parts = [status_text.batch_words(status), status_text.request_words(status)]
    if status.job.state is not JobState.RUNNING:
        parts.insert(0, status_text.sentence(status))
    if trouble is not None:
        parts.append(f"the API does not answer, trying again: {humanize.plain(trouble)}")
    parts += _attention(status)
    name = status.job.public_id
    return f"{'SANDBOX ' if status.sandbox else ''}{name}: {'; '.join(parts)}"


def _screen(status: JobStatus, ages: BatchAges, api_clock: ApiClock, trouble: str | None) -> list[str]:
    lines = [f"{'SANDBOX  ' if status.sandbox else ''}{status.job.public_id}  {status_text.batch_words(status)}"]
    lines.append(status_text.request_words(status))
    if age := status_text.age_words(status, ages, api_clock):
        lines.append(age)
    if status.job.state is not JobState.RUNNING:
        lines.append(status_text.sentence(status))
    if trouble is not None:
        lines.append(f"the API does not answer, trying again: {humanize.plain(trouble)}")
    return lines + _attention(status)


def _attention(status: JobStatus) -> list[str]:
    """Matters that need attention."""
    return [humanize.plain(item.message) for item in status.attention]
