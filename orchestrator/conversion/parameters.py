"""The parameters of OpenAI's two APIs, as those of the Messages API.

What each becomes, and what has no counterpart: by the API's own page on the OpenAI SDK, and the references of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.conversion.content_parts import kind
from orchestrator.conversion.findings import LineFindings
from orchestrator.conversion.tools import tools_of
from orchestrator.domain.model_generation import NEWEST, generation_of, takes_one_sampler, takes_sampling

#: Source: the API's reference of `metadata`.
_MOST_USER_ID: Final = 512
_LIMITS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_USERS: Final = ("safety_identifier", "user")
_NEVER: Final = object()
#: What has no counterpart: the value that says what holds anyway, and what is said of any other.
_WITHOUT: Final[Mapping[str, tuple[object, str]]] = {
    "n": (1, "asks for several answers: a request has one"),
    "best_of": (1, "asks for several answers: a request has one"),
    "frequency_penalty": (0, "Claude has none"),
    "presence_penalty": (0, "Claude has none"),
    "logit_bias": ({}, "Claude has none"),
    "logprobs": (False, "answers tell no probabilities"),
    "top_logprobs": (0, "answers tell no probabilities"),
    "seed": (_NEVER, "Claude has none: the same request may be answered in other words"),
    "stream": (False, "a batch does not stream"),
    "stream_options": (_NEVER, "a batch does not stream"),
    "store": (False, "keeps an answer at OpenAI"),
    "metadata": ({}, "files an answer at OpenAI"),
    "service_tier": ("auto", "is OpenAI's: a batch has a tier of its own"),
    "modalities": (["text"], "answers are text"),
    "audio": (_NEVER, "answers are text"),
    "prediction": (_NEVER, "Claude has none"),
    "verbosity": ("medium", "say in the prompt how long answers are to be"),
    "reasoning_effort": (_NEVER, "efforts of two makers are not the same: params.output_config.effort says Claude's"),
    "reasoning": ({}, "efforts of two makers are not the same: params.output_config.effort says Claude's"),
    "web_search_options": (_NEVER, "Claude searches with a tool of its own"),
    "prompt_cache_key": (_NEVER, "`--cache` is about Claude's prompt cache"),
    "prompt_cache_retention": (_NEVER, "`--cache` is about Claude's prompt cache"),
    "prompt_cache_options": (_NEVER, "`--cache` is about Claude's prompt cache"),
    "truncation": ("disabled", "Claude cuts no input: one that is too long is an error"),
    "include": ([], "answers have what they have"),
    "background": (False, "a batch is always in the background"),
    "max_tool_calls": (_NEVER, "Claude has no limit of them"),
    "echo": (False, "answers do not repeat the prompt"),
    "moderation": (_NEVER, "Claude has none"),
}
#: What a request needs that lies at OpenAI.
_ELSEWHERE: Final = ("previous_response_id", "conversation")
#: By the members of a body that are no parameters, but what is said.
_SAID: Final = frozenset({"messages", "input", "instructions", "system", "prompt"})
_READ: Final = frozenset(
    {"model", *_LIMITS, *_USERS, "temperature", "top_p", "top_k", "stop", "stop_sequences", "response_format", "text"}
    | {"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"}
)
#: Members of a row that are parameters, whoever wrote it; all others are its columns, as `user` or `text` may be.
ROW_PARAMETERS: Final = frozenset(
    {"model", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "stop_sequences", "n"}
    | {"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format", "seed", "stream"}
    | {"frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "reasoning_effort"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What was said of all requests. model: of all; default_model: of those that name none of Claude's.

    max_tokens: of those that set none.
    """

    model: str | None = None
    default_model: str | None = None
    max_tokens: int = 1024


def params_of(body: Mapping[str, Any], wishes: Wishes, found: LineFindings) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters before, and those behind, what is said: one order for all requests."""
    model = model_of(body.get("model"), wishes, found)
    head = {"model": model, "max_tokens": _limit(body, wishes, found)}
    tail = {
        **_sampling(body, model, found),
        **_stop(body, found),
        **tools_of(body, model, found),
        **_format(body, found),
        **_user(body, found),
    }
    for key, value in body.items():
        if value is None or key in _READ or key in _SAID:
            continue
        if key in _ELSEWHERE:
            found.wrong(key, "says what lies at OpenAI", "write the conversation itself", is_alike=True)
        elif key not in _WITHOUT:
            found.lost(key[:40], "is no parameter that is known")
        elif _says_default(value, _WITHOUT[key][0]):
            found.default(key)
        else:
            found.lost(key, _WITHOUT[key][1])
    return head, tail


def _says_default(value: object, default: object) -> bool:
    return bool(value == default) and isinstance(value, bool) == isinstance(default, bool)


def model_of(named: object, wishes: Wishes, found: LineFindings) -> str:
    """The model to ask where a line names *named*, or None; "" with a problem, if nobody said one of Claude's."""
    own = named if isinstance(named, str) and _is_claude(named) else None
    model = wishes.model or own or wishes.default_model
    if model is None:
        said = "is missing" if named is None else f"{str(named)[:60]!r} is none of Claude's"
        found.wrong("model", said, "say which to ask: -m MODEL", is_alike=True)
        return ""
    if named is not None and named != model:
        found.changed("model", f"{str(named)[:60]} became {model}")
    return model


def _is_claude(model: str) -> bool:
    return model.startswith("claude-") and (generation_of(model) != NEWEST or "/" not in model)


def _limit(body: Mapping[str, Any], wishes: Wishes, found: LineFindings) -> int:
    given = {name: body[name] for name in _LIMITS if body.get(name) is not None}
    if not given:
        found.changed(
            "max_tokens", f"was not set, and Claude needs it: {wishes.max_tokens:,} (--max-tokens sets another)"
        )
        return wishes.max_tokens
    (name, most), *others = given.items()
    if type(most) is not int or most < 1:
        found.wrong(name, f"must be a whole number of at least 1, not {str(most)[:20]}", "mend it")
        return 1
    if any(value != most for _, value in others):
        found.lost(others[0][0], f"differs from {name}, which holds")
    return most


def _sampling(body: Mapping[str, Any], model: str, found: LineFindings) -> dict[str, Any]:
    """Values that change nothing are left out: the newest version of the API takes none of them."""
    made: dict[str, Any] = {}
    for name, most in (("temperature", 1), ("top_p", 1), ("top_k", None)):
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            found.wrong(name, f"must be a number of at least 0, not {str(value)[:20]}", "mend it")
        elif value == most:
            found.default(name)
        elif most is not None and value > most:
            found.lost(name, "is over 1, where Claude's ends")
        elif model and not takes_sampling(model):
            found.lost(name, f"{model} takes none")
        elif name == "top_p" and "temperature" in made and takes_one_sampler(model):
            found.lost(name, f"{model} takes temperature or top_p, not both: temperature was kept")
        else:
            made[name] = value
    return made


def _stop(body: Mapping[str, Any], found: LineFindings) -> dict[str, Any]:
    given = body.get("stop") if body.get("stop") is not None else body.get("stop_sequences")
    texts = [given] if isinstance(given, str) else given
    if texts is None or texts == []:
        return {}
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        found.wrong("stop", "must be a text or a list of texts", "write them in quotes")
        return {}
    kept = [text for text in texts if text and not text.isspace()]
    if len(kept) < len(texts):
        found.lost("stop", "is white space alone, where Claude does not stop")
    return {"stop_sequences": kept} if kept else {}


def _format(body: Mapping[str, Any], found: LineFindings) -> dict[str, Any]:
    given, name = body.get("response_format"), "response_format"
    text = body.get("text")
    if isinstance(text, dict):
        given, name = text.get("format"), "text.format"
        for key in sorted(text.keys() - {"format"}):
            if text[key] is not None:
                found.lost(f"text.{key}", "say in the prompt how long answers are to be")
    if given is None:
        return {}
    if not isinstance(given, dict):
        found.wrong(name, f"must be an object, not {kind(given)}", "leave it out")
        return {}
    if given.get("type") == "text":
        found.default(name)
        return {}
    if given.get("type") != "json_schema":
        found.lost(name, f"of the kind {str(given.get('type'))[:40]!r}: say it in the prompt, or give a schema")
        return {}
    inner = given.get("json_schema")
    named: Mapping[str, Any] = inner if isinstance(inner, dict) else given
    schema = named.get("schema")
    if not isinstance(schema, dict):
        found.lost(name, "has no schema")
        return {}
    if isinstance(named.get("description"), str):
        found.lost(f"{name}.description", "a schema has its descriptions inside")
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


def _user(body: Mapping[str, Any], found: LineFindings) -> dict[str, Any]:
    given = {name: body[name] for name in _USERS if body.get(name) is not None}
    if not given:
        return {}
    (name, value), *others = given.items()
    for other, unused in others:
        if unused != value:
            found.lost(other, f"metadata.user_id is {name}")
    if not isinstance(value, str) or len(value) > _MOST_USER_ID:
        found.lost(name, f"metadata.user_id is a text of at most {_MOST_USER_ID} characters")
        return {}
    return {"metadata": {"user_id": value}} if value else {}
