"""`init`: writes a first job file for an input, from the columns that it sees."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from orchestrator.cli import console, output_files
from orchestrator.cli.group import HintedUsageError, command
from orchestrator.cli.options import GlobalOptions
from orchestrator.config.values import toml_text
from orchestrator.domain import humanize, job_spec, model_generation
from orchestrator.domain.table_spec import FORMATS, TableKind

if TYPE_CHECKING:
    from orchestrator.config import Settings
    from orchestrator.tables import FirstLook, TableInput

EXAMPLES = """
Examples:
  orchestrator init reviews.csv                    writes job.toml: columns, prompt, model, all to be edited
  orchestrator init reviews.csv -o classify.toml
  orchestrator check job.toml                      then: what it would become, and cost
  orchestrator run job.toml
"""

_HEAD: Final = """\
# A job, for `orchestrator check`, `run` and `submit`. Its keys are the long options of `orchestrator run`, with _ for
# -; what the command line says is stronger. Paths are relative to this file's folder, and inside of it.
"""
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: They mean something else in a template.
_RESERVED: Final = frozenset(
    {"true", "false", "none", "True", "False", "None", "not", "and", "or", "in", "is", "if", "else", "row", "loop"}
)


@command(EXAMPLES)
@click.argument("source", metavar="INPUT", type=click.Path(dir_okay=True))
@click.option("-o", "--output", metavar="FILE", default="job.toml", show_default=True, help="The job file to write.")
@click.option("--format", "kind", type=click.Choice(FORMATS), help="What the table is, if its name does not tell.")
def init(options: GlobalOptions, source: str, output: str, kind: str | None) -> None:
    """It looks at the first rows, and writes what to ask of each, to be edited. A file that is there is left alone."""
    from orchestrator.cli.job_files import SUFFIX
    from orchestrator.tables import TableInput

    if not output.lower().endswith(SUFFIX):
        raise HintedUsageError(f"the name of a job file ends with {SUFFIX}", hint="by that `run` knows it: -o job.toml")
    if humanize.readable(source) != source:
        raise HintedUsageError(f"the name of {humanize.plain(source)} is not UTF-8", hint="give it another one")
    if not Path(source).exists():
        from orchestrator.inputs import path_hint

        hint = f"{path_hint(source)}; init looks at a file, or a folder of texts"
        raise HintedUsageError(f"no such file: {humanize.plain(source)}", hint=hint)
    given = TableInput(paths=(source,), kind=None if kind is None else TableKind(kind))
    name = named_inside(source, Path(output).parent)
    text = "\n".join(_lines(options.settings(), given, name))
    output_files.write_new(Path(output), f"{_HEAD}\n{text}\n")
    more = [output] if name is not None else [output, source]
    following = console.pasteable(options, f"orchestrator check {console.joined(more)}")
    if options.as_json:
        console.show_json({"job_file": console.near_path(output), "next": following})
    console.say(options, f"wrote {humanize.plain(output)}: edit what it asks, then: {following}")


def named_inside(source: str, folder: Path) -> str | None:
    """*source* as a file in *folder* names it; None if it lies outside, which a job file does not name."""
    root = os.path.realpath(folder)
    if os.path.commonpath([root, os.path.realpath(source)]) != root:
        return None
    return os.path.relpath(os.path.abspath(source), os.path.abspath(folder))  # noqa: PTH100 - links are kept


def _lines(settings: Settings, given: TableInput, name: str | None) -> Iterator[str]:
    """The job file in lines. name: of the input in it."""
    from orchestrator.tables import holds_rows, look_at, told_kind

    yield f"name = {toml_text(job_spec.name_of(os.path.realpath(given.paths[0])))}"
    if name is None:
        yield "# The input lies outside of this folder: it is given behind this file, on the command line."
    else:
        yield f"input = {toml_text(name)}"
    if given.kind is not None:
        yield f"format = {toml_text(given.kind.value)}"
    kind = told_kind(given)
    if holds_rows(given) is None:
        yield "# Requests of the API's own form: they are sent as they are, and have their own prompts and models."
        yield from _of_results("answers.jsonl")
        return
    yield from lines_of_rows(settings, look_at(given), asks=kind not in {TableKind.TXT, TableKind.FILES})
    yield from _of_results("answers.csv")


def lines_of_rows(settings: Settings, look: FirstLook, *, asks: bool) -> Iterator[str]:
    """asks: the rows are no prompts by themselves."""
    if look.id_column is not None:
        yield f"id_column = {toml_text(look.id_column)}"
    yield ""
    yield f"# What is asked of each row. Its columns: {humanize.plain(humanize.some(list(look.columns), 20))}"
    yield 'prompt = """'
    if asks:
        yield "What is this about? Answer in one sentence."
        yield ""
    yield from (_escaped(placeholder(column)) for column in look.texts)
    yield '"""'
    yield '# system = "You are a careful reader."'
    yield ""
    model = settings.defaults.model or _cheapest(settings)
    if model is None:
        yield '# model = "..."  # `orchestrator prices` lists those that have a price'
    else:
        yield f"model = {toml_text(model)}  # `orchestrator prices` lists others"
    yield f"max_tokens = {settings.defaults.max_tokens}  # an answer is cut there"
    yield '# schema = "label, score float"  # answers are JSON with these fields'


def _of_results(output: str) -> Iterator[str]:
    yield ""
    yield f'# output = "{output}"'
    yield '# max_cost = "$5"  # it is never exceeded; a file may lower a cap, not raise one'


def _cheapest(settings: Settings) -> str | None:
    """The model that costs least today; of several the newest. None: no model has a price."""
    from orchestrator.prices.price_book import PriceBook

    book, today = PriceBook(settings.prices), datetime.now(UTC).date()
    priced = {model: price.rates for model in book.models() if (price := book.price(model, today)) is not None}
    newest_first = sorted(priced, key=model_generation.generation_of, reverse=True)
    return min(newest_first, key=lambda model: priced[model].output, default=None)


def placeholder(column: str) -> str:
    """What stands for *column* in a template."""
    if _PLAIN_NAME.fullmatch(column) and column not in _RESERVED:
        return f"{{{{ {column} }}}}"
    return f"{{{{ row[{toml_text(column)}] }}}}"


def _escaped(text: str) -> str:
    """*text* inside of three quotes of TOML."""
    return text.replace("\\", "\\\\").replace('"""', '""\\"')
