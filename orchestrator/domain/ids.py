"""Identifiers and how they are made from each other.

A request's id is arithmetic: `job << 32 | number`. So the rows of a job lie together in file order, its payload
and its result are found by the same key, and no index has to say which job a request belongs to.
"""

from __future__ import annotations

from typing import Final, NewType

JobId = NewType("JobId", int)  #: row id; what a person sees is the job's `public_id`
BatchId = NewType("BatchId", int)
RequestId = NewType("RequestId", int)
RemoteId = NewType("RemoteId", str)  #: the API's `msgbatch_…`
Nonce = NewType("Nonce", str)

NUMBER_BITS: Final = 32
MAX_NUMBER: Final = (1 << NUMBER_BITS) - 1

#: 20 characters of base 32 are 100 bits: two stores never make the same nonce.
NONCE_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
NONCE_LENGTH: Final = 20


def request_id(job: JobId, number: int) -> RequestId:
    """The id of the *number*-th request (from 1) of *job*."""
    return RequestId(job << NUMBER_BITS | number)


def number_of(request: RequestId) -> int:
    """The request's place in its job, from 1."""
    return request & MAX_NUMBER


def job_of(request: RequestId) -> JobId:
    """The job that the request belongs to."""
    return JobId(request >> NUMBER_BITS)


def wire_id(nonce: Nonce, number: int) -> str:
    """The `custom_id` that goes over the wire: at most 31 characters of `[a-z0-9-]`, unique for ever.

    Source: the API takes `^[a-zA-Z0-9_-]{1,64}$`, unique within a batch (Message Batches API reference).
    """
    return f"{nonce}-{number}"


def split_wire_id(wire: str) -> tuple[Nonce, int] | None:
    """The nonce and the number in a wire id, or None if it was not made by `wire_id`."""
    nonce = Nonce(wire[:NONCE_LENGTH])
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
