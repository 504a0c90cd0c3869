"""Input files, written line by line from a seed: no two requests alike, the same bytes every time."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

_PROSE: Final = "the product arrived late and broken but service was quick cheap again"
#: Of the usual requests and of their answers.
WORDS: Final = (
    "the",
    "product",
    "arrived",
    "late",
    "and",
    "broken",
    "but",
    "service",
    "was",
    "quick",
    "cheap",
    "again",
)
_LANGUAGES: Final = (
    WORDS,
    ("товар", "пришёл", "поздно", "сломан", "дёшево", "быстро", "снова"),
    ("产品", "很晚", "坏了", "服务", "很快", "便宜", "再来"),
    ("le", "produit", "arrivé", "cassé", "déçu", "très", "à", "l'année"),
)
_SMALL_WORDS: Final = 4096
_PREFIX_BYTES: Final = 40_000

Ids = Callable[[int], str]


def sequential(number: int) -> str:
    """`req-1`, `req-2`, …: as in the guide."""
    return f"req-{number}"


def uuids(seed: int = 7) -> Ids:
    """Random UUIDs: as many users have them; nothing about them compresses."""
    chance = random.Random(seed)
    return lambda _number: str(uuid.UUID(int=chance.getrandbits(128), version=4))


def usual(path: Path, count: int, *, ids: Ids = sequential, words: int = 195) -> Path:
    """About 1.2 kB a request (126 MB for 100,000): prose out of few words. *words*: how many a prompt has."""
    return _written(path, count, ids, _usual_texts(words), "")


def shared_prefix(path: Path, count: int, *, ids: Ids = sequential) -> Path:
    """A system prompt of 40 kB, the same in every request, and a short question."""
    prefix = "".join(random.Random(2).choices("abcdefgh ", k=_PREFIX_BYTES))
    return _written(path, count, ids, _short_texts(40), f'"system":{json.dumps(prefix)},')


def small(path: Path, count: int, *, ids: Ids = sequential) -> Path:
    """About 150 bytes a request, so that ten millions fit a disk."""
    return _written(path, count, ids, _short_texts(4), "")


def languages(path: Path, count: int, *, ids: Ids = sequential) -> Path:
    """Reviews in four languages, one after the other: first all of one, then all of the next."""
    return _written(path, count, ids, _texts_in_languages(count), "")


def heavy_tail(path: Path, count: int, *, ids: Ids = sequential) -> Path:
    """Most prompts are short, and one in a hundred is as long as all others of its hundred."""
    return _written(path, count, ids, _texts_of_any_length(), "")


def _written(path: Path, count: int, ids: Ids, texts: Iterator[str], extra: str) -> Path:
    """*extra*: more members of `params`, each with its comma. Ids and texts need no escaping."""
    with path.open("w", encoding="utf-8", buffering=1 << 20) as out:
        for number in range(1, count + 1):
            out.write(
                f'{{"custom_id":"{ids(number)}","params":{{"model":"claude-haiku-4-5","max_tokens":64,{extra}'
                f'"messages":[{{"role":"user","content":"{number} {next(texts)}"}}]}}}}\n'
            )
    return path


def _usual_texts(words: int) -> Iterator[str]:
    chance = random.Random(1)
    while True:
        yield " ".join(chance.choices(WORDS, k=words))


def _texts_in_languages(count: int) -> Iterator[str]:
    chance = random.Random(4)
    for number in range(count):
        words = _LANGUAGES[number * len(_LANGUAGES) // count]
        yield " ".join(chance.choices(words, k=chance.randint(20, 150)))


def _texts_of_any_length() -> Iterator[str]:
    chance = random.Random(5)
    while True:
        yield " ".join(chance.choices(WORDS, k=min(20_000, 1 + int(chance.lognormvariate(3, 1.5)))))


def _short_texts(words: int) -> Iterator[str]:
    """Out of 4,096 made-up words, by their bits: a choice costs more than the line."""
    chance = random.Random(3)
    known = ["".join(chance.choices("etaoinshrdlucmf", k=chance.randint(3, 10))) for _ in range(_SMALL_WORDS)]
    while True:
        bits = chance.getrandbits(12 * words)
        yield " ".join([known[bits >> 12 * place & 0xFFF] for place in range(words)])


#: By the name on the command line.
KINDS: Final[dict[str, Callable[..., Path]]] = {
    "usual": usual,
    "small": small,
    "shared-prefix": shared_prefix,
    "languages": languages,
    "heavy-tail": heavy_tail,
}
