"""What the sandbox keeps of a request: one small row. The params are read once, validated, hashed and dropped.

Validation follows what the API is known to do with the params of a batch (live captures of 2026-09): `create` does not
look at them; what is wrong with them becomes an errored row.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from hashlib import blake2b, sha256
from typing import Final, Literal

import msgspec

from orchestrator.domain.answer_schema import AnswerSchema
from orchestrator.domain.create_body import Item
from orchestrator.sandbox.canned_answers import BadFormatError, fitting_text, schema_of, unfit_text
from orchestrator.sandbox.canned_calls import ForcedTool, canned_call, forced_tool
from orchestrator.sandbox.faults import FaultPlan, RowFault
from orchestrator.sandbox.model_catalog import ModelCard
from orchestrator.sandbox.prompt_prefixes import BadMarkError, Prefix, PrefixFinder
from orchestrator.sandbox.sandbox_settings import Caller
from orchestrator.sandbox.seeded import seed_key
from orchestrator.sandbox.token_count import EXTRA, CountedParams, MessageTurn, diagnose, prompt_tokens

BUCKETS: Final = 256
ECHO_CHARS: Final = 60
CANNED: Final = "SANDBOX canned answer to: "
CHARS_PER_TOKEN: Final = 4
#: The stop_reason of an answer that is a call of a tool; its text is the name and the input, as JSON.
CALLS: Final = "tool_use"
_FRACTION: Final = 1 / (1 << 32)

Problem = tuple[str, str]


class Fate(StrEnum):
    """The outcome of a row if the batch runs to its end."""

    SUCCEEDED = "s"  #: an answer
    REFUSED = "r"  #: an answer with stop_reason "refusal": still a success
    ERRORED = "e"  #: an error, ours (params) or the server's (fault)
    EXPIRED = "x"  #: never reached in 24 h
    CANCELED = "c"  #: canceled, though nobody asked here


class RowExtras(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What the usage of an answer has besides tokens.

    `category`: of a refusal before any output. `beside`: the type of an iteration that is billed on top. `searches`: of
    the web. `geo`: the region, if one was asked for or is the workspace's. `text`: of the answer, where it is no echo.
    `stop`: its stop_reason, where it did not end by itself.
    """

    category: str = ""
    beside: str = ""
    searches: int = 0
    geo: str = ""
    text: str = ""
    stop: str = ""


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One request of a batch, reduced.

    `tokens` are those of its prompt (in journals of earlier versions: its characters). `digest` is the sha256 of the
    params' bytes, `bucket` (0–255) says when in the batch's life it is done, `faulted` that a fault decided its fate,
    `hidden` that results leave it out (1: the first time, 2: always). `prefixes`: what it may read from the prompt
    cache, or write (`SandboxBatch.cached`). `kept`: journals of earlier versions have it. `extras`: None for most.
    """

    custom_id: str
    digest: bytes
    model: str
    max_tokens: int
    tokens: int
    echo: str
    bucket: int
    fate: Fate
    error: Problem | None = None
    faulted: bool = False
    hidden: int = 0
    kept: object = None
    prefixes: tuple[Prefix, ...] = ()
    extras: RowExtras | None = None

    @property
    def text(self) -> str:
        """The text of its answer."""
        return (CANNED + self.echo) if self.extras is None else self.extras.text or CANNED + self.echo

    @property
    def stop(self) -> str:
        """The stop_reason of its answer."""
        return "end_turn" if self.extras is None else self.extras.stop or "end_turn"


_Any = msgspec.Raw | msgspec.UnsetType


class _Params(CountedParams, kw_only=True):
    """The parameters of the Messages API (SDK 2.12, MessageCreateParams); only what is validated is decoded."""

    max_tokens: int
    stream: bool | None = None
    container: _Any = msgspec.UNSET
    context_management: _Any = msgspec.UNSET
    diagnostics: _Any = msgspec.UNSET
    inference_geo: Literal["us", "global"] | None = None
    mcp_servers: _Any = msgspec.UNSET
    metadata: _Any = msgspec.UNSET
    service_tier: _Any = msgspec.UNSET
    stop_sequences: _Any = msgspec.UNSET
    temperature: _Any = msgspec.UNSET
    top_k: _Any = msgspec.UNSET
    top_p: _Any = msgspec.UNSET


class _ReadParams(msgspec.Struct, gc=False):
    params: _Params
    tokens: int
    prefixes: tuple[Prefix, ...]
    searches: int
    schema: AnswerSchema | None
    tool: ForcedTool | None


class _Tool(msgspec.Struct, gc=False):
    type: str = ""
    max_uses: int | None = None


_SEARCHES: Final = 3
_NO_FAULT: Final = RowFault(fate="s")
_decode_tools: Final = msgspec.json.Decoder(list[_Tool])
_ANSWERED: Final = frozenset({Fate.SUCCEEDED, Fate.REFUSED})
_decode_params: Final = msgspec.json.Decoder(_Params)


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
        self._finder = PrefixFinder(caller.workspace)

    def make(self, item: Item) -> Row:
        """The row of *item*; its fate depends on the seed, the custom_id and the params alone."""
        digest = sha256(item.params).digest()
        chance = blake2b(digest + item.custom_id.encode(), digest_size=8, key=self._seed_key).digest()
        read = self._read(item.params)
        if isinstance(read, tuple):
            return Row(item.custom_id, digest, "", 0, 0, "", chance[0], Fate.ERRORED, read)
        params = read.params
        fault = self._fault(digest, chance)
        return Row(
            item.custom_id,
            digest,
            params.model,
            params.max_tokens,
            read.tokens,
            _echo(params.messages),
            chance[0],
            Fate.SUCCEEDED if fault is None else Fate(fault.fate),
            None if fault is None or fault.kind is None else (fault.kind, str(fault.message)),
            fault is not None,
            0 if fault is None else fault.hidden,
            prefixes=read.prefixes if fault is None or fault.fate in _ANSWERED else (),
            extras=self._extras(read, fault, digest, chance),
        )

    def _read(self, raw: msgspec.Raw) -> _ReadParams | Problem:
        """What params say, or what the API says of them."""
        try:
            params = _decode_params.decode(raw)
            problem = self._judge(params)
            if problem is not None:
                return problem
            tokens = prompt_tokens(params, self._models[params.model].tokenizer)
            schema = None if params.output_config is msgspec.UNSET else schema_of(bytes(params.output_config))
            searches, tool = _searches(params.tools), _forced(params)
            return _ReadParams(params, tokens, self._prefixes(raw, params), searches, schema, tool)
        except (BadMarkError, BadFormatError) as exc:
            return _invalid(str(exc))
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            return _invalid(diagnose(raw, str(exc), _Params))

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
        return (
            _refused_by_model(params, card, self._caller)
            or _refused_by_version(params, self._caller)
            or _refused_sampling(params, card)
        )

    def _prefixes(self, raw: msgspec.Raw, params: _Params) -> tuple[Prefix, ...]:
        """The cached prefixes of this row. Raises BadMarkError."""
        content = bytes(raw)
        if b'"cache_control"' not in content:
            return ()
        return self._finder.find(content, self._models[params.model])

    def _extras(self, read: _ReadParams, fault: RowFault | None, digest: bytes, chance: bytes) -> RowExtras | None:
        """What the params ask for and a fault adds."""
        asked = read.params.inference_geo
        if fault is None and asked is None and not read.searches and read.schema is None and read.tool is None:
            return None
        fault = _NO_FAULT if fault is None else fault
        most, drawn = fault.searches or read.searches, digest[4]
        geo = asked or (fault.geo if self._models[read.params.model].has_regions else "")
        category = fault.categories[drawn % len(fault.categories)] if fault.categories else ""
        text, stop = _text(read, fault, chance)
        return RowExtras(category, fault.beside, 1 + drawn % most if most else 0, geo, text, stop)


def _text(read: _ReadParams, fault: RowFault, chance: bytes) -> tuple[str, str]:
    """The text of an answer that is no whole echo, and why it ended; what is empty is as always."""
    text = ""
    if read.tool is not None and not fault.stop:
        return canned_call(read.tool, int.from_bytes(chance, "big")), CALLS
    if read.schema is not None:
        made = fitting_text(read.schema, int.from_bytes(chance, "big"))
        text = {"text": f"Here is the JSON: {made}", "schema": unfit_text()}.get(fault.spoils, made)
        most = read.params.max_tokens * CHARS_PER_TOKEN
        if len(text) > most:
            return text[:most], "max_tokens"
    if fault.stop:
        text = text or CANNED + _echo(read.params.messages)
        return text[: len(text) // 2], fault.stop
    return text, ""


def _forced(params: _Params) -> ForcedTool | None:
    if params.tool_choice is msgspec.UNSET or params.tools is msgspec.UNSET:
        return None
    return forced_tool(bytes(params.tools), bytes(params.tool_choice))


def _searches(tools: msgspec.Raw | msgspec.UnsetType) -> int:
    """The most web searches that an answer makes of the *tools* that it has."""
    if tools is msgspec.UNSET or b'"web_search_' not in bytes(tools):
        return 0
    found = _decode_tools.decode(bytes(tools))
    return max((min(tool.max_uses or _SEARCHES, _SEARCHES) for tool in found if _is_search(tool)), default=0)


def _is_search(tool: _Tool) -> bool:
    return tool.type.startswith("web_search_")


def _invalid(message: str) -> Problem:
    return ("invalid_request_error", message)


#: As captured.
_NO_PREFILL: Final = (
    "This model does not support assistant message prefill. The conversation must end with a user message."
)


def _refused_by_model(params: _Params, card: ModelCard, caller: Caller) -> Problem | None:
    """The error for what the model of *card* cannot do."""
    limit = card.output_limit(caller.betas)
    if params.max_tokens > limit:
        return _invalid(
            f"max_tokens: {params.max_tokens} > {limit}, which is the maximum allowed number of output tokens "
            f"for {params.model}"
        )
    if params.inference_geo is not None and not card.has_regions:
        return _invalid(f"inference_geo: not supported by {params.model}")
    if not card.takes_prefill and _is_prefill(params.messages[-1]):
        return _invalid(_NO_PREFILL)
    return None


def _is_prefill(last: MessageTurn) -> bool:
    """Whether the answer is to go on with *last*; a turn that the server's tools paused is something else."""
    is_text = isinstance(last.content, str) or {block.type for block in last.content} == {"text"}
    return last.role == "assistant" and is_text


def _refused_by_version(params: _Params, caller: Caller) -> Problem | None:
    """The error for what version 2026-10-21 removed.

    That is sampling parameters, documents by the assistant, citations on user text.
    """
    if caller.api_version == "2023-06-01":
        return None
    for name in ("temperature", "top_p", "top_k"):
        if getattr(params, name) is not msgspec.UNSET:
            return _invalid(f"{name}: {EXTRA}")
    for number, turn in enumerate(params.messages):
        for place, block in enumerate(turn.content if isinstance(turn.content, list) else ()):
            if turn.role == "assistant" and block.type == "document":
                return _invalid(
                    f"messages.{number}.content.{place}: document blocks are not permitted in assistant turns"
                )
            if turn.role == "user" and block.type == "text" and _given(block.citations):
                return _invalid(f"messages.{number}.content.{place}.text.citations: {EXTRA}")
    return None


def _refused_sampling(params: _Params, card: ModelCard) -> Problem | None:
    """The error of a model that takes no sampling parameters but those that change nothing, or one of two."""
    least = {"temperature": 1.0, "top_p": 0.99, "top_k": None}
    given = {key: value for key in least if (value := _decode_number(getattr(params, key))) is not None}
    for key, value in given.items() if not card.takes_sampling else ():
        bound = least[key]
        if bound is None or value < bound:
            return _invalid(f"`{key}` is deprecated for this model.")
    if card.takes_one_sampler and {"temperature", "top_p"} <= given.keys():
        return _invalid("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    return None


def _decode_number(value: msgspec.Raw | msgspec.UnsetType) -> float | None:
    return None if value is msgspec.UNSET else msgspec.json.decode(bytes(value), type=float | None)


def _given(value: msgspec.Raw | msgspec.UnsetType) -> bool:
    return value is not msgspec.UNSET and bytes(value) != b"null"


def _echo(messages: list[MessageTurn]) -> str:
    """The beginning of the user's last text."""
    for turn in reversed(messages):
        if turn.role != "user":
            continue
        if isinstance(turn.content, str):
            return turn.content[:ECHO_CHARS]
        texts = [block.text for block in turn.content if block.type == "text"]
        return texts[-1][:ECHO_CHARS] if texts else ""
    return ""
