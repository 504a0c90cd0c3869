"""What an input will cost, as `check` says it: against what the sandbox then counts, and where nothing can be asked."""

from __future__ import annotations

import json
import re

import pytest
from faces.cli_world import KEEPING, Program, request, sandbox_at, write_lines

from benchmarks import inputs


@pytest.mark.parametrize("kind", inputs.KINDS)
def test_the_input_is_told_to_five_percent_before_it_is_sent(program: Program, kind: str) -> None:
    """With two hundred free calls at most, and no batch; then the very requests are run, and their usage is summed."""
    source = str(inputs.KINDS[kind](program.folder / "in.jsonl", 500))
    told = program("check", source, "--sandbox", "--json").facts["estimate"]
    assert told["calls"] <= 200
    assert not program.db.exists()
    assert program("run", source, "--sandbox", "-o", "out.jsonl", "-q").code == 0
    lines = (program.folder / "out.jsonl").read_text().splitlines()
    usages = [json.loads(line)["result"]["message"]["usage"] for line in lines]
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    billed = sum(usage.get(name) or 0 for usage in usages for name in names)
    assert told["input"]["tokens"] == pytest.approx(billed, rel=0.05)
    assert billed <= told["input"]["worst"]
    assert told["rough"] is None


def test_check_says_what_it_will_cost(program: Program) -> None:
    """Tokens of the prompts and how sure they are, answers as long as they may be, dollars, and whose prices."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(25)])
    seen = program("check", source, "--sandbox").out
    lines = {line.split()[0]: line for line in seen.splitlines()}
    assert "±2 %" in lines["input"]
    assert "25 of 25 requests counted" in lines["input"]
    assert "no history" in lines["output"]
    assert "cannot be more than $" in lines["cost"]
    assert "genai-prices" in lines["price"]


def test_without_a_key_it_is_rough_and_says_why(program: Program) -> None:
    """By bytes, 40 % either way; so it is with --offline, where nobody is asked even with a key."""
    source = write_lines(program.folder / "in.jsonl", [request(n) for n in range(25)])
    found = program("check", source, "--json").facts["estimate"]
    assert "no key" in found["rough"]
    assert found["input"]["high"] > 1.3 * found["input"]["tokens"]
    unreachable = {"ANTHROPIC_API_KEY": "sk-ant-none", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    offline = program("check", source, "--offline", "--json", env=unreachable).facts["estimate"]
    assert (offline["calls"], offline["rough"]) == (0, "nothing was asked")
    asked = program("check", source, "--json", env=unreachable).facts["estimate"]
    assert "cannot be reached" in asked["rough"]


def test_a_model_without_a_price_is_never_free(program: Program) -> None:
    """Unknown, with what to do; with other models that have one, at least so much."""
    rows = [request(n, model="claude-haiku-4-5" if n else "claude-opus-4-10") for n in range(3)]
    source = write_lines(program.folder / "in.jsonl", rows)
    told = program("check", source, "--offline", "--json").facts["estimate"]
    assert (told["cost"]["expected"], told["cost"]["high"], told["cost"]["worst"]) == (None, None, None)
    assert told["price"]["unknown"] == [{"model": "claude-opus-4-10", "requests": 1}]
    assert "prices" in told["price"]["remedy"]
    assert "at least $" in program("check", source, "--offline").out
    alone = write_lines(program.folder / "alone.jsonl", rows[:1])
    seen = program("check", alone, "--offline").out
    assert "unknown: no price for claude-opus-4-10" in seen
    assert "$0" not in seen


def test_exact_and_offline_exclude_each_other(program: Program) -> None:
    """Exit code 2."""
    source = write_lines(program.folder / "in.jsonl", [request(1)])
    assert program("check", source, "--exact", "--offline").code == 2
    exact = program("check", source, "--exact", "--sandbox", "--json").facts["estimate"]
    assert exact["input"]["basis"] == "every request was counted"


def test_an_input_with_problems_is_not_counted(program: Program) -> None:
    """Nothing of it would be sent."""
    source = write_lines(program.folder / "in.jsonl", [request(0), request(1, stream=True)])
    found = program("check", source, "--sandbox", "--json")
    assert (found.code, found.facts["estimate"]) == (2, None)


def test_check_says_what_a_cache_would_save(program: Program) -> None:
    """A beginning that a thousand share, unmarked: in a sentence, and as data."""
    system = "word " * 6050
    rows = [request(n, model="claude-sonnet-5-5", system=system) for n in range(1_000)]
    source = write_lines(program.folder / "in.jsonl", rows)
    seen = program("check", source, "--offline").out
    assert "cache    1,000 requests share about 9,996 tokens" in seen
    assert "--cache auto would save about $8.50" in seen
    told = program("check", source, "--offline", "--json").facts["estimate"]["cache"]
    assert told["largest"] == {"model": "claude-sonnet-5-5", "requests": 1_000, "tokens": 9_996, "least": 4_096}
    assert told["saved"].startswith("8.50")


def test_the_second_time_it_knows_how_long_answers_are(program: Program) -> None:
    """By the first job; what the second then costs is as expected, and `status` holds both together."""
    source = write_lines(program.folder / "in.jsonl", [request(n, system="Be brief.") for n in range(40)])
    assert program("run", source, "--sandbox", "-o", "out.jsonl", "-q").code == 0
    lines = (program.folder / "out.jsonl").read_text().splitlines()
    outputs = [json.loads(line)["result"]["message"]["usage"]["output_tokens"] for line in lines]
    again = write_lines(program.folder / "again.jsonl", [request(n + 100, system="Be brief.") for n in range(40)])
    told = program("check", again, "--sandbox", "--json").facts["estimate"]
    assert told["output"]["tokens"] == sum(outputs)
    assert "40 answers of earlier jobs with the same model, system prompt" in told["output"]["basis"]
    assert re.search(r"output +\d+ tokens  ±\d\d % +40 answers", program("check", again, "--sandbox").out)
    other = write_lines(program.folder / "other.jsonl", [request(n, max_tokens=90) for n in range(40)])
    least, most = sum(outputs) // 2, 2 * sum(outputs)
    said = program("check", other, "--sandbox").out
    assert f"output   {sum(outputs)} ({least} … {most}) tokens" in said
    assert "whatever their prompts: others may be half or twice as long" in said
    assert program("run", again, "--sandbox", "-o", "out2.jsonl", "-q").code == 0
    cost = program("status", "@last", "--sandbox", "--json").facts["cost"]
    assert float(cost["spent"]) == pytest.approx(float(told["cost"]["expected"]), rel=0.05)
    assert float(cost["estimated"]) == pytest.approx(float(told["cost"]["expected"]), rel=0.4)
    assert cost["expected"] is None
    assert ", estimated $0.00" in program("status", "@last", "--sandbox").out


@pytest.mark.long
def test_how_a_job_will_go_under_its_cap_is_told_where_it_matters(program: Program) -> None:
    """By `check` and at hand-in, in the same words; of a cap with room `check` says only that it fits."""
    first = write_lines(program.folder / "first.jsonl", [request(n, max_tokens=4_096) for n in range(20)])
    source = write_lines(program.folder / "in.jsonl", [request(n + 50, max_tokens=4_096) for n in range(100)])
    blind = program("check", source, "--sandbox", "--max-cost", "0.10").out
    assert re.search(r"\ncap +about 9 of 100 requests go at a time under the cap of \$0\.10", blind)
    assert program("run", first, "--sandbox", "-o", "out.jsonl", "-q").code == 0
    told = program("check", source, "--sandbox", "--max-cost", "0.10", "--json").facts["estimate"]["under_cap"]
    assert re.match(r"max_tokens 4,096, answers about \d+: [\d,]+ would let the cap finish in 2 rounds, not \d+$", told)
    assert f"cap      {told}" in program("check", source, "--sandbox", "--max-cost", "0.10").out
    by_settings = {"ORCHESTRATOR_BUDGET__MAX_JOB": "0.10"}
    assert f"cap      {told}" in program("check", source, "--sandbox", env=by_settings).out
    taken = program("submit", source, "--sandbox", "--max-cost", "0.10", "--json")
    assert taken.facts["under_cap"] == told
    assert f"cap      {told}" in taken.err
    for roomy in ("5", "0.7"):
        assert (
            program("check", source, "--sandbox", "--max-cost", roomy, "--json").facts["estimate"]["under_cap"] is None
        )
    fits = program("check", source, "--sandbox", "--max-cost", "$5").out
    assert re.search(r"\ncap      fits: at most \$1\.\d+ of \$5\.00\n", fits), fits
    assert "the job pauses after about" in program("check", source, "--sandbox", "--max-cost", "0.012").out


def test_what_has_no_bound_is_at_least_so_much_until_answers_told_what_it_costs(program: Program) -> None:
    """Searches are no part of a prompt: nobody is given an upper end, nor does the job keep one."""
    tools: list[dict[str, object]] = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]
    source = write_lines(program.folder / "in.jsonl", [request(n, tools=tools) for n in range(50)])
    cost = program("check", source, "--sandbox", "--json").facts["estimate"]["cost"]
    assert [cost[name] for name in ("expected", "high", "worst", "prompts", "answers")] == [None] * 5
    seen = program("check", source, "--sandbox").out
    assert re.search(
        r"\ncost +at least \$0\.0\d+ .*tools\.0 \(web_search_20250305\) in 50 requests, whose cost is not in it", seen
    )
    assert re.search(r"\ninput +at least [\d,]+ tokens", seen)
    assert program("run", source, "--sandbox", "-o", "out.jsonl", "-q").code == 0
    first = program("status", "@last", "--sandbox", "--json").facts["cost"]
    assert first["estimated"] is None
    assert float(first["spent"]) > 10 * float(cost["low"])
    told = program("check", source, "--sandbox", "--json").facts["estimate"]["cost"]
    assert float(told["expected"]) == pytest.approx(float(first["spent"]), rel=0.001)
    assert float(told["low"]) <= float(told["expected"]) <= float(told["high"])
    assert program("submit", source, "--new", "--sandbox", "--json").facts["cost"]["estimated"] == told["expected"]
    other = write_lines(program.folder / "other.jsonl", [request(n, tools=tools, system="x") for n in range(50)])
    assert program("check", other, "--sandbox", "--json").facts["estimate"]["cost"]["high"] is None


@pytest.mark.parametrize("cache", ["prime", "auto"])
def test_a_job_with_a_shared_prefix_is_told_as_it_is_billed(program: Program, cache: str) -> None:
    """One writes it, the others read it: `check` is within a few per cent, what the job keeps as bytes tell."""
    mark = {} if cache == "auto" else {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    system = [{"type": "text", "text": "Answer in few words. " * 1_000, **mark}]
    source = write_lines(program.folder / "in.jsonl", [request(n, system=system) for n in range(300)])
    with sandbox_at(program, *KEEPING) as api:
        assert program("run", source, "--cache", cache, "-o", "out.jsonl", "--yes", env=api).code == 0
        first = program("status", "@last", "--json").facts["cost"]
        assert first["cache"]["hit_rate"] > 0.98
        told = program("check", source, "--cache", cache, "--json", env=api).facts["estimate"]["cost"]
        assert float(told["expected"]) == pytest.approx(float(first["spent"]), rel=0.04)
        assert float(told["high"]) < 1.2 * float(first["spent"]), "the others read it at the high end, too"
        again = program("submit", source, "--cache", cache, "--new", "--yes", "--json", env=api).facts["cost"]
        assert float(again["estimated"]) == pytest.approx(float(first["spent"]), rel=0.4)


def test_where_none_goes_ahead_each_writes_what_it_marks(program: Program) -> None:
    """So the sandbox bills it, many times what reading costs; the text says so."""
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    system = [{"type": "text", "text": "Answer in few words. " * 1_000, **mark}]
    source = write_lines(program.folder / "in.jsonl", [request(n, system=system) for n in range(100)])
    seen = program("check", source, "--no-prime", "--sandbox").out
    assert "each writes them to the cache, as none goes ahead of the others" in seen
    assert program("run", source, "--no-prime", "--sandbox", "-o", "out.jsonl", "-q").code == 0
    spent = float(program("status", "@last", "--sandbox", "--json").facts["cost"]["spent"])
    told = program("check", source, "--no-prime", "--sandbox", "--json").facts["estimate"]["cost"]
    assert float(told["expected"]) == pytest.approx(spent, rel=0.04)
    primed = program("check", source, "--sandbox", "--json").facts["estimate"]["cost"]
    assert float(told["expected"]) > 3 * float(primed["expected"])
