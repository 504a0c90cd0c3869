"""How a job under a cap will go, said beforehand: what a request can cost at most is reserved before it is sent.

So what goes at once is what fits at its worst; once it was answered, what it did not cost makes room for more. After k
such rounds (1 - expected / worst)^k is left: the longer `max_tokens`, the more rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator.domain.money import shown, shown_cap

__all__ = ["CapCourse"]

#: So many rounds are nothing to speak of.
_FEW_ROUNDS: Final = 2
_MOST_ROUNDS: Final = 100
#: Answers differ: a `max_tokens` is named only from so many times their mean on.
_ROOM: Final = 2
#: Where the length of answers is not known: from so many times the cap on what a job may cost is spoken of.
_MUCH: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CapCourse:
    """All requests of a job together, of which each counts as the mean. cap, worst: nano-dollars.

    expected: what they are expected to cost; None: nobody knows how long answers are. max_tokens, answers: tokens, at
    most and as expected; output: nano-dollars of as many as `max_tokens`, which are in `worst`.
    """

    cap: int
    requests: int
    worst: int
    expected: int | None
    max_tokens: int
    answers: int | None
    output: int

    @property
    def words(self) -> str | None:
        """For a person, a sentence; None: it will go in a round or two, and there is nothing to say."""
        if self.worst <= self.cap or not self.requests:
            return None
        first = self._first(self.worst)
        if not first:
            each = shown(self.worst // self.requests)
            return f"the cap is {shown_cap(self.cap)}, and a request may cost {each}: none is sent"
        if self.expected is None or self.answers is None:
            return self._unknown(first) if self.worst > _MUCH * self.cap else None
        rounds, done = self._rounds(self.worst, self.expected)
        if done < self.requests:
            each = shown(self.worst // self.requests)
            return (
                f"the job pauses after about {done:,} of {self.requests:,} requests: the cap is {shown_cap(self.cap)}, "
                f"about {shown(self.expected)} is expected in all, and a request may cost {each}"
            )
        return None if rounds <= _FEW_ROUNDS else self._many(rounds, first, self.answers)

    def _unknown(self, first: int) -> str:
        return (
            f"about {first:,} of {self.requests:,} requests go at a time under the cap of {shown_cap(self.cap)}, as "
            f"each reserves what it may cost; a max_tokens below {self._each(self.max_tokens):,} lets more go"
        )

    def _many(self, rounds: int, first: int, answers: int) -> str:
        said = f"max_tokens {self._each(self.max_tokens):,}, answers about {self._each(answers):,}: "
        many = f"more than {_MOST_ROUNDS}" if rounds > _MOST_ROUNDS else f"{rounds:,}"
        better = self._better(answers, self.expected or 0)
        if better is None or better[1] >= rounds:
            return f"{said}the cap lets about {first:,} of {self.requests:,} requests go at a time: {many} rounds"
        return f"{said}{better[0]:,} would let the cap finish in {better[1]:,} round{'s'[: better[1] > 1]}, not {many}"

    def _better(self, answers: int, expected: int) -> tuple[int, int] | None:
        """The largest power of two in place of `max_tokens` that needs few rounds, else the least; and how many."""
        found = None
        limit = 1 << (max(1, _ROOM * self._each(answers)) - 1).bit_length()
        while limit < self._each(self.max_tokens):
            worst = self.worst - self.output + self.output * limit * self.requests // self.max_tokens
            rounds, _ = self._rounds(max(worst, expected), expected)
            if found is not None and rounds > _FEW_ROUNDS:
                break
            found = limit, rounds
            limit *= 2
        return found

    def _each(self, total: int) -> int:
        return round(total / self.requests)

    def _first(self, worst: int) -> int:
        return min(self.requests, self.cap * self.requests // worst)

    def _rounds(self, worst: int, expected: int) -> tuple[int, int]:
        """How many rounds there are, and after how many requests no other fits."""
        done = rounds = 0
        while done < self.requests and rounds <= _MOST_ROUNDS:
            fits = (self.cap * self.requests - done * expected) // worst
            if fits <= 0:
                break
            done, rounds = min(self.requests, done + fits), rounds + 1
        return rounds, done if rounds <= _MOST_ROUNDS else self.requests
