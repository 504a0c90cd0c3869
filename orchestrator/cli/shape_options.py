"""The options that say what results look like: their format, and the columns of a table."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from orchestrator.cli.group import HintedUsageError
from orchestrator.domain.answer_table import OutputFormat, OutputShape, shape_of, split_names

R = TypeVar("R")
_TEXT_AND_MORE: Final = "--only-text is a format of its own"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeChoice:
    """What was said of the results. output_format: None where the suffix of the file is to tell."""

    output_format: str | None = None
    columns: str | None = None
    only_text: bool = False
    excel_safe: bool = False
    only: tuple[str, ...] = ()

    def shape(self, path: str) -> OutputShape:
        """The shape of what goes to *path*. Raises a usage error for what does not go together."""
        if self.only_text and self.output_format not in {None, OutputFormat.TXT.value}:
            raise HintedUsageError(_TEXT_AND_MORE, hint="leave it or the format out")
        kind = OutputFormat.TXT.value if self.only_text else self.output_format
        names = None if self.columns is None else split_names(self.columns)
        return shape_of(path, kind, names, excel_safe=self.excel_safe, only=self.only)

    def default_name(self, stem: str) -> str:
        """The file that results go to if none was named."""
        return f"{stem}.results.{self.shape('').format.value}"

    def words(self) -> Iterator[str]:
        """What was given, to be given again."""
        if self.output_format is not None:
            yield f"--output-format={self.output_format}"
        if self.columns is not None:
            yield f"--columns={self.columns}"
        if self.only_text:
            yield "--only-text"
        if self.excel_safe:
            yield "--excel-safe"


_FORMAT: Final[dict[str, Any]] = {
    "type": click.Choice([each.value for each in OutputFormat]),
    "help": "What is written, if the name of FILE does not tell.",
}
_OTHERS: Final = (
    click.option("--columns", metavar="A,B,...", help="The columns of a table, in this order.  [default: all]"),
    click.option("--only-text", is_flag=True, help="Only the text of the answers: the format txt."),
    click.option("--excel-safe", is_flag=True, help="In CSV and TSV: quote what Excel takes for a formula; add a BOM."),
)


def with_shape(*flags: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """The options of the shape, which the function gets as `shaped`. flags: more names of --output-format."""

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(function)
        def with_options(*args: Any, **given: Any) -> R:  # noqa: ANN401 - what click hands over, by option
            fields = ("output_format", "columns", "only_text", "excel_safe")
            return function(*args, shaped=ShapeChoice(**{field: given.pop(field) for field in fields}), **given)

        wrapped: Callable[..., R] = with_options
        for option in reversed((click.option("--output-format", *flags, "output_format", **_FORMAT), *_OTHERS)):
            wrapped = option(wrapped)
        return wrapped

    return decorate
