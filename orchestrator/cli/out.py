"""Data goes to stdout, talk to stderr; `--json` is one object, never coloured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from orchestrator.cli.words import BANNER, coloured
from orchestrator.domain.humanize import readable

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions


def show(text: str) -> None:
    """Data for a person, on stdout."""
    click.echo(readable(text))


def show_json(facts: object) -> None:
    """One JSON object, on stdout."""
    import msgspec

    try:
        text = msgspec.json.encode(facts)
    except UnicodeEncodeError:  # a file's name that is no UTF-8
        text = msgspec.json.encode(_readable(facts))
    click.echo(msgspec.json.format(text, indent=2) + b"\n", nl=False)


def _readable(facts: object) -> object:
    if isinstance(facts, Mapping):
        return {key: _readable(inner) for key, inner in facts.items()}
    if isinstance(facts, list | tuple):
        return [_readable(inner) for inner in facts]
    return readable(facts) if isinstance(facts, str) else facts


def say(options: GlobalOptions, text: str) -> None:
    """Talk, on stderr; nothing with `-q`."""
    if not options.quiet:
        click.echo(readable(text), err=True)


def show_banner(options: GlobalOptions, *, sandbox: bool) -> None:
    """On every screen of a sandbox store: that nothing of it is real. In JSON it is `sandbox: true`."""
    if sandbox and not options.as_json:
        show(coloured(BANNER, "yellow"))


def say_banner(options: GlobalOptions, *, sandbox: bool) -> None:
    """The same for commands whose stdout is data."""
    if sandbox:
        say(options, coloured(BANNER, "yellow"))


@contextmanager
def writing_to(output: str, again: str) -> Iterator[None]:
    """While results go to *output*: whoever reads our stdout may stop, as `head` does, and that is no error.

    again: the command that writes them later, for the hint of every other failure.
    """
    from orchestrator.domain.errors import OutputNotWritten

    try:
        yield
    except OutputNotWritten as exc:
        if output == "-" and isinstance(exc.__cause__, BrokenPipeError):
            raise exc.__cause__ from None
        raise OutputNotWritten(exc.message, cause=exc.cause, hint=f"{exc.hint}: `{again}` writes them") from exc
