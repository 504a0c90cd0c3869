"""Promise 2 for a daemon that stands still, or dies, inside its POST: another takes the batch over.

The network stands still as well, until the test lets it go: what the daemon's kernel holds leaves when it hurts most.
"""

from __future__ import annotations

import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from fleet.fleet_processes import Cluster, cluster, until
from support.length import IS_LONG
from support.processes import running_api
from support.slow_way import SlowWay, slow_way

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.process,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="what a kernel holds is read from /proc"),
]

COUNT: Final = 100
#: Of a body that is larger than what a bounded kernel holds (1.5 MB of it), and smaller than one without bounds (3 MB).
LARGE: Final = 2_400_000
#: Of one that it takes whole: with the last bytes.
SMALL: Final = 400_000
#: A wait of a doubt takes two seconds, or eleven: longer than what is small needs once the network goes on.
SHORT_WAIT, LONG_WAIT = 600, 120
_RATE: Final = 200_000
_STANDS_AT: Final = 50_000
_LOOKS: Final = 10


def spread(_number: int) -> int:
    """A body of many slices: the last are still to be read when the sender stops, from a batch that is void by then."""
    return LARGE // COUNT


def at_the_end(number: int) -> int:
    """One request is nearly all of the body: every slice is read when the sender stops. Only the row can stop it."""
    return LARGE if number == COUNT - 1 else 0


def small(_number: int) -> int:
    return SMALL // COUNT


def full(way: SlowWay) -> Callable[[], bool]:
    """Whether a sender's kernel has taken what it can: it holds much, and no more since ten looks."""
    seen: deque[int] = deque(maxlen=_LOOKS)

    def looked() -> bool:
        seen.append(way.waiting_bytes())
        return len(seen) == _LOOKS and min(seen) == max(seen) > SMALL // 2

    return looked


def states(daemons: Cluster) -> Sequence[str]:
    """Of the batches, in the order of planning."""
    return [state for (state,) in daemons.ask("SELECT state FROM batch ORDER BY id")]


@contextmanager
def posting(url: str, folder: Path, speed: int, size: Callable[[int], int]) -> Iterator[tuple[Cluster, SlowWay]]:
    """A fleet of one, A, in the middle of its POST. The network stands still."""
    with (
        running_api(speed=speed, batch_seconds=[60, 120]) as api,
        slow_way(api.base_url, _RATE, _STANDS_AT) as way,
        cluster(url, api, folder, "", BATCHING__MAX_REQUESTS=str(COUNT)) as daemons,
    ):
        daemons.up("A", api_url=way.url)
        until(daemons.settled, "every stage is held")
        daemons.submit(COUNT, size)
        until(full(way), "the kernel of A has what it can take of the body")
        assert states(daemons) == ["submitting"]
        yield daemons, way


def stop(daemons: Cluster) -> None:
    daemons.hosts["A"].alive.send_signal(signal.SIGSTOP)


def wake(daemons: Cluster) -> None:
    daemons.hosts["A"].alive.send_signal(signal.SIGCONT)


def kill(daemons: Cluster) -> None:
    daemons.hosts["A"].alive.kill()
    daemons.hosts["A"].alive.wait()


def sent_anew(daemons: Cluster) -> bool:
    """Whether the batch was given up, and its requests have their results from another."""
    return states(daemons) == ["void", "settled"]


def assert_billed_once(daemons: Cluster) -> None:
    books = daemons.books()
    assert (books.total(), len(books)) == (COUNT, COUNT)
    assert (daemons.api.stats().batches_created, daemons.number("SELECT count(*) FROM result")) == (1, COUNT)
    assert daemons.said("unit.taken_over") > 0
    assert daemons.said("Traceback") == 0


@pytest.mark.long
@pytest.mark.parametrize("size", [at_the_end, spread][: 2 if IS_LONG else 1])
def test_a_sender_that_wakes_when_its_batch_was_sent_anew_makes_no_second(
    size: Callable[[int], int], url: str, tmp_path: Path
) -> None:
    """SIGSTOP in the middle of the POST, SIGCONT after another daemon has sent the requests again."""
    with posting(url, tmp_path, SHORT_WAIT, size) as (daemons, way):
        stop(daemons)
        daemons.up("B")
        until(lambda: sent_anew(daemons), "B has sent it anew")
        wake(daemons)
        way.stands_at = None
        until(lambda: daemons.said("batch.taken_over") + daemons.said("batch.answered") > 1, "A has ended its POST")
        assert daemons.said("batch.taken_over") == 1
        assert_billed_once(daemons)


@pytest.mark.long
def test_what_a_killed_daemon_left_to_its_kernel_makes_no_second_batch(url: str, tmp_path: Path) -> None:
    """SIGKILL in the middle of the POST; the kernel sends the rest after another daemon has sent the requests again."""
    with posting(url, tmp_path, SHORT_WAIT, at_the_end) as (daemons, way):
        kill(daemons)
        daemons.up("B")
        until(lambda: sent_anew(daemons), "B has sent it anew")
        way.stands_at = None
        until(lambda: way.open == 0, "what the kernel still had is through")
        assert_billed_once(daemons)


@pytest.mark.long
@pytest.mark.parametrize("blow", [stop, kill])
def test_a_body_that_the_kernel_has_whole_is_found(blow: Callable[[Cluster], None], url: str, tmp_path: Path) -> None:
    """Its last bytes had left the process: the batch is made, found by the doubt, and nothing is sent anew."""
    with posting(url, tmp_path, LONG_WAIT, small) as (daemons, way):
        blow(daemons)
        way.stands_at = None
        until(lambda: daemons.api.stats().batches_created == 1, "what the kernel had is through")
        daemons.up("B")
        until(lambda: states(daemons) == ["settled"], "B has found the batch that A made")
        wake(daemons)
        until(lambda: blow is kill or daemons.said("batch.late_yes") == 1, "A has its answer, late")
        assert_billed_once(daemons)
