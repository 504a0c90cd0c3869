"""The way to an engine: the one in this process, or the one in the process that owns the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from orchestrator.ports.engine import Commands, EngineHealth, NoticeCommands, OpenJobs
from orchestrator.ports.reads import Reads, RemoteReader

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.daemon import Engine

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What handles work through. `bulk` reads many rows without delaying a look; `engine`: None if it is elsewhere."""

    commands: Commands
    growing: OpenJobs
    noticing: NoticeCommands
    health: EngineHealth
    reader: RemoteReader
    bulk: RemoteReader
    engine: Engine | None


class FileReader:
    """Reads the store of another process: a read-only connection and a thread for each look."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self, look: Callable[[Reads], T]) -> T:
        """Run *look* on one committed snapshot."""
        return await asyncio.to_thread(self._look, look)

    def _look(self, look: Callable[[Reads], T]) -> T:
        from orchestrator.store.read import StoreReader

        with StoreReader.open(self._path) as reads:
            return look(reads)


def near(engine: Engine) -> Link:
    """The link to the engine in this process."""
    return Link(
        commands=engine.commands,
        growing=engine.commands,
        noticing=engine.commands,
        health=engine.health,
        reader=engine,
        bulk=engine.bulk,
        engine=engine,
    )
