"""A conversation as it is gathered: what the system says goes to the front, results of tools into the user's turn."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from orchestrator.conversion.content_parts import Block, content_of, kind, text_of
from orchestrator.conversion.findings import LineFindings

#: Source: the API's reference of `tool_use` and `tool_result`.
_TOOL_ID: Final = re.compile(r"[a-zA-Z0-9_-]+", re.ASCII)
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Conversation:
    """`system` and `messages` of a request, from turns in the order in which they were said."""

    def __init__(self, found: LineFindings) -> None:
        self._found = found
        self._system: list[str] = []
        self._messages: list[dict[str, Any]] = []

    def params(self) -> dict[str, Any]:
        """`system`, if there is one, and `messages`."""
        texts = [text for text in self._system if text]
        system: dict[str, Any] = {}
        if texts:
            blocks = [{"type": "text", "text": text} for text in texts]
            system = {"system": texts[0] if len(texts) == 1 else blocks}
        return {**system, "messages": self._messages}

    def add_system(self, content: object, place: str) -> None:
        """What the system, or a developer, says."""
        if self._messages:
            self._found.changed(
                "messages", "of the system, or a developer, behind the first turn: they went to the front"
            )
        self._system.append(text_of(content, place, self._found))

    def add_user(self, content: object, place: str) -> None:
        """A turn of the user."""
        made = content_of(content, place, self._found)
        if made is not None:
            self._messages.append({"role": "user", "content": made})
        elif not self._found.problems:
            self._found.wrong(place, "is empty", "the API takes no empty message: write a text, or leave it out")

    def add_assistant(self, content: object, place: str, calls: list[Block]) -> None:
        """A turn of the assistant, with the tools that it calls."""
        made = content_of(content, place, self._found)
        if made is None and not calls:
            if not self._found.problems:
                self._found.lost("messages", "of the assistant that say nothing: the API takes no empty one")
            return
        last = self._messages[-1] if self._messages else None
        if (
            calls and last is not None and last["role"] == "assistant"
        ):  # the calls that go with it are items of their own
            last["content"] = [*_blocks(last["content"]), *_blocks(made), *calls]
        else:
            both = [*_blocks(made), *calls]
            self._messages.append({"role": "assistant", "content": both if calls or made is None else made})

    def add_tool_result(
        self, key: object, content: object, place: str, members: tuple[str, str] = ("tool_call_id", "content")
    ) -> None:
        """What a tool answered; neighbours are one turn, as the API wants it. members: how its two parts are called."""
        of_key, of_content = members
        made = content_of(content, f"{place}.{of_content}", self._found)
        block = {
            "type": "tool_result",
            "tool_use_id": self._tool_id(key, f"{place}.{of_key}"),
            **({} if made is None else {"content": made}),
        }
        last = self._messages[-1] if self._messages else None
        if last is not None and last["role"] == "user" and _are_results(last["content"]):
            last["content"].append(block)
            return
        self._messages.append({"role": "user", "content": [block]})

    def call(self, key: object, name: object, arguments: object, place: str) -> Block:
        """A call of a tool by the assistant, whose arguments are JSON in a text."""
        if not isinstance(name, str) or not name:
            self._found.wrong(f"{place}.name", f"must be a text, not {kind(name)}", "name the function")
        return {
            "type": "tool_use",
            "id": self._tool_id(key, f"{place}.id"),
            "name": name,
            "input": self._arguments(arguments, f"{place}.arguments"),
        }

    def refuse_last_answer(self, place: str, remedy: str) -> None:
        """A conversation that is over asks nothing; the API would go on with the answer, or refuse it."""
        if not self._messages and not self._found.problems:
            remedy_ = "add a message of the user: the system prompt alone asks nothing"
            self._found.wrong(place, "has no message of a user", remedy_, is_alike=True)
        elif self._messages and self._messages[-1]["role"] == "assistant":
            self._found.wrong(place, "ends with the assistant's own answer", remedy, is_alike=True)

    def _tool_id(self, key: object, place: str) -> str:
        if isinstance(key, str) and _TOOL_ID.fullmatch(key):
            return key
        said = "is missing" if key is None else f"is {str(key)[:40]!r}"
        remedy = "an id of a call has letters, digits, _ and -, and its result names the same"
        self._found.wrong(place, said, remedy)
        return ""

    def _arguments(self, arguments: object, place: str) -> dict[str, Any]:
        if isinstance(arguments, dict):
            return arguments
        if arguments in {None, ""}:
            return {}
        try:
            return _decode(str(arguments))
        except (msgspec.DecodeError, RecursionError):
            self._found.wrong(place, "is no JSON object in a text", "write the arguments as JSON")
            return {}


def _blocks(content: str | list[Block] | None) -> list[Block]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content or []


def _are_results(content: object) -> bool:
    return isinstance(content, list) and all(block.get("type") == "tool_result" for block in content)
