"""What a job was expected to cost when it was made: kept, to be held against what it did cost."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import blake2b
from typing import Final

from orchestrator.domain import money
from orchestrator.domain.token_bounds import PricedRequest

__all__ = [
    "JobEstimate",
    "KindOfRequests",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEstimate:
    """Nano-dollars; None: not known. low, high: in 95 of 100 cases between them; worst: it cannot be more.

    All but the worst are of requests that are sent once each.

    input_tokens: of all prompts, by their bytes. kind: `KindOfRequests.digest`. basis: for people.
    """

    input_tokens: int
    low_nanos: int | None = None
    expected_nanos: int | None = None
    high_nanos: int | None = None
    worst_nanos: int | None = None
    basis: str
    kind: str | None = None

    def with_tries(self, tries: int) -> JobEstimate:
        """With a worst of so many answers to each request."""
        worst = None if self.worst_nanos is None else self.worst_nanos * tries
        return replace(self, worst_nanos=None if worst is None or worst > money.MOST_NANOS else worst)

    @property
    def expected(self) -> Decimal | None:
        """In dollars; None where there was no history."""
        return None if self.expected_nanos is None else money.as_decimal(self.expected_nanos)


_SIZE: Final = 16
#: Characters of a first message that a template has before what differs: fewer are the same by chance.
_FIRST_WORDS: Final = 64
#: Where the text of a first message begins, past roles and types.
_BEFORE_TEXT: Final = re.compile(rb'"(?:content|text)"\s*:\s*"')
_LOOKED_AT: Final = 200
_NONE: Final = frozenset((b"", b"null", b'""', b"[]"))


class KindOfRequests:
    """Whether requests differ in their messages alone: then the answers to some say most of the others.

    Takes every request of an input. Only where all are of one kind that is known: with no system prompt, tools nor
    schema, those are whose messages begin with the same words, as what one template makes does.
    """

    __slots__ = ("_first", "_is_one", "_words")

    def __init__(self) -> None:
        self._first: PricedRequest | None = None
        self._is_one = True
        self._words = b""  #: what ties requests that nothing else ties; "": no need

    def add(self, request: PricedRequest) -> None:
        """Take one request."""
        first = self._first
        if first is None:
            self._first = request
            if not _is_told_apart(request):
                self._words = _first_words(request)
                self._is_one = bool(self._words)
        elif self._is_one:
            self._is_one = (
                request.model == first.model
                and request.system == first.system
                and request.tools == first.tools
                and request.output_config == first.output_config
                and request.thinking == first.thinking
                and request.tool_choice == first.tool_choice
                and request.mcp_servers == first.mcp_servers
                and request.context_management == first.context_management
                and (not self._words or _first_words(request) == self._words)
            )

    @property
    def digest(self) -> str | None:
        """Of model, system prompt, tools, schema and thinking; None: there are several, or nothing that ties them.

        What few have counts where it is there: the digests of the others stay as they are.
        """
        first = self._first
        if first is None or not self._is_one:
            return None
        parts = [first.system, first.tools, first.output_config, first.thinking, first.tool_choice]
        parts += [raw for raw in (first.mcp_servers, first.context_management) if raw]
        words = [self._words] if self._words else []
        return blake2b(repr((first.model, *map(bytes, parts), *words)).encode(), digest_size=_SIZE).hexdigest()


def _is_told_apart(request: PricedRequest) -> bool:
    """Whether it has more than messages that say what is wanted."""
    more = (request.system, request.tools, request.mcp_servers)
    return any(bytes(raw) not in _NONE for raw in more) or b'"format"' in bytes(request.output_config)


def _first_words(request: PricedRequest) -> bytes:
    """The first of its messages; none: it is shorter, or begins with something else than text."""
    messages = bytes(request.messages)
    found = _BEFORE_TEXT.search(messages, 0, _LOOKED_AT)
    words = b"" if found is None else messages[found.end() : found.end() + _FIRST_WORDS]
    return words if len(words) == _FIRST_WORDS else b""
