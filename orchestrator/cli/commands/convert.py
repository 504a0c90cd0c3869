"""`convert`: makes requests of files that were written for another API, and tells what has no counterpart."""

from __future__ import annotations

import asyncio
import shlex
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from orchestrator.cli import console, input_options, jobs_text, output_files, signals
from orchestrator.cli.group import HintedUsageError, command
from orchestrator.cli.new_file import NewFile
from orchestrator.cli.options import GlobalOptions
from orchestrator.domain import errors
from orchestrator.domain.foreign_forms import LineForm
from orchestrator.domain.humanize import count, size
from orchestrator.domain.job_spec import name_of
from orchestrator.domain.table_spec import TableKind
from orchestrator.ports import streams
from orchestrator.ports.alike_problems import AlikeProblems, next_step

if TYPE_CHECKING:
    from orchestrator.conversion import Converted, Converter, FoundCause

EXAMPLES = """
Examples:
  orchestrator convert openai.jsonl -m claude-haiku-4-5 -o requests.jsonl
  orchestrator convert chats.jsonl -m claude-haiku-4-5 --max-tokens 99
  zcat openai.jsonl.gz | orchestrator convert - -m claude-haiku-4-5 > r.jsonl
  orchestrator convert openai.jsonl -m claude-haiku-4-5 | orchestrator run -

What is read: OpenAI's batch lines (custom_id, method, url, body) of /v1/chat/completions and /v1/responses; Bedrock's
(recordId, modelInput); rows with messages, or with a prompt, whose other columns are kept with the request; requests of
the API's own form, which stay as they are; a line each, or in one JSON array, plain, .gz or .zst. The file may have
lines of several forms.

What has no counterpart is left out and listed, with how many requests have it. A line that cannot be converted without
a change of what it asks is a problem: then nothing is written, or, with --skip-bad, all others are.

Exit codes: 0 written, 2 it has problems (each with its line and a remedy).
"""
_FORMS: Final = {
    LineForm.OPENAI_BATCH: ("OpenAI batch line", ""),
    LineForm.BEDROCK_BATCH: ("Bedrock batch line", ""),
    LineForm.CHAT_ROW: ("row", " with messages"),
    LineForm.PROMPT_ROW: ("row", " with a prompt"),
    LineForm.OWN: ("request", " of the API's own form"),
}
_TABLES: Final = frozenset({TableKind.CSV, TableKind.TSV, TableKind.PARQUET, TableKind.FILES})


@command(EXAMPLES)
@click.argument("path", metavar="FILE", type=click.Path(allow_dash=True))
@click.option("-o", "--output", metavar="FILE", default="-", help="Write to FILE; - is standard output, the default.")
@click.option("--overwrite", is_flag=True, help="Replace FILE although it has other content.")
@click.option("-m", "--model", metavar="MODEL", help="The model to ask; not needed where it is Claude already.")
@click.option(
    "--max-tokens", type=click.IntRange(1), help="Where an answer is cut, of requests that do not say it.  [1024]"
)
@click.option(
    "--skip-bad", is_flag=True, help="Leave out lines that cannot be converted; they are written beside FILE."
)
@click.option(
    "--max-problems", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Show at most N problems."
)
def convert(  # noqa: PLR0913, PLR0917 - one argument per option, as click hands them over
    options: GlobalOptions,
    path: str,
    output: str,
    overwrite: bool,
    model: str | None,
    max_tokens: int | None,
    skip_bad: bool,
    max_problems: int,
) -> int:
    """Nothing is sent or stored, and no key is needed."""
    from orchestrator.conversion import Converter, Wishes

    _refuse_unfit(options, path, output)
    defaults = options.settings().defaults
    wishes = Wishes(
        model=model,
        default_model=defaults.model,
        max_tokens=defaults.max_tokens if max_tokens is None else max_tokens,
    )
    name = input_options.STDIN_NAME if path == input_options.STDIN else path
    work = _Work(Converter(path, name, wishes), NewFile(output, overwrite=overwrite), skip_bad, max_problems)
    refused = _refused_file(path, output) if skip_bad else None
    is_new = signals.run_async(lambda: work.run(refused, overwrite=overwrite), signals.nothing_changed)
    _say_read(options, name, work)
    if work.is_lost:
        _say_problems(name, work)
        raise _refusal(name, work, may_skip=not skip_bad)
    _say_made(options, output, work, refused, is_new=is_new)
    if options.as_json:
        console.show_json(_facts(path, output, work))
    return 0


class _Work:
    """One conversion: what became of it."""

    def __init__(self, converter: Converter, output: NewFile, skip_bad: bool, most: int) -> None:
        self.converter = converter
        self._output = output
        self._skip_bad = skip_bad
        self._most = most
        self._alike = AlikeProblems()
        self._first: list[streams.InputProblem] = []
        self.problem_count = 0
        self.refused = 0
        self.has_whole = False

    @property
    def is_lost(self) -> bool:
        """Nothing is written."""
        return self.has_whole or (self.problem_count > 0 and not self._skip_bad) or not self.converter.requests

    @property
    def problems(self) -> list[streams.InputProblem]:
        """The first of them, by cause where many lines have it."""
        return self._alike.told(self._first)

    async def run(self, refused: Path | None, *, overwrite: bool) -> bool:
        """Convert; False: the output was there already."""
        left = None if refused is None else NewFile(str(refused), overwrite=overwrite)
        stop = threading.Event()
        pieces = self.converter.pieces(stop)
        try:
            while (made := await asyncio.to_thread(next, pieces, None)) is not None:
                await self._take(made, left)
            return await self._end(left)
        except BaseException:
            await self._output.abort()
            if left is not None:
                await left.abort()
            raise
        finally:
            stop.set()
            with suppress(ValueError):  # still running in its thread: it sees the flag, and ends
                pieces.close()

    async def _take(self, made: Converted, left: NewFile | None) -> None:
        from orchestrator.inputs import refused_lines

        self._note(made.problems)
        if left is not None and made.problems:
            await left.write(b"".join(refused_lines(made.problems)))
        if not self.has_whole and (self._skip_bad or not self.problem_count):
            await self._output.write(made.text)

    async def _end(self, left: NewFile | None) -> bool:
        if self.is_lost:
            await self._output.abort()
        if left is not None:
            await (left.commit() if self.refused and not self.is_lost else left.abort())
        return False if self.is_lost else await self._output.commit()

    def _note(self, problems: list[streams.InputProblem]) -> None:
        listed = [problem for problem in problems if not self._alike.take(problem)]
        self.problem_count += len(listed)
        self.refused += len({problem.line for problem in problems})
        self.has_whole = self.has_whole or input_options.concerns_whole_file(problems)
        self._first += listed[: self._most - len(self._first)]

    def found(self) -> Iterator[tuple[str, list[FoundCause]]]:
        """What is to be said, by kind."""
        from orchestrator.conversion import FindingKind

        for kind in FindingKind:
            yield kind.value, self.converter.findings.of(kind)


def _refuse_unfit(options: GlobalOptions, path: str, output: str) -> None:
    """Raise a usage error for what cannot be converted, or not written."""
    from orchestrator.tables import TableInput, holds_rows, told_kind

    if options.as_json and streams.is_stdout(output):
        raise HintedUsageError("--json and the requests cannot both go to stdout", hint="name a file: -o FILE")
    if path == input_options.STDIN:
        return
    with suppress(OSError):
        if not streams.is_stdout(output) and Path(output).samefile(path):
            raise HintedUsageError("the requests would replace the input", hint="choose another -o FILE")
    kind, given = None, TableInput(paths=(path,))
    with suppress(errors.UsageError):
        kind = told_kind(given)
    if kind in _TABLES:
        shown = shlex.quote(console.near_path(path))
        hint = f"orchestrator run {shown} -p 'Classify: {{{{ text }}}}' -m MODEL"
        raise HintedUsageError(
            f"{console.near_path(path)} is {holds_rows(given)}: a template makes requests of it", hint=hint
        )


def _refused_file(path: str, output: str) -> Path:
    if streams.is_stdout(output):
        stem = "stdin" if path == input_options.STDIN else name_of(path)
        return Path(f"{stem}.refused.jsonl")
    return output_files.beside(output, ".refused.jsonl")


def _say_read(options: GlobalOptions, name: str, work: _Work) -> None:
    told_forms = ((many, *_FORMS[form]) for form, many in work.converter.forms.most_common())
    forms = [f"{count(many, what)}{of}" for many, what, of in told_forms]
    told = f": {', '.join(forms)}" if forms else ""
    jobs_text.say_line(
        options,
        "failed" if work.is_lost else "done",
        "read",
        f"{console.near_path(name)}, {size(work.converter.size_bytes)}{told}",
    )


def _say_problems(name: str, work: _Work) -> None:
    for line in input_options.problems_as_text(name, work.problems, work.problem_count, shown=len(work.problems)):
        click.echo(line, err=True)


def _refusal(name: str, work: _Work, *, may_skip: bool) -> errors.InputError:
    hint = next_step(work.problems, work.converter.requests, input_options.LEAVE_OUT if may_skip else None)
    return errors.InputError(
        f"{console.near_path(name)} has {count(work.problem_count, 'problem')}; nothing was written", hint=hint
    )


def _say_made(options: GlobalOptions, output: str, work: _Work, refused: Path | None, *, is_new: bool) -> None:
    where = "" if streams.is_stdout(output) else f"{output}  "
    state = "" if is_new else ", as it was there already"
    made = f"{where}{count(work.converter.requests, 'request')}{state}"
    jobs_text.say_line(options, "done", "wrote", made)
    if work.refused and refused is not None:
        jobs_text.say_refused_lines(options, work.refused, str(refused))
    for kind, found in work.found():
        for line in _finding_lines(kind, found):
            jobs_text.say_line(options, "part" if kind == "lost" else "done", _TITLES[kind], line)
    if not streams.is_stdout(output):
        command_line = console.pasteable(options, f"orchestrator check {shlex.quote(output)}", sandbox=options.sandbox)
        jobs_text.say_line(options, "next", "next", command_line)


_TITLES: Final = {"lost": "left out", "changed": "changed", "default": "default"}


def _finding_lines(kind: str, found: list[FoundCause]) -> Iterator[str]:
    if kind == "default":
        if found:
            names = ", ".join(f"{each.name} ({each.requests:,})" for each in found)
            yield f"left out, as they say what holds anyway: {names}"
        return
    for each in found:
        yield f"{each.name}: {each.words} ({count(each.requests, 'request')}: {each.shown_lines})"


def _facts(path: str, output: str, work: _Work) -> dict[str, Any]:
    from orchestrator.views.job_views import LineProblemView

    return {
        "source": path,
        "output": output,
        "requests": work.converter.requests,
        "refused": work.refused,
        "forms": {form.value: many for form, many in work.converter.forms.items()},
        **{
            {"lost": "left_out", "changed": "changed", "default": "defaults"}[kind]: [
                {"field": each.name, "why": each.words, "requests": each.requests, "lines": each.lines}
                for each in found
            ]
            for kind, found in work.found()
        },
        "problems": [LineProblemView.of(problem).fields() for problem in work.problems],
        "problem_count": work.problem_count,
    }
