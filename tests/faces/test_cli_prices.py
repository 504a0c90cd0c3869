"""`orchestrator prices`: what the list says, what to do for a model without a price, and the newest list."""

from __future__ import annotations

import json
import signal
import tomllib
from copy import deepcopy
from datetime import date
from decimal import Decimal
from pathlib import Path

import genai_prices
import pytest
from click.testing import CliRunner
from faces.cli_world import Program, request, write_lines
from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import ModelPrice, PriceVariant, StartDateConstraint

from orchestrator.cli.commands.prices import prices
from orchestrator.cli.options import GlobalOptions
from orchestrator.config import PricesSection
from orchestrator.prices import package_prices
from orchestrator.prices.price_book import PriceBook

FREE = "input = 0, output = 0, cache_write_5m = 0, cache_write_1h = 0, cache_read = 0"


def test_the_list_has_every_model_with_its_lines(program: Program) -> None:
    """A table within 80 columns; longer prompts of a model stand below it."""
    done = program("prices")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[1] == "from genai-prices 0.2.3 (newest price: 2026-11-09)"
    assert "claude-haiku-4-5   0.50   2.50     0.625      1.00   0.05" in lines
    below = lines[[line.split()[0] for line in lines].index("claude-haiku-5-5") + 1]
    assert below.split() == ["over", "100,000", "0.25", "1.25", "0.3125", "0.50", "0.025"]
    assert max(map(len, lines)) <= 80


def test_one_model_is_told_in_decimals_to_programs(program: Program) -> None:
    """Money is a decimal string, never a number that a program would read as a float."""
    facts = program("prices", "claude-haiku-5-5-20261007", "--json").facts
    assert (facts["currency"], facts["tokens"], facts["source"]) == ("USD", 1_000_000, "genai-prices 0.2.3")
    (price,) = facts["prices"]
    assert price["model"] == "claude-haiku-5-5-20261007"
    assert price["batch"]["input"] == "0.050000"
    assert price["batch"]["above"] == 100_000
    assert price["batch"]["long"]["cache_read"] == "0.025000"


@pytest.mark.parametrize(
    "model", ["claude-x-9", "claude-opus-4-10", "claude-haiku-4-5-preview", "claude-sonnet-latest"]
)
def test_a_model_without_a_price_is_told_with_the_line_to_write(program: Program, model: str) -> None:
    """Never 0, never the price of a model that it begins like; the line works once prices are filled in, not before."""
    refused = program("prices", model)
    assert refused.code == 4
    assert refused.out == ""
    assert f"no price for {model}; put it in prices.toml" in refused.err
    assert "ORCHESTRATOR_PRICES__FILE" in refused.err
    line = refused.err[refused.err.index(f'"{model}" = {{') :].strip()
    file = program.folder / "prices.toml"
    file.write_text(line)
    env = {"ORCHESTRATOR_PRICES__FILE": "prices.toml"}
    left = program("prices", model, env=env)
    assert left.code == 2
    assert f"{model}.input: is to be filled in" in left.err
    assert "write the number in place of 'FILL IN'" in left.err
    assert "to be filled in" in program("check", write_lines(program.folder / "in.jsonl", [request(1)]), env=env).err
    file.write_text(line.replace('"FILL IN"', "3.00"))
    env = {"ORCHESTRATOR_PRICES__FILE": "prices.toml", "ORCHESTRATOR_PRICES__FACTOR": "0.5"}
    (found,) = program("prices", model, "--json", env=env).facts["prices"]
    assert found["batch"]["input"] == "0.750000"
    assert found["source"] == f"your prices in {file}, times 0.5"
    assert str(file) in program("prices", "claude-x-8", env=env).err


def test_a_price_that_holds_from_a_later_day_on_is_told_with_it(program: Program) -> None:
    """Not as if the file did not have it: by `prices`, by `check`, and where a cap needs one."""
    (program.folder / "prices.toml").write_text(f'"claude-x-9" = {{ {FREE}, from = 2999-01-31 }}')
    env = {"ORCHESTRATOR_PRICES__FILE": "prices.toml"}
    refused = program("prices", "claude-x-9", env=env)
    assert refused.code == 4
    assert "no price for claude-x-9 before 2999-01-31" in refused.err
    assert "prices.toml has it from 2999-01-31 on" in refused.err
    source = write_lines(program.folder / "in.jsonl", [request(1, model="claude-x-9")])
    assert "hint     your price file has claude-x-9 from 2999-01-31 on" in program("check", source, env=env).out
    capped = program("submit", source, "--max-cost", "1", "--sandbox", env=env)
    assert capped.code == 5
    assert "no price for claude-x-9: your price file has it from 2999-01-31 on, and a cap is in force" in capped.err


def test_a_folder_does_not_set_prices(program: Program) -> None:
    """A price of 0 in somebody else's folder would take the meaning from a limit on spending."""
    (program.folder / "prices.toml").write_text(f'"claude-haiku-4-5" = {{ {FREE} }}')
    for setting in ('file = "prices.toml"', "factor = 0.0001"):
        (program.folder / "orchestrator.toml").write_text(f"[prices]\n{setting}\n")
        refused = program("prices")
        assert refused.code == 2
        assert "cannot be set here" in refused.err


def test_a_wrong_price_file_is_refused_where_the_engine_starts(program: Program) -> None:
    """Before anything is sent; in words that name the file and the field."""
    (program.folder / "prices.toml").write_text('"claude-x-9" = { input = 1 }')
    refused = program("serve", "--sandbox", env={"ORCHESTRATOR_PRICES__FILE": "prices.toml"})
    assert refused.code == 2
    assert "prices.toml: claude-x-9: no output" in refused.err


def test_old_prices_are_told_once(program: Program) -> None:
    """By the newest price in the package, of 2026-11-09 in 0.2.3."""
    env = {"ORCHESTRATOR_PRICES__MAX_AGE": "1d"}
    told = program("prices", env=env)
    assert told.code == 0
    assert told.err.count("the newest price in genai-prices 0.2.3 is of") == 1
    assert "orchestrator prices --update" in program("prices", "--json", env=env).facts["warning"]
    write_lines(program.folder / "one.jsonl", [request(1)])
    for env_of, count in (({}, 0), (env, 1)):
        checked = program("check", "one.jsonl", "--offline", env=env_of)
        assert (checked.code, checked.err.count("the newest price in genai-prices 0.2.3 is of")) == (0, count)
        found = program("doctor", "--sandbox", "--json", env=env_of).facts["checks"]
        assert [each["verdict"] for each in found if each["check"] == "prices"] == ["warn"] * count


def test_a_hang_up_reads_the_price_file_again(program: Program) -> None:
    """A file that is wrong changes nothing, and is told; one that is right is read though no setting changed."""
    file = program.folder / "prices.toml"
    file.write_text(f'"claude-x-9" = {{ {FREE} }}')
    with program.started("serve", "--sandbox", env={"ORCHESTRATOR_PRICES__FILE": str(file)}) as engine:
        engine.says("the engine runs on")
        file.write_text("wrong")
        engine.send(signal.SIGHUP)
        engine.says("config.refused")
        file.write_text(f'"claude-x-9" = {{ {FREE} }}')
        engine.send(signal.SIGHUP)
        engine.says("config.reloaded")
        assert engine.signal(signal.SIGTERM).code == 0


def test_the_newest_list_cannot_be_had_without_a_network(program: Program) -> None:
    """One clear error, and what holds meanwhile."""
    proxy = {"HTTPS_PROXY": "http://127.0.0.1:9"}
    failed = program("prices", "--update", env=proxy)
    assert failed.code == 6
    assert failed.out == ""
    assert failed.err.startswith("error: the newest prices cannot be fetched\n")
    assert "Traceback" not in failed.err
    assert program("prices", "claude-haiku-4-5", "--update").code == 2


@pytest.fixture
def newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A newest list with a price that was cut, one that was announced, and a model that is gone."""
    providers = deepcopy(get_snapshot().providers)
    api = next(each for each in providers if each.id == "anthropic")
    later = PriceVariant(
        {"processing": "batch"}, ModelPrice(output_mtok=Decimal(3)), StartDateConstraint(date(2099, 1, 1))
    )
    by_name = {model.id: model for model in api.models}
    (batch,) = by_name["claude-haiku-4-5"].price_variants or [later]
    batch.prices = ModelPrice(**{**batch.prices.__dict__, "input_mtok": Decimal("0.4")})
    by_name["claude-sonnet-5"].price_variants = [later, *(by_name["claude-sonnet-5"].price_variants or ())]
    api.models = [model for model in api.models if model.id != "claude-opus-5"]
    snapshot = DataSnapshot(providers, from_auto_update=True)
    monkeypatch.setattr(genai_prices.UpdatePrices, "fetch", lambda _: snapshot)


@pytest.mark.usefixtures("newest")
def test_what_the_newest_list_says_otherwise_is_a_price_file(tmp_path: Path) -> None:
    """Appended to the user's file it holds from today on; nothing else was changed, and nothing is kept."""
    done = CliRunner().invoke(prices, ["--update"], obj=GlobalOptions(), catch_exceptions=False)
    assert "3 prices differ from genai-prices 0.2.3; nothing was changed" in done.stderr
    assert sorted(tomllib.loads(done.stdout)) == ["claude-haiku-4-5", "claude-sonnet-5"]
    assert "# it has no price any more" in done.stdout
    file = tmp_path / "prices.toml"
    file.write_text(done.stdout, encoding="utf-8")
    book = PriceBook(PricesSection(file=file))
    changed = [book.price("claude-haiku-4-5", date.max), book.price("claude-sonnet-5", date.max)]
    assert [None if price is None else price.rates[:2] for price in changed] == [
        (400_000, 2_500_000),
        (1_000_000, 3_000_000),
    ]
    before = [book.price("claude-haiku-4-5", date(2026, 11, 28)), book.price("claude-sonnet-5", date(2098, 1, 1))]
    assert [None if price is None else price.source for price in before] == ["genai-prices 0.2.3"] * 2


@pytest.mark.usefixtures("newest")
def test_changes_are_told_to_programs_as_well() -> None:
    """With the price before and after, null where there is none."""
    done = CliRunner().invoke(prices, ["--update"], obj=GlobalOptions(as_json=True), catch_exceptions=False)
    changes = {each["model"]: each for each in json.loads(done.stdout)["changes"]}
    assert changes["claude-haiku-4-5"]["before"]["input"] == "0.500000"
    assert changes["claude-haiku-4-5"]["after"]["input"] == "0.400000"
    assert changes["claude-opus-5"]["after"] is None
    assert changes["claude-sonnet-5"]["day"] == "2099-01-01"


def test_a_newest_list_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another form than this version of the package knows is no price."""

    def fetch(_: genai_prices.UpdatePrices) -> DataSnapshot:
        raise ValueError("Expected fetched prices payload to be a provider array\nmore")

    monkeypatch.setattr(genai_prices.UpdatePrices, "fetch", fetch)
    with pytest.raises(package_prices.PricesUnreachable, match="cannot be read") as caught:
        package_prices.fetched()
    assert caught.value.cause == "Expected fetched prices payload to be a provider array"
