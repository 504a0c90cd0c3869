"""One request as a call that a person can make by hand: with curl, in Python; and its result, from the REST API.

Quoted so that what is sent is what was stored, whatever stands in a prompt. Nothing secret is in it: keys and tokens
are names of variables.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from orchestrator.domain.api_versions import NEWEST_API_VERSION

#: A shell takes 128 KiB in one word; with more than this in it nobody copies a call anyway.
MOST_BYTES: Final = 100_000
#: What `client.messages.create` of the SDK takes by name (2.12, `resources/messages/messages.py`); else `extra_body`.
KEYWORDS: Final = frozenset(
    {
        *("model", "max_tokens", "messages", "system", "stop_sequences", "metadata", "tools", "tool_choice"),
        *("thinking", "service_tier", "output_config", "cache_control", "container", "inference_geo"),
    }
)
_HIDDEN: Final = re.compile(r"[\x7f-\U0010ffff]")
_HEAD: Final = "import anthropic\n\nclient = anthropic.Anthropic()  # the key is in ANTHROPIC_API_KEY\n"
_TOKEN: Final = "ORCHESTRATOR_SERVER_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCall:
    """A request of a job, as it is sent. address: of the REST API, without a slash at the end."""

    params: bytes
    api_version: str
    betas: tuple[str, ...]
    address: str
    job: str
    custom_id: str

    @property
    def is_long(self) -> bool:
        """It is too long for a shell, as it would be shown: Python fetches it."""
        return len(self.params) > MOST_BYTES or len(self._word.encode()) > MOST_BYTES

    @property
    def curl(self) -> str | None:
        """At once and at the full price; None if it is too long."""
        if self.is_long:
            return None
        headers = [f"{name}: {value}" for name, value in self._headers(anew=True).items()]
        return _command(
            "curl https://api.anthropic.com/v1/messages",
            '-H "x-api-key: $ANTHROPIC_API_KEY"',
            *(f"-H {shlex.quote(header)}" for header in (*headers, "content-type: application/json")),
            f"--data-raw {self._word}",
        )

    @property
    def python(self) -> str | None:
        """The same with the SDK; None if a number in it has no form in Python."""
        if self.is_long:
            return self._sends_fetched
        try:
            found = _literals(self.params)
        except (SyntaxError, MemoryError, RecursionError):  # nested deeper than Python reads
            return self._sends_fetched
        if found is None:
            return None
        named = "".join(f"    {name}={value},\n" for name, value in found.items() if name in KEYWORDS)
        others = ", ".join(f"{name!r}: {value}" for name, value in found.items() if name not in KEYWORDS)
        body = f"    extra_body={{{others}}},\n" if others else ""
        headers = f"    extra_headers={headers!r},\n" if (headers := self._headers()) else ""
        return f"{_HEAD}message = client.messages.create(\n{named}{body}{headers})\nprint(message.content)\n"

    @property
    def fetch(self) -> str:
        """Its result, from the REST API of the engine, with curl."""
        as_is = "--path-as-is " if self.custom_id in {".", ".."} else ""  # else curl goes up a folder
        return _command(f"curl {as_is}{shlex.quote(self._url)}", f'-H "Authorization: Bearer ${_TOKEN}"')

    @property
    def _word(self) -> str:
        """The params as one word of a shell."""
        return shlex.quote(_visible(self.params.decode()))

    @property
    def _sends_fetched(self) -> str:
        """Python that sends what the REST API has."""
        sent = f"client.post('/v1/messages', body=params, cast_to=object{self._extra})"
        return f"{self._fetched}\n{_HEAD}message = {sent}\n"

    @property
    def _url(self) -> str:
        return f"{self.address}/api/v1/jobs/{self.job}/requests/{quote(self.custom_id, safe='')}"

    @property
    def _fetched(self) -> str:
        token = f"{{'Authorization': 'Bearer ' + os.environ.get('{_TOKEN}', '')}}"
        return (
            "import json\nimport os\nimport urllib.request\n\n"
            f"asked = urllib.request.Request({self._url!r}, headers={token})\n"
            "params = json.load(urllib.request.urlopen(asked))['params']\n"
        )

    @property
    def _extra(self) -> str:
        return f", options={{'headers': {headers!r}}}" if (headers := self._headers()) else ""

    def _headers(self, *, anew: bool = False) -> dict[str, str]:
        """What the API has to be told; anew: also what the SDK says by itself."""
        found = {} if self.api_version == NEWEST_API_VERSION and not anew else {"anthropic-version": self.api_version}
        return found | ({"anthropic-beta": ",".join(self.betas)} if self.betas else {})


def _command(*parts: str) -> str:
    return " \\\n  ".join(parts)


def _visible(params: str) -> str:
    """The same JSON, with an escape for whatever a terminal or a reader could take for something else.

    ASCII controls are escapes in JSON already; what else is not printable stands in strings alone.
    """
    return _HIDDEN.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], params)


def _literals(params: bytes) -> Mapping[str, str] | None:
    """The members of *params* as Python has them, exactly; None if one has no form there.

    Raises SyntaxError, MemoryError or RecursionError for what is nested too deep to stand in a call.
    """
    try:
        found: dict[str, Any] = json.loads(params)
        written = {name: repr(value) for name, value in found.items()}
        return written if ast.literal_eval(f"[{found!r}]") == [found] else None  # as deep as in the call
    except ValueError:  # an infinite number
        return None
