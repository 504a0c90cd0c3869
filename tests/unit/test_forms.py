"""Forms as they arrive: bounded in number and size, and refused in words whatever the bytes are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.errors import UsageError
from orchestrator.http_api.api.form import Form

KIND = "multipart/form-data; boundary=seam"


def part(name: str, value: bytes) -> bytes:
    filename = '; filename="x.jsonl"' if name == "file" else ""
    return b'--seam\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (
        name.encode(),
        filename.encode(),
        value,
    )


async def blocks(body: bytes, size: int) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(kind: str, body: bytes, size: int = 65_536) -> tuple[dict[str, str | list[str]], bytes]:
    form = Form(kind, blocks(body, size))
    fields = dict(await form.fields())
    return fields, b"".join([piece async for piece in form.blocks()])


def test_a_form_is_read_however_it_is_cut() -> None:
    """M3: what is in bounds is read; a field that repeats keeps its order."""
    body = b"".join([part("beta", b"b%d" % n) for n in range(100)]) + part("file", b"line\n") + b"--seam--\r\n"
    for size in (1, 7, 65_536):
        fields, file = asyncio.run(read(KIND, body, size))
        assert (fields["beta"], file) == ([f"b{n}" for n in range(100)], b"line\n")


@pytest.mark.parametrize(
    "body",
    [
        b"".join([part("beta", b"x")] * 300_000),
        b"".join([part("beta", b"x" * 60_000)] * 100),
        b"".join([part(f"f{n}", b"x") for n in range(300)]),
        b"".join([part(f"f{n}", b"x" * 60_000) for n in range(100)]),
        part("beta", b"x" * 70_000),
        part("name", b"one") + part("name", b"two"),
    ],
    ids=["many of a name", "large of a name", "many names", "large names", "a large one", "twice"],
)
def test_the_fields_of_a_form_are_bounded_in_all(body: bytes) -> None:
    """M3: a field that may repeat counts like every other, in number and in size; nothing more of the body is read."""
    taken = 0

    async def counted() -> AsyncGenerator[bytes, None]:
        nonlocal taken
        async for block in blocks(body + part("file", b"") + b"--seam--\r\n", 16_384):
            taken += len(block)
            yield block

    with pytest.raises(UsageError, match="form cannot be read"):
        asyncio.run(Form(KIND, counted()).fields())
    assert taken <= (1 << 20) + 2 * 65_536


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data; boundary=" + "B" * 60_000,
        "multipart/form-data; boundary=" + "B" * 257,
        "multipart/form-data; boundary=",
        "multipart/form-data",
        "multipart/form-data; boundary",
        'multipart/form-data; boundary="',
        "multipart/form-data;" + ";" * 30_000,
        'multipart/form-data;"' + '";' * 30_000,
    ],
)
def test_a_content_type_that_no_form_can_have_is_refused_in_words(kind: str) -> None:
    """L3: what the parser's constructor refuses is the sender's mistake, not a failure here."""
    with pytest.raises(UsageError, match="form cannot be read"):
        asyncio.run(read(kind, b"--x\r\n\r\n"))


SEAMS = [b"--seam", b"--seam--", b"\r\n", b"\n", b"\r", b"\0", b"x" * 100]
HEADS = [b"Content-Disposition", b"content-disposition: form-data", b"X: " + b"y" * 5000, b"\xff: \xff", b": ", b" a"]
NAMES = [b'; name="a"', b"; name=", b'; name="file"']
PIECES = st.sampled_from([*SEAMS, *HEADS, *NAMES])


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES, max_size=12), st.integers(1, 40))
def test_any_bytes_are_a_form_or_refused_in_words(pieces: list[bytes], size: int) -> None:
    """L3: every error of the parser is a refusal; none is a failure of the engine."""
    with suppress(UsageError):
        asyncio.run(read(KIND, b"".join(pieces), size))
