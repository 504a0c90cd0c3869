"""Nonces that carry the store's MAC for a job, and jobs that are known again by it."""

from __future__ import annotations

import sqlite3
from typing import Final

from orchestrator.domain.ids import JobId, Nonce, is_signed, job_identity, signed
from orchestrator.domain.model import Job
from orchestrator.store.queries import load
from orchestrator.store.rows import join_betas, named, to_job

SQL: Final = load("strays")


def sign(chance: Nonce, job: JobId, c: sqlite3.Connection) -> Nonce:
    """The nonce that *chance* gives, with the store's MAC for *job*."""
    row = named(c.execute(SQL["job"], {"id": job}))[0]
    return signed(chance, secret_of(c), identity_of(to_job(row), c))


def give_strays(job: Job, c: sqlite3.Connection) -> None:
    """A job was handed in: those strays are its own that were sent for it before it was lost. In that transaction."""
    rows = c.execute(SQL["ownerless"]).fetchall()
    if not rows:
        return
    secret, identity = secret_of(c), identity_of(job, c)
    for remote_id, nonce in rows:
        if is_signed(Nonce(nonce), secret, identity):
            c.execute(SQL["give"], {"job_id": job.id, "remote_id": remote_id})


def secret_of(c: sqlite3.Connection) -> str:
    """What this store's nonces are signed with."""
    secret: str = c.execute(SQL["secret"]).fetchone()[0]
    return secret


def identity_of(job: Job, c: sqlite3.Connection) -> str:
    """Who *job* is, also where it was lost and handed in again; see `domain.ids.job_identity`."""
    earlier = 0
    if job.content_hash:
        values = {"content_hash": job.content_hash, "api_version": job.api_version, "betas": join_betas(job.betas)}
        earlier = c.execute(SQL["earlier"], {**values, "id": job.id}).fetchone()[0]
    return job_identity(
        public_id=job.public_id,
        content_hash=job.content_hash,
        api_version=job.api_version,
        betas=job.betas,
        earlier=earlier,
    )
