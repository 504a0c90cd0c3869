"""What every store must do, said once for all kinds of store: cases that speak to the ports and to nothing else.

A kind of store joins by an entry in `KINDS`. A case is `async def name(store)`: what it calls is recorded, so that a
method of a port that no case calls is found.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast, get_type_hints

import psycopg
from store.store_world import open_store, running_job
from support import stores

from orchestrator.ports.reads import Reads
from orchestrator.ports.store import EngineStore, Store
from orchestrator.store.identity import Trust
from orchestrator.store.mark import mark_path

T = TypeVar("T")
Opened = AbstractAsyncContextManager[Store]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of store: how to open a new one in a folder, and one with a running job that was put back from a copy.

    needs: a fixture that must be there for it.
    """

    open: Callable[[Path], Opened]
    open_restored: Callable[[Path], Opened]
    needs: str | None = None


@asynccontextmanager
async def _restored_sqlite(folder: Path) -> AsyncIterator[Store]:
    path = folder / "store.db"
    async with open_store(path, inline=True) as store:
        await running_job(store)
    mark_path(path).unlink()
    async with open_store(path, inline=True, trust=Trust.ADOPTED) as store:
        yield store


@asynccontextmanager
async def _restored_postgres(folder: Path) -> AsyncIterator[Store]:
    path = folder / "store.db"
    async with open_store(path, inline=True) as store:
        await running_job(store)
    with psycopg.connect(stores.url_of(path)) as elsewhere:
        elsewhere.execute("UPDATE orchestrator.cluster SET system_identifier = 1")
    async with open_store(path, inline=True, trust=Trust.ADOPTED) as store:
        yield store


def _new(folder: Path) -> Opened:
    return open_store(folder / "store.db", inline=True)


KINDS: Final[Mapping[str, Kind]] = {
    "sqlite": Kind(open=_new, open_restored=_restored_sqlite),
    "postgres": Kind(open=_new, open_restored=_restored_postgres, needs="on_postgres"),
}

Case = Callable[[Store], Awaitable[None]]
#: Every case by its name, and those among them that begin with a store that was put back from a copy.
CASES: Final[dict[str, Case]] = {}
RESTORED: Final[set[str]] = set()


def case(step: Case) -> Case:
    """Make *step* a case: it is handed a new store."""
    CASES[step.__name__] = step
    return step


def restored(step: Case) -> Case:
    """The same with a store that was put back from a copy."""
    RESTORED.add(step.__name__)
    return case(step)


async def run_case(name: str, kind: Kind, folder: Path, calls: set[str]) -> None:
    """Run one case; *calls* gets the methods that it called."""
    opened = kind.open_restored if name in RESTORED else kind.open
    async with opened(folder) as store:
        await CASES[name](cast("Store", _RecordedStore(store, calls)))


def port_methods() -> set[str]:
    """Every method of every port of the store, as `run_case` records it."""
    facets = {
        f"{port.__name__}.{name}" for port in _facets().values() for name in vars(port) if not name.startswith("_")
    }
    reads = {f"Reads.{name}" for name in dir(Reads) if not name.startswith("_")}
    return facets | reads | {"EngineStore.check_files"}


def _facets() -> dict[str, type[Any]]:
    return {name: port for name, port in get_type_hints(EngineStore).items() if not name.startswith("_")}


class _Recorded:
    """Passes calls on to *target*, and notes them."""

    def __init__(self, target: object, port: str, calls: set[str]) -> None:
        self._target = target
        self._port = port
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        self._calls.add(f"{self._port}.{name}")
        return getattr(self._target, name)


class _RecordedStore:
    def __init__(self, store: Store, calls: set[str]) -> None:
        self._store = store
        self._calls = calls
        for name, port in _facets().items():
            setattr(self, name, _Recorded(getattr(store, name), port.__name__, calls))

    async def check_files(self) -> None:
        self._calls.add("EngineStore.check_files")
        await self._store.check_files()

    async def read(self, look: Callable[[Reads], T]) -> T:
        return await self._store.read(partial(_looked, look, self._calls))


def _looked(look: Callable[[Reads], T], calls: set[str], reads: Reads) -> T:
    return look(cast("Reads", _Recorded(reads, "Reads", calls)))
