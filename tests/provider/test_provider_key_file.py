"""F6: another key in the key file is used from the next call on, by the same connections."""

from __future__ import annotations

from pathlib import Path

import pytest
from provider.provider_world import HEADERS, RawServer, SizedBody, Visit, batch_json, error_json, no_pause

from orchestrator.domain.api_answers import Accepted, Busy
from orchestrator.domain.errors import NeedsPerson, ProviderRefused
from orchestrator.provider.client import AnthropicProvider
from orchestrator.provider.credentials import Credentials, Secret, from_file
from orchestrator.provider.settings import ProviderSettings

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def put(file: Path, key: str) -> Path:
    file.write_text(key)
    file.chmod(0o600)
    return file


class Api(RawServer):
    """It takes one key, and remembers the ones that came."""

    def __init__(self, valid: str) -> None:
        super().__init__(self._talk_back)
        self.valid = valid
        self.keys: list[str] = []

    async def _talk_back(self, visit: Visit) -> None:
        await visit.read_body()
        given = visit.headers.get("x-api-key") or visit.headers["authorization"].removeprefix("Bearer ")
        self.keys.append(given)
        if given == self.valid:
            await visit.answer(200, batch_json())
        else:
            await visit.answer(401, error_json("authentication_error", f"invalid key {given}"))


def provider_with(credentials: Credentials, url: str) -> AnthropicProvider:
    return AnthropicProvider(ProviderSettings(base_url=url), credentials=credentials, sleep=no_pause)


async def test_a_refused_read_is_made_again_with_the_key_that_is_there_now(tmp_path: Path) -> None:
    """F6: once, and only if it is another one."""
    file = put(tmp_path / "key", "old")
    async with Api("new") as api:
        provider = provider_with(from_file(file), api.url)
        with pytest.raises(ProviderRefused) as caught:
            await provider.retrieve("b")
        assert api.keys == ["old"]
        assert "old" not in caught.value.message
        put(file, "new")
        assert (await provider.retrieve("b")).counts.total == 3
        assert api.keys == ["old", "old", "new"]
        await provider.aclose()


async def test_a_refused_create_is_a_clear_no_for_now_when_there_is_another_key(tmp_path: Path) -> None:
    """F6: it is not sent again by the provider, which sends once; the next create has the new key."""
    file = put(tmp_path / "key", "old")
    async with Api("new") as api:
        provider = provider_with(from_file(file), api.url)
        assert (await provider.warm()).source == f"the file {file}"
        put(file, "new")
        assert isinstance(await provider.create(SizedBody(), HEADERS), Busy)
        assert isinstance(await provider.create(SizedBody(), HEADERS), Accepted)
        assert api.keys == ["old", "new"]
        await provider.aclose()


async def test_a_key_is_renewed_when_asked_and_told_whether_it_is_another_one(tmp_path: Path) -> None:
    """F6: for a resume and SIGHUP; a file that cannot be used changes nothing and is said."""
    file = put(tmp_path / "key", "old")
    async with Api("new") as api:
        provider = provider_with(from_file(file), api.url)
        assert not provider.renew()
        put(file, "new\n")
        assert provider.renew()
        assert not provider.renew()
        file.chmod(0o644)
        with pytest.raises(NeedsPerson):
            provider.renew()
        await provider.retrieve("b")
        assert api.keys == ["new"]
        await provider.aclose()


async def test_a_key_of_the_environment_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """F6: the environment of a process does not change, so the remedy says that it is started again."""
    fixed = Credentials(source="the test", api_key=Secret("k"))
    assert not provider_with(fixed, "http://127.0.0.1:9").renew()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    assert not AnthropicProvider(ProviderSettings()).renew()
