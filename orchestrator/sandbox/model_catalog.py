"""The models that the sandbox knows: ids as in SDK 2.12, limits as published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from orchestrator.sandbox.token_count import NEWER, OLDER, Tokenizer

LARGE_OUTPUT_BETA: Final = "output-300k-2026-03-24"
LARGE_OUTPUT_TOKENS: Final = 300_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """The facts about a model that the sandbox needs.

    Token figures are counts; `min_cached_tokens` is the shortest prefix that is cached at all (prompt caching guide;
    those of the 5.5 family and of 5.2 are not published, the longest is assumed). `is_newer`: from 4.7 on, with the
    newer tokenizer and larger images, and without sampling parameters. `has_regions`: from 4.6 on, `inference_geo` is
    not refused. `retires_at`: its end, where it is announced.
    """

    id: str
    name: str
    line: str
    max_tokens: int
    context_tokens: int = 200_000
    min_cached_tokens: int = 4096
    large_output: bool = False
    is_newer: bool = True
    retires_at: str | None = None
    has_regions: bool = True

    @property
    def tokenizer(self) -> Tokenizer:
        """What counts its prompts."""
        return NEWER if self.is_newer else OLDER

    @property
    def takes_sampling(self) -> bool:
        """Whether values of sampling parameters that change something are taken, under the older API version."""
        return not self.is_newer

    @property
    def takes_prefill(self) -> bool:
        """Whether the last message may be the beginning of the answer (migration guide of Claude 4.6)."""
        return not self.has_regions

    @property
    def takes_one_sampler(self) -> bool:
        """Whether `temperature` and `top_p` exclude each other (migration guides of these models)."""
        return self.id.startswith(_ONE_SAMPLER)

    def output_limit(self, betas: frozenset[str]) -> int:
        """The highest `max_tokens` under *betas* (the 300k beta works in batches only)."""
        return LARGE_OUTPUT_TOKENS if self.large_output and LARGE_OUTPUT_BETA in betas else self.max_tokens


#: The day is not in the copies of the models page that are at hand; a retirement is announced 60 days before, at least.
_RETIREMENT_KNOWN: Final = "2026-09-01T00:00:00Z"


def info(card: ModelCard) -> dict[str, object]:
    """The model as `GET /v1/models/{id}` shows it (ModelInfo of SDK 2.12)."""
    return {
        "type": "model",
        "id": card.id,
        "display_name": card.name,
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active" if card.retires_at is None else "deprecated",
        "line": card.line,
        "deprecated_at": None if card.retires_at is None else _RETIREMENT_KNOWN,
        "retires_at": card.retires_at,
        "max_input_tokens": card.context_tokens,
        "max_tokens": card.max_tokens,
        "capabilities": _capabilities(),
    }


def _capabilities() -> dict[str, object]:
    """Everything is supported: nothing is executed, so nothing is refused for want of a capability."""
    yes = {"supported": True}
    plain = ("batch", "citations", "code_execution", "image_input", "pdf_input", "structured_outputs")
    return {
        **dict.fromkeys(plain, yes),
        "context_management": {
            **yes,
            **dict.fromkeys(("clear_thinking_20251015", "clear_tool_uses_20250919", "compact_20260112"), yes),
        },
        "effort": {**yes, **dict.fromkeys(("low", "medium", "high", "max", "xhigh"), yes)},
        "server_tools": {**yes, "code_execution": yes, "web_search": yes},
        "thinking": {**yes, "types": dict.fromkeys(("adaptive", "between_tools", "disabled", "enabled"), yes)},
    }


_SHORT, _LONG = 64_000, 128_000
_OLDER: Final = ("claude-opus-4-5", "claude-opus-4-6", "claude-sonnet-4-5", "claude-sonnet-4-6", "claude-haiku-4-5")
_ONE_SAMPLER: Final = ("claude-sonnet-4-5", "claude-haiku-4-5")
_WITHOUT_REGIONS: Final = ("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5")
_RETIRES: Final = MappingProxyType({"claude-sonnet-4-5": "2026-11-30T00:00:00Z"})
#: id, name, line, max_tokens, shortest cached prefix, large-output beta
_PUBLISHED: Final = (
    ("claude-fable-5-2", "Fable 5.2", "fable", _LONG, 4096, False),
    ("claude-mythos-5-2", "Mythos 5.2", "mythos", _LONG, 4096, False),
    ("claude-fable-5-1", "Fable 5.1", "fable", _LONG, 512, False),
    ("claude-mythos-5-1", "Mythos 5.1", "mythos", _LONG, 512, False),
    ("claude-fable-5", "Fable 5", "fable", _LONG, 512, False),
    ("claude-mythos-5", "Mythos 5", "mythos", _LONG, 512, False),
    ("claude-mythos-preview", "Mythos Preview", "mythos", _LONG, 2048, False),
    ("claude-opus-5-5", "Opus 5.5", "opus", _LONG, 4096, True),
    ("claude-opus-5", "Opus 5", "opus", _LONG, 512, True),
    ("claude-opus-4-8", "Opus 4.8", "opus", _LONG, 1024, True),
    ("claude-opus-4-7", "Opus 4.7", "opus", _LONG, 2048, True),
    ("claude-opus-4-6", "Opus 4.6", "opus", _LONG, 4096, True),
    ("claude-opus-4-5", "Opus 4.5", "opus", _SHORT, 4096, False),
    ("claude-opus-4-5-20251101", "Opus 4.5", "opus", _SHORT, 4096, False),
    ("claude-sonnet-5-5", "Sonnet 5.5", "sonnet", _LONG, 4096, True),
    ("claude-sonnet-5", "Sonnet 5", "sonnet", _LONG, 1024, True),
    ("claude-sonnet-4-6", "Sonnet 4.6", "sonnet", _SHORT, 1024, True),
    ("claude-sonnet-4-5", "Sonnet 4.5", "sonnet", _SHORT, 1024, False),
    ("claude-sonnet-4-5-20250929", "Sonnet 4.5", "sonnet", _SHORT, 1024, False),
    ("claude-haiku-5-5", "Haiku 5.5", "haiku", _SHORT, 4096, True),
    ("claude-haiku-4-5", "Haiku 4.5", "haiku", _SHORT, 4096, False),
    ("claude-haiku-4-5-20251001", "Haiku 4.5", "haiku", _SHORT, 4096, False),
)


def _cards() -> Mapping[str, ModelCard]:
    cards = (
        ModelCard(
            id=model_id,
            name=f"Claude {name} (SANDBOX)",
            line=line,
            max_tokens=most,
            min_cached_tokens=least,
            large_output=large,
            is_newer=not model_id.startswith(_OLDER),
            has_regions=not model_id.startswith(_WITHOUT_REGIONS),
            retires_at=next((end for name, end in _RETIRES.items() if model_id.startswith(name)), None),
        )
        for model_id, name, line, most, least, large in _PUBLISHED
    )
    return MappingProxyType({card.id: card for card in cards})


KNOWN_MODELS: Final = _cards()
