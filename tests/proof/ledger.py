"""The API's own books, as the judge reads them: what each request came to there, and the bytes that were served."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from orchestrator.sandbox import Machine
from orchestrator.sandbox.canned_results import render

#: What is tried again: it must have come to that as often as there are attempts before it may be the last word.
TRIED_AGAIN: Final = frozenset({"expired", "api_error", "overloaded_error", "timeout_error", "novel_error"})
#: Creates that are refused, or never get through: a batch is narrowed down, to a single request if it must be, which
#: then fails with these words.
REFUSALS: Final = MappingProxyType(
    {
        "create.413": "request_too_large",
        "create.early_413": "request_too_large",
        "create.drop_mid": "request_too_large",
        "create.400": "invalid_request_error",
    }
)


class Ledger:
    """Read once, at the end of a world. Requests are named by the sha256 of their params; aliases: its other names."""

    def __init__(self, machine: Machine, aliases: Mapping[str, str]) -> None:
        self.billed: Counter[str] = Counter()
        self.nonces: defaultdict[str, set[str]] = defaultdict(set)
        self._words: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._served: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        self._answers: defaultdict[str, list[bytes]] = defaultdict(list)
        self._sent: dict[str, int] = {}
        for place, batch in enumerate(machine._batches):
            for row in () if batch.foreign else batch.rows():
                digest, outcome = row.digest.hex(), batch.outcome(row)
                digest = aliases.get(digest, digest)
                self._sent[digest] = place
                self.billed[digest] += outcome == "succeeded"
                self.nonces[row.custom_id.partition("-")[0]].add(batch.id)
                word = outcome if outcome != "errored" else "api_error" if row.error is None else row.error[0]
                self._words[digest][word] += 1
                self._served[digest][batch.id] = served = _result(render(row, outcome, batch))
                if outcome == "succeeded":
                    self._answers[digest].append(served)

    def served(self, digest: str, remote: str | None) -> bytes | None:
        """The result object of a request in one batch; None if it was not in it."""
        return None if remote is None else self._served[digest].get(remote)

    def sent_last(self, digest: str) -> int:
        """When a request was sent last: the place of its batch among all of them; -1: never."""
        return self._sent.get(digest, -1)

    def answers(self, digest: str) -> list[bytes]:
        """The results of a request that succeeded, in the order of their batches."""
        return self._answers[digest]

    def said(self, digest: str, error: str, attempts: int) -> bool:
        """True if the API said this of the request for good: the server's own errors as often as there are attempts."""
        words = self._words[digest]
        enough = error not in TRIED_AGAIN or sum(words[word] for word in TRIED_AGAIN) >= attempts
        return words[error] > 0 and enough

    def has_served(self, digest: str, body: bytes) -> bool:
        """True if *body* is what the API served for this request in some batch."""
        return body in self._served[digest].values()


def _result(line: bytes) -> bytes:
    """The result object of a line of the sandbox; nothing of the product's own reading is used here."""
    mark = b'","result":'
    return line[line.index(mark) + len(mark) : -len(b"}\n")]
