"""A line of any form that is known, as a request of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from orchestrator.conversion.content_parts import kind
from orchestrator.conversion.conversation import Conversation
from orchestrator.conversion.findings import LineFindings
from orchestrator.conversion.parameters import ROW_PARAMETERS, Wishes, model_of, params_of
from orchestrator.conversion.turns import add_chat, add_items
from orchestrator.domain.foreign_forms import LineForm, form_of
from orchestrator.domain.humanize import some
from orchestrator.domain.params import ParamRules, problems_in
from orchestrator.domain.result_lines import input_line

_ANY_VERSION: Final = ParamRules(api_version=None)
_FORMS: Final = (
    "a line of OpenAI's has custom_id, url and body, one of Bedrock's recordId and modelInput, a row has messages or "
    "prompt; of other columns a template makes requests: orchestrator run FILE -p '{{ column }}'"
)
_OTHER_URL: Final = "only /v1/chat/completions and /v1/responses ask for answers as the Messages API gives them"
_OWN_ID: Final = "give every request a text of its own there"
_IDS: Final = ("custom_id", "id")

_encode: Final = msgspec.json.Encoder().encode


class LineConverter:
    """Makes requests of lines; forms: how many there were of each form."""

    def __init__(self, wishes: Wishes) -> None:
        self._wishes = wishes
        self._rows = 0
        self.forms: Counter[LineForm] = Counter()

    def convert(self, values: dict[str, Any], raw: bytes, found: LineFindings) -> bytes:
        """The request in *values*, which are *raw* decoded, as a line of ours; empty if *found* has problems."""
        form = form_of(values)
        if form is None:
            found.wrong("", f"is of no form that is known: it has {some(sorted(values))}", _FORMS, is_alike=False)
            return b""
        self.forms[form] += 1
        if form is LineForm.OWN:
            return raw + b"\n"
        if form is LineForm.OPENAI_BATCH:
            custom_id, params, row = self._of_openai(values, found)
        elif form is LineForm.BEDROCK_BATCH:
            custom_id, params, row = self._of_bedrock(values, found)
        else:
            custom_id, params, row = self._of_row(values, form, found)
        if found.problems:
            return b""
        made = _encode(params)
        for problem in problems_in(made, _ANY_VERSION):
            found.problems.append(problem)
        return b"" if found.problems else input_line(custom_id, made, b"" if row is None else _encode(row)) + b"\n"

    def _of_openai(self, line: Mapping[str, Any], found: LineFindings) -> tuple[str, dict[str, Any], None]:
        body = line["body"]
        if str(line.get("method", "POST")).upper() != "POST":
            found.wrong(
                "method", f"is {str(line['method'])[:20]!r}, not POST", "a request that asks something is a POST"
            )
        for key in sorted(line.keys() - {"custom_id", "method", "url", "body"}):
            found.lost(key[:40], "is no member of OpenAI's lines")
        custom_id = _id_of(line.get("custom_id"), "custom_id", found)
        if not isinstance(body, dict):
            found.wrong("body", f"must be an object, not {kind(body)}", "put the parameters there")
            return custom_id, {}, None
        is_chat = self._is_chat(line.get("url"), body, found)
        talk = Conversation(found)
        own = len(found.problems)
        head, tail = params_of(body, self._wishes, found)
        found.problems[own:] = [each._replace(field=f"body.{each.field}") for each in found.problems[own:]]
        place = "body.messages" if is_chat else "body.input"
        talk.add_system(body.get("instructions"), "body.instructions")
        if is_chat:
            add_chat(body.get("messages"), place, talk, found)
        elif is_chat is False:
            add_items(body.get("input"), place, talk, found)
            if body.get("prompt") is not None:
                found.wrong("body.prompt", "is a prompt that lies at OpenAI", "write it out", is_alike=True)
        last = "jq -c 'del(.body.messages[-1])' in.jsonl > out.jsonl asks the question without it"
        talk.refuse_last_answer(place, last if is_chat else "leave that item out")
        return custom_id, {**head, **talk.params(), **tail}, None

    def _of_bedrock(self, line: Mapping[str, Any], found: LineFindings) -> tuple[str, dict[str, Any], None]:
        """Its input is that of the Messages API, but for the model, which Bedrock is told of a whole job."""
        for key in sorted(line.keys() - {"recordId", "modelInput"}):
            found.lost(key[:40], "is no member of Bedrock's lines")
        custom_id = _id_of(line.get("recordId"), "recordId", found)
        given = line["modelInput"]
        if not isinstance(given, dict) or "messages" not in given:
            found.wrong("modelInput", "is not what Claude is given", 'put "messages" and "max_tokens" there')
            return custom_id, {}, None
        params = {key: value for key, value in given.items() if key != "anthropic_version"}
        return custom_id, {"model": model_of(given.get("model"), self._wishes, found), **params}, None

    def _is_chat(self, url: object, body: Mapping[str, Any], found: LineFindings) -> bool | None:
        """Whether *body* is one of Chat Completions; False: of Responses. None: of neither."""
        if url is None:
            return "messages" in body
        path = str(url).partition("?")[0].rstrip("/")
        if path.endswith("/chat/completions"):
            return True
        if path.endswith("/responses"):
            return False
        found.wrong("url", f"{str(url)[:60]!r} has no counterpart in the Messages API", _OTHER_URL, is_alike=True)
        return None

    def _of_row(
        self, row: Mapping[str, Any], form: LineForm, found: LineFindings
    ) -> tuple[str, dict[str, Any], dict[str, Any] | None]:
        """What a row says, and its other columns, which are kept with the request."""
        self._rows += 1
        name = next((key for key in _IDS if row.get(key) is not None), None)
        custom_id = f"row-{self._rows}" if name is None else _id_of(row[name], name, found)
        talk = Conversation(found)
        talk.add_system(row.get("system"), "system")
        said = row.get("messages") if form is LineForm.CHAT_ROW else row["prompt"]
        if form is LineForm.PROMPT_ROW and isinstance(said, str):
            talk.add_user(said, "prompt")
        else:
            add_chat(said, "messages" if form is LineForm.CHAT_ROW else "prompt", talk, found)
        place = "messages" if form is LineForm.CHAT_ROW else "prompt"
        talk.refuse_last_answer(place, f"jq -c 'del(.{place}[-1])' in.jsonl > out.jsonl asks the question without it")
        used = {"messages" if form is LineForm.CHAT_ROW else "prompt", "system"}
        parameters = {key: value for key, value in row.items() if key in ROW_PARAMETERS and key not in used}
        head, tail = params_of(parameters, self._wishes, found)
        columns = {
            key: value for key, value in row.items() if key not in ROW_PARAMETERS and key not in used | {"custom_id"}
        }
        return custom_id, {**head, **talk.params(), **tail}, columns or None


def _id_of(value: object, place: str, found: LineFindings) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value and "\0" not in value:
        return value
    said = "is missing" if value is None else "is empty" if value == "" else f"is {kind(value)}"
    found.wrong(place, "has a NUL character" if isinstance(value, str) and value else said, _OWN_ID)
    return ""
