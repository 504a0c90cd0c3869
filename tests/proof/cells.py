"""The thirteen faults of the matrix: how each is played, and what the promises say must come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from support.processes import Stats

from proof.scene import KILLED, Audit, Scene, Size

#: Batches of 1 to 4 hours by the API's clock, which runs 3600 times as fast as ours.
_SPEED: Final = 3600.0
_SPAN_S: Final = (3600.0, 14400.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One fault and what must come of it.

    sent_again: the outcome in the API's ledger after which a request is rightly sent again (it was not billed).
    fails_as: the error of the requests that rightly fail; None where all must succeed. exits: the exit code of each
    run of the command is worked out from `kills` and `fails_as`. faults, speed, span_s: the API's own. `settings`: the
    program's. `times`: so many times the usual number of requests.
    """

    name: str
    fault: str
    play: Callable[[Scene], None]
    kills: Callable[[Size], int] = lambda _size: 0
    sent_again: str | None = None
    fails_as: str | None = None
    faults: str = ""
    speed: float = _SPEED
    span_s: tuple[float, float] = _SPAN_S
    settings: Mapping[str, str] = field(default_factory=dict)
    times: int = 1
    prompt: Callable[[int], str] = "say {}".format

    def sized(self, size: Size) -> Size:
        """The size of this cell where the usual one is *size*."""
        return Size(requests=size.requests * self.times, per_batch=size.per_batch, rejections=size.rejections)


def broken_promises(cell: Cell, scene: Scene, audit: Audit) -> list[str]:
    """What is not as promised, in words; empty if all is."""
    wanted_exits = [KILLED] * cell.kills(scene.size) + [0 if cell.fails_as is None else 1]
    again = 0 if cell.sent_again is None else audit.outcomes.get(cell.sent_again, 0)
    failed = audit.lines.get(cell.fails_as, 0) if cell.fails_as is not None else 0
    said = {
        f"{audit.billed_twice} billed twice": audit.billed_twice == 0,
        f"{audit.lost} without the line that they should have": audit.lost == 0,
        f"{audit.wrong} answers to another question": audit.wrong == 0,
        "the output is not in the order of the input": audit.in_order,
        f"{audit.accepted} accepted, {again} of them rightly a second time": audit.accepted
        == scene.size.requests + again,
        f"exit codes {scene.exits}, not {wanted_exits}": scene.exits == wanted_exits,
        "nothing was sent again": cell.sent_again is None or again > 0,
        "nothing failed": cell.fails_as is None or failed > 0,
    }
    return [*scene.flaws, *(words for words, holds in said.items() if not holds)]


# --- how each fault is played -----------------------------------------------------------------------------------------


def _play_drop(scene: Scene) -> None:
    scene.script("create", "drop_after_accept", scene.size.batches)
    scene.run()
    scene.must_have_met("create.drop_after_accept", scene.size.batches)


def _play_kill_post(scene: Scene) -> None:
    """The answer is held back, so that the kill comes between the two for certain; once for each batch."""
    scene.script("create", "hang_after_accept", scene.size.batches)
    for made in range(1, scene.size.batches + 1):
        scene.kill_when(_has_made(made))
    scene.run()
    scene.must_have_met("create.hang_after_accept", scene.size.batches)


def _has_made(batches: int) -> Callable[[Stats], bool]:
    return lambda stats: bool(stats.batches_created == batches)


def _has_stalled(times: int) -> Callable[[Stats], bool]:
    return lambda stats: bool(stats.faults_met.get("results.stall") == times)


def _play_kill_poll(scene: Scene) -> None:
    """Each POST asks the list once; three calls more are looks at batches that run."""
    batches = scene.size.batches
    scene.kill_when(lambda stats: stats.batches_created == batches and stats.calls["list"] >= batches + 3)
    scene.must("results" not in scene.api.stats().calls, "results were read before the kill")
    scene.run()


def _play_kill_ingest(scene: Scene) -> None:
    """A download stands still in the middle of a file, and the process is killed there; twice."""
    third = scene.size.batches // 3
    for _ in range(2):
        scene.script("results", "ok", third)
        scene.script("results", "stall", 1)
    for stalls in (1, 2):
        scene.kill_when(_has_stalled(stalls))
        stored = scene.status()["requests"]["succeeded"]
        scene.must(0 < stored < scene.size.requests, f"{stored} results were stored at kill {stalls}")
    scene.run()


def _play_404(scene: Scene) -> None:
    """The list is late, so that batches are asked for one by one: 404 twice; then 404 twice on the results."""
    for endpoint in ("retrieve", "results"):
        scene.script(endpoint, "404", 2)
    scene.run()
    for endpoint in ("retrieve", "results"):
        scene.must_have_met(f"{endpoint}.404", 2)


def _play_cut(scene: Scene) -> None:
    cuts = ("cut_clean", "cut_line", "cut_reset")
    for _ in range(scene.size.batches // 2):
        for cut in cuts:
            scene.script("results", cut, 1)
    scene.run()
    for cut in cuts:
        scene.must_have_met(f"results.{cut}", scene.size.batches // 2)


def _play_lose(scene: Scene) -> None:
    """Every twentieth line never comes: the fault is drawn from the params alone, and the rate picks so many."""
    losses = scene.size.requests // 20
    drawn = sorted(scene.digests.values())
    edge = (int(drawn[losses - 1][:8], 16) + int(drawn[losses][:8], 16)) / 2 / (1 << 32)
    scene.hidden = frozenset(drawn[:losses])
    scene.api.order("faults", faults={"missing": edge, "sticky": 1})
    began = _api_time(scene)
    scene.run()
    scene.must(_api_time(scene) - began >= timedelta(hours=24), "given up within a day of the API's time")
    downloads = scene.api.stats().calls["results"]
    scene.must(downloads >= 10 * scene.size.batches, f"given up after {downloads} downloads")
    told = [attention["kind"] for attention in scene.status()["attention"]]
    scene.must("missing_result" in told, "`status` does not tell of it")


def _api_time(scene: Scene) -> datetime:
    return scene.api.stats().now


def _play_odd_line_ends(scene: Scene) -> None:
    """The canned answers echo the prompts, raw: the characters are in the result lines as they are on the wire."""
    scene.run()
    scene.must(scene.raw_results().count("\u2028".encode()) == scene.size.requests, "U+2028 was not on the wire")


def _play_rejections(status: str) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        scene.script("create", status, scene.size.rejections)
        scene.run()
        scene.must_have_met(f"create.{status}", scene.size.rejections)

    return play


def _play_nothing_more(scene: Scene) -> None:
    scene.run()


def _once_a_batch(size: Size) -> int:
    return size.batches


ONE_UPLOAD: Final[Mapping[str, str]] = {"LIMITS__MAX_UPLOADS": "1"}

CELLS: Final = (
    Cell(
        name="drop",
        fault="the API accepts the POST, the connection is cut before the answer (every batch)",
        play=_play_drop,
    ),
    Cell(
        name="kill-post",
        fault="SIGKILL between accept and answer, then the same command again (every batch)",
        play=_play_kill_post,
        kills=_once_a_batch,
        settings=ONE_UPLOAD,
    ),
    Cell(
        name="kill-poll",
        fault="SIGKILL while the batches run, then the same command again",
        play=_play_kill_poll,
        kills=lambda _size: 1,
        span_s=(21_600, 25_200),
    ),
    Cell(
        name="kill-ingest",
        fault="SIGKILL while the results are read (five times as many requests), then the same command again, twice",
        play=_play_kill_ingest,
        kills=lambda _size: 2,
        settings={"LIMITS__MAX_DOWNLOADS": "1"},
        times=5,
    ),
    Cell(
        name="expired 30 %",
        fault="30 % of the requests expire",
        play=_play_nothing_more,
        sent_again="expired",
        faults="expire=.3",
    ),
    Cell(
        name="server-error 30 %",
        fault="30 % come back with `api_error`",
        play=_play_nothing_more,
        sent_again="errored",
        faults="error=.3",
    ),
    Cell(
        name="invalid 10 %",
        fault="10 % come back with `invalid_request_error`",
        play=_play_nothing_more,
        fails_as="invalid_request_error",
        faults="invalid=.1",
    ),
    Cell(
        name="404",
        fault="two 404s on a batch that exists, and two on its results",
        play=_play_404,
        faults="list_lag=1000",
        speed=360,
        span_s=(1200, 1500),
    ),
    Cell(
        name="cut",
        fault="downloads end early: at a line's end, inside a line, with a reset",
        play=_play_cut,
    ),
    Cell(
        name="lose50",
        fault="one result line in twenty never comes",
        play=_play_lose,
        fails_as="missing_result",
        speed=20_000,
        settings={"LIMITS__POLL_INTERVAL": "0.02s"},
    ),
    Cell(
        name="U+2028",
        fault="the answers contain U+2028 and U+0085",
        play=_play_odd_line_ends,
        prompt="say {} in \u2028 two \u0085 lines".format,
    ),
    Cell(
        name="529 x 6",
        fault="the POST is rejected with 529, six times",
        play=_play_rejections("529"),
    ),
    Cell(
        name="429 x 6",
        fault="the POST is rejected with 429, six times",
        play=_play_rejections("429"),
    ),
)
