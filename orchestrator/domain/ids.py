"""Identifiers, and how one is computed from another.

A request's id is arithmetic: `job << 32 | number`. So the rows of a job lie together in file order, its payload
and its result are found by the same key, and no index has to say which job a request belongs to.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final, NewType, cast

JobId = NewType("JobId", int)  #: row id; what a person sees is the job's `public_id`
BatchId = NewType("BatchId", int)
RequestId = NewType("RequestId", int)
RemoteId = NewType("RemoteId", str)  #: the API's `msgbatch_…`
Nonce = NewType("Nonce", str)

NUMBER_BITS: Final = 32
MAX_NUMBER: Final = (1 << NUMBER_BITS) - 1
#: The largest integer that SQLite stores: no row id is above it.
MAX_INTEGER: Final = (1 << 63) - 1

#: 20 characters of base 32: 50 bits of chance, then a MAC of 50 bits (`signed`). Two stores never make the same nonce,
#: and one that has forgotten a batch can tell that it is its own.
NONCE_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
NONCE_LENGTH: Final = 20
_CHANCE: Final = 10
_LETTERS: Final = frozenset(NONCE_ALPHABET)


def request_id(job: JobId, number: int) -> RequestId:
    """The id of the *number*-th request (from 1) of *job*."""
    return RequestId(job << NUMBER_BITS | number)


def request_ids(job: JobId, numbers: Iterable[int]) -> list[RequestId]:
    """`request_id` of each of *numbers*: there are thousands, and a call for each would take longer."""
    first = job << NUMBER_BITS
    return cast("list[RequestId]", [first | number for number in numbers])


def number_of(request: RequestId) -> int:
    """The request's place in its job, from 1."""
    return request & MAX_NUMBER


def signed(nonce: Nonce, secret: str, identity: str) -> Nonce:
    """The chance in *nonce* and a MAC over it and *identity* (see `job_identity`), under a store's *secret*."""
    chance = nonce[:_CHANCE]
    digest = hmac.digest(secret.encode(), f"{chance}\n{identity}".encode(), hashlib.sha256)
    return Nonce(chance + "".join(NONCE_ALPHABET[byte & 31] for byte in digest[: NONCE_LENGTH - _CHANCE]))


def is_signed(nonce: Nonce, secret: str, identity: str) -> bool:
    """Whether `signed` made *nonce* for this *secret* and *identity*; by chance one in 2^50 is."""
    return hmac.compare_digest(nonce, signed(nonce, secret, identity))


def job_identity(
    *, public_id: str, content_hash: str | None, api_version: str, betas: tuple[str, ...], earlier: int
) -> str:
    """What identifies a job even in a store that lost it and ingests it again: its content, if that has a hash.

    earlier: how many jobs of the same content, API version and betas came before it in the store (`--new` makes such).
    """
    if not content_hash:  # (an open job's is not known, or empty once it was closed)
        return f"job {public_id}"
    return f"content {content_hash} {api_version} {','.join(sorted(betas))} {earlier}"


def wire_id(nonce: Nonce, number: int) -> str:
    """The `custom_id` that goes over the wire: at most 31 characters of `[a-z0-9-]`, unique for ever.

    Source: the API takes `^[a-zA-Z0-9_-]{1,64}$`, unique within a batch (Message Batches API reference).
    """
    return f"{nonce}-{number}"


def split_wire_id(wire: str) -> tuple[Nonce, int] | None:
    """The nonce and the number in a wire id, or None if it was not made by `wire_id`."""
    nonce = Nonce(wire[:NONCE_LENGTH])
    if not set(nonce) <= _LETTERS:
        return None
    number = number_in(wire, nonce)
    return None if number is None else (nonce, number)


def number_in(wire: str, nonce: Nonce) -> int | None:
    """The number in a wire id with this *nonce* (of `NONCE_LENGTH`), or None if it is not one; once per result line."""
    digits = wire[NONCE_LENGTH + 1 :]
    if wire[NONCE_LENGTH : NONCE_LENGTH + 1] != "-" or not wire.startswith(nonce):
        return None
    if not digits.isascii() or not digits.isdigit() or digits[0] == "0" or len(digits) > 10:
        return None
    number = int(digits)
    return number if number <= MAX_NUMBER else None  # (beyond its bits it would run into the next job's requests)
