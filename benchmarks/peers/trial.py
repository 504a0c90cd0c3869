"""One run of one peer: an API of its own, a folder of its own, the driver as a child, the API's books afterwards."""

from __future__ import annotations

import json
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import measure
from benchmarks.measure import Cost
from benchmarks.peers.table import Peer

DRIVERS: Final = Path(__file__).resolve().parent / "drivers"
#: What every request is answered with: some peers take nothing but JSON, so all get it.
REPLY: Final = '{"answer": "late and broken, but the service was quick"}'
#: The most that one run may take.
TIMEOUT_S: Final = 600.0
_WORDS: Final = 200
_API_DIED: Final = "not the peer: the local API was gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A run that did not answer everything, in its own words."""

    why: str
    timed_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A run that answered everything; `batches` is how many it made of it."""

    cost: Cost
    batches: int


def attempt(peer: Peer, python: Path, count: int, work: Path) -> Done | Failed:
    """*count* requests from their making to the file of answers, in a folder below *work*."""
    with tempfile.TemporaryDirectory(dir=work) as folder, measure.api(reply=REPLY) as base_url:
        env = {**peer.env, **measure.client_env(base_url), "BASE_URL": base_url, "HOME": folder}
        started = time.monotonic()
        try:
            cost = measure.run(
                [str(python), str(DRIVERS / peer.driver), str(count), folder], env=env, timeout_s=TIMEOUT_S
            )
        except measure.CommandFailed as exc:
            if time.monotonic() - started >= TIMEOUT_S:
                return Failed(why=f"not done after {TIMEOUT_S:.0f} s", timed_out=True)
            return Failed(why=_last_words(str(exc), folder) if _is_there(base_url) else _API_DIED)
        if not _is_there(base_url):
            return Failed(why=_API_DIED)
        sizes = _batch_sizes(base_url)
        if sum(sizes) != count:
            return Failed(why=f"the API's books have {sum(sizes)} requests, not {count}")
        if (lines := _lines(Path(folder) / "out.jsonl")) != count:
            return Failed(why=f"{lines} answers written, not {count}")
    return Done(cost=cost, batches=len(sizes))


def _is_there(base_url: str) -> bool:
    """True if the local API still answers: a peer is not to blame for its end."""
    try:
        measure.calls(base_url)
    except OSError:
        return False
    return True


def _batch_sizes(base_url: str) -> list[int]:
    """How many requests each batch at the API has."""
    sizes: list[int] = []
    after = ""
    while True:
        with urllib.request.urlopen(f"{base_url}/v1/messages/batches?limit=1000{after}", timeout=30) as answer:  # noqa: S310 - our own URL
            page = json.load(answer)
        sizes += [sum(batch["request_counts"].values()) for batch in page["data"]]
        if not page["has_more"]:
            return sizes
        after = f"&after_id={page['last_id']}"


def _lines(path: Path) -> int:
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def _last_words(said: str, folder: str) -> str:
    """The last line that says something, without this machine's paths."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    said = lines[-1].replace(folder, "FOLDER").replace(str(measure.ROOT), ".").replace(str(Path.home()), "~")
    return said[:_WORDS]
