"""Templates, and how values are said in them. Everything that a template prints is escaped; no filter undoes that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Final

from minijinja import Environment

from orchestrator.domain import humanize
from orchestrator.http_api.dashboard import assets
from orchestrator.http_api.dashboard.shown import standing_of
from orchestrator.version import VERSION
from orchestrator.views.job_views import time_text

_TEMPLATES: Final = resources.files(__package__) / "templates"


def render(template: str, context: dict[str, object]) -> str:
    """The text of *template*; a name that it uses and *context* lacks is a bug, and raises."""
    return _environment().render_template(template, **context)


@cache
def _environment() -> Environment:
    return Environment(
        loader=_source,
        filters={
            "plain": humanize.plain,
            "count": humanize.count,
            "batches": humanize.batches,
            "size": humanize.size,
            "span": humanize.span,
            "n": "{:,}".format,
            "iso": time_text,
            "ago": _ago,
            "exact": _exact,
            "asset": assets.url,
            "standing": standing_of,
        },
        globals={"version": VERSION},
        undefined_behavior="strict",
        auto_escape_callback=lambda _: "html",
        trim_blocks=True,
        lstrip_blocks=True,
        debug=False,
    )


def _source(name: str) -> str:
    return (_TEMPLATES / name).read_text("utf-8")


def _ago(at: datetime) -> str:
    """`3m ago`, `in 2h`: the page says it anew as time passes (static/app.js)."""
    distance = datetime.now(UTC) - at
    if distance < timedelta(0):
        return f"in {humanize.span(-distance)}"
    return f"{humanize.span(distance)} ago"


def _exact(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
