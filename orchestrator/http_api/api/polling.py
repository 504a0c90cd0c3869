"""A job that is asked for again and again: told by its tag, and waited for."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.requests import Request

    from orchestrator.http_api.glances import Glance
    from orchestrator.http_api.services import Services

LONGEST_WAIT: Final = timedelta(seconds=60)


def tags_in(header: str) -> set[str]:
    """The tags of an `If-None-Match`; a weak one stands for the strong one."""
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}


async def changed(request: Request, services: Services, ref: str, had: set[str], longest: timedelta) -> Glance:
    """The job when its tag is none of *had*, or as it is after *longest*, or when the engine stops or nobody waits."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    ends_at = now + longest.total_seconds()
    while True:
        glance = await services.glances.at(ref, since=now)
        left_s = ends_at - loop.time()
        if glance.tag not in had or left_s <= 0 or services.feed.is_over or await request.is_disconnected():
            return glance
        await services.feed.change(timedelta(seconds=left_s))
        now = loop.time()
