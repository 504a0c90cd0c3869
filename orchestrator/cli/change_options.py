"""The options of `retry` that change params."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Concatenate, Final, TypeVar

import click

from orchestrator.cli.group import HintedUsageError
from orchestrator.cli.options import GlobalOptions
from orchestrator.domain.humanize import plain
from orchestrator.domain.param_change import ParamChange, parse_setting

R = TypeVar("R")

_OPTIONS: Final = (
    click.option("--set", "setting", metavar="KEY=VALUE", multiple=True, help="Give a member of params another value."),
    click.option("--drop", metavar="KEY", multiple=True, help="Leave a member of params out."),
    click.option("--grow", is_flag=True, help="Double max_tokens, up to the most that the model gives."),
)


def change_options(function: Callable[Concatenate[GlobalOptions, ...], R]) -> Callable[..., R]:
    """*function* gets what they say as `change`, which contradicts itself nowhere."""

    @functools.wraps(function)
    def with_change(
        options: GlobalOptions,
        /,
        *,
        setting: Sequence[str],
        drop: Sequence[str],
        grow: bool,
        **given: Any,  # noqa: ANN401 - what click hands over, by option
    ) -> R:
        change = ParamChange(set=dict(_settings_in(setting)), drop=frozenset(drop), grow=grow)
        change.refuse_contradictions()
        return function(options, change=change, **given)

    return functools.reduce(lambda made, option: option(made), reversed(_OPTIONS), with_change)


def _settings_in(texts: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for text in texts:
        try:
            yield parse_setting(text)
        except ValueError as exc:
            raise HintedUsageError(f"--set {plain(text)}: {exc}", hint="give a key and its value") from exc
