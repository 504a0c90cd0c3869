"""The API as a killer: it strikes the client's process at one exact point of an exchange, and only once.

It wraps the sandbox's ASGI application. `POST /window` arms it with `{"window": …, "pid": …}`; `GET /window` says
whether it struck and whether that exchange is over at the API's side; `POST /window/go` ends a hold. Where the client
must not act on what it was sent, it is stopped (SIGSTOP) before the last bytes leave and killed after them: they lie
in its socket, and it never runs again.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator.sandbox.server import AsgiApp, Message, Receive, Send

_BATCHES: Final = "/v1/messages/batches"


class Window(StrEnum):
    """The six windows around the POST (T11)."""

    CURSOR = "after the cursor was answered"  #: nothing is committed: the batch is planned still
    INTENT = "after the intent, at the first bytes of the body"  #: the API never acts
    BODY = "after the last byte of the body, before the API acts"  #: then it acts: the batch exists
    ACCEPTED = "after the API accepted, before it answers"
    ANSWERED = "after the 200 went out, before the commit"
    RESULTS = "in the middle of the results"


_ROUTES: Final = {Window.CURSOR: ("GET", _BATCHES), Window.RESULTS: ("GET", "/results")}
_CREATE: Final = ("POST", _BATCHES)


@dataclass(slots=True)
class Strike:
    """An order to kill. hold_at: bytes of a result file after which the stream waits for a `go`, then it strikes.

    number: the signal; SIGSTOP lets the client live on where it is.
    """

    window: Window
    pid: int
    hold_at: int = 0
    number: int = signal.SIGKILL
    held: bool = False
    struck: bool = False
    over: bool = False

    def kill(self) -> None:
        """Strike, if nobody has yet."""
        if not self.struck:
            self.struck = True
            os.kill(self.pid, self.number)

    def concerns(self, scope: Message) -> bool:
        """True for the exchange that this window lies in."""
        method, path = _ROUTES.get(self.window, _CREATE)
        if scope["method"] != method or not scope["path"].endswith(path):
            return False
        return self.window is not Window.CURSOR or scope["query_string"] == b"limit=1"


class Windows:
    """The ASGI application around the API. latency_s: how long it takes at most to answer a create it has accepted."""

    def __init__(self, app: AsgiApp, *, latency_s: float = 0) -> None:
        self._app = app
        self._latency_s = latency_s
        self._chance = random.Random(0)
        self._strike: Strike | None = None
        self._go = asyncio.Event()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass the exchange on, unless it is ours or the one that is waited for."""
        strike = self._strike
        if scope["type"] == "http" and scope["path"].startswith("/window"):
            await self._order(scope, receive, send)
        elif scope["type"] != "http" or strike is None or strike.struck or not strike.concerns(scope):
            is_slow = self._latency_s > 0 and (scope["method"], scope["path"]) == _CREATE
            await self._app(scope, receive, self._slow(send) if is_slow else send)
        else:
            watched = _Exchange(strike, self._go, receive, send)
            await self._app(scope, watched.hear, watched.say)
            strike.over = strike.struck

    def _slow(self, send: Send) -> Send:
        async def say(message: Message) -> None:
            if message["type"] == "http.response.start":
                await asyncio.sleep(self._chance.uniform(0, self._latency_s))
            await send(message)

        return say

    async def _order(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST" and scope["path"] == "/window/go":
            self._go.set()
        elif scope["method"] == "POST":
            order = json.loads((await receive())["body"])
            self._go.clear()
            self._strike = Strike(Window(order["window"]), order["pid"], order["hold_at"], order["number"])
        strike = self._strike
        said = {} if strike is None else {"held": strike.held, "struck": strike.struck, "over": strike.over}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(said).encode(), "more_body": False})


class _Exchange:
    """One exchange that is listened to."""

    def __init__(self, strike: Strike, go: asyncio.Event, receive: Receive, send: Send) -> None:
        self._strike = strike
        self._go = go
        self._receive = receive
        self._send = send
        self._worked = False
        self._sent_bytes = 0

    async def hear(self) -> Message:
        """What the client sends."""
        message = await self._receive()
        if message["type"] != "http.request":
            return message
        if self._strike.window is Window.INTENT:
            self._strike.kill()
            return {"type": "http.disconnect"}  # what of the body still lies in the socket is never read
        if self._strike.window is Window.BODY and not message.get("more_body", False):
            self._strike.kill()
        return message

    async def say(self, message: Message) -> None:
        """What the API answers."""
        window = self._strike.window
        if message["type"] == "http.response.start":
            self._worked = message["status"] == 200
            if window is Window.ACCEPTED and self._worked:
                self._strike.kill()
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if is_last and self._worked and window in {Window.CURSOR, Window.ANSWERED} and not self._strike.struck:
            os.kill(self._strike.pid, signal.SIGSTOP)
            await self._send(message)
            self._strike.kill()
            return
        await self._send(message)
        if window is Window.RESULTS:
            await self._hold(message)

    async def _hold(self, message: Message) -> None:
        """Stop the stream once enough has left, and strike when told to."""
        self._sent_bytes += len(message.get("body", b""))
        if self._sent_bytes >= self._strike.hold_at and not self._strike.struck:
            self._strike.held = True
            await self._go.wait()
            self._strike.kill()
