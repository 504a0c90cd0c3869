"""What the sandbox keeps of a request: one small row. The params are read once, validated, hashed and dropped.

Validation follows what the API is known to do with the params of a batch (live captures of 2026-09): `create` does not
look at them; what is wrong with them becomes an errored row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from hashlib import blake2b, sha256
from typing import Final

import msgspec

from orchestrator.domain.create_body import Item
from orchestrator.sandbox.callers import Caller
from orchestrator.sandbox.faults import FaultPlan, RowFault
from orchestrator.sandbox.model_catalog import ModelCard
from orchestrator.sandbox.seeded import seed_key

BUCKETS: Final = 256
ECHO_CHARS: Final = 60
CHARS_PER_TOKEN: Final = 4
_FRACTION: Final = 1 / (1 << 32)

Problem = tuple[str, str]


class Fate(StrEnum):
    """The outcome of a row if the batch runs to its end."""

    SUCCEEDED = "s"  #: an answer
    REFUSED = "r"  #: an answer with stop_reason "refusal": still a success
    ERRORED = "e"  #: an error, ours (params) or the server's (fault)
    EXPIRED = "x"  #: never reached in 24 h
    CANCELED = "c"  #: canceled, though nobody asked here


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One request of a batch, reduced.

    `digest` is the sha256 of the params' bytes, `bucket` (0–255) says when in the batch's life it is done, `faulted`
    that a fault decided its fate, `hidden` that results leave it out (1: the first time, 2: always), `cache` is (tokens
    read, tokens written, written with the 1-hour lifetime).
    """

    custom_id: str
    digest: bytes
    model: str
    max_tokens: int
    chars: int
    echo: str
    bucket: int
    fate: Fate
    error: Problem | None = None
    faulted: bool = False
    hidden: int = 0
    cache: tuple[int, int, bool] | None = None


class _PromptBlock(msgspec.Struct, gc=False):
    type: str = "text"
    text: str = ""
    citations: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _MessageTurn(msgspec.Struct):
    role: str
    content: str | list[_PromptBlock]


_Any = msgspec.Raw | msgspec.UnsetType


class _Params(msgspec.Struct, forbid_unknown_fields=True):
    """The parameters of the Messages API (SDK 2.12, MessageCreateParams); only what is validated is decoded."""

    model: str
    max_tokens: int
    messages: list[_MessageTurn]
    stream: bool | None = None
    system: _Any = msgspec.UNSET
    tools: _Any = msgspec.UNSET
    cache_control: _Any = msgspec.UNSET
    container: _Any = msgspec.UNSET
    context_management: _Any = msgspec.UNSET
    diagnostics: _Any = msgspec.UNSET
    inference_geo: _Any = msgspec.UNSET
    mcp_servers: _Any = msgspec.UNSET
    metadata: _Any = msgspec.UNSET
    output_config: _Any = msgspec.UNSET
    service_tier: _Any = msgspec.UNSET
    stop_sequences: _Any = msgspec.UNSET
    temperature: _Any = msgspec.UNSET
    thinking: _Any = msgspec.UNSET
    tool_choice: _Any = msgspec.UNSET
    top_k: _Any = msgspec.UNSET
    top_p: _Any = msgspec.UNSET


_KNOWN: Final = frozenset(_Params.__struct_fields__)
_decode_params: Final = msgspec.json.Decoder(_Params)
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_EXTRA: Final = "Extra inputs are not permitted"


class RowMaker:
    """Makes the rows of one batch, in the order of its body."""

    def __init__(
        self,
        *,
        models: Mapping[str, ModelCard],
        caller: Caller,
        seed: int,
        plan: FaultPlan,
        already: set[bytes],
    ) -> None:
        self.faulted: set[bytes] = set()
        self._models, self._caller = models, caller
        self._seed_key = seed_key(seed)
        self._plan = plan
        self._already = already
        self._cached: set[bytes] = set()

    def make(self, item: Item) -> Row:
        """The row of *item*; its fate depends on the seed, the custom_id and the params alone."""
        raw = item.params
        digest = sha256(raw).digest()
        chance = blake2b(digest + item.custom_id.encode(), digest_size=8, key=self._seed_key).digest()
        try:
            params = _decode_params.decode(raw)
            problem = self._judge(params)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            return self._wrong(item, digest, chance, _diagnose(raw, str(exc)))
        if problem is not None:
            return self._wrong(item, digest, chance, problem)
        fault = self._fault(digest, chance)
        return Row(
            item.custom_id,
            digest,
            params.model,
            params.max_tokens,
            memoryview(raw).nbytes,
            _echo(params.messages),
            chance[0],
            Fate.SUCCEEDED if fault is None else Fate(fault.fate),
            None if fault is None or fault.kind is None else (fault.kind, str(fault.message)),
            fault is not None,
            0 if fault is None else fault.hidden,
            self._cache(bytes(raw), params, fault),
        )

    def _wrong(self, item: Item, digest: bytes, chance: bytes, problem: Problem) -> Row:
        return Row(item.custom_id, digest, "", 0, 0, "", chance[0], Fate.ERRORED, problem)

    def _fault(self, digest: bytes, chance: bytes) -> RowFault | None:
        """The fault of this execution. Params that met one before are spared, unless faults are sticky."""
        if self._plan.amount("sticky"):
            return self._plan.row(int.from_bytes(digest[:4], "big") * _FRACTION)
        fault = self._plan.row(int.from_bytes(chance[4:8], "big") * _FRACTION)
        if fault is None or digest in self._already:
            return None
        self.faulted.add(digest)
        return fault

    def _judge(self, params: _Params) -> Problem | None:
        """The API's error for well-formed params, as (type, message)."""
        card = self._models.get(params.model)
        if params.stream:
            return _invalid('"stream=True" is not supported in the Message Batches API')
        if params.max_tokens < 1:
            return _invalid("max_tokens: must be greater than or equal to 1")
        if not params.messages:
            return _invalid("messages: at least one message is required")
        if card is None:
            return ("not_found_error", f"model: {params.model}")
        limit = card.output_limit(self._caller.betas)
        if params.max_tokens > limit:
            return _invalid(
                f"max_tokens: {params.max_tokens} > {limit}, which is the maximum allowed number of output tokens "
                f"for {params.model}"
            )
        return _refused_by_new_version(params) if self._caller.api_version != "2023-06-01" else None

    def _cache(self, raw: bytes, params: _Params, fault: RowFault | None) -> tuple[int, int, bool] | None:
        """Prompt caching of this row: the first row of the batch with a prefix writes it, the others read it."""
        if b'"cache_control"' not in raw or (fault is not None and fault.fate not in "sr"):
            return None
        read = total = 0
        hour = False
        for key, chars, long_lived in _breakpoints(raw, params.cache_control is not msgspec.UNSET):
            tokens = chars // CHARS_PER_TOKEN
            if tokens < self._models[params.model].min_cached_tokens:
                continue
            total = tokens
            hour = hour or long_lived
            if key in self._cached:
                read = tokens
            self._cached.add(key)
        return (read, total - read, hour) if total else None


def _invalid(message: str) -> Problem:
    return ("invalid_request_error", message)


def _refused_by_new_version(params: _Params) -> Problem | None:
    """The error for what version 2026-10-21 removed.

    That is sampling parameters, documents by the assistant, citations on user text.
    """
    for name in ("temperature", "top_p", "top_k"):
        if getattr(params, name) is not msgspec.UNSET:
            return _invalid(f"{name}: {_EXTRA}")
    for number, turn in enumerate(params.messages):
        for place, block in enumerate(turn.content if isinstance(turn.content, list) else ()):
            if turn.role == "assistant" and block.type == "document":
                return _invalid(
                    f"messages.{number}.content.{place}: document blocks are not permitted in assistant turns"
                )
            if turn.role == "user" and block.type == "text" and _given(block.citations):
                return _invalid(f"messages.{number}.content.{place}.text.citations: {_EXTRA}")
    return None


def _given(value: msgspec.Raw | msgspec.UnsetType) -> bool:
    return value is not msgspec.UNSET and bytes(value) != b"null"


def _diagnose(raw: msgspec.Raw, reason: str) -> Problem:
    """The error for params that could not be decoded: a missing field, an unknown one, or a wrong type."""
    try:
        members = _decode_object.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _invalid(f"params: {reason}")
    for name in ("max_tokens", "messages", "model"):
        if name not in members:
            return _invalid(f"{name}: Field required")
    for name in members:
        if name not in _KNOWN:
            return _invalid(f"{name}: {_EXTRA}")
    what, _, path = reason.partition(" - at `$.")
    return _invalid(f"{path.rstrip('`') or 'params'}: {what}")


def _echo(messages: list[_MessageTurn]) -> str:
    """The beginning of the user's last text."""
    for turn in reversed(messages):
        if turn.role != "user":
            continue
        if isinstance(turn.content, str):
            return turn.content[:ECHO_CHARS]
        texts = [block.text for block in turn.content if block.type == "text"]
        return texts[-1][:ECHO_CHARS] if texts else ""
    return ""


def _breakpoints(raw: bytes, automatic: bool) -> Iterator[tuple[bytes, int, bool]]:
    """(hash, length, 1-hour lifetime) of each cached prefix, in the API's order: tools, system, messages."""
    members = _decode_object.decode(raw)
    hasher = blake2b(digest_size=12)
    hasher.update(bytes(members["model"]))
    length = 0
    for part in _parts(members):
        hasher.update(part)
        length += len(part)
        if b'"cache_control"' in part:
            yield hasher.copy().digest(), length, b'"1h"' in part
    if automatic:
        yield hasher.digest(), length, b'"1h"' in bytes(members["cache_control"])


def _parts(members: dict[str, msgspec.Raw]) -> Iterator[bytes]:
    """The blocks of a request as bytes, in the order in which they are cached."""
    for name in ("tools", "system"):
        if name in members:
            yield from _blocks(bytes(members[name]))
    for turn in msgspec.json.decode(members["messages"], type=list[dict[str, msgspec.Raw]]):
        yield bytes(turn["role"])
        yield from _blocks(bytes(turn["content"]))


def _blocks(raw: bytes) -> Iterator[bytes]:
    if raw[:1] != b"[":
        yield raw
        return
    for block in msgspec.json.decode(raw, type=list[msgspec.Raw]):
        yield bytes(block)
