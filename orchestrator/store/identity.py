"""Compares a store with the mark beside it when it is opened: new, unchanged, behind, or a copy.

Signs nonces with the store's secret: by that the batches of a job are recognised even if its rows were lost.
"""

from __future__ import annotations

import glob
import json
import secrets
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Final

from orchestrator.domain import errors
from orchestrator.domain.ids import JobId, Nonce, is_signed, job_identity, signed
from orchestrator.domain.model import JobSnapshot
from orchestrator.store import history, moved, sql_rows, sql_text
from orchestrator.store.database import Database
from orchestrator.store.mark import Mark, MarkRecord, mark_path
from orchestrator.store.sql_connection import SqlConnection

SQL: Final = sql_text.load("identity")


class Standing(StrEnum):
    """How a store stands to the mark beside it."""

    OWN = "own"  #: the mark is its own and counts no more than it does
    BEHIND = "behind"  #: the mark counts what it does not know of, or was put back as well: it may be a copy
    COPIED = "copied"  #: the mark is missing or another's: it was copied or moved here


class Trust(StrEnum):
    """What is known of a store before it is opened."""

    OWN = "own"  #: the user named the place, or it is the default
    PLANTED = "planted"  #: a file in the working directory named it: the store may have come with the folder
    ADOPTED = "adopted"  #: a person takes it into use, whatever it is


def refuse_strange(path: Path, marked: MarkRecord | None, *, sandbox: bool, trust: Trust) -> None:
    """Checks before anything is opened. Raises StoreError, or GuardRefused for a store that a person may adopt.

    Refused: a rescued copy that lies beside it, real work in place of a sandbox's or the reverse, and a new store where
    one was that sent batches.
    """
    real = path.resolve()
    rescued = sorted(real.parent.glob(f"{glob.escape(real.name)}.rescued-*"))
    if rescued:
        raise errors.StoreError(
            f"{rescued[-1]} lies beside {path}",
            cause="an engine copied the store there when its file was removed or replaced under it",
            hint=f"put it back (mv {rescued[-1]} {path}), or move it away",
        )
    gone = marked is not None and marked.intents > 0 and not path.exists()
    if gone and marked is not None and marked.sandbox != sandbox:
        kind, remedy = ("sandbox", "add") if marked.sandbox else ("real", "drop")
        raise errors.StoreError(
            f"{mark_path(path)} is of {kind} work", hint=f"{remedy} --sandbox, or choose another --db"
        )
    if trust is Trust.ADOPTED:
        return
    if trust is Trust.PLANTED and marked is None and path.exists():
        raise copied(path)
    if gone and marked is not None:
        raise errors.StoreError(
            f"{path} is gone, but its mark {mark_path(path).name} is there",
            cause=f"it counts {marked.intents:,} sent; without the file they would be bought again",
            hint=(
                "put the file or a backup of it back; or `orchestrator db adopt-store`: a new store, which first asks "
                f"the API what was sent; or, to forget all of it, remove {mark_path(path).name} as well"
            ),
        )


async def identify(
    database: Database, path: Path, marked: MarkRecord | None, now: datetime, *, adopt: bool = False
) -> Mark:
    """Compare the store with its mark, and open the mark. *marked*: what it said before the store was opened.

    Where the store is behind, or *adopt* says that a copy is to be used, a search at the API is opened: until it is
    closed nothing is planned or sent. Raises GuardRefused for a copy, or a store that was moved away, that nobody
    adopted.
    """
    meta = await database.read(read_meta)
    word = await database.read(moved.word_of)
    if word is not None and not adopt:
        raise moved.refusal(word, path)
    found = standing(meta, marked) if word is None else Standing.COPIED
    if found is Standing.COPIED and not adopt:
        raise copied(path)
    cause = Standing.BEHIND if found is Standing.COPIED and not meta["marked"] else found
    if cause is not Standing.OWN or not meta["secret"]:
        await database.write(partial(_settle, meta, marked, cause, now))
        meta = await database.read(read_meta)
    mark = Mark.open(
        path,
        MarkRecord(
            lineage=meta["lineage"],
            secret=meta["secret"],
            sandbox=bool(meta["sandbox"]),
            intents=meta["intents"],
            line=meta["line"],
        ),
    )
    if not meta["marked"]:
        await database.write(lambda c: c.execute(SQL["marked"]).rowcount)
    return mark


def standing(meta: dict[str, Any], marked: MarkRecord | None) -> Standing:
    """How a store, by its `meta` row, stands to its mark.

    One without a mark is its own only while it is new; an upgrade from before there were marks makes one.
    """
    if marked is not None and marked.lineage == meta["lineage"]:
        other = marked.intents > meta["intents"] or marked.line != meta["line"] or marked.touched
        return Standing.BEHIND if other else Standing.OWN
    if not meta["marked"] and meta["fresh"] and (marked is None or marked.intents == 0):
        return Standing.OWN
    return Standing.COPIED


def read_meta(c: SqlConnection) -> dict[str, Any]:
    """The `meta` row, for `standing`."""
    return sql_rows.dict_rows(c.execute(SQL["meta"]))[0]


def copied(path: Path) -> errors.GuardRefused:
    """The refusal of a store that was not used here before."""
    return errors.GuardRefused(
        f"{path} is a copy of a store, or was moved here",
        cause=(
            f"its mark ({mark_path(path).name}) is missing, or another store's or file's: what was sent from the "
            "original since the copy was made is not in it, and would be bought again"
        ),
        hint=(
            "if no other copy will be used any more: `orchestrator db adopt-store`; the engine then asks the API "
            "first, and takes in what was sent"
        ),
    )


def _settle(meta: dict[str, Any], marked: MarkRecord | None, cause: Standing, now: datetime, c: SqlConnection) -> None:
    secret = secrets.token_hex(32) if marked is None or not marked.secret else marked.secret
    c.execute(SQL["keep_secret"], {"secret": secret})
    if cause is Standing.OWN:
        return
    there = 0 if marked is None else marked.intents
    c.execute(SQL["catch_up"], {"intents": there, "line": secrets.token_hex(8)})
    begin_search(cause, max(there - meta["intents"], 0), now, c)


def begin_search(cause: Standing, missing: int, now: datetime, c: SqlConnection) -> None:
    """Plan and send nothing until the API was asked what this store may lack. missing: intents, where that is known."""
    open_jobs = json.dumps({str(job): last for job, last in c.execute(SQL["open_jobs"])})
    values = {"cause": cause, "missing": missing, "now": sql_rows.to_text(now), "open_jobs": open_jobs}
    if c.execute(SQL["open_search"], values).rowcount == 0:
        c.execute(SQL["reopen_search"], {"missing": missing, "now": sql_rows.to_text(now)})
    why = f"{missing} intents to send are missing: the API is asked what became of them"
    history.record(c, now, f"store.{cause}", why=why)


def sign(chance: Nonce, job: JobId, c: SqlConnection) -> Nonce:
    """The nonce that *chance* gives, with the store's MAC for *job*."""
    row = sql_rows.dict_rows(c.execute(SQL["job"], {"id": job}))[0]
    return signed(chance, secret_of(c), identity_of(sql_rows.to_job(row), c))


def give_strays(job: JobSnapshot, c: SqlConnection) -> None:
    """Assign strays to a job that was submitted again after its rows were lost. Runs in that job's transaction."""
    rows = c.execute(SQL["ownerless"]).fetchall()
    if not rows:
        return
    secret, identity = secret_of(c), identity_of(job, c)
    for remote_id, nonce in rows:
        if is_signed(Nonce(nonce), secret, identity):
            c.execute(SQL["give"], {"job_id": job.id, "remote_id": remote_id})


def secret_of(c: SqlConnection) -> str:
    """What this store's nonces are signed with."""
    secret: str = c.execute(SQL["secret"]).fetchone()[0]
    return secret


def identity_of(job: JobSnapshot, c: SqlConnection) -> str:
    """The identity of *job* that survives its loss: the same when it is submitted again (`domain.ids.job_identity`)."""
    earlier = 0
    if job.content_hash:
        values = {
            "content_hash": job.content_hash,
            "api_version": job.api_version,
            "betas": sql_rows.join_list(job.betas),
        }
        earlier = c.execute(SQL["earlier"], {**values, "id": job.id}).fetchone()[0]
    return job_identity(
        public_id=job.public_id,
        content_hash=job.content_hash,
        api_version=job.api_version,
        betas=job.betas,
        earlier=earlier,
    )
