"""Tokens of a team: what each role may do, whose jobs one may steer, who is told to have done what, and logins."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from faces.api_world import LINES, NDJSON, engine_with_services
from faces.client_world import SLOW
from starlette.routing import Mount, Route

from orchestrator.config import TokenSection, load_settings
from orchestrator.domain.access import AccessRole, Bearer
from orchestrator.domain.errors import UsageError
from orchestrator.http_api.app import build_app
from orchestrator.http_api.browser_login import LoginMiddleware
from orchestrator.http_api.guard.access_rules import AccessRules, KnownToken
from orchestrator.http_api.guard.access_tokens import Sessions, digest_of
from orchestrator.http_api.guard.middleware import Guard
from orchestrator.http_api.guard.request_limits import BodyLimits
from orchestrator.http_api.guard.route_roles import NEEDED, OWN
from orchestrator.http_api.listen import listen, reload_access
from orchestrator.http_api.messages import routes as message_routes
from orchestrator.http_api.services import Services

BASE: Final = "http://127.0.0.1:8787"
TEAM: Final = {"rita": AccessRole.READ, "ana": AccessRole.SUBMIT, "bob": AccessRole.SUBMIT, "root": AccessRole.ADMIN}
#: It answers until the engine stops.
ENDLESS: Final = "/api/v1/events/stream"
SDK: Final = {"anthropic-version": "2023-06-01"}
PAGE: Final = {"accept": "text/html", "sec-fetch-site": "same-origin", "origin": BASE}


def token_of(name: str) -> str:
    return (name * 43)[:43]


def known(name: str, role: AccessRole | None = None) -> KnownToken:
    bearer = Bearer(name=name, role=TEAM[name] if role is None else role)
    return KnownToken(bearer=bearer, digest=digest_of(token_of(name)))


@asynccontextmanager
async def team(folder: Path) -> AsyncIterator[tuple[AccessRules, httpx2.AsyncClient, Services]]:
    """A sandbox engine where nothing ends, behind the guard as on a port: four people, and the one token of before."""
    async with engine_with_services(folder / "x.db", **SLOW) as (_, services):
        access = AccessRules("127.0.0.1", 8787, allowed_hosts=(), tokens=())
        access.tokens = (KnownToken.default(digest_of("d" * 43)), *map(known, TEAM))
        access.sessions.keep(services.page_key)
        app = Guard(LoginMiddleware(build_app(services), access), access=access, limits=BodyLimits())
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=BASE, timeout=60) as client:
            yield access, client, services


def by(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token_of(name)}"}


async def submitted(client: httpx2.AsyncClient, who: str, **query: str) -> dict[str, Any]:
    answer = await client.post("/api/v1/jobs", params=query, content=LINES, headers={**by(who), **NDJSON})
    assert answer.status_code in {200, 201}, answer.text
    found: dict[str, Any] = answer.json()
    return found


def served_routes(services: Services) -> Iterator[str]:
    (mount,) = message_routes(services)
    assert isinstance(mount, Mount)
    inner = mount.app
    while not hasattr(inner, "routes"):
        inner = inner._app  # type: ignore[attr-defined]
    for route in [*build_app(services).routes, *inner.routes]:
        if isinstance(route, Route):
            prefix = "/v1" if route.path.startswith("/messages/") else ""
            yield from (f"{method}{prefix}{route.path}" for method in (route.methods or set()) - {"HEAD"})


def test_every_route_is_in_the_table(tmp_path: Path) -> None:
    """A new one has its line in guard/route_roles.py; until then it needs an admin."""

    async def run() -> None:
        async with team(tmp_path) as (_, _, services):
            assert {*served_routes(services), "GET/fleet"} == set(NEEDED)

    asyncio.run(run())


@pytest.mark.parametrize("name", [*TEAM, "nobody"])
def test_each_role_may_do_what_the_table_says(tmp_path: Path, name: str) -> None:
    """Every route: refused with the role that it needs, or not for that; without a token nothing is told."""

    async def run() -> None:
        async with team(tmp_path) as (_, client, _):
            for written, needed in sorted(NEEDED.items()):
                method, slash, path = written.partition("/")
                target = slash + re.sub(r"\{[^}]+\}", "7", path)
                is_let = name in TEAM and TEAM[name].covers(needed)
                if target in {ENDLESS, "/livez", "/fleet"} and (is_let or target == "/livez"):
                    continue
                answer = await client.request(method, target, headers=by(name))
                if name not in TEAM:
                    assert answer.status_code == 401, (written, answer.text)
                else:
                    assert (f"the role {needed}" in answer.text and answer.status_code == 403) != is_let, written

    asyncio.run(run())


def test_a_refusal_is_a_problem_that_names_the_role(tmp_path: Path) -> None:
    """For programs by its type, in the form of the API for its SDK, and as a page for a browser."""

    async def run() -> None:
        async with team(tmp_path) as (_, client, _):
            refused = await client.post("/api/v1/prune?older_than=1d", headers=by("ana"))
            assert refused.headers["content-type"] == "application/problem+json"
            told = refused.json()
            assert (told["type"], told["status"], told["exit_code"]) == ("role-refused", 403, 3)
            assert (told["title"], told["detail"]) == (
                "this needs the role admin",
                "you are ana, with the role submit",
            )
            sdk = await client.post("/v1/messages/batches", headers={"x-api-key": token_of("rita")}, content=b"{}")
            assert (sdk.status_code, sdk.json()["error"]["type"]) == (403, "permission_error")
            live = await client.get("/live?at=/webhooks", headers={**by("ana"), **PAGE})
            assert (live.status_code, "this needs the role admin" in live.text) == (403, True)
            for name, is_shown in (("ana", False), ("root", True)):
                home = await client.get("/", headers={**by(name), **PAGE})
                links = re.findall(r"<span>(Webhooks|Settings)</span>", home.text)
                assert links == (["Webhooks", "Settings"] if is_shown else [])
            page = await client.get("/new", headers={**by("rita"), **PAGE})
            assert (page.status_code, "this needs the role submit" in page.text) == (403, True)
            document = (await client.get("/openapi.json", headers=by("rita"))).json()
            roles = {
                f"{method.upper()}{path}": operation["x-role"]
                for path, methods in document["paths"].items()
                for method, operation in methods.items()
            }
            assert roles == {re.sub(r":[a-z]+\}", "}", each): NEEDED[each] for each in NEEDED if each in _rest()}

    asyncio.run(run())


def _rest() -> set[str]:
    extra = {"GET/openapi.json", "GET/version", "GET/livez", "GET/readyz"}
    return {each for each in NEEDED if "/api/v1/" in each or each in extra}


def test_one_steers_what_one_submitted_and_an_admin_everything(tmp_path: Path) -> None:
    """Every route that steers, on all faces; nothing of another's job is changed by handing the same in, either."""

    async def run() -> None:
        async with team(tmp_path) as (_, client, _):
            job = (await submitted(client, "ana", name="hers"))["job"]
            at = f"/api/v1/jobs/{job['id']}"
            assert job["submitted_by"] == "ana"
            again = await submitted(client, "bob", name="mine", max_cost="1.00")
            assert (again["attached"], again["job"]["name"], again["job"]["cost"]["cap"]) == (True, "hers", None)
            assert again["not_applied"] == "nothing of it was changed: it was submitted by ana"
            for written in sorted(each for each in OWN if "/api/" in each):
                method, slash, path = written.partition("/")
                target = slash + path.replace("{ref}", job["id"])
                body = {"content": LINES, "headers": {**by("bob"), **NDJSON}}
                if method == "PATCH":
                    body = {"json": {"max_cost": "1.00"}, "headers": by("bob")}
                elif target.endswith(("/retry", "/close", "/pause", "/resume", "/cancel")):
                    body = {"headers": by("bob")}
                answer = await client.request(method, target, **body)  # type: ignore[arg-type]
                told = f"job {job['id']} was submitted by ana: this needs the role admin"
                assert (answer.status_code, answer.json()["title"]) == (403, told), written
            capped = await client.patch(at, json={"max_cost": "2.00"}, headers=by("ana"))
            assert (capped.status_code, capped.json()["cost"]["cap"]) == (200, "2.000000000")
            assert (await client.post(f"{at}/cancel", headers=by("root"))).status_code == 200
            nobodys = (await submitted(client, "root", name="x", new="1"))["job"]["id"]
            assert (await client.post(f"/api/v1/jobs/{nobodys}/pause", headers=by("ana"))).status_code == 403
            events = (await client.get(f"{at}/events", headers=by("rita"))).json()["events"]
            steps = [(event["kind"], event["actor"]) for event in events if event["actor"] is not None]
            assert steps[:2] == [("job.created", "ana"), ("job.moved", "ana")]
            assert [each for each in steps[2:] if each[0] == "job.capped"] == [("job.capped", "ana")]
            assert ("job.moved", "root") in steps
            assert "bob" not in {who for _, who in steps}
            listed = (await client.get("/api/v1/jobs?by=ana", headers=by("rita"))).json()["jobs"]
            assert [each["id"] for each in listed] == [job["id"]]

    asyncio.run(run())


def test_a_batch_of_the_sdk_is_its_callers(tmp_path: Path) -> None:
    """Another one's cannot be canceled, and none be deleted but by an admin."""
    request = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
    body = {"requests": [{"custom_id": "a", "params": request}]}

    async def run() -> None:
        async with team(tmp_path) as (_, client, _):
            made = await client.post("/v1/messages/batches", json=body, headers={**by("ana"), **SDK})
            at = f"/v1/messages/batches/{made.json()['id']}"
            foreign = await client.post(f"{at}/cancel", headers={**by("bob"), **SDK})
            assert (foreign.status_code, foreign.json()["error"]["type"]) == (403, "permission_error")
            assert (await client.post(f"{at}/cancel", headers={**by("ana"), **SDK})).status_code == 200
            assert (await client.delete(at, headers=by("ana"))).status_code == 403
            again = {**SDK, "x-stainless-retry-count": "1"}
            for who, is_same in (("ana", True), ("bob", False)):  # a try that never came meets no other's batch
                repeated = await client.post("/v1/messages/batches", json=body, headers={**by(who), **again})
                assert (repeated.json()["id"] == made.json()["id"]) is is_same

    asyncio.run(run())


async def login(client: httpx2.AsyncClient, name: str) -> str:
    """The cookie of a login with the token of *name*, as a header has it."""
    answer = await client.post("/login", data={"token": token_of(name), "next": "/"}, headers=PAGE)
    assert answer.status_code == 303
    client.cookies.clear()
    return answer.headers["set-cookie"].partition(";")[0]


def test_a_browser_is_who_logged_in_until_the_token_is_taken_away(tmp_path: Path) -> None:
    """Its name is shown; what it may not do is not offered, and refused; a role that changes counts at once."""

    async def run() -> None:
        async with team(tmp_path) as (access, client, _):
            job = (await submitted(client, "ana", name="hers"))["job"]["id"]
            (await client.post(f"/api/v1/jobs/{job}/pause", headers=by("ana"))).raise_for_status()
            seen = {}
            for name in TEAM:
                cookie = {**PAGE, "cookie": await login(client, name)}
                page = (await client.get(f"/jobs/{job}", headers=cookie)).text
                assert f">{name}</span>" in page
                seen[name] = ('href="/new"' in page, 'value="resume"' in page, "verb=cap" in page)
                done = await client.post("/act", data={"verb": "resume", "job": job}, headers=cookie)
                assert (done.status_code == 403) != (name in {"ana", "root"})
            assert seen == {
                "rita": (False, False, False),
                "ana": (True, True, True),
                "bob": (True, False, False),
                "root": (True, False, True),  # ana resumed it
            }
            cookie = {**PAGE, "cookie": await login(client, "ana")}
            other = (await submitted(client, "bob", new="1"))["job"]["id"]
            offered = {}
            for name in TEAM:
                listed = (await client.get("/jobs", headers={**PAGE, "cookie": await login(client, name)})).text
                picks = set(re.findall(r'type="checkbox" name="job" value="([^"]+)"', listed))
                offered[name] = (picks, "With the selected jobs" in listed)
            assert offered == {
                "rita": (set(), False),
                "ana": ({job}, True),
                "bob": ({other}, True),
                "root": ({job, other}, True),
            }
            both = {"verb": "pause", "job": [job, other]}
            asked = await client.get("/confirm", params=both, headers=cookie)
            done = await client.post("/act", data=both, headers=cookie)
            assert (asked.status_code, done.status_code) == (403, 403)
            states = [
                (await client.get(f"/api/v1/jobs/{ref}", headers=by("ana"))).json()["state"] for ref in both["job"]
            ]
            assert states == ["running", "running"]  # nothing was done of it
            access.tokens = tuple(known(name, AccessRole.READ) for name in TEAM)
            assert (await client.get("/new", headers=cookie)).status_code == 403
            access.tokens = (known("root"), known("bob"))
            assert (await client.get("/", headers=cookie)).status_code == 401
            assert (await client.get("/api/v1/jobs", headers=by("ana"))).status_code == 401
            access.tokens = tuple(map(known, TEAM))
            out = await client.post("/logout", headers=cookie)
            assert out.headers["location"] == "/login?out=1"
            assert (await client.get("/", headers=cookie)).status_code == 401

    asyncio.run(run())


def test_no_cookie_can_be_made_of_what_settings_hold(tmp_path: Path) -> None:
    """The digests of tokens are there for whoever reads the settings: they are no token, and sign no login."""

    async def run() -> None:
        async with team(tmp_path) as (access, client, _):
            digest = access.tokens[1].digest
            forger = Sessions(8787)
            for secret in (b"", digest):
                forger.keep(secret)
                cookie = {**PAGE, "cookie": f"orchestrator-8787={forger.begin(digest)}"}
                assert (await client.get("/", headers=cookie)).status_code == 401
            for shown in (digest.hex(), "rita", f"{token_of('rita')}x", token_of("rita")[1:], ""):
                headers = {"authorization": f"Bearer {shown}"}
                assert (await client.get("/api/v1/jobs", headers=headers)).status_code == 401

    asyncio.run(run())


def test_a_link_logs_in_who_asked_for_it(tmp_path: Path) -> None:
    """And only once, whatever other tokens there are."""

    async def run() -> None:
        async with team(tmp_path) as (access, client, _):
            code = access.sessions.new_code(known("bob").digest)
            answer = await client.get(f"/login?code={code}", headers=PAGE)
            cookie = {**PAGE, "cookie": answer.headers["set-cookie"].partition(";")[0]}
            assert ">bob</span>" in (await client.get("/", headers=cookie)).text
            client.cookies.clear()
            assert (await client.get(f"/login?code={code}", headers=PAGE)).status_code == 401

    asyncio.run(run())


def test_a_reload_takes_tokens_over_all_of_them_or_none(tmp_path: Path) -> None:
    """Also those of a team alone; what cannot be used leaves the ones before in force."""
    own = tmp_path / "x.token"
    server = load_settings(flags={"server.listen": "127.0.0.1:0"}, env={"HOME": str(tmp_path)}, cwd=tmp_path).server
    ana, bob = (
        TokenSection(name=name, role="submit", sha256=digest_of(token_of(name)).hex()) for name in ("ana", "bob")
    )
    at = listen(server, [ana], own_token=own)
    assert at is not None
    try:
        assert [each.bearer.name for each in at.access.tokens] == ["default", "ana"]
        assert reload_access(at, server, [bob])
        assert not reload_access(at, server, [bob])
        assert at.access.known(token_of("ana").encode()) is None
        twice = TokenSection(name="twice", role="admin", sha256=digest_of(own.read_text().strip()).hex())
        with pytest.raises(UsageError, match="the token of the daemon itself"):
            reload_access(at, server, [twice])
        assert [each.bearer.name for each in at.access.tokens] == ["default", "bob"]
        alone = listen(server, [ana])
        assert alone is not None
        alone.listener.close()
        assert [each.bearer.name for each in alone.access.tokens] == ["ana"]
        assert alone.dashboard_link()[1].startswith("/login?code=")
    finally:
        at.listener.close()


def test_a_stream_ends_with_its_token(tmp_path: Path) -> None:
    """The next event is not told any more."""

    async def run() -> None:
        async with team(tmp_path) as (access, client, services):
            job = (await submitted(client, "ana"))["job"]["id"]
            asked = asyncio.create_task(client.get(f"/api/v1/jobs/{job}/events/stream?after=0", headers=by("rita")))
            await services.feed._watched.wait()
            access.tokens = (known("ana"),)
            (await client.post(f"/api/v1/jobs/{job}/pause", headers=by("ana"))).raise_for_status()
            told = await asked
            assert (told.status_code, "job.created" in told.text, "paused" in told.text) == (200, True, False)

    asyncio.run(run())
