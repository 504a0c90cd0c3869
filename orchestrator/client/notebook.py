"""What a notebook shows of jobs and results, as HTML. All of it is escaped: answers are a model's, names anybody's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from orchestrator.domain import budgets, humanize
from orchestrator.domain.states import OVER
from orchestrator.views import cost_views, status_text

if TYPE_CHECKING:
    from orchestrator.client.result import Result
    from orchestrator.domain.model import JobStatus

#: Of a longer text a notebook shows the beginning.
_MOST_TEXT: Final = 2_000


def live_card() -> Callable[[JobStatus], None] | None:
    """Shows the card of a job in the cell of a notebook that runs, and the next one in its place; None elsewhere.

    Of IPython nothing is imported that is not there already: only a notebook's kernel has loaded it.
    """
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or getattr(shell, "kernel", None) is None:  # IPython in a terminal shows no HTML
        return None
    display: Any = import_module("IPython.display")
    shown: list[Any] = []

    def show(status: JobStatus) -> None:
        if not shown and status.job.state in OVER:  # nobody waits
            return
        card = display.HTML(job_card(status))
        if shown:
            shown[0].update(card)
        else:
            shown.append(display.display(card, display_id=True))

    return show


def job_card(status: JobStatus) -> str:
    """The state of a job, a bar of what is settled, what it cost, and what needs attention."""
    job, found, cost = status.job, status.job.requests, status.cost
    bar = f'<progress max="{found.total}" value="{found.settled}"></progress> {status_text.request_words(status)}'
    rows = [
        ("job", escape(f"{humanize.plain(job.name)} ({job.public_id})")),
        ("state", escape(budgets.without_raising(status_text.sentence(status)))),
        ("requests", bar),
        ("batches", escape(status_text.batch_words(status).removeprefix("batches "))),
        *([] if cost is None else [("cost", escape(cost_views.spent_words(cost.nanos, cost.unpriced)))]),
        *(("attention", escape(humanize.plain(matter.message))) for matter in status.attention),
    ]
    return _table("SANDBOX job" if status.sandbox else "job", rows)


def result_card(result: Result) -> str:
    """The answer of one request, or why there is none, and what it cost."""
    cost = result.cost
    rows = [
        ("request", escape(humanize.plain(result.custom_id))),
        ("type", escape(", ".join(filter(None, (result.type, result.stop_reason))))),
        ("error", escape(": ".join(filter(None, (result.error_type, result.error_message))))),
        ("text", f"<pre>{escape(_shortened(result.text or ''))}</pre>" if result.text else ""),
        ("cost", "" if cost is None else f"${cost.normalize():f}"),
    ]
    return _table("result", [row for row in rows if row[1]])


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]} …"


def _table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{name}</th><td>{shown}</td></tr>" for name, shown in rows)
    return f"<table><caption>{title}</caption>{cells}</table>"
