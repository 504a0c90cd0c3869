"""Estimates of inputs: how close a sample comes, what it asks, and what is said where nothing can be asked."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Collection, Iterator
from datetime import date
from typing import Any, Final

import pytest
from support.length import some_of
from support.world import START, HandClock, in_a_loop

from benchmarks import inputs
from orchestrator.domain import errors
from orchestrator.domain.billing import Rates
from orchestrator.domain.fingerprint import SeenRequests
from orchestrator.domain.job_estimate import JobEstimate
from orchestrator.domain.job_spec import JobOptions
from orchestrator.domain.known_answers import AnswersKnown, Observed
from orchestrator.domain.money import MOST_NANOS
from orchestrator.domain.params import ParamRules
from orchestrator.domain.priming import CacheUse
from orchestrator.domain.quick_tally import QuickTally
from orchestrator.estimate.identical import IdenticalRequests
from orchestrator.estimate.survey import SurveyingEstimator
from orchestrator.inputs import source_from_objects
from orchestrator.ports.estimates import CountMode, Estimate
from orchestrator.ports.runtime import Headers, Price, PricesAtHand
from orchestrator.sandbox import ScaledClock
from orchestrator.views.estimate_views import estimate_lines, identical_words

HEADERS: Final = Headers(api_version="2023-06-01", betas=())
RULES: Final = ParamRules(api_version="2023-06-01")
RATES: Final = {
    "claude-haiku-4-5": Rates(500_000, 2_500_000, 625_000, 1_000_000, 50_000),
    "claude-haiku-5-5": Rates(
        50_000, 250_000, 62_500, 100_000, 5_000, 100_000, (250_000, 1_250_000, 312_500, 500_000, 25_000)
    ),
    "claude-sonnet-5-5": Rates(1_000_000, 5_000_000, 1_250_000, 2_000_000, 50_000),
}
_PIECES: Final = re.compile(r"[A-Za-z]{1,5}|\d{1,3}|\s+\S|[^\x00-\x7f]|.", re.DOTALL)
_FIELDS: Final = {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control"}


class ListPrices(PricesAtHand):
    """The prices above."""

    def price(self, model: str, day: date) -> Price | None:
        rates = RATES.get(model)
        return None if rates is None else Price(model=model, day=day, rates=rates, source="the test")


class CountingApi:
    """Counts by pieces of words, and fails from call *fails_at* on with *failure*. asked: the params of each call."""

    def __init__(self, failure: errors.ProviderError | None = None, fails_at: int = 1, fails_for: int = 10**9) -> None:
        self.asked: list[dict[str, Any]] = []
        self._failure, self._failing = failure, range(fails_at, fails_at + fails_for)

    async def count_tokens(self, params: bytes, headers: Headers) -> int:
        assert headers == HEADERS
        request = json.loads(params)
        self.asked.append(request)
        if self._failure is not None and len(self.asked) in self._failing:
            raise self._failure
        return tokens_of(request)


def tokens_of(params: dict[str, Any]) -> int:
    text = "\n".join(str(params.get(key, "")) for key in ("system", "tools"))
    return 8 + len(_PIECES.findall(text)) + sum(5 + len(_PIECES.findall(m["content"])) for m in params["messages"])


def request(text: str, number: int, model: str = "claude-haiku-4-5", **more: object) -> dict[str, Any]:
    params = {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": text}], **more}
    return {"custom_id": f"r{number}", "params": params}


WORDS: Final = [*inputs.WORDS, "wonderful", "disappointing"]
CHINESE: Final = "产品到货很晚而且坏了但服务又快又便宜"
RUSSIAN: Final = ["товар", "пришёл", "поздно", "и", "сломан", "но", "обслуживание", "было", "быстрым"]


def english(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(WORDS, k=words))


def reviews(chance: random.Random) -> list[str]:
    return [english(chance, chance.randint(20, 200)) for _ in range(3000)]


def languages(chance: random.Random) -> list[str]:
    def one() -> str:
        words = chance.randint(10, 150)
        return chance.choice(
            (
                english(chance, words),
                "".join(chance.choices(CHINESE, k=words)),
                " ".join(chance.choices(RUSSIAN, k=words)),
                f"{english(chance, words)} {''.join(chance.choices(CHINESE, k=words))}",
            )
        )

    return [one() for _ in range(3000)]


def sorted_languages(chance: random.Random) -> list[str]:
    return sorted(languages(chance), key=lambda text: text[0])


def heavy_tail(chance: random.Random) -> list[str]:
    return [english(chance, min(20_000, int(chance.lognormvariate(3.5, 1.5)) + 1)) for _ in range(3000)]


def catalogue_in_fifty(chance: random.Random) -> list[str]:
    catalogue = "\n".join(f"SKU-{chance.randrange(10**8):08d};{chance.random():.4f}" for _ in range(300))
    return [f"{catalogue}\n{english(chance, 20)}" if n % 50 == 49 else english(chance, 20) for n in range(3000)]


def _clock() -> HandClock:
    return HandClock(ScaledClock(start=START, speed=1))


async def estimate(
    rows: list[dict[str, Any]],
    api: CountingApi | None,
    mode: CountMode = CountMode.SAMPLED,
    clock: HandClock | None = None,
    known: AnswersKnown | None = None,
    use: CacheUse = CacheUse.PRIME,
    *,
    dedupe: bool = False,
    schema: str | None = None,
) -> Estimate:
    async def history(_kind: str | None, _models: Collection[str]) -> AnswersKnown:
        return AnswersKnown() if known is None else known

    estimator = SurveyingEstimator(ListPrices(), api, _clock() if clock is None else clock, history)
    options = JobOptions(api_version=HEADERS.api_version, dedupe=dedupe, schema=schema, retry_invalid=2)
    new = options.new_job("rows", default_name="rows", default_version=None)
    survey = estimator.survey(source_from_objects(rows, name="rows", rules=RULES), new, mode, use)
    async for _ in survey.chunks():
        pass
    return await survey.estimate()


@pytest.mark.parametrize("workload", [reviews, languages, sorted_languages, heavy_tail, catalogue_in_fifty])
@pytest.mark.parametrize("seed", some_of(range(3), 1))
@in_a_loop
async def test_two_hundred_free_calls_tell_the_tokens_of_an_input(
    workload: Callable[[random.Random], list[str]], seed: int
) -> None:
    """To 5 %, and the interval covers the truth; whatever the order, the languages and the lengths are."""
    rows = [request(text, number) for number, text in enumerate(workload(random.Random(seed)))]
    truth, api = sum(tokens_of(row["params"]) for row in rows), CountingApi()
    found = await estimate(rows, api)
    assert found.calls == len(api.asked) <= 200
    assert found.input.expected == pytest.approx(truth, rel=0.05)
    assert found.input.worst is not None
    assert found.input.high is not None
    assert found.input.low <= truth <= found.input.high <= found.input.worst


@in_a_loop
async def test_the_same_input_is_sampled_the_same_way() -> None:
    """A figure that changes from one look to the next would be asked about."""
    rows = [request(text, number) for number, text in enumerate(heavy_tail(random.Random(5)))]
    first, second = CountingApi(), CountingApi()
    assert await estimate(rows, first) == await estimate(rows, second)
    assert sorted(map(repr, first.asked)) == sorted(map(repr, second.asked))


@in_a_loop
async def test_what_many_requests_share_is_counted_once() -> None:
    """Two system prompts of which one has 90 %: each is counted once, and multiplied by those that have it."""
    chance = random.Random(1)
    shared = [english(chance, 2_000), english(chance, 200)]
    rows = [request(english(chance, 10), n, system=shared[n % 10 == 0]) for n in range(300)]
    truth, api = sum(tokens_of(row["params"]) for row in rows), CountingApi()
    found = await estimate(rows, api)
    assert found.input.expected == pytest.approx(truth, rel=0.01)
    assert found.calls <= 200
    heads = [asked for asked in api.asked if asked["messages"] == [{"role": "user", "content": "."}]]
    assert [asked["system"] for asked in heads] == shared
    assert set().union(*(asked.keys() for asked in heads)) <= _FIELDS


@in_a_loop
async def test_a_head_of_its_own_in_every_request_is_no_shared_one() -> None:
    """Nothing is counted for a system prompt that occurs once; the requests are counted whole."""
    chance = random.Random(2)
    rows = [request("Sort it.", n, system=f"{n} {english(chance, chance.randint(50, 90))}") for n in range(2000)]
    truth, api = sum(tokens_of(row["params"]) for row in rows), CountingApi()
    found = await estimate(rows, api)
    assert found.input.expected == pytest.approx(truth, rel=0.02)
    assert all(asked["messages"][0]["content"] != "." for asked in api.asked)


@in_a_loop
async def test_exact_counts_every_request() -> None:
    """Then only what a count itself may be off is left."""
    rows = [request(text, number) for number, text in enumerate(heavy_tail(random.Random(3))[:500])]
    truth, api = sum(tokens_of(row["params"]) for row in rows), CountingApi()
    found = await estimate(rows, api, CountMode.EXACT)
    assert found.input.expected == truth
    assert (found.input.low, found.input.high) == (round(truth * 0.98), round(truth * 1.02))
    assert found.calls == 500
    assert found.input.basis == "every request was counted"


@in_a_loop
async def test_the_figures_of_a_thousand_requests() -> None:
    """A thousand prompts of a thousand tokens, 64 of answer each: $0.50 to $0.66, and no more than its bytes allow."""
    rows = [request("b" * 5 * 986, n) for n in range(1000)]
    assert tokens_of(rows[0]["params"]) == 1000
    found = await estimate(rows, CountingApi())
    assert (found.input.low, found.input.expected, found.input.high) == (980_000, 1_000_000, 1_020_000)
    assert found.cost.basis == f"{found.input.basis}; {found.output.basis}"
    assert found.cost.worst_basis in found.basis
    assert (found.output.low, found.output.expected, found.output.high) == (0, None, 64_000)
    assert found.output.basis == "no history"
    assert (found.cost.prompts_nanos, found.cost.answers_nanos) == (500_000_000, 160_000_000)
    assert (found.cost.low_nanos, found.cost.high_nanos) == (490_000_000, 670_000_000)
    size = 5 * 986
    assert found.input.worst == 1000 * (size + 30)
    assert found.cost.worst_nanos == 1000 * ((size + 30) * 500 + 160_000)
    assert found.cost.expected is None
    assert str(found.cost.low) == "0.490000000"


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (errors.ProviderUnreachable("no route"), "cannot be reached"),
        (errors.ProviderRefused("401: no", status=401, blocked="credentials"), "no key"),
        (errors.ProviderRefused("403: billing", status=403, blocked="billing"), "refuses this account"),
        (errors.ProviderBusy("429: slow down"), "counts no more for now"),
        (errors.ProviderBusy("429: slow down", retry_after_s=3600), "counts no more for now"),
    ],
)
@in_a_loop
async def test_without_an_answer_the_figures_are_rough_and_say_so(failure: errors.ProviderError, words: str) -> None:
    """A key that is missing, a network that is down, a limit that is reached: by bytes then, 40 % either way."""
    rows = [request(text, number) for number, text in enumerate(reviews(random.Random(4))[:300])]
    api = CountingApi(failure)
    found = await estimate(rows, api)
    assert len(api.asked) <= 8
    assert words in str(found.rough)
    assert found.input.basis.startswith("by bytes, rough (±40 %)")
    assert found.input.expected is not None
    assert found.input.high == pytest.approx(1.4 * found.input.expected, rel=0.01)
    assert found.input.low == pytest.approx(0.6 * found.input.expected, rel=0.01)


@in_a_loop
async def test_what_was_counted_before_a_failure_is_used() -> None:
    """A limit that is reached half way leaves a smaller sample, and that is said."""
    rows = [request(text, number) for number, text in enumerate(reviews(random.Random(4)))]
    found = await estimate(rows, CountingApi(errors.ProviderBusy("429: slow down"), fails_at=60))
    assert found.rough is None
    assert found.input.basis == "59 of 3,000 requests counted; the API counts no more for now (429: slow down)"
    truth = sum(tokens_of(row["params"]) for row in rows)
    assert found.input.expected == pytest.approx(truth, rel=0.05)


@in_a_loop
async def test_a_short_limit_is_waited_for() -> None:
    """As long as the API says; the same request is asked about again."""
    clock, rows = _clock(), [request("Hi", 1)]
    api = CountingApi(errors.ProviderBusy("429: slow down", retry_after_s=2), fails_for=1)
    found = await estimate(rows, api, clock=clock)
    assert (found.calls, len(api.asked)) == (2, 2)
    assert found.rough is None


@in_a_loop
async def test_offline_asks_nothing() -> None:
    """Not even where the API could be asked."""
    api = CountingApi()
    found = await estimate([request("Hi", 1)], api, CountMode.OFFLINE)
    assert (api.asked, found.calls, found.rough) == ([], 0, "nothing was asked")


@in_a_loop
async def test_a_model_without_a_price_costs_an_unknown_sum() -> None:
    """Never nothing: with another model that has a price, what is known is the least of it."""
    known, unknown = [request("Hi", 1)], [request("Hi", 2, model="claude-x-9")]
    found = await estimate(unknown, CountingApi())
    assert (found.cost.low, found.cost.high, found.cost.worst) == (None, None, None)
    assert found.unpriced == (("claude-x-9", 1),)
    both = await estimate(known + unknown, CountingApi())
    assert both.cost.low_nanos == (await estimate(known, CountingApi())).cost.low_nanos
    assert (both.cost.high, both.cost.worst) == (None, None)


@in_a_loop
async def test_a_model_that_the_api_does_not_count_is_rough_alone() -> None:
    """Three refusals are enough; the other model is sampled as ever."""
    refused = errors.ProviderRefused("400: no such model", status=400)

    class Choosy(CountingApi):
        async def count_tokens(self, params: bytes, headers: Headers) -> int:
            tokens = await super().count_tokens(params, headers)
            if b"claude-x-9" in params:
                raise refused
            return tokens

    chance = random.Random(6)
    rows = [request(english(chance, 50), n, model="claude-x-9" if n % 2 else "claude-haiku-4-5") for n in range(400)]
    api = Choosy()
    found = await estimate(rows, api)
    assert sum(asked["model"] == "claude-x-9" for asked in api.asked) <= 3 + 8
    assert found.rough is None
    assert found.input.expected is not None
    assert found.input.high is not None
    assert found.input.high - found.input.expected > 0.15 * found.input.expected


@in_a_loop
async def test_long_prompts_have_their_own_rates() -> None:
    """By the length of each request, not of all: one of two is over the limit of its model."""
    chance = random.Random(7)
    rows = [request("Hi", 1, "claude-haiku-5-5"), request(english(chance, 150_000), 2, "claude-haiku-5-5")]
    truths = [tokens_of(row["params"]) for row in rows]
    assert truths[1] > 100_000
    found = await estimate(rows, CountingApi())
    expected = truths[0] * 50_000 + truths[1] * 250_000
    assert found.cost.prompts_nanos == pytest.approx(expected / 1000, rel=1e-6)
    assert found.cost.answers_nanos == pytest.approx(64 * (250 + 1250))


@in_a_loop
async def test_the_us_and_the_cache_have_their_rates() -> None:
    """A marked head is written by one and read by the others, or, at the least, by all; the US is a tenth dearer."""
    chance = random.Random(8)
    head = [{"type": "text", "text": english(chance, 2_000), "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    rows = [request("Hi", n, "claude-sonnet-5-5", system=head, inference_geo="us") for n in range(300)]
    plain = [request("Hi", n, "claude-sonnet-5-5", system=head[0]["text"], inference_geo="us") for n in range(300)]
    marked, unmarked = await estimate(rows, CountingApi()), await estimate(plain, CountingApi())
    assert marked.cost.low_nanos is not None
    assert marked.cost.prompts_nanos is not None
    assert unmarked.cost.prompts_nanos is not None
    assert marked.cost.low_nanos < marked.cost.prompts_nanos < 0.15 * unmarked.cost.prompts_nanos
    tokens = sum(tokens_of(row["params"]) for row in plain)
    assert unmarked.cost.prompts_nanos == pytest.approx(tokens * 1_100, rel=0.01)


@in_a_loop
async def test_what_is_kept_for_five_minutes_is_written_by_each_request_until_answers_say_otherwise() -> None:
    """A batch takes as long: what goes ahead helps by luck. What such requests cost before tells, within reason."""
    head = [{"type": "text", "text": english(random.Random(8), 2_000), "cache_control": {"type": "ephemeral"}}]
    rows = [request("Hi", n, "claude-sonnet-5-5", system=head) for n in range(300)]
    answers = Observed(10, 100, 1_000.0)

    async def told(costs: Observed) -> Estimate:
        return await estimate(rows, CountingApi(), known=AnswersKnown(of_kind=answers, costs=costs))

    written = (await told(Observed())).cost
    assert written.prompts_nanos is not None
    assert written.expected_nanos is not None
    assert "what is marked as if each request wrote it" in written.basis
    unmarked = await estimate([request("Hi", n, "claude-sonnet-5-5", system=head[0]["text"]) for n in range(300)], None)
    assert unmarked.cost.prompts_nanos is not None
    assert written.prompts_nanos > 1.15 * unmarked.cost.prompts_nanos
    some = written.expected_nanos // 3 // 300
    known = (await told(Observed(10, 10 * some, 10.0 * some**2))).cost
    assert known.expected_nanos == pytest.approx(300 * some)
    assert "as 10 requests of the same kind" in known.basis
    assert (await told(Observed(10, 10**13, 1e25))).cost.expected_nanos == written.expected_nanos
    least = (await told(Observed(10, 10, 10.0))).cost
    assert least.expected_nanos is not None
    assert least.low_nanos is not None
    assert least.low_nanos <= least.expected_nanos < 0.12 * written.expected_nanos


@in_a_loop
async def test_the_low_end_is_that_each_reads_what_it_marks_and_little_less() -> None:
    """Tokens that were counted amiss are read, too: what the high end may be off for writing them is not taken off."""
    text = english(random.Random(8), 8_000)
    head = [{"type": "text", "text": text, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    rows = [request("Hi", n, "claude-sonnet-5-5", system=head) for n in range(300)]
    found = await estimate(rows, CountingApi(), use=CacheUse.OFF)
    all_read = sum(tokens_of(row["params"]) for row in rows) * 50
    assert found.cost.low_nanos is not None
    assert found.cost.low_nanos >= 0.95 * all_read
    assert found.cost.high_nanos is not None
    assert found.cost.high_nanos >= 1.01 * (found.cost.prompts_nanos or 0)


@in_a_loop
async def test_what_has_no_bound_is_named() -> None:
    """A search is done as often as the model finds right: it is at least what is known, and no other figure holds."""
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    found = await estimate([request("Hi", 1, tools=tools)], CountingApi())
    assert found.unbounded == ("tools.0 (web_search_20250305)", 1)
    assert (found.input.worst, found.output.worst, found.cost.worst) == (None, None, None)
    assert (found.input.high, found.output.high, found.cost.high, found.cost.expected) == (None,) * 4
    assert found.cost.low is not None
    assert any("has no bound" in hint for hint in found.hints)


@in_a_loop
async def test_a_count_of_nothing_is_no_count() -> None:
    """Whatever answers so does not count: the estimate goes by bytes, and says why."""

    class Nought(CountingApi):
        async def count_tokens(self, params: bytes, headers: Headers) -> int:
            return min(0, await super().count_tokens(params, headers))

    found = await estimate([request("Hi there", n) for n in range(9)], Nought())
    assert (found.input.expected or 0) > 0
    assert found.rough == "the API counted 0 tokens in a request, which none has"


@in_a_loop
async def test_a_model_is_named_in_a_few_characters() -> None:
    """However long the name is that requests have."""
    found = await estimate([request("Hi", 1, model="x" * 10_000)], CountingApi())
    assert [len(one.model) for one in (*found.models, *found.unpriced)] == [64, 64]


@in_a_loop
async def test_max_tokens_by_habit_is_pointed_out() -> None:
    """Where answers could cost many times what the prompts do."""
    rows = [request("Hi", 1)]
    rows[0]["params"]["max_tokens"] = 64_000
    assert any("64,000" in hint for hint in (await estimate(rows, CountingApi())).hints)
    assert not (await estimate([request("Hi", 1)], CountingApi())).hints


@in_a_loop
async def test_a_quick_look_comes_near_what_a_survey_says() -> None:
    """It is the high end of what is rough, a little above by the bytes of JSON."""
    rows = [request(text, number) for number, text in enumerate(reviews(random.Random(4)))]
    tally = QuickTally()
    tally.add_all(json.dumps(row["params"]).encode() for row in rows)
    rough = (await estimate(rows, None)).cost.high_nanos
    assert rough is not None
    assert rough < tally.high(RATES) < 1.1 * rough
    assert (tally.requests, tally.models) == (3000, ["claude-haiku-4-5"])


def many_kinds() -> Iterator[dict[str, Any]]:
    chance = random.Random(9)
    for number in range(4000):
        model = f"claude-haiku-4-5-2025{number % 40:04d}"
        system = english(chance, 30) if number % 3 else f"shared {number % 100}"
        yield request(english(chance, 2 ** chance.randrange(9)), number, model, system=system)


@in_a_loop
async def test_an_input_of_a_thousand_kinds_is_sampled_within_the_limit() -> None:
    """Strata that are too many are put together, and the calls stay what they may be."""
    rows = list(many_kinds())
    truth, api = sum(tokens_of(row["params"]) for row in rows), CountingApi()
    found = await estimate(rows, api)
    assert len(api.asked) <= 200
    assert found.input.high is not None
    assert found.input.low <= truth <= found.input.high


@in_a_loop
async def test_identical_requests_are_counted_with_what_sending_them_once_saves() -> None:
    """Example 19: 399 of 1,000. With `dedupe` the estimate is of the 601, and both together are the whole."""
    rows = [request(f"text {n if n % 5 < 3 else 0}", n) for n in range(1, 1_001)]
    every, once = [await estimate(rows, None, CountMode.OFFLINE, dedupe=dedupe) for dedupe in (False, True)]
    for found, left_out in ((every, False), (once, True)):
        assert found.identical is not None
        assert (found.identical.requests, found.identical.total) == (399, 1_000)
        assert (found.identical.is_least, found.identical.left_out) == (False, left_out)
    assert (every.requests, once.requests) == (1_000, 601)
    assert every.cost.worst_nanos is not None
    assert once.cost.worst_nanos is not None
    assert once.cost.worst_nanos < every.cost.worst_nanos * 0.62
    told = list(estimate_lines(every, None))[-1]
    assert re.fullmatch(r"dedupe   399 of 1,000 requests .* another: --dedupe would save \$\S+ to \$\S+", told)
    assert (await estimate(rows[:3], None, CountMode.OFFLINE)).identical is None


@in_a_loop
async def test_at_the_worst_every_answer_is_invalid_and_each_is_paid_for() -> None:
    """Where answers have to match a schema; what is expected, and a cap's rounds, are of one try at a time."""
    rows = [request("Hi", number) for number in range(3)]
    once, thrice = [await estimate(rows, None, CountMode.OFFLINE, schema=schema) for schema in (None, "label")]
    assert once.cost.worst_nanos is not None
    assert thrice.cost.worst_nanos == 3 * once.cost.worst_nanos
    assert (thrice.cost.high_nanos, thrice.output) == (once.cost.high_nanos, once.output)
    assert thrice.cost.worst_basis.endswith("max_tokens of answers, each asked for 3 times")
    kept = JobEstimate(input_tokens=1, worst_nanos=5, basis="b")
    assert (kept.with_tries(3).worst_nanos, kept.with_tries(MOST_NANOS).worst_nanos) == (15, None)


def test_more_different_requests_than_are_remembered_give_a_least_number() -> None:
    """Memory is bounded: what comes later is held against those that were first."""
    seen = IdenticalRequests(SeenRequests(most=2))
    assert [seen.take(text) for text in (b"1", b"2", b"3", b"3", b" 1")] == [False, False, False, False, True]
    found = seen.found({}, AnswersKnown(), left_out=False)
    assert found is not None
    assert (found.requests, found.total, found.is_least, found.expected_nanos) == (1, 5, True, None)
    assert identical_words(found) == "at least 1 of 5 requests are identical to another: --dedupe sends them once"
