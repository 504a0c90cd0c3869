"""A server that takes encrypted connections alone, with a certificate of a CA of its own: both drivers check it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from fleet.fleet_processes import cluster, until
from support.forked import run
from support.postgres import PostgresServer
from support.processes import program_env, running_api
from support.tools import needed_tool

pytestmark = [pytest.mark.postgres, pytest.mark.process]

_CONNECTIONS: Final = """
SELECT application_name, ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
 WHERE application_name LIKE 'orchestrator%'
"""


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A database by the name in its server's certificate, and by its address; *ca* signed that, *other* did not."""

    url: str
    by_address: str
    server: PostgresServer
    ca: Path
    other: Path

    def verified_by(self, file: Path | str) -> str:
        """Its URL with the strictest check, by the certificates in *file*."""
        return f"{self.url}?sslmode=verify-full&sslrootcert={file}"


@pytest.fixture
def encrypted(own_server: Callable[..., PostgresServer], tmp_path: Path) -> Encrypted:
    """A server of this kind; its superuser's password is "secret"."""
    ca, other = (_certificate(tmp_path, name) for name in ("ca", "other"))
    signed = _certificate(tmp_path, "server", "-CA", str(ca), "-CAkey", str(ca.with_suffix(".key")))
    server = own_server(auth="scram-sha-256")
    assert server.folder is not None
    data = Path((server.folder / "server").read_text().splitlines()[0])
    for file in (signed, signed.with_suffix(".key")):
        _hand_over(file, data)
    (data / "pg_hba.conf").write_text("hostssl all all all scram-sha-256\n")
    server.execute("ALTER SYSTEM SET ssl = on")
    server.restart()
    url = server.new_database()
    return Encrypted(url.replace("127.0.0.1", "localhost"), url, server, ca, other)


def _hand_over(file: Path, data: Path) -> None:
    there = data / file.name
    shutil.copy(file, there)
    there.chmod(0o600)
    shutil.chown(there, data.owner(), data.group())


def _certificate(folder: Path, name: str, *signer: str) -> Path:
    """The file of a certificate for "localhost", with its key beside it; signed by itself, or by *signer*."""
    made = folder / f"{name}.crt"
    command = [needed_tool("openssl", package="openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost", *signer]
    command += ["-keyout", str(made.with_suffix(".key")), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.mark.long
def test_a_fleet_works_over_verified_connections(encrypted: Encrypted, tmp_path: Path) -> None:
    """The store's and the queue's: one URL says for both what is trusted, and no connection is left open to readers."""
    with (
        running_api(speed=300) as api,
        cluster(encrypted.verified_by(encrypted.ca), api, tmp_path, "AB") as daemons,
    ):
        daemons.submit(40)
        until(daemons.is_over, "the job is over")
        assert len(daemons.books()) == daemons.books().total() == 40
        connections = encrypted.server.execute(_CONNECTIONS)
        assert {"orchestrator A", "orchestrator B", "orchestrator writer"} <= {name for name, _ in connections}
        assert all(is_encrypted for _, is_encrypted in connections)


def test_a_server_that_cannot_be_trusted_is_told(encrypted: Encrypted, tmp_path: Path) -> None:
    """With what to do, for `serve` and `doctor` alike; neither a traceback nor the password is shown."""
    unsafe = "no encrypted connection could be made"
    with running_api() as api:
        for url, code, said, remedy in (
            (encrypted.verified_by(encrypted.other), 8, unsafe, "sslrootcert=FILE"),
            (encrypted.verified_by("nowhere.crt"), 8, unsafe, "sslrootcert=FILE"),
            (encrypted.verified_by(encrypted.ca).replace("localhost", "127.0.0.1"), 8, unsafe, "by the name"),
            (f"{encrypted.url}?sslmode=disable", 8, "takes no login without encryption", "sslmode=verify-full"),
            (f"{encrypted.url}?sslmode=safe", 8, "the URL of the database is wrong", "mend [database] url"),
            (encrypted.verified_by("system"), 2, "sslrootcert=system is not known here", "ca-certificates.crt"),
        ):
            env = program_env(api.base_url, tmp_path, DATABASE__URL=url)
            for command in (("serve", "--listen", ""), ("doctor",)):
                done = run("orchestrator", *command, env=env, timeout=60)
                told = (done.stdout + done.stderr).decode()
                assert (done.returncode, said in told, remedy in told) == (code, True, True), told
                assert "secret" not in told
                assert "Traceback" not in told
