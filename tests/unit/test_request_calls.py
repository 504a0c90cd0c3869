"""A request as a call by hand: what it sends is what was stored."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
from typing import Any, Final

import pytest
from anthropic.resources.messages import Messages

from orchestrator.views.request_calls import KEYWORDS, MOST_BYTES, RequestCall

#: Prints the words that curl is called with, each with a NUL at its end.
_SAID: Final = """curl() { printf '%s\\0' "$@"; }\n"""
TEXTS: Final = (
    'it\'s "quoted" `id` $(id) $HOME \\ \\n !! %s',
    "two\nlines\r\n\tand a tab",
    "'; rm -rf /; '",
    "umlaut ü, 漢字, 🙂, \u202e turned, \u2028",
    "\x00\x1b[31m\x7f",
    "\ud800 alone",
    "EOF\n<<EOF",
)


def call(params: bytes, **changes: Any) -> RequestCall:
    """A call of *params*."""
    known: dict[str, Any] = {
        "api_version": "2023-06-01",
        "betas": ("b-1", "c"),
        "address": "http://127.0.0.1:8787",
        "job": "j-1",
        "custom_id": "a/b c'?",
    }
    return RequestCall(params=params, **(known | changes))


def said(command: str) -> list[str]:
    """The words that a shell makes of *command*, which calls curl."""
    found = subprocess.run(["bash", "-c", _SAID + command], capture_output=True, check=True, env={"TOKEN": "x"})
    return found.stdout.decode().split("\0")[:-1]


@pytest.mark.process
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_shell_sends_the_bytes_of_the_prompt(*, ascii_only: bool) -> None:
    """Whatever stands in it: quotes, dollars, lines, controls, half a surrogate pair."""
    texts = [text for text in TEXTS if ascii_only or "\ud800" not in text]
    params = json.dumps({"model": "m", "messages": texts, "max_tokens": 1.50}, ensure_ascii=ascii_only).encode()
    command = call(params).curl
    assert command is not None
    words = said(command)
    assert json.loads(words[-1]) == json.loads(params)
    assert all(character.isprintable() for character in command.replace("\n", ""))
    assert "anthropic-version: 2023-06-01" in words
    assert "anthropic-beta: b-1,c" in words
    assert "x-api-key: " in words  # the variable is not set here


@pytest.mark.process
def test_the_result_is_fetched_by_any_id() -> None:
    """Ids are the user's own."""
    (url, flag, header) = said(call(b"{}").fetch)
    assert url == "http://127.0.0.1:8787/api/v1/jobs/j-1/requests/a%2Fb%20c%27%3F"
    assert (flag, header) == ("-H", "Authorization: Bearer ")
    assert said(call(b"{}", custom_id="..").fetch)[:2] == ["--path-as-is", f"{url.rpartition('/')[0]}/.."]


def keywords(code: str) -> dict[str, Any]:
    """The arguments of the call in *code*."""
    (found,) = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and len(node.keywords) > 2]
    return {str(each.arg): ast.literal_eval(each.value) for each in found.keywords}


def test_python_has_the_same_params() -> None:
    """Exact texts and numbers, also what the SDK has no name for; nothing, if a number has no form."""
    params = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": text} for text in TEXTS]}
    more = {"top_p": 0.1, "mcp_servers": [{"x": None, "y": True, "n": 2**70}], "not a name": 1}
    code = call(json.dumps(params | more).encode()).python
    assert code is not None
    found = keywords(code)
    assert found.pop("extra_headers") == {"anthropic-version": "2023-06-01", "anthropic-beta": "b-1,c"}
    assert found.pop("extra_body") == more
    assert found == params
    assert call(b'{"model":"m","x":1e999}').python is None


def test_the_sdk_takes_what_is_named() -> None:
    """Its own signature."""
    assert set(inspect.signature(Messages.create).parameters) > KEYWORDS | {"extra_body", "extra_headers"}


def test_a_long_request_is_fetched_by_python() -> None:
    """No shell takes it as a word."""
    long = call(b'{"model":"m","system":"' + b"x" * MOST_BYTES + b'"}')
    assert long.curl is None
    assert long.python is not None
    ast.parse(long.python)
    assert "requests/a%2Fb%20c%27%3F" in long.python
    assert len(long.python) < 1000


@pytest.mark.parametrize("text", ["\u00a0" * 30_000, "'" * 30_000], ids=["escapes", "quotes"])
def test_long_is_what_is_long_as_it_is_shown(text: str) -> None:
    """An escape for what is not printable has six characters, a quote in a shell's word has five."""
    params = json.dumps({"model": "m", "system": text}, ensure_ascii=False).encode()
    assert len(params) < MOST_BYTES
    assert call(params).curl is None
    assert "['params']" in (call(params).python or "")


def test_python_fetches_what_is_nested_too_deep_for_it() -> None:
    """Python's own reader stops at some number of brackets; what is shown can be run."""
    is_inline = {}
    for depth in (150, *range(194, 204), 900):
        params = b'{"model":"m","max_tokens":1,"messages":[],"x":' + b"[" * depth + b"]" * depth + b"}"
        code = call(params).python
        assert code is not None
        ast.parse(code)
        is_inline[depth] = "extra_body" in code
        assert is_inline[depth] is not ("['params']" in code)
    assert (is_inline[150], is_inline[900]) == (True, False)
