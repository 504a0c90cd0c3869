"""Progress on stderr: a live line where it is a terminal, else one line per change."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol, Self

import click

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


class ProgressDisplay(Protocol):
    """Shows looks at one job; a context that leaves a clean screen."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(self, *exc: object) -> None:
        """Show no more."""
        ...

    def show(self, status: JobStatus, ages: BatchAges, api_clock: ApiClock, trouble: str | None = None) -> None:
        """Show this look. trouble: why the API does not answer at the moment."""
        ...


def progress_for(options: GlobalOptions) -> ProgressDisplay:
    """Nothing with `-q`; live on a terminal that can do it (unless the log is shown there); else lines."""
    if options.quiet:
        return NoProgress()
    if sys.stderr.isatty() and options.verbose == 0 and os.environ.get("TERM") not in {None, "dumb"}:
        return LiveProgress()
    return LineProgress()


class NoProgress:
    """Says nothing."""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *exc: object) -> None:
        """End."""

    def show(self, status: JobStatus, ages: BatchAges, api_clock: ApiClock, trouble: str | None = None) -> None:
        """Say nothing."""


class LineProgress:
    """One line per change; lines that differ only in counts come at most once a second."""

    def __init__(self) -> None:
        self._said: tuple[object, ...] | None = None
        self._line = ""
        self._at = datetime.min.replace(tzinfo=UTC)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *exc: object) -> None:
        """End."""

    def show(self, status: JobStatus, ages: BatchAges, api_clock: ApiClock, trouble: str | None = None) -> None:
        """Write a line if there is something new to say."""
        if status.job.state in OVER:
            return  # the command itself has the last word
        topic = (status.job.state, status.job.reason, trouble, status.attention)
        line = _one_line(status, trouble)
        if line == self._line or (topic == self._said and api_clock.now - self._at < _QUIET):
            return
        self._said, self._line, self._at = topic, line, api_clock.now
        age = status_text.age_words(status, ages, api_clock)
        click.echo(f"{line}; {age}" if age else line, err=True)


class LiveProgress:
    """A few lines at the bottom of the terminal that are rewritten; gone at the end."""

    def __init__(self) -> None:
        self._live: Live | None = None

    def __enter__(self) -> Self:
        """Take the bottom of the screen."""
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), refresh_per_second=8, transient=True)
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Give it back."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, status: JobStatus, ages: BatchAges, api_clock: ApiClock, trouble: str | None = None) -> None:
        """Rewrite the lines."""
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
    """What a person should know while they wait."""
    return [humanize.plain(item.message) for item in status.attention]
