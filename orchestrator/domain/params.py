"""Checks whether params may go into a batch, before anything is sent: the API would refuse them only a day later.

Params are not validated when a batch is created: a request that a batch cannot run comes back `errored` when the batch
ends. So what is documented as refused is refused at intake. Everything else passes through: the API decides.

This runs once per request, over every byte. The fast path is one typed decode that accepts only what is plainly fine;
whatever it does not accept goes to the slow path, which explains, and may still find nothing wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from orchestrator.domain.api_versions import STRICTER_API_VERSION
from orchestrator.domain.json_text import UNREADABLE, kind_of, why_unreadable
from orchestrator.domain.limits import API_MAX_BYTES, LARGE_LINE_BYTES, largest_params
from orchestrator.domain.param_problem import ParamProblem
from orchestrator.domain.version_rules import (
    SAMPLING,
    may_begin_for,
    may_hold_refused_content,
    refused_beginning,
    refused_by_model,
    refused_by_version,
    refused_format,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamRules:
    """What the requests of one job are checked against."""

    #: The `anthropic-version` that the job's batches are sent with; None: the one that its requests need.
    api_version: str | None
    max_request_bytes: int = largest_params(API_MAX_BYTES)  #: the largest params that fit a batch alone

    @property
    def is_stricter(self) -> bool:
        """True when the version refuses sampling parameters and two content forms."""
        return self.api_version is not None and self.api_version >= STRICTER_API_VERSION


_Never = Annotated[str, msgspec.Meta(min_length=1, max_length=0)]  # no JSON value fits: the key must be absent
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Count = Annotated[int, msgspec.Meta(ge=1)]


class _MessageShape(msgspec.Struct, gc=False):
    role: str
    content: msgspec.Raw


class _PlainParams(msgspec.Struct, gc=False):
    """Params that need no explanation. A field typed `None` may be absent or null; what else it may be is explained."""

    model: _Text
    max_tokens: _Count
    messages: Annotated[list[_MessageShape], msgspec.Meta(min_length=1)]
    tool_choice: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    output_config: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    stream: bool | None = None
    speed: None = None
    store: None = None
    previous_thread_event_id: None = None
    cache_hint: None = None
    context_hint: None = None
    research_preview_2026_02: None = None
    billing_policy: None = None
    betas: _Never = ""
    anthropic_beta: _Never = ""
    anthropic_beta_header: _Never = msgspec.field(default="", name="anthropic-beta")


class _StricterPlainParams(_PlainParams, gc=False):
    temperature: _Never = ""
    top_p: _Never = ""
    top_k: _Never = ""


class _LooserPlainParams(_PlainParams, gc=False):
    temperature: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    top_p: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    top_k: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _LooseMessage(msgspec.Struct):
    role: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    content: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _BillingPolicy(msgspec.Struct):
    bill_to: str | None = None


class _KnownParams(msgspec.Struct):
    """The parameters that are looked at, untouched. Others are not even gathered: a stranger may send millions."""

    model: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    max_tokens: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    messages: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    tool_choice: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    output_config: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    stream: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    speed: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    store: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    previous_thread_event_id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    cache_hint: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    context_hint: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    research_preview_2026_02: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    billing_policy: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    betas: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    anthropic_beta: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    anthropic_beta_header: msgspec.Raw | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="anthropic-beta")
    temperature: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    top_p: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    top_k: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_plain_looser: Final = msgspec.json.Decoder(_LooserPlainParams)
_plain_stricter: Final = msgspec.json.Decoder(_StricterPlainParams)
_known: Final = msgspec.json.Decoder(_KnownParams)
_KNOWN: Final = {field.name: field.encode_name for field in msgspec.structs.fields(_KnownParams)}
_items: Final = msgspec.json.Decoder(list[msgspec.Raw])
#: It ends at the first item that is not what it must be, however many follow.
_plain_messages: Final = msgspec.json.Decoder(list[_MessageShape])
_message: Final = msgspec.json.Decoder(_LooseMessage)
_billing_policy: Final = msgspec.json.Decoder(_BillingPolicy)
_integer: Final = msgspec.json.Decoder(int)
_text: Final = msgspec.json.Decoder(str)

_PLACE: Final = re.compile(r"at `\$\[(\d+)\]")

_DROP: Final = "remove it from params"
#: Refused in a batch whatever the value, except null. Source: Message Batches guide, "not supported in batch requests".
_REFUSED_VALUES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "speed": "fast mode is not supported in a batch",
        "store": "threads are not supported in a batch",
        "previous_thread_event_id": "threads are not supported in a batch",
        "cache_hint": "routing hints are not supported in a batch",
        "context_hint": "routing hints are not supported in a batch",
    }
)
#: Source: the API answers "Extra inputs are not permitted": betas are a header, and hold for a whole batch.
_REFUSED_KEYS: Final = ("betas", "anthropic_beta", "anthropic-beta")


def problems_in(params: bytes, rules: ParamRules) -> list[ParamProblem]:
    """Every reason why *params* (one JSON value, of any quality) cannot go into a batch; empty if it may.

    Never raises on bad input. Unknown keys and unknown models pass: only the API knows them.
    """
    if len(params) <= rules.max_request_bytes and _is_plainly_fine(params, rules):
        return []
    return list(_explain(params, rules))


def _is_plainly_fine(params: bytes, rules: ParamRules) -> bool:
    try:
        if rules.is_stricter:
            strict = _plain_stricter.decode(params)
            return not strict.stream and not may_hold_refused_content(params) and not _may_be_refused(strict)
        loose = _plain_looser.decode(params)
    except UNREADABLE:
        return False
    if loose.stream or _may_be_refused(loose):
        return False
    given = {key: bytes(value) for key in SAMPLING if (value := getattr(loose, key)) is not msgspec.UNSET}
    return not given or not any(refused_by_model(loose.model, given))


def _may_be_refused(found: _PlainParams) -> bool:
    if found.output_config is not msgspec.UNSET and any(refused_format(found.model, bytes(found.output_config))):
        return True
    chooses_tool = found.tool_choice is not msgspec.UNSET
    return may_begin_for(found.model, found.messages[-1].role, chooses_tool=chooses_tool)


def _explain(params: bytes, rules: ParamRules) -> Iterator[ParamProblem]:
    if len(params) > rules.max_request_bytes:
        size = f"is {len(params):,} bytes; one request may have {rules.max_request_bytes:,}"
        yield ParamProblem("params", size, "make the request smaller, or upload its files and refer to them by id")
        return
    try:
        fields = _fields_of(params)
    except msgspec.ValidationError:
        message = f"must be an object, not {kind_of(params.lstrip())}"
        yield ParamProblem("params", message, "put the Messages API parameters there")
        return
    except UNREADABLE as exc:
        yield ParamProblem("params", why_unreadable(params, exc), "write the request again with a JSON library")
        return
    yield from _required(fields)
    yield from _refused_in_a_batch(fields)
    model = _text_of(fields.get("model", b""))
    by_model = [*refused_by_model(model, fields), *refused_beginning(model, fields)]
    by_model += refused_format(model, fields.get("output_config", b""))
    yield from by_model
    if rules.is_stricter:
        told = {each.field for each in by_model}
        yield from (each for each in refused_by_version(fields) if each.field not in told)


def _text_of(value: bytes) -> str:
    try:
        return _text.decode(value)
    except UNREADABLE:
        return ""


def _fields_of(params: bytes) -> dict[str, bytes]:
    """The known fields that are there, by their names in JSON. Raises what decoding raises."""
    known = _known.decode(params)
    found = ((name, getattr(known, attribute)) for attribute, name in _KNOWN.items())
    return {name: bytes(value) for name, value in found if value is not msgspec.UNSET}


def _required(fields: Mapping[str, bytes]) -> Iterator[ParamProblem]:
    """`model`, `max_tokens`, `messages`. Source: Messages API reference; "Field required" in the results otherwise."""
    model = fields.get("model")
    if model is None:
        yield ParamProblem("params.model", "is missing", "name the model, for example claude-sonnet-4-5")
    elif kind_of(model) != "a string" or model == b'""':
        yield ParamProblem("params.model", f"must be a non-empty string, not {_shown(model)}", "name the model")
    limit = fields.get("max_tokens")
    if limit is None:
        yield ParamProblem("params.max_tokens", "is missing", "add it, for example 1024")
    elif not _is_positive_integer(limit):
        yield ParamProblem(
            "params.max_tokens", f"must be a whole number of at least 1, not {_shown(limit)}", "a batch takes no 0"
        )
    messages = fields.get("messages")
    if messages is None:
        yield ParamProblem("params.messages", "is missing", 'add it: [{"role":"user","content":"…"}]')
    else:
        yield from _message_problems(messages)


def _is_positive_integer(value: bytes) -> bool:
    try:
        return _integer.decode(value) >= 1
    except msgspec.DecodeError:
        return False


def _message_problems(messages: bytes) -> Iterator[ParamProblem]:
    """A shallow look: an array, not empty, of objects that have a role and a content. The first trouble is enough."""
    if kind_of(messages) != "an array":
        message = f"must be an array, not {kind_of(messages)}"
        yield ParamProblem("params.messages", message, 'write [{"role":"user","content":"…"}]')
        return
    if len(messages) > LARGE_LINE_BYTES:
        yield from _trouble_of_many(messages)
        return
    items = _items.decode(messages)
    if not items:
        yield ParamProblem("params.messages", "is empty", "add at least one message")
    for place, item in enumerate(items):
        where = f"params.messages.{place}"
        try:
            message_ = _message.decode(item)
        except msgspec.ValidationError:
            yield ParamProblem(where, f"must be an object, not {kind_of(bytes(item))}", "give it a role and a content")
            return
        if message_.role is msgspec.UNSET or kind_of(bytes(message_.role)) != "a string":
            yield ParamProblem(f"{where}.role", "must be a string", 'write "role":"user" or "assistant"')
            return
        if message_.content is msgspec.UNSET:
            yield ParamProblem(f"{where}.content", "is missing", "add the text or the content blocks")
            return


def _trouble_of_many(messages: bytes) -> Iterator[ParamProblem]:
    """The same for so much that its items may not all be held: the decoder ends at the first trouble, and names it."""
    try:
        _plain_messages.decode(messages)
    except msgspec.ValidationError as exc:
        found = _PLACE.search(str(exc))
        where = "params.messages" if found is None else f"params.messages.{found[1]}"
        yield ParamProblem(where, f"is no message: {str(exc).partition(' - at')[0]}", "give it a role and a content")


def _refused_in_a_batch(fields: Mapping[str, bytes]) -> Iterator[ParamProblem]:
    stream = fields.get("stream", b"false")
    if stream not in {b"false", b"null"}:
        # Source: "stream=True" is not supported in the Message Batches API (errored row, live capture).
        yield ParamProblem("params.stream", f"must be false or absent, not {_shown(stream)}", _DROP)
    for key, why in _REFUSED_VALUES.items():
        if fields.get(key, b"null") != b"null":
            yield ParamProblem(f"params.{key}", why, _DROP)
    if fields.get("research_preview_2026_02") == b'"active"':
        # Source: Message Batches guide, same table; other values are not named there.
        yield ParamProblem("params.research_preview_2026_02", "is not available in a batch", _DROP)
    for key in _REFUSED_KEYS:
        if key in fields:
            remedy = "remove it, and name it as a beta of the job"
            yield ParamProblem(f"params.{key}", "betas are a header, not a parameter", remedy)
    if _bills_a_user_profile(fields.get("billing_policy", b"null")):
        # Source: SDK 2.12, docstring of `billing_policy`: errored with invalid_request_error in a batch.
        yield ParamProblem(
            "params.billing_policy", "a batch cannot bill a user profile", 'remove it or write "bill_to":"self"'
        )


def _bills_a_user_profile(policy: bytes) -> bool:
    try:
        return _billing_policy.decode(policy).bill_to == "user_profile"
    except msgspec.DecodeError:
        return False  # null, or a shape that we do not know: the API decides


def _shown(value: bytes) -> str:
    """A value as it may be shown in one line: short ones as they are, long ones by their kind."""
    return value.decode(errors="replace") if len(value) <= 32 else kind_of(value)
