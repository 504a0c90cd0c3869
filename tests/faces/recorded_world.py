"""A store that holds every kind of job, and its faces: the same to the byte each time, so that answers can be kept."""

from __future__ import annotations

import asyncio
import io
import random
import re
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, redirect_stdout
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch
from uuid import UUID

import httpx2
import uvicorn
from faces.client_world import settings
from support.receiver import Receiver, receiving
from support.world import API_VERSION, World, message, new_world

from orchestrator.assembly import Engine
from orchestrator.cli.main import _invoke
from orchestrator.cli.options import GlobalOptions
from orchestrator.config import PricesSection
from orchestrator.domain.batches_api import LoopGuard
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.ids import JobId
from orchestrator.domain.job_spec import NewJob
from orchestrator.domain.model import JobSnapshot
from orchestrator.domain.notices import EndpointSpec
from orchestrator.domain.params import ParamRules
from orchestrator.http_api.app import build_app
from orchestrator.http_api.messages.batch_objects import BatchIds
from orchestrator.inputs import source_from_objects
from orchestrator.observability.telemetry import Meters
from orchestrator.ports.engine import IngestOptions
from orchestrator.prices.price_book import PriceBook
from orchestrator.prompt_server import PromptServer
from orchestrator.serving import services_of
from orchestrator.store.location import SqliteLocation
from orchestrator.version import VERSION
from orchestrator.webhooks.courier import HttpCourier, SigningSecret, Target

#: What differs from run to run: the version, this process, the port that was free, and the time of day.
_VARIES: Final = (
    (re.compile(re.escape(f'"version":"{VERSION}"')), '"version":"0"'),
    (re.compile(r'("pid": ?)\d+'), r"\g<1>0"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:0"),
    (re.compile(r'("expires_at":")[^"]*\.\d{6}Z'), r"\g<1>later"),
)


#: One call after the other, and none is given up because this machine is slow.
_IN_ORDER: Final[dict[str, Any]] = {"max_uploads": 1, "max_downloads": 1, "patience": timedelta(seconds=60)}
JOBS: Final = range(1, 17)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """One store behind all its faces. receiver: the program that is told by webhook."""

    db: Path
    url: str
    client: httpx2.AsyncClient
    lineage: str
    receiver: Receiver

    def batch_id(self, job: int) -> str:
        """The id by which the official SDK knows a job."""
        return BatchIds(self.lineage).of(JobId(job))

    def steady(self, text: str) -> str:
        """*text* without what differs from run to run."""
        text = text.replace(str(self.db.parent), "/store")
        for pattern, stands_for in _VARIES:
            text = pattern.sub(stands_for, text)
        return text

    async def ask(self, method: str, path: str, **how: Any) -> str:
        """The whole answer, with those of its headers that say something."""
        answer = await self.client.request(method, path, **how)
        told = ("content-type", "etag", "location", "retry-after", "allow")
        headers = "".join(f"{name}: {answer.headers[name]}\n" for name in told if name in answer.headers)
        return self.steady(f"{answer.status_code}\n{headers}{answer.text}")

    async def run(self, *argv: str) -> str:
        """What a command prints with `--json`."""
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        with redirect_stdout(out):
            code = await asyncio.to_thread(_command, [*argv, "--json", "--quiet"])
            out.flush()
        held = out.buffer
        assert isinstance(held, io.BytesIO)
        return self.steady(f"exit code {code}\n{held.getvalue().decode()}")

    def notices(self) -> list[str]:
        """What a program was told by webhook, in the order of its making, with the headers that no key signs."""
        return [
            self.steady(
                f"{got.headers['webhook-id']} at {got.headers['webhook-timestamp']} {got.headers['content-type']}\n"
                f"{got.body.decode()}"
            )
            for got in sorted(self.receiver.got, key=lambda got: int(got.headers["webhook-id"].rpartition("_")[2]))
        ]


def _command(argv: list[str]) -> int:
    try:
        return _invoke(argv, GlobalOptions(argv=tuple(argv)))
    except OrchestratorError as exc:
        return exc.exit_code


@asynccontextmanager
async def faces(folder: Path) -> AsyncIterator[Faces]:
    """A filled store in *folder*, served on a port of this machine."""
    db = folder / "store.db"
    chance = random.Random(1)
    secret = SigningSecret(b"s" * 32)
    with (
        patch("secrets.token_hex", lambda size: chance.randbytes(size).hex()),
        patch("random.SystemRandom", partial(random.Random, 1)),
        patch("uuid.uuid4", lambda: UUID(int=chance.getrandbits(128), version=4)),
    ):
        async with _faces(db, secret) as those:
            yield those


@asynccontextmanager
async def _faces(db: Path, secret: SigningSecret) -> AsyncIterator[Faces]:
    async with receiving() as receiver:
        courier = HttpCourier({receiver.url: Target(secret=secret, allow_private=True)})
        async with (
            aclosing(courier),
            new_world(db, wrap=lambda context: replace(context, courier=courier), **_IN_ORDER) as world,
        ):
            endpoint = EndpointSpec(url=receiver.url)
            await world.store.notices.mirror([endpoint], world.clock.now())
            await fill(world)
            engine = await _engine(world)
            services = await services_of(engine, asyncio.Event())
            async with _serving(build_app(services)) as url, httpx2.AsyncClient(base_url=url, timeout=60) as client:
                lineage = services.identity.lineage
                yield Faces(db=db, url=url, client=client, lineage=lineage, receiver=receiver)


async def _engine(world: World) -> Engine:
    context, meta = world.context, await world.store.read(lambda reads: reads.meta())
    return Engine(
        location=SqliteLocation(world.path),
        sandbox=True,
        settings=settings(world.path),
        prices=PriceBook(PricesSection()),
        commands=world.commands,
        health=context.health,
        store=world.store,
        provider=world.provider,
        wakeup=context.wakeup,
        liveness=context.liveness,
        clock=world.clock,
        meters=Meters(),
        passed=LoopGuard(meta.lineage),
    )


@asynccontextmanager
async def _serving(app: Any) -> AsyncIterator[str]:
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = PromptServer(uvicorn.Config(app, lifespan="off", ws="none", log_config=None))
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield "http://{}:{}".format(*listener.getsockname())
    finally:
        server.stop()
        await task
        listener.close()


async def fill(world: World) -> None:
    """Jobs in every state, one after the other; time goes on by hand."""
    await _over(world)
    canceled = await world.submit(2, name="canceled")
    await world.commands.cancel(canceled.id)
    await _open(world)
    await world.submit(name="mixed", params=[message("a question")] * 3)
    canceling = await world.submit(2, name="canceling")
    await world.tick("plan", "submit", "poll")
    await world.commands.cancel(canceling.id)
    await world.tick("poll")
    world.script("create", "drop_after_accept", 2)
    await world.submit(5, name="in doubt")
    await world.submit(5, name="in doubt, too")
    await world.tick("plan", "submit", "doubt")
    world.advance(timedelta(minutes=1))
    await world.tick("doubt")
    world.script("create", "429")
    await world.submit(4, name="waits")
    await world.tick("plan", "submit")
    world.advance(timedelta(seconds=30))
    await world.tick("plan", "submit")
    await world.submit(1, name="no credit", priority=100)
    world.script("create", "credit", 3)
    for _ in range(3):
        world.advance(timedelta(minutes=5))
        await world.tick("plan", "submit")
    await world.tick("notify")


async def _over(world: World) -> None:
    """Jobs that are over, with every kind of end, and what some of their requests met on the way."""
    good, bad = message("a question"), message("a question", model="claude-0")
    await world.submit(3, name="all good")
    await world.submit(name="mixed", params=[good, bad, message("é", max_tokens=1), message("x", max_tokens=999_999)])
    await world.submit(name="all failed", params=[bad, bad], priority=1)
    purged = await world.submit(2, name="purged")
    await _with_bad_lines(world)
    await world.tick("plan", "submit")
    world.machine.plan.set({"expire": 0.3, "refuse": 0.3, "overloaded": 0.3})
    await world.submit(12, name="on the third try")
    await world.tick("plan", "submit")
    await world.settle()
    world.machine.plan.set({})
    await world.commands.purge(purged.id)


async def _with_bad_lines(world: World) -> None:
    """A job whose bad lines were left out."""
    rows: list[Any] = [{"custom_id": "a", "params": message("a")}, {"custom_id": "a", "params": message("again")}, {}]
    source = source_from_objects(rows, name="<bad>", rules=ParamRules(api_version=API_VERSION))
    new = NewJob(name="bad lines", source="<bad>", api_version=API_VERSION, betas=("beta-a-2026-01-01",), key="order 1")
    await world.commands.ingest(source, new, IngestOptions(skip_bad=True))


async def _open(world: World) -> JobSnapshot:
    """A job that is still open."""
    source = source_from_objects(
        [{"custom_id": "o", "params": message("open")}], name="<open>", rules=ParamRules(api_version=API_VERSION)
    )
    new = NewJob(name="open", source="<open>", api_version=API_VERSION, betas=(), still_open=True)
    taken = await world.commands.ingest(source, new, IngestOptions())
    assert taken.job is not None
    return taken.job
