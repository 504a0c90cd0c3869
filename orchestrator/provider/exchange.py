"""One POST as the client saw it, put into the words of `domain.submission`, which alone says what it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.domain.api_answers import RemoteBatch, ResponseMeta
from orchestrator.domain.create_outcome import Exchange
from orchestrator.ports.provider import CreateBody
from orchestrator.provider.errors import Silence
from orchestrator.provider.parsing import Unreadable, read_batch, read_meta, read_retry_after
from orchestrator.provider.wire_errors import Trouble, read_trouble

if TYPE_CHECKING:
    import httpx2


def exchange_of(
    outcome: httpx2.Response | Silence, body: CreateBody, handed_bytes: int, hide: Callable[[str], str]
) -> Exchange:
    """The create as the client saw it, for `classify`."""
    silent = Exchange(
        count=body.count,
        size_bytes=body.size_bytes,
        handed_bytes=handed_bytes,
        connected=True,
        status=None,
        batch=None,
        meta=ResponseMeta(),
        api_error=False,
        error_code=None,
        message="",
        retry_after_s=None,
    )
    if isinstance(outcome, Silence):
        return replace(silent, connected=outcome.connected, message=outcome.why)
    batch, trouble = _answered(outcome)
    return replace(
        silent,
        status=outcome.status_code,
        batch=batch,
        meta=read_meta(outcome.headers),
        api_error=trouble.api_error,
        error_code=trouble.error_code,
        message=hide(trouble.message),
        retry_after_s=read_retry_after(outcome.headers),
    )


def _answered(response: httpx2.Response) -> tuple[RemoteBatch | None, Trouble]:
    """The batch in a 200, and what the answer says in words."""
    if response.status_code == 200:
        try:
            batch = read_batch(response.content)
        except Unreadable:
            return None, read_trouble(response.content, response.headers)
        words = f"{batch.id} with {batch.counts.total} requests"
        return batch, Trouble(message=words, error_code=None, api_error=False)
    return None, read_trouble(response.content, response.headers)
