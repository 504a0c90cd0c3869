"""The dispatcher of a fleet: spells of work with the queue, one after the other, for as long as the daemon lives."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from typing_extensions import override

from orchestrator.domain.errors import StoreUnreachable, first_of
from orchestrator.fleet.fleet_chores import Chores
from orchestrator.fleet.fleet_session import FleetLimits, FleetSession, Working, happens
from orchestrator.fleet.fleet_view import held_units
from orchestrator.fleet.queue_pool import FleetDatabase, in_our_words
from orchestrator.ports.dispatch import Dispatcher, Held, Units

#: After a spell that the database ended.
_AGAIN: Final = timedelta(seconds=1)


class FleetDispatcher(Dispatcher):
    """Shares the units of an engine with every other daemon on *database*. name: ours, for the server's own lists."""

    def __init__(self, database: FleetDatabase, name: str, limits: FleetLimits, chores: Chores) -> None:
        self._database = database
        self._name = f"orchestrator {name}"
        self._limits = limits
        self._chores = chores
        self._working = Working()

    @override
    async def run(self, units: Units, stop: asyncio.Event) -> None:
        """Work until *stop*; ends early for what no other spell would mend: lost commits, a newer schema.

        At *stop* the stages are handed on at once, and what is being sent gets 30 s.
        """
        leaving = asyncio.Event()
        stopping = asyncio.ensure_future(_pass_on(stop, leaving))
        try:
            async with asyncio.TaskGroup() as group:
                own = [group.create_task(units.hold(name, None, leaving), name=name) for name in units.own]
                await self._spells(group, units, leaving)
                for task in own:
                    task.cancel()
        except BaseExceptionGroup as failed:
            raise first_of(failed) from failed
        finally:
            stopping.cancel()
        if self._working.fatal is not None:
            raise self._working.fatal

    async def _spells(self, group: asyncio.TaskGroup, units: Units, leaving: asyncio.Event) -> None:
        """Begin a spell whenever the last one is over, though what it had in hand may go on."""
        while not leaving.is_set():
            over = asyncio.Event()
            group.create_task(self._spell(units, leaving, over))
            await over.wait()
            await happens(leaving, _AGAIN)

    async def _spell(self, units: Units, leaving: asyncio.Event, over: asyncio.Event) -> None:
        try:
            with in_our_words():
                async with self._database.pool(self._name) as pool:
                    spell = FleetSession(pool, units, self._limits, self._working, leaving=leaving, over=over)
                    await self._chores.begin(pool, spell)
                    self._working.find_database()
                    await spell.run(self._chores.beat(pool, spell))
                    if leaving.is_set():
                        await self._chores.leave(pool)
        except StoreUnreachable as exc:
            self._working.miss_database(exc.cause)
        finally:
            over.set()

    @override
    async def holders(self) -> Sequence[Held]:
        with in_our_words():
            async with self._database.pool(self._name, most=1) as pool:
                return await held_units(pool)

    @property
    def trouble(self) -> str | None:
        """As `Chores.trouble`."""
        return self._chores.trouble

    @property
    def taken_over(self) -> int:
        """How many units this daemon was given because their holder was silent."""
        return self._working.taken_over


async def _pass_on(stop: asyncio.Event, leaving: asyncio.Event) -> None:
    await stop.wait()
    leaving.set()
