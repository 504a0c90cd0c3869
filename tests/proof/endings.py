"""T14 and T15: what ends a process beside `kill -9`: signals, and a task of the engine that dies.

Nothing in the program is bent for it. A task dies because the test added a trigger to the store's file that refuses
what this task writes: an IntegrityError, which the program takes for a bug of its own.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Final

from orchestrator.config import default_socket_path
from orchestrator.domain.errors import StoreOwned
from orchestrator.store.ownership import Lock
from proof.campaign import Broken, Campaign, Life, campaign, until, violation
from proof.tally import Tally

__all__ = ["dead_tasks", "signals"]

INT, TERM, HUP, STOP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGSTOP
SERVE: Final = ("serve", "-q")
_PER_BATCH: Final = 50


# --- T14 ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """A way to end a command that works (default: `run`). codes: it may end with them; SIGSTOP: then SIGTERM."""

    arguments: Sequence[str] = ()
    numbers: Sequence[signal.Signals]
    codes: frozenset[int]

    def __str__(self) -> str:
        name = self.arguments[0] if self.arguments else "run"
        return f"{name}: {' '.join(number.name for number in self.numbers)}"


#: README, exit codes; `serve --help`: Ctrl-C and SIGTERM end the daemon with 0. A hang-up is a crash like any
#: other, but to a daemon that has begun to work it means: read the settings again.
_WAYS: Final = (
    _Way(numbers=(INT,), codes=frozenset({130})),
    _Way(arguments=SERVE, numbers=(TERM,), codes=frozenset({0})),
    _Way(numbers=(TERM,), codes=frozenset({143})),
    _Way(arguments=SERVE, numbers=(INT,), codes=frozenset({0})),
    _Way(numbers=(INT, INT), codes=frozenset({130})),
    _Way(arguments=SERVE, numbers=(INT, INT), codes=frozenset({0, 130})),
    _Way(numbers=(HUP,), codes=frozenset({-HUP})),
    _Way(arguments=SERVE, numbers=(HUP, TERM), codes=frozenset({0, -HUP})),
    _Way(numbers=(STOP,), codes=frozenset({143})),
    _Way(arguments=SERVE, numbers=(STOP,), codes=frozenset({0})),
)


def signals(*, count: int = len(_WAYS), seed: int = 14) -> Tally:
    """T14: signals at random moments of a working `run` and a working `serve`, each way in turn, on one store."""
    began = time.monotonic()
    facts: Counter[str] = Counter()
    found = violation(lambda: _signalled_run(count, seed, facts), __name__, f"signals(count={count}, seed={seed})")
    seconds = time.monotonic() - began
    return Tally(test="T14 signals", unit="signals", trials=count, violations=found, seconds=seconds, facts=dict(facts))


def _signalled_run(count: int, seed: int, facts: Counter[str]) -> None:
    chance = random.Random(seed)
    settings = {
        "BATCHING__MAX_REQUESTS": str(_PER_BATCH),
        "LIMITS__MAX_IN_FLIGHT_REQUESTS": str(2 * _PER_BATCH),
    }
    with campaign(count * 8 * _PER_BATCH, settings, batch_seconds=[1200, 3600]) as lives:
        for way in islice(cycle(_WAYS), count):
            with lives.life(*way.arguments) as life:
                lives.until_it_works(life)
                if life.ends_within(chance.uniform(0, 0.5)):
                    raise Broken(f"{way}: it was done before the signal, with {life.end()}: {life.err}")
                _signal(way, lives, life)
            _is_free(lives.db)
            lives.check_store()
            facts[str(way)] += 1
        lives.finish(BATCHING__MAX_REQUESTS="1000")


def _signal(way: _Way, lives: Campaign, life: Life) -> None:
    """Send what *way* says, and look at the end. Raises Broken."""
    for number in way.numbers:
        life.send(number)
    if STOP in way.numbers:
        _sleep_a_while(lives, life)
    code = life.end(within_s=30)
    if code not in way.codes:
        raise Broken(f"{way}: it ended with {code}: {life.err}")
    words = "nothing is lost or sent twice\n" + ("" if way.arguments else "to go on: orchestrator run ")
    if code > 0 and words not in life.err:
        raise Broken(f"{way}: its last words do not say how to go on: {life.err}")


def _sleep_a_while(lives: Campaign, life: Life) -> None:
    """An hour passes at the API while the process is stopped; then it goes on by itself, and is told to end."""
    began = lives.api.stats().now
    until(lambda: (lives.api.stats().now - began).total_seconds() > 3600, "time passes at the API")
    life.send(signal.SIGCONT)
    lives.until_it_works(life)
    life.send(TERM)


def _is_free(db: Path) -> None:
    """Nobody owns the store any more. Raises Broken."""
    try:
        Lock.take(db).release()
    except StoreOwned:
        raise Broken("the process is gone, and its store is owned still") from None


# --- T15 ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blow:
    """What strikes a task: a trigger, by the statement it meets."""

    task: str
    meets: str


#: In the order in which one job meets them. Every task of the engine but `probe`, which writes every five minutes only.
_BLOWS: Final = (
    _Blow(task="plan", meets="INSERT ON batch"),
    _Blow(task="upload, intent", meets="UPDATE OF state ON batch WHEN NEW.state = 'submitting'"),
    _Blow(
        task="upload, answer",
        meets="UPDATE OF state ON batch WHEN OLD.state = 'submitting' AND NEW.state = 'in_progress'",
    ),
    _Blow(task="recover", meets="UPDATE OF state ON batch WHEN OLD.state = 'submitting' AND NEW.state = 'in_doubt'"),
    _Blow(task="doubt, wait", meets="UPDATE OF doubt_until ON batch"),
    _Blow(task="doubt, proof", meets="UPDATE OF state ON batch WHEN OLD.state = 'in_doubt'"),
    _Blow(task="poll", meets="UPDATE OF state ON batch WHEN NEW.state = 'ended'"),
    _Blow(task="download", meets="INSERT ON result"),
    _Blow(task="download, end", meets="UPDATE OF collected ON batch"),
    _Blow(task="settle", meets="UPDATE OF state ON batch WHEN NEW.state = 'settled'"),
    _Blow(task="settle, job", meets="UPDATE OF state ON job WHEN NEW.state = 'finished'"),
)
_SWEEP: Final = _Blow(task="sweep", meets="UPDATE OF swept ON batch")
_TO_SWEEP: Final = "SELECT count(*) FROM batch WHERE state = 'void' AND swept = 0"


def dead_tasks(*, rounds: int = 1, seed: int = 15) -> Tally:
    """T15: each task of the engine dies once in each round, in `run` or in `serve`; the process must die of it."""
    began = time.monotonic()
    facts: Counter[str] = Counter()
    chance = random.Random(seed)
    found: tuple[str, ...] = ()
    for _ in range(rounds):
        found += violation(lambda: _blows(chance, facts), __name__, f"dead_tasks(rounds={rounds}, seed={seed})")
    return Tally(
        test="T15 a dead task ends the process",
        unit="dead tasks",
        trials=rounds * (len(_BLOWS) + 2),
        violations=found,
        seconds=time.monotonic() - began,
        facts=dict(facts),
    )


def _blows(chance: random.Random, facts: Counter[str]) -> None:
    with campaign(3 * _PER_BATCH, {"BATCHING__MAX_REQUESTS": str(_PER_BATCH)}, batch_seconds=[600, 1200]) as lives:
        with lives.life("submit", str(lives.source), "-q") as life:
            if life.end() != 0:
                raise Broken(f"submit failed: {life.err}")
        _no_socket(lives, chance)
        facts["socket"] += 1
        lives.api.order("script", endpoint="create", fault="500")  # one batch will be void: the sweep looks for it
        for blow in _BLOWS:
            _strike(blow, lives, chance.choice(((), SERVE)))
            facts[blow.task] += 1
        lives.finish()
        _sweep(lives)
        facts[_SWEEP.task] += 1


def _strike(blow: _Blow, lives: Campaign, arguments: Sequence[str]) -> None:
    """A life whose task dies: it must end within seconds, by itself, with a word for a person. Raises Broken."""
    _write(lives.db, f"CREATE TRIGGER blow BEFORE {blow.meets} BEGIN SELECT raise(ABORT, 'a blow to {blow.task}'); END")
    with lives.life(*arguments) as life:
        code = life.end(within_s=60)
        said = f"error: internal error: IntegrityError: a blow to {blow.task}\n"
        if code != 70 or said not in life.err:
            raise Broken(f"{blow.task} died, and the process ended with {code}: {life.err}")
    _write(lives.db, "DROP TRIGGER blow")
    _is_free(lives.db)
    lives.check_store()


def _no_socket(lives: Campaign, chance: random.Random) -> None:
    """The server of the socket cannot start: something else has its name. Raises Broken."""
    path = default_socket_path(lives.db, lives.env())
    path.touch()
    with lives.life(*chance.choice(((), SERVE))) as life:
        code = life.end(within_s=60)
        if code != 8 or "cannot be made" not in life.err:
            raise Broken(f"there was no socket, and the process ended with {code}: {life.err}")
    path.unlink()
    _is_free(lives.db)


def _sweep(lives: Campaign) -> None:
    """A day later the sweep lets go of a void batch, and dies of it; the next engine does it."""
    lives.api.order("advance", seconds=26 * 3600)
    _strike(_SWEEP, lives, SERVE)
    with lives.life(*SERVE) as life:
        until(lambda: life.is_over or lives.count(_TO_SWEEP) == 0, "the void batch is let go")
        life.send(TERM)
        if life.end() != 0:
            raise Broken(f"the last engine ended badly: {life.err}")
    lives.check_store()
    lives.audit()


def _write(db: Path, statement: str) -> None:
    """Change the store's file while no engine has it, holding its lock as an owner would."""
    with Lock.take(db), closing(sqlite3.connect(db)) as connection:
        connection.execute(statement)
        connection.commit()
