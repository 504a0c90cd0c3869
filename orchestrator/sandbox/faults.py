"""Faults on request: which call, row or line fails, by rate (seeded) or by script ("the next create drops").

An option string is `name=rate` separated by commas:
`error=.05,expire=.08,create.429=.05,drop_after_accept=.02,list_lag=30`. The name of a call's fault may carry an
endpoint (`create.`, `list.`, `retrieve.`, `cancel.`, `delete.`, `results.`, `count_tokens.`); without one it applies to
every endpoint where it makes sense. A rate is from 0 to 1. `meanings` explains each name.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

from orchestrator.sandbox.seeded import unit

T = TypeVar("T")

ENDPOINTS: Final = ("create", "list", "retrieve", "cancel", "delete", "results", "count_tokens")

LOW_CREDIT: Final = (
    "Your credit balance is too low to access the Anthropic API. "
    "Please go to Plans & Billing to upgrade or purchase credits."
)

#: Faults of one call. Statuses are answered with the API's own error body before anything is done.
CALL_FAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "400": "invalid_request_error that names no request",
        "401": "authentication_error",
        "402": "billing_error",
        "403": "permission_error",
        "404": "not_found_error",
        "408": "the request timed out on its way",
        "409": "conflict_error",
        "413": "request_too_large, as JSON, after the body was read",
        "429": "rate_limit_error with retry-after",
        "500": "api_error",
        "502": "a proxy's HTML page",
        "503": "api_error, not ready",
        "504": "timeout_error",
        "529": "overloaded_error",
        "credit": "400, the credit balance is too low",
        "spend": "429 without retry-after, enforced_spend_limit_reached",
        "overloaded_500": "500 api_error with the message Overloaded",
        "refuse": "the connection is refused (over TCP: closed before anything was read)",
        "drop": "the request is read, nothing is done, the connection closes without an answer",
        "drop_reset": "as drop, with a reset",
        "hang": "the request is read, nothing is done, no answer ever comes",
        "html_200": "200 with a captive portal's HTML",
        "garbled_200": "200 with cut-off JSON, nothing done",
        "redirect": "307 to another host",
        "202": "202, not ready yet, nothing done",
        "203": "203, as a proxy that changes answers says it, nothing done",
        "204": "204 without a word, nothing done",
        "206": "206 with a part of something, nothing done",
        "drop_mid": "create: the connection is reset while the body is being sent",
        "early_413": "create: 413 from the CDN before the body is read, then the connection closes",
        "drop_after_accept": "create: the batch exists, the connection closes without an answer",
        "hang_after_accept": "create: the batch exists, no answer ever comes",
        "error_after_accept": "create: the batch exists, the answer is a 500",
        "garbled_after_accept": "create: the batch exists, the answer is cut-off JSON",
        "cut_clean": "results: the stream ends properly, some lines early",
        "cut_line": "results: the stream ends properly in the middle of a line",
        "cut_reset": "results: the connection breaks in the middle of a line",
        "cut_results": "results: one of the three cuts",
        "stall": "results: the stream stops without an end",
    }
)

_ONLY: Final = MappingProxyType(
    {
        "create": frozenset(
            {
                "413",
                "drop_mid",
                "early_413",
                "drop_after_accept",
                "hang_after_accept",
                "error_after_accept",
                "garbled_after_accept",
            }
        ),
        "results": frozenset({"cut_clean", "cut_line", "cut_reset", "cut_results", "stall"}),
    }
)
_CUTS: Final = ("cut_clean", "cut_line", "cut_reset")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFault:
    """What happens to a row: its fate (see `request_rows.Fate`) and, for an errored row, the error.

    hidden: 1: its line is missing in the first download, 2: in every one. What else an answer uses: `categories`: of a
    refusal before any output, one of them; `beside`: a type of iteration; searches: that many at most; `geo`: where;
    `stop`: why the answer ended, if not by itself; `spoils`: what is wrong with the JSON of a schema ("text" or
    "schema"). `words`: the meaning, where the rest does not say it.
    """

    fate: str
    kind: str | None = None
    message: str | None = None
    hidden: int = 0
    categories: tuple[str, ...] = ()
    beside: str = ""
    searches: int = 0
    geo: str = ""
    stop: str = ""
    spoils: str = ""
    words: str = ""

    @property
    def meaning(self) -> str:
        """The effect on the row, for people."""
        if self.words:
            return self.words
        if self.fate == "e":
            return f"errored: {self.kind}, {self.message}"
        if self.hidden:
            return f"no line in {'the first' if self.hidden == 1 else 'any'} download"
        return {"x": "expired", "c": "canceled", "r": "an answer with the stop_reason refusal"}[self.fate]


#: Faults of one row, met by its first execution only (unless `sticky`), so that sending it again helps.
ROW_FAULTS: Final[Mapping[str, RowFault]] = MappingProxyType(
    {
        "error": RowFault(fate="e", kind="api_error", message="Internal server error"),
        "overloaded": RowFault(fate="e", kind="overloaded_error", message="Overloaded"),
        "timeout": RowFault(fate="e", kind="timeout_error", message="Request timed out"),
        "expire": RowFault(fate="x"),
        "cancel": RowFault(fate="c"),
        "invalid": RowFault(fate="e", kind="invalid_request_error", message="Could not process image"),
        "url_timeout": RowFault(
            fate="e",
            kind="invalid_request_error",
            message="The request timed out while trying to download the file. Please try again later.",
        ),
        "credit_row": RowFault(
            fate="e",
            kind="invalid_request_error",
            message=LOW_CREDIT,
        ),
        "odd_error": RowFault(fate="e", kind="novel_error", message="An error of a type not known yet"),
        "refusal": RowFault(fate="r"),
        "free_refusal": RowFault(
            fate="r", categories=("cyber", "general_harms"), words="a refusal before any output, which is not billed"
        ),
        "billed_refusal": RowFault(
            fate="r",
            categories=("bio", "frontier_llm", "reasoning_extraction"),
            words="a refusal before any output, of a category that is billed",
        ),
        "compaction": RowFault(fate="s", beside="compaction", words="an answer with a compaction, billed on top"),
        "advisor": RowFault(fate="s", beside="advisor_message", words="an answer with another model's advice, on top"),
        "web_search": RowFault(fate="s", searches=5, words="an answer after up to five web searches"),
        "geo_us": RowFault(fate="s", geo="us", words="an answer from the US, as a workspace's default has it"),
        "cut": RowFault(fate="s", stop="max_tokens", words="half an answer, with the stop_reason max_tokens"),
        "paused_turn": RowFault(fate="s", stop="pause_turn", words="half an answer, with the stop_reason pause_turn"),
        "bad_json": RowFault(fate="s", spoils="text", words="where a schema was asked for, an answer that is not JSON"),
        "bad_schema": RowFault(
            fate="s", spoils="schema", words="where a schema was asked for, JSON that does not fit it"
        ),
        "missing": RowFault(fate="s", hidden=2),
        "missing_once": RowFault(fate="s", hidden=1),
    }
)

#: Faults of one line of a download, drawn anew for each download; but the last three, which a line keeps for good.
LINE_FAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "garbled": "the line is not JSON",
        "duplicated": "the line comes twice",
        "foreign_lines": "a line of another batch comes with it",
        "blank_lines": "a blank line comes with it",
        "bad_bytes": "bytes that are not UTF-8, in every download",
        "odd_kind": "a kind of result that is not known yet, in every download",
        "flat_error": "an error that is not nested, in every download",
    }
)

#: Other options with a rate.
RATES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "list_miss": "the share of batches that one listing leaves out",
        "odd_entries": "the share of batches whose entry in the list cannot be read",
        "flicker404": "the share of looks at a batch that are answered 404 although it exists",
        "sticky": "1: a row that failed fails again when it is sent again",
    }
)

#: Options that are amounts.
AMOUNTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "list_lag": "seconds of its own time until a new batch is listed",
        "list_lag_each": "the same, at most, different for each batch: a newer one may be listed before an older one",
        "list_limit": "the largest page of a list that is not refused",
        "foreign_batches": "how many batches of other programs there are",
        "retry_after": "seconds in the header retry-after",
    }
)


def meanings() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Every option with its meaning, in groups with a title."""
    yield "calls (create.NAME, list.NAME, …: of that endpoint alone), by rate", CALL_FAULTS
    yield "requests of a batch, by rate", {name: fault.meaning for name, fault in ROW_FAULTS.items()}
    yield "lines of a download, by rate", LINE_FAULTS
    yield "other rates", RATES
    yield "amounts", AMOUNTS


def parse_faults(text: str) -> dict[str, float]:
    """The option string as numbers by name; a bare name means 1. Raises ValueError that lists the valid names."""
    options: dict[str, float] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, given, amount = part.partition("=")
        check_fault_name(name)
        try:
            options[name] = float(amount) if given else 1.0
        except ValueError:
            raise ValueError(f"fault {name!r} wants a number, not {amount!r}") from None
        _check_amount(name, options[name])
    return options


#: A list that runs ahead shows what is dated later than now.
_SIGNED: Final = frozenset({"list_lag"})


def _check_amount(name: str, amount: float) -> None:
    if name in AMOUNTS:
        least = -math.inf if name in _SIGNED else 0
        if not math.isfinite(amount) or amount < least:
            raise ValueError(f"{name} is {amount:g}, and cannot be negative or endless")
    elif not 0 <= amount <= 1:
        raise ValueError(f"the rate of {name} is {amount:g}, and a rate is from 0 to 1: {name}=.05 is 5 %")


def check_fault_name(name: str) -> None:
    """Raises ValueError when *name* (with or without `endpoint.`) is no option."""
    endpoint, dot, bare = name.rpartition(".")
    known = bare in CALL_FAULTS if dot else bare in {*CALL_FAULTS, *ROW_FAULTS, *LINE_FAULTS, *RATES, *AMOUNTS}
    if not known or (dot and endpoint not in ENDPOINTS) or (endpoint and not applies(bare, endpoint)):
        names = ", ".join((*CALL_FAULTS, *ROW_FAULTS, *LINE_FAULTS, *RATES, *AMOUNTS))
        raise ValueError(f"unknown fault {name!r}; the names are {names}")


def applies(fault: str, endpoint: str) -> bool:
    """True when a call's fault makes sense for *endpoint*."""
    return all(fault not in names or endpoint == only for only, names in _ONLY.items())


class FaultPlan:
    """Decides what fails. Rates are those of *options* (see `parse_faults`); scripts come first.

    *seed* and *life* (the count of starts of a persistent sandbox) fix every draw. `struck` counts the faults by name,
    those of calls with their endpoint (`create.529`); rows are in the ledger.
    """

    def __init__(self, *, seed: int = 0, options: Mapping[str, float] | None = None, life: int = 0) -> None:
        self.seed = seed
        self.life = life
        self.options: dict[str, float] = {}
        self.struck: Counter[str] = Counter()
        self._scripts: defaultdict[str, deque[str]] = defaultdict(deque)
        self._drawn: Counter[str] = Counter()
        self._rows: list[tuple[float, RowFault]] = []
        self._calls: dict[str, list[tuple[float, str]]] = {}
        self.set({} if options is None else options)

    def set(self, options: Mapping[str, float]) -> None:
        """Replace all rates and amounts; scripts stay. Raises ValueError on an unknown name or a bad amount."""
        for name, amount in options.items():
            check_fault_name(name)
            _check_amount(name, amount)
        self.options = dict(options)
        self._rows = _ladder((options[name], fault) for name, fault in ROW_FAULTS.items() if name in options)
        self._calls = {endpoint: _ladder(self._call_rates(endpoint)) for endpoint in ENDPOINTS}

    def script(self, endpoint: str, fault: str, times: int = 1) -> None:
        """Give the next *times* calls of *endpoint* the fault *fault* (`"ok"`: none).

        Raises ValueError on an unknown name.
        """
        if fault != "ok":
            check_fault_name(f"{endpoint}.{fault}")
        self._scripts[endpoint].extend([fault] * times)

    def draw(self, endpoint: str) -> str | None:
        """The fault of this call of *endpoint*, a name of `CALL_FAULTS`; None: no fault."""
        self._drawn[endpoint] += 1
        ordinal = self._drawn[endpoint]
        fault = self._scripted(endpoint)
        if fault is None:
            steps = self._calls.get(endpoint)
            fault = _pick(steps, unit(self.seed, self.life, "call", endpoint, ordinal)) if steps else None
        if fault == "cut_results":
            fault = _CUTS[int(unit(self.seed, self.life, "cut", ordinal) * len(_CUTS))]
        if fault is None or fault == "ok":
            return None
        self.struck[f"{endpoint}.{fault}"] += 1
        return fault

    def row(self, chance: float) -> RowFault | None:
        """The fault of a row with this *chance* (0 to 1)."""
        return _pick(self._rows, chance) if self._rows else None

    def amount(self, name: str, default: float = 0.0) -> float:
        """An option that is an amount or a rate."""
        return self.options.get(name, default)

    def happens(self, name: str, *about: object) -> bool:
        """True when the event *name*, an option with a rate, happens to *about*."""
        rate = self.options.get(name, 0.0)
        happens = rate > 0 and unit(self.seed, self.life, name, *about) < rate
        self.struck[name] += happens
        return happens

    @property
    def lines_may_fail(self) -> bool:
        """True when a download must be made line by line."""
        return any(self.options.get(name, 0.0) > 0 for name in LINE_FAULTS)

    def _scripted(self, endpoint: str) -> str | None:
        queue = self._scripts[endpoint]
        return queue.popleft() if queue else None

    def _call_rates(self, endpoint: str) -> list[tuple[float, str]]:
        """The rates of the faults that an endpoint may meet; one with the endpoint's name replaces the general one."""
        rates = {name: rate for name, rate in self.options.items() if name in CALL_FAULTS and applies(name, endpoint)}
        for name, rate in self.options.items():
            where, _, bare = name.rpartition(".")
            if where == endpoint:
                rates[bare] = rate
        return [(rate, name) for name, rate in sorted(rates.items())]


def _ladder(rates: Iterable[tuple[float, T]]) -> list[tuple[float, T]]:
    """Rates summed up, so that one draw picks at most one."""
    steps: list[tuple[float, T]] = []
    total = 0.0
    for rate, thing in rates:
        total += rate
        steps.append((total, thing))
    return steps


def _pick(steps: list[tuple[float, T]], chance: float) -> T | None:
    return next((thing for limit, thing in steps if chance < limit), None)
