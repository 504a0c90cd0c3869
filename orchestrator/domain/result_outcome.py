"""What a result means for its request: settled, tried again, or tried again for free; and why answers ended."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple, assert_never

from orchestrator.domain import humanize
from orchestrator.domain.account import blocked_message


class Outcome(StrEnum):
    """What a result means for its request."""

    SUCCEEDED = "succeeded"  #: settled; its answer is stored
    FAILED = "failed"  #: settled; the request itself is at fault
    AGAIN = "again"  #: the server's fault: queued again, one attempt burnt
    CREDIT = "credit"  #: empty credit: queued again, no attempt burnt; the job may pause
    CANCELED = "canceled"  #: its batch was canceled: queued again for free, or canceled with its job
    INVALID = "invalid"  #: an answer that was paid for and is not what its job's schema asks: queued again, or failed
    REPLACED = "replaced"  #: of an attempt alone: it had succeeded, and a person asked for another answer


class Settlement(StrEnum):
    """What stage settle does with a request that did not succeed, once its batch is collected."""

    AGAIN = "again"  #: queued again, one attempt burnt
    CREDIT = "credit"  #: queued again for free: the credit was used up
    REQUEUE_CANCELED_ELSEWHERE = (
        "canceled"  #: queued again for free: somebody else canceled the batch, and the job is paused
    )
    REQUEUE_CANCELED_BY_US = (
        "canceled_by_us"  #: queued again for free: its job was canceled, and a person retried it since
    )
    CANCELED_WITH_JOB = "canceled_with_job"  #: settled: its job is being canceled
    FAILED = "failed"  #: settled: no attempt is left
    INVALID_AGAIN = "invalid_again"  #: queued again, one attempt burnt: its answer was invalid
    INVALID = "invalid"  #: settled: it has had an invalid answer too often; the last one is kept


#: errored types that are the server's fault. Unknown types are an open set and count as the server's, too.
#: Source: SDK 2.12 `types/shared/error_object.py`; which are worth retrying is our judgement.
_REQUEST_FAULTS: Final = frozenset(
    {
        "invalid_request_error",
        "authentication_error",
        "billing_error",
        "permission_error",
        "not_found_error",
        "request_too_large",
        "conflict_error",
    }
)
#: Of those, what the request itself is at fault for; the others pass once the account is in order.
_LASTING: Final = frozenset({"invalid_request_error", "not_found_error", "request_too_large"})
#: An `invalid_request_error` that passes: the URL source was slow (Message Batches guide, "URL sources").
_SLOW_DOWNLOAD: Final = "the request timed out while trying to download the file"

#: Our own type for a request that the API kept leaving out of complete downloads.
MISSING_RESULT: Final = "missing_result"
#: And for one whose line cannot be read; also the kind that such a line counts as.
UNREADABLE_RESULT: Final = "unreadable_result"
#: And for one whose last answer does not match its job's schema.
INVALID_ANSWER: Final = "invalid_answer"
#: Error types that a request may have: the API's, and ours. There may be others.
KNOWN_ERRORS: Final = frozenset(
    {
        *_REQUEST_FAULTS,
        "api_error",
        "overloaded_error",
        "rate_limit_error",
        "timeout_error",
        MISSING_RESULT,
        UNREADABLE_RESULT,
        INVALID_ANSWER,
    }
)
#: Attention for results of a kind that this program does not know.
UNKNOWN_RESULT: Final = "unknown_result"
#: Attention kinds whose requests were most likely answered: sending them again pays for them again.
MAY_BE_PAID_FOR: Final = frozenset({UNREADABLE_RESULT, UNKNOWN_RESULT})
#: Stop reasons whose answers, though paid for, a person may ask for again: what they hold may not be what was wanted.
RETRIED_STOPS: Final = frozenset({"refusal", "max_tokens"})
#: The kinds of results that the API documents (Message Batches API reference).
KINDS: Final = frozenset({"succeeded", "errored", "expired", "canceled"})

#: Kinds that need no error type.
_PLAIN: Final = MappingProxyType(
    {"succeeded": Outcome.SUCCEEDED, "canceled": Outcome.CANCELED, "expired": Outcome.AGAIN}
)


def judge(kind: str, error_type: str | None, error_message: str | None) -> Outcome:
    """What a line of *kind* (`result.type`) with the error of `result.error.error` means.

    Only what is documented as not billed is tried again. An unknown kind may have been billed, so it is settled,
    not retried.
    """
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind != "errored":
        return Outcome.FAILED
    if error_type not in _REQUEST_FAULTS:
        return Outcome.AGAIN
    message = error_message if error_message is not None else ""
    if blocked_message(message) is not None or error_type == "billing_error":
        return Outcome.CREDIT
    if message.lower().startswith(_SLOW_DOWNLOAD):
        return Outcome.AGAIN
    return Outcome.FAILED


def fails_again(error_type: str) -> bool:
    """Whether the API refuses a request that failed with *error_type* once more, unless it is changed."""
    return error_type in _LASTING


class Tries(NamedTuple):
    """Attempts that a request has burnt since a person last retried it, and those of them with an invalid answer."""

    attempts: int
    invalid: int = 0


class TryLimits(NamedTuple):
    """attempts: so many may fail on the server's side. invalid: an invalid answer is asked for again so often."""

    attempts: int
    invalid: int = 0


def settlement_of(
    outcome: Outcome, tries: Tries, limits: TryLimits, *, is_canceling: bool, is_asked: bool
) -> Settlement:
    """What becomes of a request whose line meant *outcome*.

    tries: before this one. is_canceling: its job is. is_asked: we asked the API to cancel its batch.
    """
    if outcome is Outcome.INVALID:
        goes_again = tries.invalid < limits.invalid and not is_canceling
        return Settlement.INVALID_AGAIN if goes_again else Settlement.INVALID
    if is_canceling:
        return Settlement.CANCELED_WITH_JOB
    match outcome:
        case Outcome.AGAIN:
            is_left = tries.attempts - tries.invalid + 1 < limits.attempts
            return Settlement.AGAIN if is_left else Settlement.FAILED
        case Outcome.CREDIT:
            return Settlement.CREDIT
        case Outcome.CANCELED:
            return Settlement.REQUEUE_CANCELED_BY_US if is_asked else Settlement.REQUEUE_CANCELED_ELSEWHERE
        case Outcome.SUCCEEDED | Outcome.FAILED | Outcome.REPLACED:
            raise ValueError(f"a request that {outcome} is settled already")
        case _:
            assert_never(outcome)


#: Counts the stop reasons that have no name of their own in the store.
OTHER_STOP: Final = "other"
#: The names that a store knows from its beginning, by their numbers in it (a test compares). The first three are the
#: usual ends of whole answers. Source: Messages API reference, "stop_reason".
KNOWN_STOPS: Final = (
    "end_turn",
    "stop_sequence",
    "tool_use",
    "max_tokens",
    "refusal",
    "pause_turn",
    "model_context_window_exceeded",
    OTHER_STOP,
)
USUAL_STOPS: Final = frozenset(KNOWN_STOPS[:3])
REFUSAL: Final = "refusal"
#: By a limit on its length: the answer is not whole.
CUT_STOPS: Final = frozenset({"max_tokens", "model_context_window_exceeded"})
#: At most this many names per store, including these.
MOST_STOP_NAMES: Final = 32
_LONGEST: Final = 64
#: What the best known ones are called in a sentence.
_STOP_WORDS: Final = {
    "refusal": "refused",
    "max_tokens": "cut at max_tokens",
    "model_context_window_exceeded": "cut at the context window",
    "pause_turn": "paused turn",
}
#: Those words that are a noun, which has a plural.
_COUNTED: Final = frozenset({"pause_turn"})
_SAFE: Final = frozenset(KNOWN_STOPS)


def stop_name(stop_reason: str | None) -> str | None:
    """*stop_reason* as it is stored (`safe_name`). None for none."""
    if stop_reason is None or stop_reason in _SAFE:
        return stop_reason
    safe = safe_name(stop_reason)
    return safe or None


def safe_name(name: str) -> str:
    """*name*, which the API says, as it is stored: printable ASCII without blanks, at most 64 characters."""
    text = name[:_LONGEST].encode("ascii", "backslashreplace").decode()
    safe = "".join(c if "!" <= c <= "~" else "_" if c == " " else f"\\x{ord(c):02x}" for c in text)
    return safe[:_LONGEST]


def stop_words(counts: Mapping[str, int]) -> list[str]:
    """`1 refused`, `2 paused turns`, `3 tool_use`: every end but `end_turn`, the best known ones first."""
    rest = sorted(
        (name for name in counts if name not in _STOP_WORDS and name != KNOWN_STOPS[0]), key=lambda n: (-counts[n], n)
    )
    return [_stop_word(name, counts[name]) for name in (*_STOP_WORDS, *rest) if counts.get(name)]


def _stop_word(name: str, number: int) -> str:
    words = humanize.plain(_STOP_WORDS.get(name, name))
    return humanize.count(number, words) if name in _COUNTED else f"{number:,} {words}"


def invalid_words(number: int) -> list[str]:
    """`5 invalid answers`; nothing where there are none."""
    return [humanize.count(number, "invalid answer")] if number else []
