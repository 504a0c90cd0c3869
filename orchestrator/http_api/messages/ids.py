"""The public ids of jobs at the Messages face: stable, opaque, and of this store alone, without a column for them.

An id is `msgbatch_01` and 22 characters of base 62: 8 bytes that prove it (an HMAC of the job's number, keyed by the
store's lineage) and the number, hidden under 8 bytes that follow from the proof. An id of another store, or one that
was made up, proves nothing and means nothing.
"""

from __future__ import annotations

import hmac
from string import ascii_letters, digits
from typing import Final

from orchestrator.domain.ids import JobId

_PREFIX: Final = "msgbatch_01"
_ALPHABET: Final = digits + ascii_letters
_WORD_BYTES: Final = 8
_WORD_CHARS: Final = 11  #: 62**11 > 2**64
_WORD_END: Final = 1 << 64


class BatchIds:
    """Makes and reads the ids of one store."""

    def __init__(self, lineage: str) -> None:
        self._key = lineage.encode()

    def of(self, job: JobId) -> str:
        """The id that stands for *job*."""
        proof = self._word(b"proof", job)
        return f"{_PREFIX}{_text(proof)}{_text(job ^ self._word(b'mask', proof))}"

    def job(self, batch_id: str) -> JobId | None:
        """The job that *batch_id* stands for, whether or not there is one; None: it is no id of this store."""
        text = batch_id.removeprefix(_PREFIX)
        if len(text) != 2 * _WORD_CHARS or len(batch_id) == len(text) or not set(text) <= set(_ALPHABET):
            return None
        proof = _number(text[:_WORD_CHARS])
        if proof >= _WORD_END:
            return None
        job = _number(text[_WORD_CHARS:]) ^ self._word(b"mask", proof)
        if not 0 < job < _WORD_END >> 1:
            return None
        is_ours = hmac.compare_digest(self.of(JobId(job)).encode(), batch_id.encode())
        return JobId(job) if is_ours else None

    def _word(self, purpose: bytes, number: int) -> int:
        message = purpose + number.to_bytes(_WORD_BYTES, "big")
        return int.from_bytes(hmac.digest(self._key, message, "sha256")[:_WORD_BYTES], "big")


def _text(number: int) -> str:
    characters: list[str] = []
    for _ in range(_WORD_CHARS):
        number, place = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[place])
    return "".join(reversed(characters))


def _number(text: str) -> int:
    number = 0
    for character in text:
        number = number * len(_ALPHABET) + _ALPHABET.index(character)
    return number
