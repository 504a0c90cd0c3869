"""Prices: which list wins, what is unknown, and what the package gets wrong for batches."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator.config import PricesSection, load_settings
from orchestrator.domain.billing import Rates
from orchestrator.domain.errors import UsageError
from orchestrator.ports.runtime import Price
from orchestrator.prices.price_book import PriceBook

DAY = date(2026, 11, 28)
MYTHOS = (
    "input = 8.00, output = 40.00, cache_write_5m = 10.00, cache_write_1h = 16.00, cache_read = 0.20, from = 2026-11-09"
)
HAIKU_45 = Rates(500_000, 2_500_000, 625_000, 1_000_000, 50_000)


def book(file: Path | None = None, factor: str = "1") -> PriceBook:
    return PriceBook(PricesSection(file=file, factor=Decimal(factor)))


def written(folder: Path, text: str) -> Path:
    path = folder / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return path


def priced(prices: PriceBook, model: str, day: date = DAY) -> Price:
    found = prices.price(model, day)
    assert found is not None
    return found


def test_a_batch_price_is_half_also_where_the_package_has_none() -> None:
    """Before 2026-10-14, and for retired models, genai-prices gives the standard price in silence: twice too much."""
    assert priced(book(), "claude-haiku-4-5").rates == HAIKU_45
    assert priced(book(), "claude-haiku-4-5", date(2026, 10, 13)).rates == HAIKU_45
    assert priced(book(), "claude-opus-4-1").rates == Rates(7_500_000, 37_500_000, 9_375_000, 15_000_000, 750_000)
    tiers = priced(book(), "claude-haiku-5-5", date(2026, 10, 13)).rates
    assert tiers == priced(book(), "claude-haiku-5-5").rates
    assert tiers.above == 100_000


@pytest.mark.parametrize(
    "model",
    [
        "claude-opus-4-10",
        "claude-haiku-4-5-preview",
        "claude-sonnet-latest",
        "claude-3-5-haiku-latest",
        "claude-haiku-4-5-202510011",
        "claude-haiku-4.5",
        "Claude-Haiku-4-5",
        "anthropic/claude-haiku-4-5",
        "claude-haiku-4-5\n",
        "gpt-5",
        "claude-2",
        "",
    ],
)
def test_a_name_that_only_begins_like_a_model_has_no_price(model: str) -> None:
    """genai-prices takes the price of whatever the name begins with: another model's, as if it were known."""
    assert book().price(model, DAY) is None


@pytest.mark.parametrize(
    ("dated", "plain"),
    [
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude-fable-5-2-20261109", "claude-fable-5-2"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4-0"),
        ("claude-3-5-haiku-20241022", "claude-3-5-haiku"),
    ],
)
def test_a_name_with_a_date_is_priced_as_its_model(dated: str, plain: str) -> None:
    """Answers name the model with its date; requests often do not."""
    assert priced(book(), dated).rates == priced(book(), plain).rates


def test_a_price_says_where_it_is_from_and_by_what_it_was_multiplied(tmp_path: Path) -> None:
    """A figure that was changed by the settings says so; a part of a pico-dollar counts as a whole one."""
    assert priced(book(), "claude-haiku-4-5").source == "genai-prices 0.2.3"
    cheaper = priced(book(factor="0.8500001"), "claude-haiku-4-5")
    assert cheaper.rates == Rates(425_001, 2_125_001, 531_251, 850_001, 42_501)
    assert cheaper.source == "genai-prices 0.2.3, times 0.8500001"
    own = written(tmp_path, f'"claude-haiku-4-5" = {{ {MYTHOS} }}')
    assert priced(book(own, "1.1"), "claude-haiku-4-5").source == f"your prices in {own}, times 1.1"
    assert priced(book(own, "1.1"), "claude-haiku-4-5").rates.input == 4_400_000


def test_the_users_file_wins_for_a_whole_model_from_its_day_on(tmp_path: Path) -> None:
    """One source for a model and a day: what is before the first day of the file is the package's."""
    own = book(written(tmp_path, f'"claude-mythos-5-2" = {{ {MYTHOS} }}\n"claude-x-9" = {{ {MYTHOS} }}'))
    assert priced(own, "claude-x-9").rates == Rates(4_000_000, 20_000_000, 5_000_000, 8_000_000, 100_000)
    assert own.price("claude-x-9", date(2026, 11, 8)) is None
    assert priced(own, "claude-x-9-20261109").source == f"your prices in {tmp_path / 'prices.toml'}"
    assert priced(own, "claude-mythos-5-2", date(2026, 11, 8)).source == "genai-prices 0.2.3"
    assert priced(own, "claude-haiku-4-5").rates == HAIKU_45
    assert own.models()[:2] == ["claude-mythos-5-2", "claude-x-9"]


def test_a_price_that_begins_later_is_known_to_begin(tmp_path: Path) -> None:
    """The first of those days; of a name with a date as well. What has begun begins no more."""
    own = book(written(tmp_path, f'"claude-x-9" = {{ {MYTHOS} }}'))
    assert own.begins("claude-x-9", date(2026, 11, 8)) == date(2026, 11, 9)
    assert own.begins("claude-x-9-20261101", date(2026, 11, 8)) == date(2026, 11, 9)
    assert own.begins("claude-x-9", date(2026, 11, 9)) is None
    assert own.begins("claude-x-8", date(2026, 11, 8)) is None


def test_prices_of_several_days_are_a_list(tmp_path: Path) -> None:
    """The newest that has begun holds, in whatever order they stand; one without a day holds before all of them."""
    lines = "output = 1, cache_write_5m = 1, cache_write_1h = 1, cache_read = 1"
    text = f"""
"claude-x-9" = [
  {{ input = 3, {lines}, from = 2026-11-01, as = "batch" }},
  {{ input = 1.5, {lines} }},
  {{ input = 2, {lines}, from = 2026-10-01, above = 200000, long = {{ input = 4, {lines} }} }},
]
"""
    own = book(written(tmp_path, text))
    assert priced(own, "claude-x-9", date(2026, 11, 1)).rates.input == 3_000_000
    tiered = priced(own, "claude-x-9", date(2026, 10, 31)).rates
    assert (tiered.input, tiered.above, tiered.long) == (
        1_000_000,
        200_000,
        (2_000_000, 500_000, 500_000, 500_000, 500_000),
    )
    assert priced(own, "claude-x-9", date(2020, 1, 1)).rates.input == 750_000


def test_a_free_model_is_free_only_where_the_user_says_so(tmp_path: Path) -> None:
    """Unknown is None, and 0 is a price that somebody wrote down."""
    zeros = "input = 0, output = 0, cache_write_5m = 0, cache_write_1h = 0, cache_read = 0"
    assert priced(book(written(tmp_path, f'"claude-x-9" = {{ {zeros} }}')), "claude-x-9").rates == Rates(0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("entry", "says", "remedy"),
    [
        (f"{{ {MYTHOS}, cache_reed = 1 }}", "claude-x-9: unknown key cache_reed", 'did you mean "cache_read"?'),
        ("{ input = 8.00, output = 40.00 }", "no cache_write_5m and no cache_write_1h", "needs every line"),
        (f"{{ {MYTHOS.replace('8.00', '-8')} }}", "claude-x-9.input: expected dollars", "input = 3.75"),
        (f"{{ {MYTHOS.replace('8.00', 'nan')} }}", "claude-x-9.input: expected dollars", "input = 3.75"),
        (f"{{ {MYTHOS.replace('8.00', '1e7')} }}", "claude-x-9.input: expected dollars", "input = 3.75"),
        (f"{{ {MYTHOS.replace('8.00', 'true')} }}", "claude-x-9.input: expected dollars", "input = 3.75"),
        (f"{{ {MYTHOS.replace('8.00', repr('8.00'))} }}", "without quotes", "input = 3.75"),
        (f"{{ {MYTHOS}, as = 'half' }}", "claude-x-9.as: expected 'standard' or 'batch'", 'as = "batch"'),
        (f"{{ {MYTHOS}, as = ['batch'] }}", "claude-x-9.as: expected 'standard' or 'batch'", 'as = "batch"'),
        (
            f"{{ {MYTHOS.replace('2026-11-09', '2026-11-09T10:00:00')} }}",
            "claude-x-9.from: expected a day",
            "from = 20",
        ),
        (f"{{ {MYTHOS}, above = 1000 }}", "above and long go together", "long = { input"),
        (f"{{ {MYTHOS}, above = 0, long = {{}} }}", "claude-x-9.above: expected a number of tokens", "above = 100000"),
        (f"{{ {MYTHOS}, above = 9, long = 3 }}", "claude-x-9.long: expected prices", "long = { input"),
        (
            f"{{ {MYTHOS}, above = 9, long = {{ input = 1, as = 2 }} }}",
            "claude-x-9.long: unknown key as",
            "the keys are",
        ),
        (f"[{{ {MYTHOS} }}, {{ {MYTHOS} }}]", "two prices hold from the same day", "from = YYYY-MM-DD"),
        ("[]", "expected the prices of a model, or a list of them", '"claude-x-9" = { input'),
        ("3.00", "expected the prices of a model, or a list of them", '"claude-x-9" = { input'),
        ("{ input = 1e99999999999999999999 }", "a number in it is too long", '"claude-x-9" = { input'),
        (f"{{ input = {'9' * 5000} }}", "a number in it is too long", '"claude-x-9" = { input'),
        (f"{{ {MYTHOS.replace('8.00', '1e999999')} }}", "claude-x-9.input: expected dollars", "input = 3.75"),
        ("{ input = 3,00 }", "it is not valid TOML", '"claude-x-9" = { input'),
        ("[" * 5000, "it is nested too deeply", '"claude-x-9" = { input'),
    ],
)
def test_a_wrong_price_file_is_refused_with_field_and_remedy(
    tmp_path: Path, entry: str, says: str, remedy: str
) -> None:
    """A price that was misread is money that was miscounted: nothing is guessed."""
    path = written(tmp_path, f'"claude-x-9" = {entry}')
    with pytest.raises(UsageError) as caught:
        book(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert says in caught.value.message
    assert remedy in str(caught.value.hint)


def test_a_price_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A named pipe does not hang, a folder is no file, and a file that is gone is not an empty one."""
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "gone", "."):
        with pytest.raises(UsageError, match="the price file cannot be read") as caught:
            book(tmp_path / name)
        assert "[prices] file names it" in str(caught.value.hint)


@pytest.mark.parametrize(("written_as", "factor"), [("0.85", "0.85"), ('"0.1"', "0.1"), ("1", "1"), ("100.0", "100.0")])
def test_a_factor_is_exact_to_the_digit(tmp_path: Path, written_as: str, factor: str) -> None:
    """0.1 is a tenth, as a number of TOML and as a text."""
    config = tmp_path / "my.toml"
    config.write_text(f"[prices]\nfile = 'prices.toml'\nfactor = {written_as}\n")
    found = load_settings(flags={}, env={"HOME": str(tmp_path)}, cwd=Path("/"), config_file=config).prices
    assert str(found.factor) == factor
    assert found.file == tmp_path / "prices.toml"


@pytest.mark.parametrize("written_as", ["0", "-1", "100.5", "true", "nan", "inf", '"1,5"', '"1e-999999"', "[1]", '""'])
def test_a_factor_that_is_none_is_refused(tmp_path: Path, written_as: str) -> None:
    """A factor of 0 would make everything free."""
    (tmp_path / "my.toml").write_text(f"[prices]\nfactor = {written_as}\n")
    with pytest.raises(UsageError, match=r"\[prices\] factor: expected a decimal number with a point"):
        load_settings(flags={}, env={"HOME": str(tmp_path)}, cwd=tmp_path, config_file=tmp_path / "my.toml")


def test_a_reload_takes_the_file_as_it_is_now_or_changes_nothing(tmp_path: Path) -> None:
    """SIGHUP with a file that is wrong leaves the prices that were in force."""
    path = written(tmp_path, f'"claude-x-9" = {{ {MYTHOS} }}')
    own = book(path)
    assert priced(own, "claude-x-9").rates.input == 4_000_000
    written(tmp_path, f'"claude-x-9" = {{ {MYTHOS.replace("8.00", "6")} }}')
    assert priced(own, "claude-x-9").rates.input == 4_000_000
    own.reload(PricesSection(file=path, factor=Decimal("0.5")))
    assert priced(own, "claude-x-9").rates.input == 1_500_000
    written(tmp_path, "wrong")
    with pytest.raises(UsageError):
        own.reload(PricesSection(file=path))
    assert priced(own, "claude-x-9").rates.input == 1_500_000


def test_prices_that_have_grown_old_are_said_to_be() -> None:
    """By the newest price in the package, of 2026-11-09 in 0.2.3; one that was announced for later does not count."""
    prices = PriceBook(PricesSection(max_age=timedelta(days=90)))
    assert prices.staleness(date(2027, 2, 1)) is None
    told = prices.staleness(date(2027, 12, 1))
    assert told is not None
    assert "genai-prices 0.2.3" in told[0]
    assert "more than 90d ago" in told[0]


def test_a_look_at_the_package_leaves_the_collector_alone() -> None:
    """Its objects are exempt from collection once, when it is loaded, and not what lives at every later look."""
    prices = book()
    prices.price("claude-haiku-4-5", DAY)
    frozen = gc.get_freeze_count()
    prices.price("claude-haiku-4-5", date(2026, 11, 27))
    assert gc.get_freeze_count() == frozen


@pytest.mark.process
def test_the_package_is_loaded_by_the_first_price_alone(tmp_path: Path) -> None:
    """It takes a third of a second: no command waits for it that shows no cost, and the settings name no model."""
    code = f"""
import sys, datetime
from pathlib import Path
from decimal import Decimal
import orchestrator, orchestrator.assembly
from orchestrator.config import PricesSection, load_settings
from orchestrator.prices.price_book import PriceBook
path = Path({str(written(tmp_path, f'"claude-x-9" = {{ {MYTHOS} }}'))!r})
own = PriceBook(PricesSection(file=path))
own.price("claude-x-9", datetime.date(2026, 11, 28))
print("genai_prices" in sys.modules)
own.price("claude-haiku-4-5", datetime.date(2026, 11, 28))
print("genai_prices" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_the_engine_loads_the_package_beside_its_loop(tmp_path: Path) -> None:
    """From the hand-in to the last answer: no call on the loop waits for the import."""
    code = f"""
import asyncio, sys, threading
from pathlib import Path
from orchestrator import Orchestrator

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "genai_prices":
            print(threading.current_thread() is threading.main_thread())

sys.meta_path.insert(0, Watch())

async def main():
    async with Orchestrator(Path({str(tmp_path)!r}) / "store.db", sandbox=True) as orchestrator:
        request = {{"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{{"role": "user", "content": "hi"}}]}}
        job = await orchestrator.submit([{{"custom_id": "a", "params": request}}])
        await job.wait()

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
