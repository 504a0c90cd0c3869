"""The pure parts of the benchmark harness: what the local API answers, and how targets and tables are made."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from benchmarks import inputs
from benchmarks.bytes_only import body
from benchmarks.report import table
from benchmarks.server_batches import Machine, Refusal, Replies
from benchmarks.targets import TARGETS, verdicts, verdicts_at_any_size
from orchestrator.domain.result_lines import ResultLine, decode_split

_HOST = "127.0.0.1:1"


def _machine(*, reply: str | None = None, in_flight_for: timedelta = timedelta(0)) -> Machine:
    return Machine(Replies(50, reply), in_flight_for)


def _create(count: int, *, start: int = 0) -> bytes:
    requests = [{"custom_id": f"r{number}", "params": {"model": "m-1"}} for number in range(start, start + count)]
    return msgspec.json.encode({"requests": requests})


def test_every_id_comes_back_once_and_the_length_is_what_was_announced() -> None:
    """A client that trusts Content-Length must get all of the lines."""
    machine = _machine()
    made = machine.create(_create(5000), _HOST)
    size_bytes, pieces = machine.results(str(made["id"]))
    data = b"".join(pieces)
    lines = decode_split((data).split(b"\n"))
    assert len(data) == size_bytes
    assert sorted(line.wire_id for line in lines if isinstance(line, ResultLine)) == sorted(
        f"r{number}" for number in range(5000)
    )
    assert json.loads(data.partition(b"\n")[0])["result"]["message"]["model"] == "m-1"


def test_a_fixed_reply_is_every_answers_text() -> None:
    """Programs that parse the answer need one that they can parse."""
    machine = _machine(reply='{"a": "é"}')
    made = machine.create(_create(2), _HOST)
    _, pieces = machine.results(str(made["id"]))
    texts = {json.loads(line)["result"]["message"]["content"][0]["text"] for line in b"".join(pieces).splitlines()}
    assert texts == {'{"a": "é"}'}


def test_the_list_is_newest_first_and_pages_both_ways() -> None:
    """As the API's."""
    machine = _machine()
    names = [str(machine.create(_create(1, start=number), _HOST)["id"]) for number in range(5)]
    newest_first = names[::-1]
    first = machine.page({"limit": ["2"]}, _HOST)
    older = machine.page({"limit": ["9"], "after_id": [str(first["last_id"])]}, _HOST)
    newer = machine.page({"limit": ["9"], "before_id": [str(older["first_id"])]}, _HOST)
    assert _names(first) == newest_first[:2]
    assert first["has_more"]
    assert _names(older) == newest_first[2:]
    assert not older["has_more"]
    assert _names(newer) == newest_first[:2]


def _names(page: dict[str, object]) -> list[str]:
    batches = page["data"]
    assert isinstance(batches, list)
    return [batch["id"] for batch in batches]


def test_a_batch_in_flight_has_no_results_until_all_are_ended() -> None:
    """What waits must be able to wait, and to stop waiting."""
    machine = _machine(in_flight_for=timedelta(days=1))
    name = str(machine.create(_create(3), _HOST)["id"])
    with pytest.raises(Refusal, match="no available results"):
        machine.results(name)
    machine.end_all()
    assert machine.results(name)[0] > 0


@pytest.mark.parametrize(
    "sent", [b'{"requests":[]}', b"nonsense", b'{"requests":[{"custom_id":"a"},{"custom_id":"a"}]}']
)
def test_a_create_that_the_api_refuses_is_refused(sent: bytes) -> None:
    """Nobody may be fast by sending what would not be taken."""
    with pytest.raises(Refusal):
        _machine().create(sent, _HOST)


def test_inputs_come_from_a_seed_and_no_two_requests_are_alike(tmp_path: Path) -> None:
    """A figure must mean the same work next time."""
    for make in inputs.KINDS.values():
        one = make(tmp_path / "one.jsonl", 300, ids=inputs.uuids()).read_bytes()
        other = make(tmp_path / "other.jsonl", 300, ids=inputs.uuids()).read_bytes()
        params = [json.dumps(json.loads(line)["params"]) for line in one.splitlines()]
        assert one == other
        assert len(set(params)) == 300


def test_the_bytes_alone_are_a_create_that_the_api_takes(tmp_path: Path) -> None:
    """The floor of a whole run sends what everybody sends."""
    source = inputs.small(tmp_path / "in.jsonl", 100)
    assert len(json.loads(b"".join(body(source)))["requests"]) == 100


def test_targets_are_judged_at_their_sizes_and_a_missing_figure_is_said() -> None:
    """No target is met by not being measured."""
    target = next(target for target in TARGETS if target.figure == "wall_vs_guide")
    (size,) = target.sizes
    found = {verdict.target: verdict for verdict in verdicts({target.part: {f"{target.figure}@{size}": target.limit}})}
    assert found[target].cells[-1] == "yes"
    assert {verdict.cells[-1] for other, verdict in found.items() if other != target} == {"?"}
    (small,) = verdicts_at_any_size({target.part: {f"{target.figure}@7": target.limit * 2}})
    assert small.size == 7
    assert small.cells[-1] == "**no**"


def test_a_table_is_markdown() -> None:
    """It goes into the README as it is."""
    assert table(("a", "b"), [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
