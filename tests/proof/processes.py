"""T10 and T11: real processes under SIGKILL, at random moments and exactly inside the six windows around the POST.

The API runs in a process of its own and keeps its own books; they are the judge. Each driver gives a `Tally`; the
other drivers of real processes are in `proof.endings`, those of cancelled tasks in `proof.cancellations`.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from support.forked import IS_FRESH
from support.postgres import PostgresServer, brief_server
from support.windows import Window

from proof.campaign import KNOWN, Broken, Campaign, Life, campaign, until, violation
from proof.tally import Tally, suffix

__all__ = ["random_kills", "six_windows", "with_server"]

_KILLS_PER_RUN: Final = 25
#: Seconds after its start within which a life is killed: the first of them are imports, unless it is forked.
_FROM_THE_START: Final = (0.1, 1.5) if IS_FRESH else (0.0, 0.6)
_PER_BATCH: Final = 50
#: Twice as many as a life settles on a machine with nothing else to do: no run may end before its last kill.
_BATCHES_PER_KILL: Final = 4

AROUND_THE_POST: Final = [window for window in Window if window is not Window.RESULTS]
#: How long a life has once it calls the API; on a server it first waits for what the last one had in hand.
_LIVES_S: Final = {"sqlite": 0.8, "postgres": 2.4}
_ROUNDS_PER_RUN: Final = 3
_LARGE: Final = 9_600  #: requests whose results are stored in two writes: more than 4 MiB
_HOLD_AT: Final = 4_800_000
_UNCLEAR: Final = "SELECT count(*) FROM batch WHERE state IN ('submitting', 'in_doubt')"
_NEWEST: Final = "SELECT state FROM batch ORDER BY id DESC LIMIT 1"
_STORED: Final = "SELECT count(*) FROM result"
_ENDED: Final = "SELECT count(*) FROM batch WHERE state = 'ended' AND collected = 0"

#: One run on a store of its own; notes figures in the counter.
Run = Callable[[Counter[str]], None]


def random_kills(*, kills: int = 50, seed: int = 7, lanes: int = 2, server: PostgresServer | None = None) -> Tally:
    """T10: `kill -9` at random moments of `run`; in every other run the API loses a fifth of its answers as well.

    lanes: how many runs, each with a store and an API of its own, go side by side. server: where the stores lie.
    """
    sizes = _split(kills, _KILLS_PER_RUN, lanes)
    runs = [
        partial(_killed_run, size, f"{seed}/{number}", number % 2 == 1, server) for number, size in enumerate(sizes)
    ]
    title = f"T10 kill -9 at random{suffix(server)}"
    return _tally(title, kills, runs, lanes, _replay(f"random_kills(kills={kills}, seed={seed}", server))


def six_windows(*, rounds: int = 3, seed: int = 11, lanes: int = 2, server: PostgresServer | None = None) -> Tally:
    """T11: each round kills once exactly inside each of the six windows around the POST; the API does the killing."""
    sizes = _split(rounds, _ROUNDS_PER_RUN, lanes)
    runs: list[Run] = [partial(_post_run, size, f"{seed}/{number}", server) for number, size in enumerate(sizes)]
    runs += [partial(_results_run, size, server) for size in _split(rounds, _KILLS_PER_RUN, 1)]
    trials = rounds * len(Window)
    replay = _replay(f"six_windows(rounds={rounds}, seed={seed}", server)
    return _tally(f"T11 kill -9 inside the six windows{suffix(server)}", trials, runs, lanes, replay)


def _replay(call: str, server: PostgresServer | None) -> str:
    return f"{call})" if server is None else f"with_server(lambda server: {call}, server=server))"


def with_server(run: Callable[[PostgresServer], Tally]) -> Tally:
    """*run* with a server of its own."""
    with brief_server() as server:
        return run(server)


def _split(total: int, most: int, lanes: int) -> list[int]:
    """*total* in parts of at most *most*, and as even as can be over *lanes*."""
    parts = max(-(-total // most), min(lanes, total))
    return [total // parts + (number < total % parts) for number in range(parts)]


def _tally(test: str, trials: int, runs: Sequence[Run], lanes: int, replay: str) -> Tally:
    began = time.monotonic()
    notes: list[Counter[str]] = [Counter() for _ in runs]
    with ThreadPoolExecutor(lanes) as pool:
        found = list(pool.map(lambda run, note: violation(partial(run, note), __name__, replay), runs, notes))
    return Tally(
        test=test,
        unit="kills",
        trials=trials,
        violations=tuple(sentence for sentences in found for sentence in sentences),
        seconds=time.monotonic() - began,
        facts=dict(sum(notes, Counter())),
    )


# --- T10 ------------------------------------------------------------------------------------------------------------


def _killed_run(kills: int, seed: str, loses_answers: bool, server: PostgresServer | None, facts: Counter[str]) -> None:
    chance = random.Random(seed)
    settings = {
        "BATCHING__MAX_REQUESTS": str(_PER_BATCH),
        "LIMITS__MAX_IN_FLIGHT_REQUESTS": str(2 * _PER_BATCH),
    }
    faults = "drop_after_accept=.2" if loses_answers else ""
    batches = kills * _BATCHES_PER_KILL
    api = {"batch_seconds": [1200, 3600], "faults": faults, "latency_s": 0.4}  # a kill often meets a POST under way
    with campaign(batches * _PER_BATCH, settings, server=server, **api) as lives:
        for kill in range(kills):
            with lives.life() as life:
                _kill_at_random(lives, life, chance, kill, _LIVES_S["sqlite" if server is None else "postgres"])
        lives.check_store()
        _note_events(lives, facts)
        lives.finish()
        if lives.count(KNOWN) != batches:
            raise Broken(f"{lives.count(KNOWN)} batches were bought for the work of {batches}")


def _kill_at_random(lives: Campaign, life: Life, chance: random.Random, kill: int, lives_s: float) -> None:
    """Every third time from the start on, in recovery and intake too; else some time after it began to call the API.

    lives_s: that time, at most.
    """
    moment = chance.uniform(*_FROM_THE_START)
    if kill % 3:
        lives.until_it_works(life)
        moment = chance.uniform(0, lives_s)
    if life.ends_within(moment):
        raise Broken(f"it was done before kill {kill + 1}, with {life.end()}: {life.err}")
    life.send(signal.SIGKILL)
    if life.end() != -signal.SIGKILL:
        raise Broken(f"it ended by itself just before kill {kill + 1}: {life.err}")


def _note_events(lives: Campaign, facts: Counter[str]) -> None:
    """How often batches came into the states that matter while lives were killed."""
    for state, times in lives.rows("SELECT new, count(*) FROM event WHERE kind = 'batch.moved' GROUP BY new"):
        facts[f"batches {state}"] += times


# --- T11 ------------------------------------------------------------------------------------------------------------


def _post_run(rounds: int, seed: str, server: PostgresServer | None, facts: Counter[str]) -> None:
    """The windows around the POST. One batch is on its way at a time, so what lies in a window is known."""
    chance = random.Random(seed)
    settings = {
        "BATCHING__MAX_REQUESTS": str(_PER_BATCH),
        "LIMITS__MAX_IN_FLIGHT_REQUESTS": str(_PER_BATCH),
        "LIMITS__MAX_UPLOADS": "1",
    }
    with campaign(rounds * 20 * _PER_BATCH, settings, server=server, batch_seconds=[600, 1200]) as lives:
        for _ in range(rounds):
            for window in chance.sample(AROUND_THE_POST, k=len(AROUND_THE_POST)):
                with lives.life() as life:
                    until(lambda: life.is_over or lives.count(_UNCLEAR) == 0, "the last life's doubt is resolved")
                    lives.api.arm(window, life.pid)
                    _die(window, lives, life)
                _check_post(window, lives)
                facts[window.value] += 1
        _note_events(lives, facts)
        lives.finish(BATCHING__MAX_REQUESTS=str(_LARGE))


def _results_run(rounds: int, server: PostgresServer | None, facts: Counter[str]) -> None:
    """One large batch, whose download is cut again and again after a part of it was stored."""
    settings = {"BATCHING__MAX_REQUESTS": str(_LARGE)}
    with campaign(_LARGE, settings, server=server, batch_seconds=[600, 1200]) as lives:
        for _ in range(rounds):
            with lives.life() as life:
                lives.api.arm(Window.RESULTS, life.pid, hold_at=_HOLD_AT)
                until(lambda: life.is_over or lives.api.strike()["held"], "the result file is on its way")
                until(lambda: life.is_over or lives.count(_STORED) > 0, "a part of it is stored")
                lives.api.go()
                _die(Window.RESULTS, lives, life)
            stored, ended = lives.count(_STORED), lives.count(_ENDED)
            if ended != 1 or not 0 < stored < _LARGE:
                raise Broken(f"killed {Window.RESULTS}: {stored} of {_LARGE} results stored, {ended} batches ended")
            facts[Window.RESULTS.value] += 1
        lives.finish()


def _die(window: Window, lives: Campaign, life: Life) -> None:
    """Wait until it was killed, and until the API is through with that exchange. Raises Broken."""
    code = life.end()
    if code != -signal.SIGKILL:
        raise Broken(f"it ended with {code} before it was killed {window}: {life.err}")
    until(lambda: lives.api.strike()["over"], "the exchange is over at the API's side")
    lives.check_store()


def _check_post(window: Window, lives: Campaign) -> None:
    """The store stands where this window implies, and the API has the batch or has not. Raises Broken."""
    state = lives.rows(_NEWEST)[0][0]
    if state != ("planned" if window is Window.CURSOR else "submitting"):
        raise Broken(f"killed {window}: the batch is {state}")
    unknown = lives.api.stats().batches_created - lives.count(KNOWN)
    if unknown != (0 if window in {Window.CURSOR, Window.INTENT} else 1):
        raise Broken(f"killed {window}: the API has {unknown} batches that the store does not know")
