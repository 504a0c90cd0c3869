"""A job that is asked for again and again: told by its tag, and waited for."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.http_api.views import job_view

if TYPE_CHECKING:
    from orchestrator.domain.ids import JobId
    from orchestrator.domain.model import JobStatus
    from orchestrator.http_api.services import Services

LONGEST_WAIT: Final = timedelta(seconds=60)


def shown(status: JobStatus) -> tuple[bytes, str]:
    """A job in JSON, and its strong ETag: the same while everything that is shown is the same."""
    body = msgspec.json.encode(job_view(status))
    return body, f'"{blake2b(body, digest_size=12).hexdigest()}"'


def tags_in(header: str) -> set[str]:
    """The tags of an `If-None-Match`; a weak one stands for the strong one."""
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}


async def changed(services: Services, job: JobId, had: set[str], longest: timedelta) -> tuple[bytes, str]:
    """The job when its tag is none of *had*, or as it is after *longest*, or when the engine stops."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + longest.total_seconds()
    while True:
        body, tag = shown(await services.reader.read(lambda reads: reads.status(reads.get(job))))
        left_s = ends_at - loop.time()
        if tag not in had or left_s <= 0 or services.feed.is_over:
            return body, tag
        await services.feed.change(timedelta(seconds=left_s))
