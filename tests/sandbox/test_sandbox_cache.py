"""Prompt caching in batches, as public live runs saw it: a cold batch pays for every write, a primed one reads."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sandbox.sandbox_world import World, params, still_sandbox

from orchestrator.sandbox import Caller, Machine

RULES = "Read the review with care, and then follow these rules one by one. " * 400
MINUTE = timedelta(minutes=1)
Usage = dict[str, Any]


def marked(text: str = RULES, ttl: str = "5m") -> list[dict[str, Any]]:
    return [plain(text) | {"cache_control": {"type": "ephemeral", "ttl": ttl}}]


def plain(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def row(text: str = "q", *, ttl: str = "5m", **more: Any) -> dict[str, Any]:
    return params(text, **{"system": marked(ttl=ttl), **more})


def create(machine: Machine, *rows: dict[str, Any], caller: Caller | None = None) -> str:
    requests = [{"custom_id": f"r-{number}", "params": each} for number, each in enumerate(rows)]
    content = json.dumps({"requests": requests}).encode()
    return machine.create(content, *(() if caller is None else (caller,))).id


def usages(world: World, *rows: dict[str, Any], lasts: timedelta = 5 * MINUTE) -> list[Usage]:
    """The usage of each row of a batch, which is over afterwards."""
    batch = create(world.machine, *rows)
    world.advance(lasts)
    lines = sorted(world.lines(batch), key=lambda line: int(line["custom_id"].rpartition("-")[2]))
    return [line["result"]["message"]["usage"] for line in lines]


def reads(found: list[Usage]) -> list[int]:
    return [usage["cache_read_input_tokens"] for usage in found]


def writes(found: list[Usage]) -> list[int]:
    return [usage["cache_creation_input_tokens"] for usage in found]


def hit_rate(found: list[Usage]) -> float:
    return sum(reads(found)) / (sum(reads(found)) + sum(writes(found)))


def primed(world: World, *primer: dict[str, Any], lasts: timedelta = MINUTE) -> World:
    usages(world, *(primer or (row(),)), lasts=lasts)
    return world


def test_a_cold_batch_writes_in_every_row_and_a_batch_behind_a_primer_reads_in_every_row() -> None:
    """What 138 rows in cold batches and 25 behind a primer did at the real API: 0 % and 100 %."""
    world = World(batch_seconds=(60, 60))
    rows = [row(f"q{n}", ttl="1h") for n in range(300)]
    cold = usages(world, *rows)
    assert hit_rate(cold) == 0
    assert len(set(writes(cold))) == 1
    warm = usages(world, *rows)
    assert (hit_rate(warm), set(reads(warm))) == (1, set(writes(cold)))
    assert all(usage["input_tokens"] < 60 for usage in cold + warm)


def test_a_prefix_can_be_read_once_the_answer_that_wrote_it_has_begun() -> None:
    """Not at the primer's create, and not only at its end."""
    world = World(batch_seconds=(600, 600))
    create(world.machine, *(row(f"q{n}", ttl="1h") for n in range(100)))
    early = create(world.machine, row("too early", ttl="1h"))
    world.advance(MINUTE)
    later = create(world.machine, row("late enough", ttl="1h"))
    world.advance(60 * MINUTE)
    (cold,), (warm,) = ([line["result"]["message"]["usage"] for line in world.lines(batch)] for batch in (early, later))
    assert (hit_rate([cold]), hit_rate([warm])) == (0, 1)


@pytest.mark.parametrize(("ttl", "lives"), [("5m", 5 * MINUTE), ("1h", 60 * MINUTE)])
def test_a_lifetime_counts_from_the_start_of_the_request_and_is_renewed_by_each_use(ttl: str, lives: timedelta) -> None:
    """By the sandbox's own clock."""
    world = World(instant=True)
    assert [hit_rate(usages(world, row(f"q{n}", ttl=ttl), lasts=lives)) for n in range(4)] == [0, 1, 1, 1]
    world.advance(timedelta(seconds=1))
    assert hit_rate(usages(world, row("too late", ttl=ttl))) == 0


@pytest.mark.long
def test_rows_that_start_late_in_a_long_batch_find_a_short_lived_prefix_gone() -> None:
    """Of many rows each keeps it for the next; between two rows in eleven hours it ends."""
    for count, all_read in ((2000, True), (2, False)):
        world = World(batch_seconds=(40_000, 40_000))
        create(world.machine, *(row(f"p{n}") for n in range(2000)))
        world.advance(timedelta(hours=6))
        found = usages(world, *(row(f"q{n}") for n in range(count)), lasts=timedelta(hours=12))
        assert (hit_rate(found) == 1) is all_read


LEAST = {
    "claude-fable-5-1": 512,
    "claude-opus-5": 512,
    "claude-opus-4-8": 1024,
    "claude-sonnet-4-5": 1024,
    "claude-opus-4-7": 2048,
    "claude-mythos-preview": 2048,
    "claude-haiku-4-5": 4096,
    "claude-opus-4-6": 4096,
    "claude-sonnet-5-5": 4096,
    "claude-haiku-5-5": 4096,
    "claude-fable-5-2": 4096,
}


@pytest.mark.parametrize("model", LEAST)
def test_a_prefix_below_the_models_minimum_is_silently_not_cached(model: str) -> None:
    """Both counters are 0, and the tokens are plain input."""
    world = World(instant=True)
    sizes = range(LEAST[model] // 4, LEAST[model] * 2, LEAST[model] // 8)
    found = usages(world, *(params(model=model, system=marked("word " * size)) for size in sizes))
    cached = [size for size in writes(found) if size]
    assert min(cached) >= LEAST[model]
    assert 0 < writes(found).count(0) < len(found)
    assert max(usage["input_tokens"] for usage in found if not usage["cache_creation_input_tokens"]) < LEAST[model] + 50


def test_a_breakpoint_looks_back_over_twenty_blocks() -> None:
    """A marker that moved on with the conversation still finds what was written further in front."""
    world = primed(World(instant=True), params(system=marked()))
    for blocks, finds in ((10, True), (19, True), (20, False), (40, False)):
        system = [plain(RULES), *(plain(f"note {n}") for n in range(blocks - 1)), *marked(f"note {blocks}")]
        (found,) = usages(world, params(system=system), lasts=timedelta(seconds=1))
        assert (found["cache_read_input_tokens"] > 0) is finds, blocks
        assert found["cache_creation_input_tokens"] > 0


CHANGES: dict[str, tuple[dict[str, Any], bool, bool]] = {
    "nothing": ({}, True, True),
    "one byte of the system": ({"system": marked(RULES + ".")}, False, False),
    "another model": ({"model": "claude-opus-4-6"}, False, False),
    "another schema": ({"output_config": {"effort": "low"}}, False, False),
    "a tool": ({"tools": [{"name": "t", "input_schema": {"type": "object"}}]}, False, False),
    "tool_choice": ({"tool_choice": {"type": "none"}}, True, False),
    "thinking": ({"thinking": {"type": "disabled"}}, True, False),
    "the lifetime": ({"system": marked(ttl="1h")}, True, True),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_comes_before_a_prefix_and_how_it_is_asked_must_be_the_same(case: str) -> None:
    """Tools → system → messages; `tool_choice` and `thinking` leave the system alone."""
    change, finds_system, finds_all = CHANGES[case]
    messages = [{"role": "user", "content": [*marked(RULES + "In the message, too."), plain("q")]}]
    world = primed(World(instant=True), row(messages=messages))
    (found,) = usages(world, row(messages=messages, **change))
    assert (found["cache_read_input_tokens"] > 0, found["cache_creation_input_tokens"] == 0) == (
        finds_system,
        finds_all,
    )


def test_the_automatic_marker_marks_the_last_block_which_every_row_has_for_itself() -> None:
    """`cache_control` on top of independent rows: each writes, none reads."""
    world = World(instant=True)
    rows = [params(f"q{n}", system=RULES, cache_control={"type": "ephemeral"}) for n in range(20)]
    others = [params(f"other {n}", system=RULES, cache_control={"type": "ephemeral"}) for n in range(20)]
    for batch in (rows, others):
        found = usages(world, *batch, lasts=MINUTE)
        assert hit_rate(found) == 0
        assert min(writes(found)) > 5000
    assert hit_rate(usages(world, *rows)) == 1


def test_writes_are_split_by_lifetime() -> None:
    """The rest behind the last breakpoint is plain input."""
    world = World(instant=True)
    messages = [{"role": "user", "content": [*marked("The document. " * 2000, "5m"), plain("question " * 40)]}]
    (cold,) = usages(world, row(ttl="1h", messages=messages))
    split = cold["cache_creation"]
    assert min(split.values()) > 5000
    assert sum(split.values()) == cold["cache_creation_input_tokens"]
    assert 60 < cold["input_tokens"] < 200
    world.advance(10 * MINUTE)
    (later,) = usages(world, row(ttl="1h", messages=messages))
    assert later["cache_read_input_tokens"] == split["ephemeral_1h_input_tokens"]
    assert later["cache_creation"] == {"ephemeral_1h_input_tokens": 0} | {
        "ephemeral_5m_input_tokens": split["ephemeral_5m_input_tokens"]
    }


LATE_HOUR = (
    "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that blocks are"
    " processed in the following order: `tools`, `system`, `messages`."
)
WRONG_MARKS: dict[str, tuple[dict[str, Any], str]] = {
    "five": ({"system": marked("a") * 5}, "A maximum of 4 blocks with cache_control may be provided. Found 5."),
    "four and the automatic one": (
        {"system": marked("a") * 4, "cache_control": {"type": "ephemeral"}},
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    "1h after 5m": (
        {"system": [*marked("a", "5m"), *marked("b", "1h")]},
        LATE_HOUR,
    ),
    "an odd lifetime": ({"system": marked("a", "2h")}, "cache_control: Invalid enum value '2h' - at `$.ttl`"),
}


@pytest.mark.parametrize("case", WRONG_MARKS)
def test_marks_that_the_api_refuses_become_an_errored_row(case: str) -> None:
    """As every other fault of params."""
    change, message = WRONG_MARKS[case]
    world = World(instant=True)
    (line,) = world.lines(create(world.machine, params(**change)))
    assert line["result"]["error"]["error"] == {
        "type": "invalid_request_error",
        "message": message,
        "details": {"error_visibility": "user_facing"},
    }


def test_four_marks_and_a_mark_of_null_are_fine() -> None:
    """Null is what an SDK sends for a parameter that is not set."""
    null = [plain("a") | {"cache_control": None}]
    assert usages(World(instant=True), params(system=[*marked("a") * 4, *null], cache_control=None))


def test_only_an_answer_writes() -> None:
    """A primer that failed, or was canceled before its turn, leaves nothing."""
    world = World(faults={"error": 1}, instant=True)
    create(world.machine, row())
    world.machine.plan.set({})
    assert hit_rate(usages(world, row("after an error"))) == 0
    slow = World(batch_seconds=(60, 60))
    batch = create(slow.machine, row())
    slow.machine.cancel(batch)
    slow.advance(MINUTE)
    assert hit_rate(usages(slow, row("after a cancel"))) == 0


def test_workspaces_have_caches_of_their_own() -> None:
    """A prefix is isolated by workspace."""
    world = World(instant=True)
    for name in ("a", "b", "a"):
        create(world.machine, row(name), caller=Caller(workspace=name))
    lines = [json.loads(line) for batch in world.machine._batches for line in _lines(world, batch.id, batch.workspace)]
    assert [hit_rate([line["result"]["message"]["usage"]]) for line in lines] == [0, 0, 1]


def _lines(world: World, batch: str, workspace: str) -> list[bytes]:
    return list(world.machine.results(batch, Caller(workspace=workspace)))


def test_the_cache_survives_with_the_journal(tmp_path: Path) -> None:
    """A sandbox that was killed answers as one that was not."""
    first = still_sandbox(journal=tmp_path / "journal", batch_seconds=(600, 600))
    batches = []
    for number in range(4):
        batches.append(create(first.machine, *(row(f"{number}-{n}", ttl="1h") for n in range(50))))
        if number == 0:
            first.machine.cancel(batches[0])
        first.clock.advance(5 * MINUTE)
    first.clock.advance(30 * MINUTE)
    told = [sorted(first.machine.results(batch)) for batch in batches]
    second = still_sandbox(journal=tmp_path / "journal", batch_seconds=(600, 600))
    second.clock.advance(30 * MINUTE)
    assert [sorted(second.machine.results(batch)) for batch in batches] == told
    fifth = [create(sandbox.machine, row("fifth", ttl="1h")) for sandbox in (first, second)]
    for sandbox, batch in zip((first, second), fifth, strict=True):
        sandbox.clock.advance(60 * MINUTE)
        (line,) = sandbox.machine.results(batch)
        assert json.loads(line)["result"]["message"]["usage"]["cache_read_input_tokens"] > 0
        sandbox.close()


def test_what_is_past_its_lifetime_is_forgotten() -> None:
    """Automatic markers write a prefix a row: the cache must not grow with them for ever."""
    world = World(instant=True)
    for number in range(6):
        rows = [
            params(f"{number}-{n}", system=RULES, cache_control={"type": "ephemeral"}, model="claude-opus-5")
            for n in range(600)
        ]
        usages(world, *rows, lasts=10 * MINUTE)
    assert len(world.machine._cache._entries) <= 1200
