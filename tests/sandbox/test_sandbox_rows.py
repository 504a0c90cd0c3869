"""What becomes of single rows: wrong params, caching, faults, each inside the results of a batch that was accepted."""

import json
import re
from collections import Counter
from typing import Any

import pytest
from sandbox.sandbox_world import HOUR, MODEL, World, body, params

from orchestrator.sandbox import Caller, FaultPlan, parse_faults
from orchestrator.sandbox.faults import meanings

NEW = Caller(api_version="2026-10-21")
OLD = Caller(api_version="2023-06-01")


def batch_of(*rows: dict[str, Any]) -> bytes:
    return json.dumps({"requests": [{"custom_id": f"r-{n}", "params": row} for n, row in enumerate(rows)]}).encode()


def results(world: World, content: bytes, caller: Caller = OLD) -> list[dict[str, Any]]:
    batch = world.machine.create(content, caller)
    world.advance(HOUR)
    lines = world.lines(batch.id)
    return [line["result"] for line in sorted(lines, key=lambda line: int(line["custom_id"].rpartition("-")[2]))]


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in params().items() if key != name}


DATED = "claude-haiku-4-5-20251001"
SOURCE = {"type": "text", "media_type": "text/plain", "data": "x"}
WRONG_ROWS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no messages": (without("messages"), "invalid_request_error", "messages: Field required"),
    "no model": (without("model"), "invalid_request_error", "model: Field required"),
    "no max_tokens": (without("max_tokens"), "invalid_request_error", "max_tokens: Field required"),
    "stream": (
        params(stream=True),
        "invalid_request_error",
        '"stream=True" is not supported in the Message Batches API',
    ),
    "max_tokens 0": (
        params(max_tokens=0),
        "invalid_request_error",
        "max_tokens: must be greater than or equal to 1",
    ),
    "max_tokens over the limit": (
        params(model=DATED, max_tokens=9_999_999),
        "invalid_request_error",
        "max_tokens: 9999999 > 64000, which is the maximum allowed number of output tokens for " + DATED,
    ),
    "unknown model": (params(model="claude-does-not-exist-9"), "not_found_error", "model: claude-does-not-exist-9"),
    "extra field": (params(foo=1), "invalid_request_error", "foo: Extra inputs are not permitted"),
    "betas inside": (params(betas=["x"]), "invalid_request_error", "betas: Extra inputs are not permitted"),
    "fast mode": (params(speed="fast"), "invalid_request_error", "speed: Extra inputs are not permitted"),
}


@pytest.mark.parametrize("case", WRONG_ROWS)
def test_wrong_params_become_an_errored_row_and_spoil_nothing_else(case: str) -> None:
    """`create` does not look at params; the row beside the wrong one succeeds."""
    row, kind, message = WRONG_ROWS[case]
    wrong, right = results(World(), batch_of(row, params()))
    assert wrong["type"] == "errored"
    assert (wrong["error"]["error"]["type"], wrong["error"]["error"]["message"]) == (kind, message)
    assert wrong["error"]["request_id"] is None
    assert right["type"] == "succeeded"


VERSIONED: dict[str, dict[str, Any]] = {
    "temperature": params(temperature=1.0),
    "top_p": params(top_p=0.9),
    "top_k": params(top_k=5),
    "document by the assistant": params(
        messages=[
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "document", "source": SOURCE}]},
            {"role": "user", "content": "b"},
        ]
    ),
    "citations on user text": params(
        messages=[{"role": "user", "content": [{"type": "text", "text": "a", "citations": []}]}]
    ),
}


@pytest.mark.parametrize("case", VERSIONED)
def test_the_new_version_refuses_what_the_old_one_takes(case: str) -> None:
    """The same params may succeed under one API version and fail under the other."""
    (old,) = results(World(), batch_of(VERSIONED[case]), OLD)
    (new,) = results(World(), batch_of(VERSIONED[case]), NEW)
    assert (old["type"], new["type"]) == ("succeeded", "errored")


PREFILL = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "{"}]
PAUSED_TURN = [
    PREFILL[0],
    {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "server_tool_use"}]},
]


@pytest.mark.parametrize(
    ("model", "messages", "outcome"),
    [
        ("claude-haiku-4-5", PREFILL, "succeeded"),
        ("claude-opus-4-6", PREFILL, "errored"),
        ("claude-sonnet-5", [PREFILL[0], {"role": "assistant", "content": [{"type": "text", "text": "a"}]}], "errored"),
        ("claude-sonnet-5", PAUSED_TURN, "succeeded"),
    ],
)
def test_newer_models_take_no_beginning_of_their_answer(model: str, messages: object, outcome: str) -> None:
    """A paused turn, which stands last as well, is gone on with."""
    (row,) = results(World(), batch_of(params(model=model, messages=messages)))
    assert row["type"] == outcome


def test_the_large_output_beta_lifts_the_limit_of_models_that_have_it() -> None:
    """Betas hold for a whole batch, by header."""
    row = params(model="claude-opus-5", max_tokens=250_000)
    (plain,) = results(World(), batch_of(row))
    (large,) = results(World(), batch_of(row), Caller(betas=frozenset({"output-300k-2026-03-24"})))
    assert (plain["type"], large["type"]) == ("errored", "succeeded")


ROW_FAULTS: dict[str, tuple[str, str | None]] = {
    "error": ("errored", "api_error"),
    "overloaded": ("errored", "overloaded_error"),
    "timeout": ("errored", "timeout_error"),
    "expire": ("expired", None),
    "cancel": ("canceled", None),
    "invalid": ("errored", "invalid_request_error"),
    "url_timeout": ("errored", "invalid_request_error"),
    "credit_row": ("errored", "invalid_request_error"),
    "odd_error": ("errored", "novel_error"),
    "refusal": ("succeeded", None),
}


@pytest.mark.parametrize("fault", ROW_FAULTS)
def test_a_row_fault_strikes_at_its_rate_and_spares_the_second_try(fault: str) -> None:
    """Sending the same params again helps, so a client that does so gets through."""
    outcome, kind = ROW_FAULTS[fault]
    world = World(faults={fault: 0.3})
    first = results(world, body(400))
    hit = [
        row for row in first if row["type"] == outcome and (row["type"] != "succeeded" or not row["message"]["content"])
    ]
    assert 80 < len(hit) < 160
    assert {row["error"]["error"]["type"] for row in hit if row["type"] == "errored"} == ({kind} if kind else set())
    second = results(world, body(400, prefix="again"))
    spared = [old for old, new in zip(first, second, strict=True) if old in hit and new["type"] == "succeeded"]
    assert len(spared) == len(hit)


def test_a_sticky_fault_strikes_the_same_params_every_time() -> None:
    """For clients that must give up at some point."""
    world = World(faults={"error": 0.3, "sticky": 1})
    first = [row["type"] for row in results(world, body(200))]
    again = [row["type"] for row in results(world, body(200, prefix="again"))]
    assert first == again
    assert 30 < first.count("errored") < 90


def test_rates_of_different_faults_add_up() -> None:
    """One row meets one fault at most."""
    rows = results(World(faults={"error": 0.5, "expire": 0.5}), body(300))
    assert set(Counter(row["type"] for row in rows)) == {"errored", "expired"}


def test_a_missing_row_is_counted_but_never_listed() -> None:
    """The counts and the lines of a download disagree; `missing_once` heals at the second download."""
    always, once = World(faults={"missing": 0.2}), World(faults={"missing_once": 0.2})
    for world, healed in ((always, False), (once, True)):
        batch = world.machine.create(body(300))
        world.advance(HOUR)
        assert world.machine.retrieve(batch.id).request_counts.succeeded == 300
        assert len(world.lines(batch.id)) < 280
        assert (len(world.lines(batch.id)) == 300) is healed


@pytest.mark.parametrize("fault", ["garbled", "duplicated", "foreign_lines", "blank_lines"])
def test_lines_are_spoiled_anew_in_each_download(fault: str) -> None:
    """Downloading again helps, as it does against a bad wire."""
    world = World(faults={fault: 0.1})
    batch = world.machine.create(body(300))
    world.advance(HOUR)
    first, *others = [list(world.machine.results(batch.id)) for _ in range(5)]
    world.machine.plan.set({})
    good = set(world.machine.results(batch.id))
    assert len(good) == 300
    assert first not in others
    if fault == "duplicated":
        assert len(first) > 300
    else:
        assert {line for line in first if line not in good}
    assert good <= {line for download in others for line in download}


def test_the_model_of_the_request_is_the_model_of_the_answer() -> None:
    """Echoed as it was asked for."""
    (row,) = results(World(), batch_of(params()))
    assert row["message"]["model"] == MODEL


@pytest.mark.parametrize(
    "text", ["refusal=7", "create.429=1.01", "error=-1", "list_miss=2", "drop=nan", "list_lag=inf"]
)
def test_a_rate_is_from_0_to_1_and_an_amount_is_not_negative(text: str) -> None:
    """Whoever writes 7 for 7 % would have every request refused, and take that for the program's doing."""
    with pytest.raises(ValueError, match=re.escape(text.partition("=")[0])):
        parse_faults(text)
    with pytest.raises(ValueError, match=re.escape(text.partition("=")[0])):
        FaultPlan(options={text.partition("=")[0]: float(text.partition("=")[2])})


def test_every_fault_has_a_meaning() -> None:
    """`sandbox --faults help` shows what can be asked for, all of it."""
    listed = {name: meaning for _, group in meanings() for name, meaning in group.items()}
    assert all(listed.values())
    with pytest.raises(ValueError, match="the names are") as caught:
        parse_faults("nope")
    assert set(listed) == set(str(caught.value).rpartition("the names are ")[2].split(", "))
