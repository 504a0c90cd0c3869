"""Which generation a model is of, by its name: what an image, a tool or a byte of text takes depends on it."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final

__all__ = [
    "NEWEST",
    "Generation",
    "generation_of",
    "most_output",
    "takes_forced_tool",
    "takes_format",
    "takes_geo",
    "takes_one_sampler",
    "takes_prefill",
    "takes_sampling",
    "undated",
]

Generation = tuple[int, int]
#: What a name that says nothing is taken for: of every rule here the dearest.
NEWEST: Final[Generation] = (99, 0)
#: `claude-haiku-4-5-20251001`, `claude-opus-5`, `claude-3-5-haiku-20241022`.
_NAME: Final = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:-(\d{1,2}))?(?:-[a-z]+)?(?:-\d{8}|-latest)?", re.ASCII)
_DATE: Final = re.compile(r"-\d{8}$", re.ASCII)
#: Source: the page on data residency: `inference_geo` is refused by older models.
_FIRST_WITH_GEO: Final = (4, 6)
#: Source: Messages API reference, `temperature`: "models released after Claude Opus 4.6"; of 4.6 both take it.
_LAST_WITH_SAMPLING: Final = (4, 6)
#: Without a number, and released after it. Source: the list of models that always refuse sampling parameters.
_UNNUMBERED_WITHOUT_SAMPLING: Final = frozenset({"claude-mythos-preview"})
_FAMILY: Final = re.compile(r"claude-([a-z]+)-\d", re.ASCII)
#: Source: "What's new" of Opus 5.5 and Sonnet 5.5, "forced tool use is not supported"; also of Fable 5.1.
_FIRST_WITHOUT_FORCED_TOOL: Final = {"opus": (5, 5), "sonnet": (5, 5), "fable": (5, 1)}
#: Source: the page on structured outputs lists models from 4.5 on; Opus 4.1 took them under a beta, no other before it.
_FIRST_WITH_FORMAT: Final = (4, 1)
#: Source: migration guides of Claude 4.6 ("prefilling assistant messages returns a 400 error") and of Haiku 5.5.
_FIRST_WITHOUT_PREFILL: Final = (4, 6)
#: Source: migration guides of these models: "use only temperature or top_p".
_ONE_SAMPLER: Final = frozenset({"claude-opus-4-1", "claude-sonnet-4-5", "claude-haiku-4-5"})
#: Source: the models page, "max output". Of those before 4.5, and of names of another form, it is not known here.
_SHORT_OUTPUT, _LONG_OUTPUT = 64_000, 128_000
_FIRST_WITH_OUTPUT: Final = (4, 5)
#: The first with the longer output, by family; of those that are not here, every one.
_FIRST_WITH_LONG: Final = {"opus": (4, 6), "sonnet": (5, 0), "haiku": NEWEST}
#: In batches, under a beta. Source: the release note of 2026-03-24.
_LARGE_OUTPUT_BETA: Final = "output-300k-2026-03-24"
_LARGE_OUTPUT: Final = 300_000
_FIRST_WITH_LARGE: Final = (4, 6)


@lru_cache(maxsize=256)
def generation_of(model: str) -> Generation:
    """(4, 5) for `claude-haiku-4-5-20251001`, (5, 0) for `claude-opus-5`; NEWEST for a name of another form."""
    found = _NAME.fullmatch(model)
    return NEWEST if found is None else (int(found[1]), int(found[2] or 0))


def takes_geo(model: str) -> bool:
    """Whether `inference_geo`, or the workspace's default for it, may hold for *model*."""
    return generation_of(model) >= _FIRST_WITH_GEO


def takes_sampling(model: str) -> bool:
    """Whether *model* takes `temperature`, `top_p` and `top_k`; true for a name that says nothing: the API knows."""
    generation = generation_of(model)
    return generation <= _LAST_WITH_SAMPLING or (generation == NEWEST and model not in _UNNUMBERED_WITHOUT_SAMPLING)


def takes_forced_tool(model: str) -> bool:
    """Whether `tool_choice` may make *model* use a tool."""
    found = _FAMILY.match(model)
    first = None if found is None else _FIRST_WITHOUT_FORCED_TOOL.get(found[1])
    return first is None or generation_of(model) < first


def takes_format(model: str) -> bool:
    """Whether *model* may be given a form of answers; true for a name that says nothing: the API knows."""
    return generation_of(model) >= _FIRST_WITH_FORMAT


def takes_prefill(model: str) -> bool:
    """Whether the last message may be the beginning of the answer of *model*; true for a name that says nothing."""
    generation = generation_of(model)
    return generation < _FIRST_WITHOUT_PREFILL or generation == NEWEST


def takes_one_sampler(model: str) -> bool:
    """Whether *model* takes `temperature` or `top_p`, not both."""
    return undated(model) in _ONE_SAMPLER


def most_output(model: str, betas: Collection[str] = ()) -> int | None:
    """The highest `max_tokens` that *model* takes in a batch with *betas*; None: it is not known."""
    found, generation = _FAMILY.match(model), generation_of(model)
    if found is None or generation == NEWEST or generation < _FIRST_WITH_OUTPUT:
        return None
    family = found[1]
    if _LARGE_OUTPUT_BETA in betas and family in _FIRST_WITH_LONG and generation >= _FIRST_WITH_LARGE:
        return _LARGE_OUTPUT
    return _LONG_OUTPUT if generation >= _FIRST_WITH_LONG.get(family, generation) else _SHORT_OUTPUT


def undated(model: str) -> str:
    """`claude-haiku-4-5` for `claude-haiku-4-5-20251001`: a request may name either, an answer names the dated one."""
    return _DATE.sub("", model)
