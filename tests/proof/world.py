"""One simulated world: the real daemon on virtual time, the sandbox as the API and as the ground truth, and the judge.

The engine, its store and its provider code are put together by `orchestrator.daemon.running_engine`, as in the program;
only clock, chance, network, lock and the thread of SQLite are the simulation's (`daemon.Runtime`).
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import anthropic  # noqa: F401 - loaded now: no life of a world must be the first to load it
from support.postgres import PostgresServer
from support.stores import make_schema

from orchestrator.config import Settings, money_sections, sections, store_sections, table_sections
from orchestrator.config.loading import DEFAULT
from orchestrator.config.token_section import TOKENS
from orchestrator.config.webhook_section import WEBHOOKS
from orchestrator.domain.budgets import Scope
from orchestrator.prices import package_prices
from orchestrator.sandbox import Machine, MachineSettings, Sandbox, ScaledClock
from orchestrator.sandbox.router import Router
from proof.chronicle import Cell, Chronicle
from proof.deaths import NEVER, Death, drawn
from proof.ledger import REFUSALS
from proof.lives import START, Lives
from proof.loop import SimLoop, run
from proof.mischief import Mischief
from proof.network import Internet
from proof.oracle import Oracle, Terms
from proof.people import People
from proof.plan import NotingPlan
from proof.profiles import Profile
from proof.shelf import FileShelf, ServerShelf, Shelf, looking
from proof.worst import Board, Frost, WorstDispatcher

package_prices.installed()  # likewise: the first life would wait for a thread that loads them, and the next would not

KEY: Final = "sk-ant-CANARY-0123456789abcdef"
#: Everything must have settled so long after faults stop (I6): 24 hours until what is stuck expires, or what nobody can
#: read is put before a person; then the wait for what may still be listed, and another batch.
SETTLES_WITHIN_S: Final = 30 * 3600.0
_SWEEP_S: Final = 26 * 3600.0
_CALM_IDLE: Final = 3600.0
#: About what a request of these worlds can cost at most: some 80 bytes, and 64 tokens of answer.
_WORST_NANOS: Final = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one world. steps: callbacks of each life, in order. settle_s: virtual, after faults stopped.

    batches: at the API, of ours; duplicates: those of them that are not any batch of the store.
    """

    profile: str
    seed: int
    violations: tuple[str, ...]
    trace: str
    crashes: int
    posts: int
    commits: int
    snapshots: int
    requests: int
    steps: tuple[int, ...]
    virtual_s: float
    settle_s: float
    duplicates: int
    batches: int
    cells: Counter[Cell]


class World:
    """See the module. *deaths*: how each life ends; default: drawn from the seed. *tell*: where a replay prints.

    *url*: the empty database that the store lies in; None: it is a file.
    """

    def __init__(
        self,
        profile: Profile,
        seed: int,
        folder: Path,
        *,
        deaths: Iterator[Death] | None = None,
        tell: Callable[[str], None] | None = None,
        url: str | None = None,
    ) -> None:
        self.profile = profile
        self.seed = seed
        self.loop = SimLoop()
        self.chronicle = Chronicle(self.loop.time, tell=tell)
        self._folder = folder
        self._chance = random.Random(f"{profile.name}/{seed}")
        self._deaths = (
            iter(partial(drawn, self._chance, 1 if profile.engines == 1 else 6), None) if deaths is None else deaths
        )
        self._url = url
        self._shelf: Shelf = FileShelf(folder / "store.db") if url is None else ServerShelf(url)
        self._api_clock = ScaledClock(1.0, start=START, monotonic=self.loop.time)
        self.machine = self._machine()
        self.oracle = Oracle(self._shelf, self.machine, engines=profile.engines)
        if profile.engines > 1:
            self.oracle.window = profile.window
        self.chronicle.states = self.oracle.present
        self._net = self._internet()
        wishes = profile.wishes(self._chance, seed)
        for wish in wishes if profile.caps else ():
            wish.cap = int(wish.count * _WORST_NANOS * self._chance.choice(profile.caps))
        for wish in wishes if profile.pilots else ():
            wish.pilot, wish.goes_on = self._chance.choice(profile.pilots), self._chance.random() < 0.3
            if self._chance.random() < 0.4:
                wish.pilot, wish.limit = None, wish.pilot
        worst = sum(wish.count for wish in wishes) * _WORST_NANOS
        budgets = {
            scope: int(worst * self._chance.choice(profile.budgets))
            for scope in ((Scope.DAY, Scope.TOTAL) if profile.budgets else ())
        }
        self._people = People(
            wishes=wishes, chance=self._chance, moods=profile.moods, is_ours=self._is_ours, budgets=budgets
        )
        self.lives = self._the_lives()
        self._mischief = self._the_mischief()
        self._board = Board(
            shelf=self._shelf,
            chance=self._chance,
            note=self.chronicle.note,
            is_well=lambda one: one in self.lives.standing,
        )
        self._frost = self._the_frost() if profile.engines > 1 else None
        self.loop.after_step = self.lives.after_step

    async def course(self) -> Outcome:
        """Lives that are killed while things go wrong; then calm, and a last life that must settle everything."""
        reigns = [self.loop.spawn(self._mischief.reign(), 0, "mischief")]
        if self._frost is not None or self._url is not None:
            await self.lives.make_store()
        if self._frost is not None:
            reigns.append(self.loop.spawn(self._frost.reign(), 0, "frost"))
        deadline = self.loop.time() + self.profile.faults_s
        done = all(await self._side_by_side(partial(self._die, deadline)))
        for reign in reigns:
            reign.cancel()
            with suppress(asyncio.CancelledError):
                await reign
        if self.profile.must_settle and not done:
            self.oracle.blame("I6", f"not settled in {self.chronicle.crashes} lives of {self.profile.every_s:.0f} s")
        settle_s = await self._calm()
        self._judge()
        return self._outcome(settle_s)

    async def _side_by_side(self, lane: Callable[[], Coroutine[Any, Any, bool]]) -> list[bool]:
        """The course of every engine: of the only one, or of several on one store."""
        if self.profile.engines == 1:
            return [await lane()]
        return list(await asyncio.gather(*(lane() for _ in range(self.profile.engines))))

    async def _die(self, deadline: float) -> bool:
        """One engine's lives, one after the other. True if everything is over."""
        done = False
        while not done and self.chronicle.crashes < self.profile.crashes and self.loop.time() < deadline:
            death = next(self._deaths, NEVER)
            done = await self.lives.live(death, until=min(deadline, self.loop.time() + self.profile.every_s))
            await asyncio.sleep(self._chance.choice(self.profile.down_s) * self._chance.random())
        return done

    async def _calm(self) -> float:
        """Faults stop. Returns how long it took until everything was settled."""
        self._mischief.calm(late=self.profile.late)
        self._people.calm = self._board.calm = True
        self.lives.clocks_are_wrong = False
        self.lives.restores = 0.0
        self.lives.idle = _CALM_IDLE
        self.chronicle.mark("calm")
        began = self.loop.time()
        if not all(await self._side_by_side(partial(self.lives.live, NEVER, until=began + SETTLES_WITHIN_S))):
            self.oracle.blame("I6", f"not settled {SETTLES_WITHIN_S / 3600:.0f} h after faults stopped")
        settle_s = self.loop.time() - began
        if self.profile.late:
            await self.lives.live(NEVER, until=self.loop.time() + _SWEEP_S, stay=True)
        return settle_s

    def _judge(self) -> None:
        handed = [wish.handed() for wish in self._people.wishes]
        late = self.profile.late
        terms = Terms(
            attempts=self.lives.settings.retry.max_attempts,
            deleted=self._mischief.deleted,
            refused={REFUSALS[fault] for fault, _ in self.chronicle.cells if fault in REFUSALS},
            twice_allowed=late,
        )
        self.oracle.at_the_end(handed, terms)
        self.oracle.check_bounds(self.loop.time())
        if self.profile.caps or self.profile.budgets:
            self.oracle.check_spent()
        if self.profile.is_primed:
            self.oracle.check_priming(handed)
        bought, reported = self._duplicates()
        if bought != reported or (bought and not late):
            self.oracle.blame("I2", f"{bought} batches were bought twice, {reported} are reported")
        for name in self._shelf.holding(KEY):
            self.oracle.blame("I7", f"the key is in {name}")

    def _duplicates(self) -> tuple[int, int]:
        """(batches of ours beside those that count, by the API's books; the store's own count of them)."""
        with looking(self._shelf) as c:
            known = {row[0] for row in c.execute("SELECT remote_id FROM batch WHERE remote_id IS NOT NULL")}
            reported = c.execute("SELECT duplicates_total FROM meta").fetchone()[0]
        made = {row.batch_id for row in self.machine.ledger()}
        return len(made - known), reported

    def _outcome(self, settle_s: float) -> Outcome:
        story = self.chronicle
        return Outcome(
            profile=self.profile.name,
            seed=self.seed,
            violations=tuple(self.oracle.violations),
            trace=story.trace(),
            crashes=story.crashes,
            posts=story.posts,
            commits=story.commits,
            snapshots=self.oracle.snapshots,
            requests=sum(wish.count for wish in self._people.wishes),
            steps=tuple(self.loop.steps[life] for life in range(1, self.lives.number + 1)),
            virtual_s=self.loop.time(),
            settle_s=settle_s,
            duplicates=self._duplicates()[0],
            batches=self.machine.batches_created,
            cells=story.cells,
        )

    # --- the parts ------------------------------------------------------------------------------------------------

    def _machine(self) -> Machine:
        shortest = self._chance.choice(self.profile.batch_s)
        lasts = (shortest, shortest * self._chance.choice((1, 3, 10)))
        plan = NotingPlan(self.chronicle.note, self.seed)
        settings = MachineSettings(batch_seconds=lasts, cancel_seconds=self._chance.choice(self.profile.cancel_s))
        return Machine(now=self._api_clock.now, seed=self.seed, settings=settings, plan=plan)

    def _internet(self) -> Internet:
        router = Router(self.machine, self._api_clock)
        net = Internet(
            loop=self.loop,
            sandbox=Sandbox(machine=self.machine, clock=self._api_clock, router=router, journal=None),
            chance=self._chance,
            on_body=self._create_comes,
            on_defect=partial(self.oracle.blame, "I13"),
            on_event=lambda process, what: self.lives.happens(process, what),  # noqa: PLW0108 - it comes later
        )
        net.pace.acting = self._chance.choice(self.profile.acting_s)
        return net

    def _the_lives(self) -> Lives:
        per_batch = self._chance.choice(self.profile.per_batch)
        (self._folder / "key").write_text(KEY)
        (self._folder / "key").chmod(0o600)
        return Lives(
            loop=self.loop,
            net=self._net,
            oracle=self.oracle,
            people=self._people,
            chronicle=self.chronicle,
            chance=self._chance,
            settings=_settings(
                self._folder, per_batch, self.profile.window, self._chance.random() < self.profile.deletes, self._url
            ),
            idle=self.profile.idle,
            clocks_are_wrong=self.profile.clocks_are_wrong,
            restores=self.profile.restores,
            secret=f"{self.profile.name} {self.seed}",
        )

    def _the_mischief(self) -> Mischief:
        per_batch = self.lives.settings.batching.max_requests or 1
        sizes = {per_batch, *(wish.count for wish in self._people.wishes if wish.count <= per_batch)}
        return Mischief(
            machine=self.machine,
            clock=self._api_clock,
            chance=self._chance,
            note=self.chronicle.note,
            ours=self._ours,
            fill_disk=self.lives.fill_disk,
            acting=lambda: self._net.acting,
            lags=self.profile.lags,
            accepted_rate=self.profile.accepted_rate,
            odd=self.profile.odd,
            spoils=self.profile.spoils,
            twin_sizes=sorted(sizes),
            kinds=self.profile.kinds,
        )

    def _the_frost(self) -> Frost:
        frost = Frost(lives=self.lives, chance=self._chance)
        self.lives.shares = partial(WorstDispatcher, self._board)
        self.lives.on_event = frost.happens
        self._net.kernel_sends = True
        return frost

    def _create_comes(self) -> Callable[[bytes], bool]:
        self.chronicle.posts += 1
        return partial(self.oracle.body_arrives, intents=self.oracle.intents())

    def _is_ours(self, remote: str, batch: int | None) -> bool:
        """True if *remote* carries the nonce of our *batch*; None: of any batch of ours."""
        if batch is None:
            return not self.machine._by_id[remote].foreign
        with looking(self._shelf) as c:
            nonce = c.execute("SELECT nonce FROM batch WHERE id = ?", (batch,)).fetchone()[0]
        return any(row.custom_id.startswith(f"{nonce}-") for row in self.machine._by_id[remote].rows())

    def _ours(self) -> list[str]:
        """The remote ids that the store knows and that are not settled."""
        if self.lives.number == 0 or not self._shelf.has_store:
            return []
        query = "SELECT remote_id FROM batch WHERE state IN ('in_progress', 'canceling', 'ended') ORDER BY id"
        with looking(self._shelf) as c:
            return [row[0] for row in c.execute(query)]


def run_world(
    profile: Profile,
    seed: int,
    *,
    deaths: Iterator[Death] | None = None,
    tell: Callable[[str], None] | None = None,
    server: PostgresServer | None = None,
) -> Outcome:
    """Run one world from its seed to its end. One seed gives one trace.

    server: the store lies there, in a database of its own; None: it is a file.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="world-", dir=_ram_disk()))
        url = None
        if server is not None:
            url = server.new_database(server.template("world", make_schema))
            stack.callback(server.drop, url)
        world = World(profile, seed, Path(folder), deaths=deaths, tell=tell, url=url)
        return run(world.loop, world.course())


def _settings(folder: Path, per_batch: int, window: int, deletes: bool, url: str | None) -> Settings:
    return Settings(
        api=sections.ApiSection(
            base_url="http://127.0.0.1:9",
            key_file=folder / "key",
            timeout=timedelta(seconds=90),
            delete_after_collect=deletes,
        ),
        database=store_sections.DatabaseSection(path=folder / "store.db", url=url),
        fleet=store_sections.FleetSection(),
        batching=sections.BatchingSection(max_requests=per_batch),
        limits=sections.LimitsSection(max_uploads=2, max_downloads=2, max_in_flight_batches=window),
        retry=sections.RetrySection(max_attempts=4),
        prices=money_sections.PricesSection(),
        budget=money_sections.BudgetSection(),
        cache=money_sections.CacheSection(),
        defaults=table_sections.DefaultsSection(),
        server=sections.ServerSection(),
        sandbox=sections.SandboxSection(),
        log=sections.LogSection(),
        telemetry=sections.TelemetrySection(),
        webhooks=(),
        origins=dict.fromkeys([*sections.KEYS, WEBHOOKS, TOKENS], DEFAULT),
    )


def _ram_disk() -> str | None:
    """Where fsync costs nothing, if there is such a place: worlds prove the order of things, not disks."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a private folder is made in it
