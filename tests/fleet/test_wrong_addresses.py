"""Acceptance check 19 with the real program: what is wrong with a database is named, with a remedy and no password."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from support.forked import run
from support.postgres import PostgresServer
from support.processes import program_env, running_api

pytestmark = [pytest.mark.postgres, pytest.mark.process]


def test_a_database_that_cannot_be_used_is_named(own_server: Callable[..., PostgresServer], tmp_path: Path) -> None:
    """`serve` ends with exit 8 and says why (promise 9); `doctor` says the same among its checks."""
    server = own_server(auth="scram-sha-256")
    foreign = server.new_database()
    with psycopg.connect(foreign, autocommit=True) as raw:
        raw.execute("CREATE SCHEMA orchestrator CREATE TABLE meta (id bigint)")
    with running_api() as api:
        for url, said, remedy in (
            (server.url.replace("secret", "hush-hush"), "the database refuses the login", "password_file"),
            (server.url_of("nowhere"), "there is no such database", "createdb"),
            ("postgresql://postgres:hush-hush@127.0.0.1:1/postgres", "cannot be reached", "check host and port"),
            (foreign, "is not a store of this program", "choose another database"),
        ):
            env = program_env(api.base_url, tmp_path, DATABASE__URL=url)
            for command in (("serve", "--listen", ""), ("doctor",)):
                done = run("orchestrator", *command, env=env, timeout=60)
                told = (done.stdout + done.stderr).decode()
                assert (done.returncode, said in told, remedy in told) == (8, True, True), told
                assert "hush" not in told
                assert "secret" not in told
