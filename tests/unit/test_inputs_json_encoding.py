"""What a program may put into a request, and what is sent for it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import enum
import io
import json
import os
import tempfile
import uuid
from collections import ChainMap, OrderedDict, UserString, deque
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import anthropic
import httpx2
import msgspec
import pydantic
import pytest

from orchestrator.domain.api_versions import STRICTER_API_VERSION
from orchestrator.domain.errors import UsageError
from orchestrator.domain.params import ParamRules
from orchestrator.inputs import source_from_objects
from orchestrator.ports.streams import InputLine, InputProblem

RULES = ParamRules(api_version=STRICTER_API_VERSION)
PNG = b"\x89PNG\r\n\x1a\nABC\nDEF"
TURNS = [{"role": "user", "content": "hi"}]


def request(custom_id: object = "a", **params: object) -> dict[str, Any]:
    return {"custom_id": custom_id, "params": {"model": "m", "max_tokens": 5, "messages": TURNS, **params}}


def image(data: object) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "image/png", "data": data}
    return request(messages=[{"role": "user", "content": [{"type": "image", "source": source}]}])


def read(requests: Any) -> list[InputLine | InputProblem]:
    async def drained() -> list[InputLine | InputProblem]:
        source = source_from_objects(requests, name="requests", rules=RULES)
        return [item async for chunk in source.chunks() for item in chunk]

    return asyncio.run(drained())


def sent(given: object) -> dict[str, Any]:
    (item,) = read([given])
    assert isinstance(item, InputLine), item
    found: dict[str, Any] = json.loads(item.params)
    return found


def problem(given: object) -> InputProblem:
    (item,) = read([given])
    assert isinstance(item, InputProblem), item
    return item


def what_the_sdk_sends(params: Any) -> dict[str, Any]:
    """The body that the SDK makes of *params*, taken from a transport that keeps it."""
    bodies: list[bytes] = []

    def answer(asked: Any) -> Any:
        bodies.append(asked.read())
        return httpx2.Response(400, json={"type": "error", "error": {"type": "invalid_request_error", "message": ""}})

    client = anthropic.Anthropic(api_key="x", http_client=httpx2.Client(transport=httpx2.MockTransport(answer)))
    with pytest.raises(anthropic.BadRequestError):
        client.messages.batches.create(requests=[params])
    found: dict[str, Any] = json.loads(bodies[0])["requests"][0]["params"]
    return found


class Wrapper:
    """As `tempfile.NamedTemporaryFile` gives one: a file that is no `io.IOBase`."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)


@pytest.mark.parametrize(
    "sort", ["BytesIO", "open file", "Path", "raw file", "text file", "bytes", "memoryview", "wrapper"]
)
def test_a_file_at_the_place_of_base64_data_is_its_whole_content(tmp_path: Path, sort: str) -> None:
    """F2: what `Base64ImageSourceParam.data` may be; a file is not the list of its lines."""
    path = tmp_path / "image.png"
    path.write_bytes(b"plain text" if sort == "text file" else PNG)
    made: dict[str, Any] = {
        "BytesIO": lambda: io.BytesIO(PNG),
        "open file": lambda: path.open("rb"),
        "raw file": lambda: path.open("rb", buffering=0),
        "text file": lambda: path.open(encoding="utf-8"),
        "Path": lambda: path,
        "bytes": lambda: PNG,
        "memoryview": lambda: memoryview(bytearray(PNG)),
        "wrapper": lambda: Wrapper(PNG),
    }
    with contextlib.ExitStack() as files:
        opened = made[sort]()
        if isinstance(opened, io.IOBase):
            files.enter_context(opened)
        found = sent(image(opened))["messages"][0]["content"][0]["source"]["data"]
    assert base64.b64decode(found) == path.read_bytes()
    assert found == what_the_sdk_sends(image(path))["messages"][0]["content"][0]["source"]["data"]


class Colour(enum.StrEnum):
    RED = "red"


class Number(enum.IntEnum):
    SIX = 6


class Pair(NamedTuple):
    a: int
    b: str


class Turn(pydantic.BaseModel):
    role: str
    content: str
    at: date | None = None


AS_THE_SDK: dict[str, Any] = {
    "a generator": lambda: (turn for turn in TURNS),
    "a tuple": lambda: tuple(TURNS),
    "a deque": lambda: deque(TURNS),
    "a view of a dict's values": {"x": TURNS[0]}.values,
    "a view of a dict's keys": {"x": 1, "y": 2}.keys,
    "a range": lambda: range(3),
    "a set of one": lambda: {"x"},
    "a mapping proxy": lambda: MappingProxyType({"x": 1}),
    "a chain of maps": lambda: ChainMap({"x": 1}, {"y": 2}),
    "an ordered dict": lambda: OrderedDict(x=1),
    "a str enum": lambda: Colour.RED,
    "an int enum": lambda: Number.SIX,
    "a named tuple": lambda: Pair(1, "x"),
    "a date": lambda: date(2026, 11, 28),
    "a datetime": lambda: datetime(2026, 11, 28, 1, 2, 3, tzinfo=UTC),
    "a model": lambda: Turn(role="user", content="x", at=date(2026, 1, 1)),
    "what is left out": lambda: {"x": anthropic.NOT_GIVEN, "y": anthropic.omit, "z": None},
    "a large integer": lambda: 10**30,
    "a float": lambda: 0.1,
}


@pytest.mark.parametrize("sort", AS_THE_SDK)
def test_what_the_sdk_takes_is_sent_as_the_sdk_sends_it(sort: str) -> None:
    """F2: README promises the SDK's own requests."""
    found = sent(request(metadata={"it": AS_THE_SDK[sort]()}))["metadata"]
    assert found == what_the_sdk_sends(request(metadata={"it": AS_THE_SDK[sort]()}))["metadata"]


def kind(value: object) -> str:
    """A test's name that is the same in every process."""
    return type(value).__name__


class Scalar:
    """A scalar of numpy, as far as anybody can see."""

    shape = ()

    def __init__(self, value: object, kind: str) -> None:
        self._value = value
        self.dtype = SimpleNamespace(kind=kind)

    def item(self) -> object:
        return self._value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal(1024), b"1024"),
        (Decimal("0.1234567890123456789012345"), b"0.1234567890123456789012345"),
        (Decimal("1E+3"), b"1E+3"),
        (Scalar(7, "i"), b"7"),
        (Scalar(0.5, "f"), b"0.5"),
        (Scalar(True, "b"), b"true"),
    ],
    ids=["whole", "fraction", "exponent", "int64", "float32", "bool_"],
)
def test_a_number_stays_the_number_that_it_is(value: object, text: bytes) -> None:
    """F2: a Decimal is not text and loses no digit; numpy's scalars are plain numbers."""
    (item,) = read([request(metadata={"it": value})])
    assert isinstance(item, InputLine)
    assert b'"it":%b}' % text in item.params


def test_a_set_has_one_order() -> None:
    """F2: else the same requests would be another job, and bought again, in every process."""
    assert sent(request(stop_sequences={"c", "a", "b"}))["stop_sequences"] == ["a", "b", "c"]


@dataclasses.dataclass
class Plain:
    x: int = 1


class Struct(msgspec.Struct):
    x: int = 1


class Missing:
    """As pandas.NA: whoever asks whether it equals something is told nothing."""

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")

    def __eq__(self, other: object) -> Any:
        return self

    def __hash__(self) -> int:
        return 1


class Frame:
    """As a DataFrame: it can be iterated, into the names of its columns."""

    def __iter__(self) -> Iterator[str]:
        return iter(["column"])


class Loop(enum.Enum):
    ONE = 1


REFUSED: dict[str, Any] = {
    "bytes": lambda: b"abc",
    "a bytearray": lambda: bytearray(b"abc"),
    "a memoryview": lambda: memoryview(b"abc"),
    "a file elsewhere": lambda: io.BytesIO(PNG),
    "a path elsewhere": lambda: Path("x"),
    "an enum": lambda: Loop.ONE,
    "a dataclass": Plain,
    "a struct": Struct,
    "a UUID": lambda: uuid.UUID(int=0),
    "a time": lambda: time(1, 2),
    "a timedelta": lambda: timedelta(1),
    "a fraction": lambda: Fraction(1, 3),
    "a complex number": lambda: 1j,
    "a number as key": lambda: {1: "x"},
    "NaN": lambda: float("nan"),
    "infinity in a model": lambda: Loose(x=float("inf")),
    "a Decimal that is none": lambda: Decimal("NaN"),
    "a signaling Decimal": lambda: Decimal("sNaN"),
    "numpy's NaN": lambda: Scalar(float("nan"), "f"),
    "numpy's long double": lambda: Scalar(object(), "f"),
    "numpy's time": lambda: Scalar(5, "M"),
    "pandas.NA": Missing,
    "a frame": Frame,
    "a UserString": lambda: UserString("x"),
    "a class": lambda: Turn,
    "a function": lambda: print,
    "half a surrogate": lambda: "\ud83d",
    "half a surrogate in a key": lambda: {"\ud83d": 1},
}


class Loose(pydantic.BaseModel):
    x: float


@pytest.mark.parametrize("sort", REFUSED)
def test_what_json_cannot_say_is_refused_with_its_place(sort: str) -> None:
    """F2: nothing is changed in silence; the problem has the item's number, the field and a remedy."""
    found = problem(request(metadata={"list": [1, REFUSED[sort]()]}))
    assert found.line == 1
    assert found.field.startswith("params.metadata.list[1]")
    assert found.message
    assert found.remedy


@pytest.mark.parametrize("sort", ["missing", "folder", "pipe", "read already", "other path", "coroutine", "closed"])
def test_a_file_that_gives_nothing_is_refused(tmp_path: Path, sort: str) -> None:
    """F2: no image is sent empty, and nobody waits for a pipe."""
    os.mkfifo(tmp_path / "pipe")
    used = io.BytesIO(PNG)
    used.read()
    closed = io.BytesIO(PNG)
    closed.close()

    class Async:
        def read(self, _size: int = -1) -> object:
            return object()

    given = {
        "missing": tmp_path / "missing",
        "folder": tmp_path,
        "pipe": tmp_path / "pipe",
        "read already": used,
        "other path": PurePosixPath("x"),
        "coroutine": Async(),
        "closed": closed,
    }
    found = problem(image(given[sort]))
    assert found.field == "params.messages[0].content[0].source.data"
    assert found.message
    assert found.remedy


@pytest.mark.parametrize(
    "custom_id", [5, 5.0, True, Decimal(5), Scalar(5, "i"), None, uuid.UUID(int=5), b"5"], ids=kind
)
def test_an_id_that_is_no_text_is_refused_for_who_writes_python(custom_id: object) -> None:
    """F2: an int would come back as text, and no longer be found in the caller's own table."""
    found = problem(request(custom_id))
    assert found.field == "custom_id"
    assert "quotes" not in found.remedy


def test_a_value_that_contains_itself_is_refused() -> None:
    """F2: it ends with words, not with the recursion limit."""
    loop: dict[str, Any] = {}
    loop["self"] = loop
    assert "contains itself" in problem(request(metadata=loop)).message


def test_a_named_temporary_file_is_a_file() -> None:
    """F2: it is no `io.IOBase`, and would be iterated."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(PNG)
        file.seek(0)
        assert sent(image(file))["messages"][0]["content"][0]["source"]["data"] == base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    "requests", ["in.jsonl", Path("in.jsonl"), io.BytesIO(), request(), b"x", 5, None, Turn], ids=kind
)
def test_one_thing_is_not_taken_for_many(requests: object) -> None:
    """F2: a path would be iterated into characters, one request into its keys."""
    with pytest.raises(UsageError, match="requests is of type") as caught:
        read(requests)
    assert caught.value.hint


class Unhelpful(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Raising:
    """An object whose own code fails wherever it is asked."""

    def __init__(self, where: str, error: Exception) -> None:
        self._where = where
        self._error = error

    def __getattr__(self, name: str) -> Any:
        if self._where == "attribute":
            raise self._error
        if self._where == "model_dump" and name == "model_dump":
            return self._fail
        raise AttributeError(name)

    def _fail(self, **_: object) -> object:
        raise self._error


class RaisingMapping(dict[str, object]):
    """A mapping that cannot be read."""

    def __init__(self, error: Exception) -> None:
        super().__init__(a=1)
        self._error = error

    def items(self) -> Any:
        raise self._error

    def __eq__(self, other: object) -> bool:
        raise self._error

    __hash__ = None


def raising(error: Exception) -> Iterator[object]:
    yield 1
    raise error


ERRORS = [KeyError("k"), RuntimeError("x" * 5000), AttributeError("a"), OSError(5, "io"), ValueError(), Unhelpful()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["attribute", "model_dump", "mapping", "iterator"])
def test_an_object_whose_own_code_fails_is_a_problem_with_its_field(where: str, error: Exception) -> None:
    """F2: whatever it raises; the requests around it are told about, not lost to a traceback."""
    if where == "iterator":
        value: object = raising(error)
    elif where == "mapping":
        value = RaisingMapping(error)
    else:
        value = Raising(where, error)
    found = problem(request(metadata={"user_id": [value]}))
    assert found.field == "params.metadata.user_id[0]"
    assert len(found.message) < 400
    assert found.remedy


@pytest.mark.parametrize(
    "number", [10**5000, -(10**5000), Decimal("1" * 5000)], ids=lambda number: f"{type(number).__name__}"
)
def test_a_number_with_thousands_of_digits_is_a_problem_with_its_field(number: object) -> None:
    """F2: Python does not write such an integer, and says so with a bare ValueError."""
    found = problem(request(max_tokens=number))
    assert found.field == "params.max_tokens"
    by_number: dict[Any, Any] = {**request(), 10**5000: 1}
    assert problem(by_number).remedy
