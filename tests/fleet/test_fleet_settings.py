"""What a daemon, or a command, may decide for the whole fleet by settings of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from fleet.fleet_processes import SETTINGS
from fleet.fleet_world import connected, until
from support.processes import Api, running_api

from orchestrator.assembly import Engine, Runtime
from orchestrator.config import load_settings
from orchestrator.daemon import running_engine

pytestmark = [pytest.mark.postgres, pytest.mark.anyio]

HOOK = "https://example.com/hook"
CONFIGURED = f'[[webhooks]]\nurl = "{HOOK}"\nsecret_file = "secret"\n'
NOTHING_SAID = ""
NONE = "webhooks = []\n"


class Fleet:
    """Processes on one database, each with settings of its own."""

    def __init__(self, url: str, api: Api, folder: Path) -> None:
        self._url, self._api, self._folder = url, api, folder
        for name, text in (("key", "test-key\n"), ("secret", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")):
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)

    def running(self, text: str, *, is_daemon: bool = True) -> AbstractAsyncContextManager[Engine]:
        """A daemon with the settings *text*, or a command that runs for its own job, as `run` does."""
        file = self._folder / "settings.toml"
        file.write_text(text)
        own = {"HOME": str(self._folder), "ANTHROPIC_BASE_URL": self._api.base_url}
        env = {**own, "ORCHESTRATOR_API__KEY_FILE": str(self._folder / "key")}
        env |= {f"ORCHESTRATOR_{name}": value for name, value in SETTINGS.items()}
        flags = {"database.url": self._url}
        settings = load_settings(flags=flags, env=env, cwd=self._folder, config_file=file, sandbox=False)
        return running_engine(settings, sandbox=False, keep_probing=is_daemon, runtime=Runtime(listens=False))

    def endpoints(self) -> list[tuple[str, int]]:
        """Each endpoint, and whether notices go there."""
        with connected(self._url) as c:
            return [(url, active) for url, active in c.execute("SELECT url, active FROM endpoint ORDER BY id")]

    def held(self) -> Sequence[str]:
        """The stages that somebody holds."""
        return self._stages("picked")

    def waiting(self) -> Sequence[str]:
        """The stages that nobody holds."""
        return self._stages("queued")

    def _stages(self, status: str) -> Sequence[str]:
        with connected(self._url) as c:
            asked = "SELECT payload FROM pgqueuer WHERE entrypoint LIKE 'stage%%' AND status = %s"
            return sorted(bytes(payload).decode() for (payload,) in c.execute(asked, (status,)))

    async def configured(self) -> None:
        """A daemon has configured an endpoint, and ended."""
        async with self.running(CONFIGURED):
            await until(lambda: self.endpoints() == [(HOOK, 1)], "the endpoint is known")


@pytest.mark.long
@pytest.mark.parametrize("is_daemon", [True, False])
async def test_who_says_nothing_of_webhooks_turns_off_nobodys(url: str, tmp_path: Path, *, is_daemon: bool) -> None:
    """Also while the daemon that configured them is down: what happens meanwhile is told when it is back."""
    with running_api() as api:
        fleet = Fleet(url, api, tmp_path)
        await fleet.configured()
        async with fleet.running(NOTHING_SAID, is_daemon=is_daemon):
            await until(lambda: "poll" in fleet.held(), "it works")
            assert fleet.endpoints() == [(HOOK, 1)]
            assert "notify" not in fleet.held()


async def test_a_daemon_that_says_that_there_are_no_webhooks_turns_them_off(url: str, tmp_path: Path) -> None:
    """`webhooks = []` is how a fleet ends the last of them; a command's word is not enough."""
    with running_api() as api:
        fleet = Fleet(url, api, tmp_path)
        await fleet.configured()
        async with fleet.running(NONE, is_daemon=False):
            assert fleet.endpoints() == [(HOOK, 1)]
            assert "notify" in fleet.waiting()
        async with fleet.running(NONE):
            assert fleet.endpoints() == [(HOOK, 0)]
            assert "notify" not in fleet.waiting(), "nobody is waited for"


async def test_a_command_leaves_retention_to_the_daemons(url: str, tmp_path: Path) -> None:
    """It deletes nothing by its own `keep_bodies`, and does not hold the stage that would by theirs."""
    with running_api() as api:
        fleet = Fleet(url, api, tmp_path)
        async with fleet.running('[database]\nkeep_bodies = "1h"\n', is_daemon=False):
            await until(lambda: "sweep" in fleet.held(), "it holds what nobody holds")
            assert "keep" not in fleet.held()
            async with fleet.running(NOTHING_SAID):
                await until(lambda: "keep" in fleet.held(), "a daemon does")
