"""What an input may cost, told while it is taken in: a few numbers of each request, and no question to anybody.

Some 2 us a kilobyte, so that taking in is not slower for it. It is rough, as everything is that goes by bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from orchestrator.domain import token_bounds
from orchestrator.domain.billing import US_ONLY, Rates, Tokens, cost_of
from orchestrator.domain.cache_prefix import least_tokens
from orchestrator.domain.cap_course import CapCourse
from orchestrator.domain.job_estimate import JobEstimate, KindOfRequests
from orchestrator.domain.json_text import UNREADABLE, plain_ascii
from orchestrator.domain.known_answers import COSTS_OF_KIND, AnswersKnown, Forecast, Likely
from orchestrator.domain.model_generation import generation_of, takes_geo
from orchestrator.domain.money import MOST_NANOS
from orchestrator.domain.result_outcome import safe_name
from orchestrator.domain.rough_size import A_FILE, ROUGH_SHARE, Script, rough_bytes, rough_words

__all__ = ["QuickTally"]

_IN_BASE64: Final = b'"base64"'
_MARKED: Final = b'"cache_control"'
_FOR_AN_HOUR: Final = b'"1h"'
#: Every marker has a type, and every file.
_TYPED: Final = b'"type"'
#: Smaller requests are not looked into: no file of note and no prompt that is cached is so small.
_LEAST_SPECIAL: Final = 1_500
_BYTES_EACH: Final = 4  #: a token has about so many
#: More models than anybody names on purpose; what comes after them is counted as one without a price.
_MOST_MODELS: Final = 64
_OTHERS: Final = "(other models)"
_BY_BYTES: Final = f"prompts by their bytes, rough (±{100 * ROUGH_SHARE:.0f} %)"
_NO_HISTORY: Final = "no history of answers"


class _ModelSum:
    """Requests of one model. marked: bytes of those that may be written to the cache, which are among `size` too.

    hours: of them, bytes of those that say so for an hour. least: tokens that the model keeps at least.
    bound: tokens of all prompts at most, None: it is not known; longest: bytes of the longest. is_marked: any has a
    marker, however small. unbounded: how many make the API read and answer as often as it finds right. us: how many say
    that they run there. words: tokens that the API adds, beside `size`.
    """

    __slots__ = (
        "bound",
        "hours",
        "is_marked",
        "least",
        "longest",
        "marked",
        "max_tokens",
        "requests",
        "size",
        "unbounded",
        "us",
        "words",
    )

    def __init__(self, model: str) -> None:
        self.least = least_tokens(model)
        self.requests = self.size = self.marked = self.max_tokens = self.longest = self.unbounded = self.us = 0
        self.hours = self.words = 0
        self.bound: int | None = 0
        self.is_marked = False


class QuickTally:
    """Sums of an input, by model. adds_markers: those of its requests are added when they are sent, where it pays."""

    def __init__(self, *, adds_markers: bool = False) -> None:
        self._adds_markers = adds_markers
        self._models: dict[str, _ModelSum] = {}
        self._kind = KindOfRequests()

    @property
    def requests(self) -> int:
        """How many requests there were."""
        return sum(one.requests for one in self._models.values())

    @property
    def unbounded(self) -> int:
        """How many requests have no bound on what they cost: see `token_bounds.unbounded_field`."""
        return sum(one.unbounded for one in self._models.values())

    @property
    def models(self) -> list[str]:
        """The models that they name."""
        return list(self._models)

    @property
    def kind(self) -> str | None:
        """See `job_estimate.KindOfRequests.digest`."""
        return self._kind.digest

    def add_all(self, many: Iterable[bytes]) -> None:
        """Take the params of requests that passed intake."""
        for params in map(plain_ascii, many):
            try:
                request = token_bounds.read_request(params)
            except UNREADABLE:
                continue  # the API will refuse it: it costs nothing
            self._kind.add(request)
            one = self._models.get(request.model)
            _add(self._sum_of(request.model) if one is None else one, request, params)

    def leave_out(self, many: Iterable[bytes]) -> None:
        """Take out the params of requests that were taken: they will not be sent, as others have the same."""
        for params in map(plain_ascii, many):
            try:
                request = token_bounds.read_request(params)
            except UNREADABLE:
                continue
            _add(self._sum_of(request.model), request, params, -1)

    def _sum_of(self, model: str) -> _ModelSum:
        return self._models.setdefault(model if len(self._models) < _MOST_MODELS else _OTHERS, _ModelSum(model))

    def without_price(self, rates: Mapping[str, Rates]) -> list[str]:
        """The models that are not in *rates*, by names that can be shown."""
        return [safe_name(model) for model in self._models if model not in rates]

    def high(self, rates: Mapping[str, Rates]) -> int:
        """Nano-dollars that it costs at most as far as bytes tell, with answers as long as max_tokens allows.

        Models without *rates* are left out: of them nothing is known.
        """
        return sum(_high(one, model, rates[model]) for model, one in self._models.items() if model in rates)

    def estimate(self, rates: Mapping[str, Rates], known: AnswersKnown, reads: Mapping[str, int]) -> JobEstimate:
        """What it will cost at these *rates*, with answers as they were before.

        reads: by model, the tokens that will be read from the cache, as one request went ahead to write them. Whether
        others are is up to luck: what such requests cost before tells, else each is taken to write what it marks.
        """
        tokens = sum(_tokens(one, model) for model, one in self._models.items())
        missing = self.without_price(rates)
        if missing or not self._models:
            basis = f"no price for {missing[0]}" if missing else "no request that could be read"
            return JobEstimate(input_tokens=tokens, basis=basis, kind=self.kind)
        likely = self._likely(known)
        figures = self._figures(rates, likely, reads)
        if self.unbounded:
            return self._at_least(tokens, known, figures.low)
        worst = [_worst(one, model, rates[model]) for model, one in self._models.items()]
        expected, cache = figures.expected, ""
        if not reads and not self._adds_markers and any(one.marked for one in self._models.values()):
            cheapest = self._figures(
                rates, likely, {model: _rough(one.marked, model) for model, one in self._models.items()}
            )
            expected, cache = known.cost_by_luck(self.requests, cheapest.expected, expected)
        return JobEstimate(
            input_tokens=tokens,
            low_nanos=_kept(figures.low),
            expected_nanos=None if likely is None else _kept(expected),
            high_nanos=_kept(figures.high),
            worst_nanos=None if None in worst else _kept(sum(filter(None, worst))),
            basis=f"{_BY_BYTES}; {_NO_HISTORY if likely is None else likely.basis}{cache}",
            kind=self.kind,
        )

    def _figures(self, rates: Mapping[str, Rates], likely: Likely | None, reads: Mapping[str, int]) -> Forecast:
        found = [
            _figures(
                one,
                model,
                rates[model],
                None if likely is None else likely.by_model[model],
                reads.get(model, 0),
                writes=not self._adds_markers,
            )
            for model, one in self._models.items()
        ]
        return Forecast(*(sum(each) for each in zip(*found, strict=True)))

    def _at_least(self, tokens: int, known: AnswersKnown, least: int) -> JobEstimate:
        """Where requests have no bound: what such ones cost before, else what the prompts cost, and no other end."""
        told = known.likely_cost(self.requests)
        if told is None:
            basis = f"{_BY_BYTES}; {self.unbounded:,} of {self.requests:,} requests have no bound"
            return JobEstimate(input_tokens=tokens, low_nanos=least, basis=basis, kind=self.kind)
        low, expected, high = told
        return JobEstimate(
            input_tokens=tokens,
            low_nanos=low,
            expected_nanos=expected,
            high_nanos=high,
            basis=COSTS_OF_KIND.format(known.costs.answers),
            kind=self.kind,
        )

    def under_cap(self, cap: int, estimate: JobEstimate, rates: Mapping[str, Rates], known: AnswersKnown) -> str | None:
        """How a job with this *estimate* goes under *cap*, in a sentence; None: there is nothing to say."""
        if estimate.worst_nanos is None:
            return None
        likely = self._likely(known)
        models = self._models.items()
        return CapCourse(
            cap=cap,
            requests=self.requests,
            worst=estimate.worst_nanos,
            expected=estimate.expected_nanos,
            max_tokens=sum(one.max_tokens for _, one in models),
            answers=None if likely is None else sum(each.expected for each in likely.by_model.values()),
            output=sum(cost_of(Tokens(0, one.max_tokens), rates[model]) for model, one in models),
        ).words

    def _likely(self, known: AnswersKnown) -> Likely | None:
        requests = {model: one.requests for model, one in self._models.items()}
        return known.likely(requests, {model: one.max_tokens for model, one in self._models.items()})


def _add(one: _ModelSum, request: token_bounds.PricedRequest, params: bytes, sign: int = 1) -> None:
    """Count a request, or, with the *sign* -1, one less that was counted."""
    size = whole = len(params)
    if is_typed := _TYPED in params:
        is_marked = _MARKED in params
        one.is_marked |= is_marked
        if size >= _LEAST_SPECIAL:
            size = _without_files(request) if _IN_BASE64 in params else size
            if is_marked and _roughly_most(size, request.model) >= one.least:
                one.marked += sign * size
                one.hours += sign * size if _FOR_AN_HOUR in params else 0
    one.requests += sign
    one.size += sign * size
    one.max_tokens += sign * request.max_tokens
    if request.inference_geo == US_ONLY:
        one.us += sign
    if one.bound is not None:
        bound = token_bounds.plain_bound(request, whole, is_typed=is_typed)
        one.bound = None if bound is None else one.bound + sign * bound
    if request.tools or request.output_config or request.output_format:
        one.words += sign * rough_words(request)
    if request.tools or request.mcp_servers or request.context_management:
        one.unbounded += sign * (token_bounds.unbounded_field(request) is not None)
    one.longest = max(one.longest, whole)


def _figures(
    one: _ModelSum, model: str, rates: Rates, answers: Forecast | None, reads: int, *, writes: bool
) -> Forecast:
    """Nano-dollars; without *answers* from none at all to answers as long as they may be."""
    size = _tokens(one, model)
    marked = min(size, _rough(one.marked, model))  # what is left out had no marker yet, where they are added
    flat, geo, least = rates._replace(long=None), US_ONLY if one.us == one.requests else "", 1 - ROUGH_SHARE
    read = min(size, reads)
    written = max(0, marked - read) if writes else 0
    hours = min(written, max(0, _rough(one.hours, model) - read))
    low, expected, high = (0, 0, one.max_tokens) if answers is None else answers
    return Forecast(
        cost_of(Tokens(round((size - marked) * least), low, read=round(marked * least)), flat, geo),
        cost_of(Tokens(size - read - written, expected, written - hours, hours, read), flat, geo),
        cost_of(_most(one, model)._replace(output=high), flat, geo),
    )


def _high(one: _ModelSum, model: str, rates: Rates) -> int:
    return cost_of(_most(one, model), rates._replace(long=None))


def _worst(one: _ModelSum, model: str, rates: Rates) -> int | None:
    """Rounded up once a request, as bills are. None: its bytes are no bound."""
    if one.bound is None:
        return None
    rates = token_bounds.dearest(rates, one.longest + token_bounds.FORMAT_WORDS, "1h" if one.is_marked else "")
    geo = US_ONLY if one.us or takes_geo(model) else ""
    return cost_of(Tokens(one.bound, one.max_tokens), rates, geo) + one.requests


def _kept(nanos: int) -> int | None:
    """*nanos*; None if it is more than any amount that is stored."""
    return nanos if nanos <= MOST_NANOS else None


def _most(one: _ModelSum, model: str) -> Tokens:
    marked = _roughly_most(one.marked, model)
    words = round(one.words * (1 + ROUGH_SHARE))
    return Tokens(_roughly_most(one.size, model) + words - marked, one.max_tokens, write_1h=marked)


def _tokens(one: _ModelSum, model: str) -> int:
    return _rough(one.size, model) + one.words


def _roughly_most(size: int, model: str) -> int:
    return round(rough_bytes(size, Script.PLAIN, generation_of(model)) * (1 + ROUGH_SHARE))


def _rough(size: int, model: str) -> int:
    return round(rough_bytes(size, Script.PLAIN, generation_of(model)))


def _without_files(request: token_bounds.PricedRequest) -> int:
    """Bytes of a request with images or documents, which count by what they take."""
    content = token_bounds.content_of(request)
    return content.text_bytes + _BYTES_EACH * (content.image_tokens + A_FILE * content.files)
