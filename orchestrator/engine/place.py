"""Stage place: ends the engine when the store's file was removed or replaced under it (promise 1)."""

from __future__ import annotations

from datetime import datetime

from orchestrator.engine.context import Context


class PlaceStage:
    """Looks whether the files are still where they were opened; every write looks as well."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def tick(self, _now: datetime) -> int:
        """Raises StoreLost."""
        await self._context.store.check_place()
        return 0
