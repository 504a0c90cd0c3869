"""The Message Batches API as a plain object: no I/O, no asyncio, no clock of its own.

It owns the batches and decides every answer. Time comes from the injected clock, randomness from the seed; its driver
(a transport, a server, a simulator) carries bytes. Facts about the API: Message Batches API reference and live captures
of 2026-09; what is not documented is a setting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain import batches_api
from orchestrator.domain.create_body import BodyReader
from orchestrator.sandbox.bill import Accounts, Bill, BilledRow, billed_rows
from orchestrator.sandbox.canned_results import result_lines
from orchestrator.sandbox.count_call import TokenCounting
from orchestrator.sandbox.create_upload import CreateUpload, UploadedRows
from orchestrator.sandbox.faults import FaultPlan
from orchestrator.sandbox.journal import Recorder, Replayed, replay
from orchestrator.sandbox.ledger import LedgerRow, ledger_rows
from orchestrator.sandbox.listing import Listing, place_of
from orchestrator.sandbox.model_catalog import info
from orchestrator.sandbox.prompt_cache import PromptCache
from orchestrator.sandbox.request_rows import Fate, RowMaker
from orchestrator.sandbox.sandbox_batch import SandboxBatch, Traffic
from orchestrator.sandbox.sandbox_settings import Caller, MachineSettings
from orchestrator.sandbox.seeded import token, unit

ANYBODY: Final = Caller()


class Machine:
    """The API. Every method takes the *caller* (default: the one workspace, newest version) and raises ApiError.

    *now* must give aware UTC instants that never go back. *journal*, if given, is called with bytes to append before an
    answer exists; `replay` reads them back. `calls` counts the calls by endpoint, `bodies_received` the complete create
    bodies, `batches_created` the accepted ones, `traffic` what there is at once.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        seed: int = 0,
        settings: MachineSettings | None = None,
        plan: FaultPlan | None = None,
        journal: Callable[[bytes], None] | None = None,
    ) -> None:
        self.now = now
        self.seed = seed
        self.settings = MachineSettings() if settings is None else settings
        self.plan = FaultPlan(seed=seed) if plan is None else plan
        self.calls: Counter[str] = Counter()
        self.bodies_received = 0
        self.batches_created = 0
        self.traffic = Traffic()
        self._recorder = Recorder(journal)
        self._batches: list[SandboxBatch] = []
        self._by_id: dict[str, SandboxBatch] = {}
        self._faulted: set[bytes] = set()
        self._cache = PromptCache()
        self._accounts = Accounts()
        self._counting = TokenCounting(seed=seed, models=self.settings.models)
        self._looks: Counter[str] = Counter()
        self._downloads: Counter[str] = Counter()
        self._listing = Listing(seed=seed, plan=self.plan)

    def begin_create(self, caller: Caller = ANYBODY) -> CreateUpload:
        """Begin the upload of a create. The batch exists once `CreateUpload.accept` has returned."""
        self.calls["create"] += 1
        reader = BodyReader(max_requests=self.settings.max_requests, max_bytes=self.settings.max_body_bytes)
        maker = RowMaker(
            models=self.settings.models, caller=caller, seed=self.seed, plan=self.plan, already=self._faulted
        )
        return CreateUpload(caller=caller, reader=reader, maker=maker, admit=self._admit)

    def create(self, body: bytes | Iterable[bytes], caller: Caller = ANYBODY) -> batches_api.MessageBatchObject:
        """Create a batch from a whole body.

        Raises ApiError 400 or 413 as `BodyReader` says, 429 over the queue limit.
        """
        intake = self.begin_create(caller)
        for piece in (body,) if isinstance(body, bytes) else body:
            intake.feed(piece)
        return intake.accept()

    def retrieve(self, batch_id: str, caller: Caller = ANYBODY) -> batches_api.MessageBatchObject:
        """The batch as it is now. Raises ApiError 404."""
        self.calls["retrieve"] += 1
        return self._show(self._find(batch_id, caller), caller)

    def list(
        self,
        before_id: str | None = None,
        after_id: str | None = None,
        limit: int = batches_api.DEFAULT_PAGE,
        caller: Caller = ANYBODY,
    ) -> batches_api.BatchListObject:
        """A page of the workspace's batches, newest first.

        Those older than *after_id*, or those just newer than *before_id*.

        *limit*: 1–1000. `has_more` looks in the direction of paging. Raises ApiError 400 on a bad limit, 404 on a
        cursor that does not exist.
        """
        self.calls["list"] += 1
        batches_api.check_page(before_id, after_id, limit)
        shown = self._listed(caller)
        if before_id is not None:
            end = place_of(shown, before_id)
            start = max(0, end - limit)
        else:
            start = 0 if after_id is None else place_of(shown, after_id) + 1
            end = min(len(shown), start + limit)
        data = [self._show(batch, caller) for batch in shown[start:end]]
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        more = end < len(shown) if before_id is None else start > 0
        return batches_api.BatchListObject(data=data, has_more=more, first_id=first, last_id=last)

    def cancel(self, batch_id: str, caller: Caller = ANYBODY) -> batches_api.MessageBatchObject:
        """Cancel a batch: finished requests keep their results, the rest is canceled within seconds.

        Raises ApiError 404.
        """
        self.calls["cancel"] += 1
        batch = self._find(batch_id, caller)
        now = self.now()
        if batch.has_ended(now):
            if self.settings.refuse_late_cancel:
                raise batches_api.invalid_request(f"Message Batch {batch_id} has already ended.")
        elif batch.cancel_at is None:
            self._recorder.canceled(batch_id, now)
            batch.cancel_at = now
        return self._show(batch, caller)

    def delete(self, batch_id: str, caller: Caller = ANYBODY) -> batches_api.DeletedBatch:
        """Delete an ended batch. Raises ApiError 400 while it runs, 404."""
        self.calls["delete"] += 1
        batch = self._find(batch_id, caller)
        now = self.now()
        if not batch.has_ended(now):
            raise batches_api.delete_too_early()
        self._recorder.deleted(batch_id, now)
        batch.deleted = True
        return batches_api.DeletedBatch(batch_id)

    def results(self, batch_id: str, caller: Caller = ANYBODY) -> Iterator[bytes]:
        """The result lines, made while they are read.

        Raises ApiError 404 before the end and after 29 days, at the call.
        """
        self.calls["results"] += 1
        batch = self._find(batch_id, caller)
        if not batch.has_results(self.now()):
            raise batches_api.no_results(batch_id)
        self._downloads[batch_id] += 1
        return result_lines(batch, seed=self.seed, download=self._downloads[batch_id], plan=self.plan)

    def count_tokens(self, params: bytes, caller: Caller = ANYBODY) -> dict[str, int]:
        """`POST /v1/messages/count_tokens`. Raises ApiError 400, 404 for an unknown model, 429 over its own limit."""
        self.calls["count_tokens"] += 1
        a_minute = self.settings.count_tokens_a_minute
        if a_minute is not None:
            self._counting.admit(caller.workspace, self.now(), a_minute=a_minute)
        return {"input_tokens": self._counting.count(params)}

    def models(self) -> dict[str, object]:
        """`GET /v1/models`: all of them on one page."""
        self.calls["models"] += 1
        data = [info(card) for card in self.settings.models.values()]
        ids = list(self.settings.models)
        return {
            "data": data,
            "has_more": False,
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
        }

    def model(self, model_id: str) -> dict[str, object]:
        """`GET /v1/models/{id}`. Raises ApiError 404."""
        self.calls["models"] += 1
        if model_id not in self.settings.models:
            raise batches_api.not_found(f"model: {model_id}")
        return info(self.settings.models[model_id])

    def ledger(self) -> Iterator[LedgerRow]:
        """The outcome of every request of every accepted create, deleted batches included, foreign ones not."""
        return ledger_rows(self._batches, self.now())

    def bill(self) -> Bill:
        """What the API charges for all that was answered until now. Raises LookupError for a model without a price."""
        return self._accounts.bill(self._batches, self.now())

    def billed_rows(self) -> Iterator[BilledRow]:
        """The requests behind `bill`, with the cost of each."""
        return billed_rows(self._batches, self.now())

    def stats(self) -> dict[str, object]:
        """Counters for tests and people: calls, faults, what was created and received, the most at once, its time."""
        return {
            "now": self.now(),
            "calls": dict(self.calls),
            "faults_met": {name: times for name, times in self.plan.struck.items() if times},
            "batches_created": self.batches_created,
            "bodies_received": self.bodies_received,
            "most_open_creates": self.traffic.most_open_creates,
            "most_in_flight": self.traffic.most_in_flight,
            "requests_accepted": sum(batch.total for batch in self._batches if not batch.foreign),
        }

    def add_foreign(self, total: int, *, workspace: str = ANYBODY.workspace, count: int = 1) -> Sequence[str]:
        """Create *count* batches of *total* requests as another client of *workspace*; return their ids."""
        added: list[str] = []
        for _ in range(count):
            batch = self._new_batch(total, workspace, ANYBODY.api_version, foreign=True)
            batch.tally = Counter({(0, Fate.SUCCEEDED): total})
            self._keep(batch)  # before the next one: a batch's id comes from its place
            added.append(batch.id)
        return added

    def hide(self, batch_id: str, until: datetime) -> None:
        """Show this batch nowhere before the instant *until*. Raises KeyError for an unknown id."""
        self._by_id[batch_id].hidden_until = until

    def delay(self, batch_id: str, by: timedelta) -> None:
        """Let this batch take longer. Raises KeyError for an unknown id."""
        self._by_id[batch_id].work_ends_at += by

    def replay(self, lines: Iterable[bytes]) -> Replayed:
        """Read a journal and `restore` its content; return it, with the number of bytes that were whole."""
        replayed = replay(lines)
        self.restore(replayed)
        return replayed

    def restore(self, held: Replayed) -> None:
        """Restore the content of a journal, before the first call, and record in it that a new life begins."""
        for batch in held.batches:
            self._batches.append(batch)
            self._by_id[batch.id] = batch
            self.batches_created += not batch.foreign
            if not batch.foreign:
                self.traffic.add(batch)
        self._faulted |= held.faulted
        self._cache = held.cache
        self.plan.life = held.lives
        self._recorder.born(self.now())

    def size(self, batch_id: str) -> int:
        """The number of requests of a batch. Raises KeyError for an unknown id."""
        return self._by_id[batch_id].total

    def is_foreign(self, batch_id: str) -> bool:
        """True for a neighbour's batch. Raises KeyError for an unknown id."""
        return self._by_id[batch_id].foreign

    def touch(self) -> datetime:
        """The current instant, which the journal records as seen."""
        now = self.now()
        self._recorder.seen(now)
        return now

    def record_kill(self, point: str) -> None:
        """Record that the process is killed at *point*: the last record of this life."""
        self._recorder.killed(point, self.now())

    def _admit(self, caller: Caller, accept: Callable[[], UploadedRows]) -> batches_api.MessageBatchObject:
        """Make a batch of a complete body. Raises ApiError 400 for its faults, 429 when the queue would overflow."""
        self.bodies_received += 1
        taken = accept()
        total = taken.total
        self._check_queue(caller.workspace, total)
        neighbours = int(self.plan.amount("foreign_batches"))
        self.add_foreign(total, workspace=caller.workspace, count=neighbours // 2)
        batch = self._new_batch(total, caller.workspace, caller.api_version, foreign=False)
        batch.blocks, batch.tally = taken.blocks, taken.tally
        self._keep(batch)
        self._cache.admit(batch, taken.uses)
        self._faulted |= taken.faulted
        self.batches_created += 1
        self.traffic.add(batch)
        self.add_foreign(total, workspace=caller.workspace, count=neighbours - neighbours // 2)
        return batch.show_new()

    def _new_batch(self, total: int, workspace: str, api_version: str, *, foreign: bool) -> SandboxBatch:
        ordinal = len(self._batches)
        now = self.now()
        # The instant is part of the id: a sandbox without a journal must not give the ids of its last life again.
        batch_id = f"msgbatch_{token(self.seed, 'batch', ordinal, now.isoformat())}"
        shortest, longest = (0.0, 0.0) if self.settings.instant else self.settings.batch_seconds
        lasts = shortest + (longest - shortest) * unit(self.seed, "lasts", ordinal)
        return SandboxBatch(
            id=batch_id,
            ordinal=ordinal,
            workspace=workspace,
            api_version=api_version,
            total=total,
            created_at=now,
            expires_at=now + timedelta(hours=self.settings.expiry_hours),
            archives_at=now + timedelta(days=self.settings.retention_days),
            work_ends_at=now + timedelta(seconds=lasts),
            overrun=timedelta(hours=self.settings.overrun_hours),
            cancel_lasts=timedelta(seconds=self.settings.cancel_seconds),
            tally=Counter(),
            foreign=foreign,
        )

    def _keep(self, batch: SandboxBatch) -> None:
        self._recorder.created(batch)
        self._batches.append(batch)
        self._by_id[batch.id] = batch

    def _find(self, batch_id: str, caller: Caller) -> SandboxBatch:
        batch = self._by_id.get(batch_id)
        if batch is None or batch.deleted or batch.workspace != caller.workspace or batch.is_hidden(self.now()):
            raise batches_api.batch_not_found(batch_id)
        self._looks[batch_id] += 1
        if self.plan.happens("flicker404", self.plan.life, batch_id, self._looks[batch_id]):
            raise batches_api.batch_not_found(batch_id)
        return batch

    def _listed(self, caller: Caller) -> Sequence[SandboxBatch]:
        now = self.now()
        mine = (batch for batch in reversed(self._batches) if batch.workspace == caller.workspace)
        return [batch for batch in mine if self._listing.shows(batch, now)]

    def _show(self, batch: SandboxBatch, caller: Caller) -> batches_api.MessageBatchObject:
        return batch.show(self.now(), caller, live_counts=self.settings.live_counts)

    def _check_queue(self, workspace: str, total: int) -> None:
        """Raise ApiError 429 for a full queue. Its text is not published; the type and the header are."""
        limit = self.settings.queue_limit
        if limit is None:
            return
        now = self.now()
        mine = (batch for batch in self._batches if batch.workspace == workspace and not batch.foreign)
        queued = sum(batch.total for batch in mine if not batch.has_ended(now))
        if queued + total > limit:
            message = f"This request would exceed your account's limit of {limit} batch requests in the queue."
            raise batches_api.ApiError(429, "rate_limit_error", message, headers=(("retry-after", "1"),))
