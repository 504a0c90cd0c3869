"""`[defaults]`: what requests have that are made of rows, where the command does not say it."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.config import values
from orchestrator.config.setting import REFUSED, means


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultsSection:
    """`[defaults]`: for requests that are made of the rows of a table, by a template."""

    model: str | None = field(
        default=None,
        metadata=means(
            values.text("the name of a model"),
            "The model that is asked, without -m.",
            unset="-m is needed",
            example='"claude-haiku-4-5"',
            project=REFUSED,
        ),
    )
    max_tokens: int = field(
        default=1024,
        metadata=means(
            values.whole_number(1),
            "The most tokens of an answer, without --max-tokens: an answer is cut there.",
            project=REFUSED,
        ),
    )
    system: str | None = field(
        default=None,
        metadata=means(
            values.text("a text"),
            "The system prompt, without --system: a template as the prompt is.",
            unset="none",
            example='"You are a careful reader."',
            project=REFUSED,
        ),
    )
