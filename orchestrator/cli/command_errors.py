"""How a command ends other than by success: the message on stderr and the exit code, never a traceback.

Beyond the table of the main help there is one code: 70, a bug of ours (`sysexits.h`: EX_SOFTWARE).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from orchestrator.cli.console import coloured
from orchestrator.domain import account, errors, humanize

if TYPE_CHECKING:
    from orchestrator.cli.options import GlobalOptions
    from orchestrator.ports.runtime import Provider

INTERNAL: Final = 70

#: What is true when a signal ends a command: of any command, of one with a stored job, of one that only read.
SAFE: Final = "nothing is lost or sent twice"
STORED: Final = "everything is stored; nothing is lost or sent twice"
UNTOUCHED: Final = "nothing was stored or sent"


class ApiUnreachable(errors.OrchestratorError):
    """No call to the API worked; what is stored is safe."""

    exit_code = 6


class Stopped(KeyboardInterrupt):
    """A signal ended the command. `fact`: what is safe; `hint`: how to go on.

    A KeyboardInterrupt, so that nothing on the way takes it for an error and swallows it.
    """

    def __init__(self, signal_number: int, *, fact: str = SAFE, hint: str | None = None) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number
        self.fact = fact
        self.hint = hint

    def lines(self) -> Iterator[str]:
        """What a person is told."""
        yield f"{'interrupted' if self.exit_code == 130 else 'terminated'}: {self.fact}"
        if self.hint is not None:
            yield f"{'to start again' if self.fact == UNTOUCHED else 'to go on'}: {self.hint}"


def report_error(error: BaseException, *, tracebacks: bool, options: GlobalOptions | None = None) -> int:
    """Say on stderr what *error* means for a person, and return the exit code.

    options: of the command line, for the commands that hints name.
    """
    match error:
        case errors.OrchestratorError():
            _say(error.message, error.cause, _pasteable(error.hint, options))
            code = error.exit_code
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
            code = error.exit_code
        case click.ClickException():
            _say(_lower(_bare_message(error)), None, _pasteable(_hint_of(error), options))
            code = 2
        case Stopped():
            for line in error.lines():
                click.echo(line, err=True)
            code = error.exit_code
        case KeyboardInterrupt() | click.Abort():
            code = 130
        case BaseExceptionGroup() if (inner := _the_one_of_ours(error)) is not None:
            return report_error(inner, tracebacks=tracebacks, options=options)
        case _ if (lacking := errors.shortage(error)) is not None:
            return report_error(lacking, tracebacks=tracebacks, options=options)
        case _:
            code = _internal(error)
    if tracebacks and isinstance(error, Exception) and not isinstance(error, click.ClickException | Stopped):
        import traceback

        traceback.print_exception(error)
    return code


def error_lines(message: str, cause: str | None, hint: str | None) -> Iterator[str]:
    """`error: …`, `cause: …`, `hint: …`; what is not known is left out."""
    for title, text in (("error", message), ("cause", cause), ("hint", hint)):
        if text is not None:
            yield f"{coloured(f'{title}:', 'red' if title == 'error' else None, bold=True)} {humanize.plain(text)}"


def _say(message: str, cause: str | None, hint: str | None) -> None:
    for line in error_lines(message, cause, hint):
        click.echo(line, err=True)


def _pasteable(hint: str | None, options: GlobalOptions | None) -> str | None:
    from orchestrator.cli.console import completed

    return hint if hint is None or options is None else completed(options, hint)


def _internal(error: BaseException) -> int:
    _say(
        f"internal error: {type(error).__name__}: {error}",
        "this is a bug in orchestrator; what is stored is safe",
        f"run the same command with -v -v for the details, and report them (Python {sys.version.split()[0]})",
    )
    return INTERNAL


def _the_one_of_ours(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """The first error inside *group* that is made for a person."""
    for inner in group.exceptions:
        if isinstance(inner, errors.OrchestratorError | Stopped):
            return inner
        if isinstance(inner, BaseExceptionGroup) and (found := _the_one_of_ours(inner)) is not None:
            return found
    return None


def _bare_message(error: click.ClickException) -> str:
    """Click's message without the guess that `_hint_of` gives."""
    return error.message if isinstance(error, click.NoSuchOption) else error.format_message()


def _hint_of(error: click.ClickException) -> str | None:
    hint: str | None = getattr(error, "hint", None)
    if hint is not None:
        return hint
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        return f"did you mean {error.possibilities[0]}?"  # the likest is the first
    ctx = getattr(error, "ctx", None)
    return None if ctx is None else f"{ctx.command_path} --help shows how it is used"


def _lower(text: str) -> str:
    """Click's sentences in our form: no capital, no full stop."""
    return text[:1].lower() + text[1:].rstrip(".")


@contextmanager
def explaining_api_errors() -> Iterator[None]:
    """Turn the errors of a call to the API into errors of a command."""
    try:
        yield
    except errors.ProviderError as exc:
        raise api_error(exc) from exc


def api_error(exc: errors.ProviderError) -> errors.OrchestratorError:
    """*exc* as an error of the command."""
    if isinstance(exc, errors.ProviderRefused) and exc.blocked is not None:
        return errors.NeedsPerson(
            "the API refuses this account", cause=exc.message, hint=without_resume(account.REMEDIES[exc.blocked])
        )
    if isinstance(exc, errors.ProviderRefused):
        return errors.OrchestratorError(
            "the API refused the call", cause=exc.message, hint="`orchestrator doctor` looks closer"
        )
    return ApiUnreachable(
        "the API cannot be reached", cause=exc.message, hint="check the network; `orchestrator doctor` looks closer"
    )


def without_resume(remedy: str) -> str:
    """*remedy* for a command that has no job to resume."""
    for ending in (", then resume the job", "; then resume the job"):
        remedy = remedy.removesuffix(ending)
    return remedy


async def find_credentials(provider: Provider) -> None:
    """Find the credentials before the first call. Raises NeedsPerson, UsageError."""
    from orchestrator.provider.client import AnthropicProvider

    try:
        if isinstance(provider, AnthropicProvider):
            await provider.warm()
    except errors.NeedsPerson as exc:
        hint = None if exc.hint is None else without_resume(exc.hint)
        raise errors.NeedsPerson(exc.message, cause=exc.cause, hint=hint) from exc
