"""A table before it is handed in: its columns, and what a template makes of its first rows."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response

from orchestrator.domain import errors, table_spec
from orchestrator.domain.answer_schema import AnswerSchema
from orchestrator.http_api.api.form import Form
from orchestrator.http_api.api.job_upload import TEMPLATE_HINT, body_blocks
from orchestrator.http_api.dashboard import page
from orchestrator.http_api.dashboard.actions import check_origin
from orchestrator.http_api.upload_memory import claim_of
from orchestrator.ports import streams

if TYPE_CHECKING:
    from starlette.requests import Request

    from orchestrator.http_api.services import Services

#: So many rows are shown, and so much of each text.
_ROWS: Final = 3
_SHOWN: Final = 4_000
_LONG_NUMBER: Final = 10
_LONG: Final = "it is read as a whole when it is checked, and when it is submitted"
#: Reads the columns alone, whatever the template.
_COLUMNS: Final = table_spec.RowOptions(prompt='{{ "-" }}', model="-", most=_ROWS)
_decode: Final = msgspec.json.Decoder().decode


class Preview(msgspec.Struct, kw_only=True):
    """What the page is told. columns: None of what is no table. problems: field, what is wrong, what to do."""

    columns: list[str] | None = None
    rows: list[dict[str, str]] = []
    problems: list[dict[str, Any]] = []


def texts_of(given: Mapping[str, str | list[str]]) -> dict[str, str]:
    """The fields of a form as texts; one that may come several times has a value a line."""
    return {key: (value if isinstance(value, str) else "\n".join(value)).strip() for key, value in given.items()}


def row_options(fields: Mapping[str, str]) -> table_spec.RowOptions | None:
    """What the form says of rows; None without a template. An empty field says nothing. Raises UsageError."""
    said: dict[str, Any] = {
        field: [line.strip() for line in value.splitlines() if line.strip()] if option.is_list else value
        for field, option in table_spec.ROW_OPTIONS.items()
        if (value := fields.get(option.param, ""))
    }
    if "max_tokens" in said:
        said["max_tokens"] = whole_number("max_tokens", said["max_tokens"], "max_tokens is a whole number")
    return table_spec.read_options(said, prompt="template", hint=TEMPLATE_HINT)


def whole_number(name: str, text: str, rule: str) -> int:
    """What *text*, the field *name*, says. Raises UsageError with *rule*."""
    if not (text.isascii() and text.isdigit() and len(text) <= _LONG_NUMBER):
        raise errors.UsageError(f"{name} cannot be used", hint=rule)
    return int(text)


def show_preview(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """The route that the page's script asks: a form with the first bytes of a file; `cut` is 1 if there are more."""

    async def shown(request: Request) -> Response:
        check_origin(request)
        form = Form(request.headers.get("content-type", ""), body_blocks(request))
        fields = texts_of(await form.fields())
        body = b"".join([block async for block in form.blocks()])
        found = await _Look(request, services, fields, body).preview()
        return Response(msgspec.json.encode(found), media_type="application/json", headers=page.HEADERS)

    return shown


class _Look:
    """One look at the first bytes of a table."""

    def __init__(self, request: Request, services: Services, fields: Mapping[str, str], body: bytes) -> None:
        self._request = request
        self._services = services
        self._fields = fields
        self._body = body
        self._is_cut = fields.get("cut") == "1"

    async def preview(self) -> Preview:
        """The columns, and with a template its first prompts; or what is wrong."""
        try:
            first = await self._items(_COLUMNS)
        except errors.OrchestratorError as exc:
            return Preview(columns=[], problems=[_told(exc)]) if self._is_table_by_name() else Preview()
        rows = [_decode(item.row) for item in first if isinstance(item, streams.InputLine)]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        if table_spec.OF_REQUESTS.intersection(columns) and not self._is_table_by_name():
            return Preview()
        found = Preview(columns=columns, problems=_problems(first))
        if not found.problems:
            await self._render(found)
        return found

    async def _render(self, found: Preview) -> None:
        try:
            rows = row_options({"model": "-", **self._said()}) if self._fields.get("template") else None
            items = [] if rows is None else await self._items(rows)
        except errors.OrchestratorError as exc:
            found.problems = [_told(exc)]
            return
        found.problems = _problems(items)
        found.rows = [_shown(item) for item in items if isinstance(item, streams.InputLine)]

    def _is_table_by_name(self) -> bool:
        return table_spec.kind_by_name(self._fields.get("source", "")) in table_spec.TABLES

    def _said(self) -> dict[str, str]:
        return {key: value for key, value in self._fields.items() if value}

    async def _items(self, rows: table_spec.RowOptions) -> list[streams.InputItem]:
        """What the first rows become, without one that is not here as a whole."""
        schema = self._fields.get("schema") if rows is not _COLUMNS else None
        source = self._services.row_opener(
            once(self._body),
            replace(rows, most=_ROWS),
            schema=AnswerSchema.read(schema) if schema else None,
            name=self._fields.get("source", ""),
            api_version=self._fields.get("api_version") or self._services.settings.api.version,
            claim=claim_of(self._request),
        )
        async with aclosing(source.chunks()) as chunks:
            items = [item async for chunk in chunks for item in chunk]
        if self._is_cut and len({item.line for item in items if item.line}) < _ROWS:
            whole = [item for item in items if item.line][:-1]  # its end is where the bytes were cut
            if not whole:
                raise errors.InputError("its first row is longer than what is looked at here", hint=_LONG)
            return whole
        return items


def _problems(items: list[streams.InputItem]) -> list[dict[str, Any]]:
    return [
        {"line": item.line, "field": item.field, "problem": item.message, "remedy": item.remedy}
        for item in items
        if isinstance(item, streams.InputProblem)
    ]


def _told(exc: errors.OrchestratorError) -> dict[str, Any]:
    problem = exc.message if exc.cause is None else f"{exc.message}: {exc.cause}"
    return {"line": 0, "field": "", "problem": problem, "remedy": exc.hint or ""}


def _shown(item: streams.InputLine) -> dict[str, str]:
    """The texts of a request, as they are sent."""
    params = _decode(item.params)
    content = params["messages"][0]["content"]
    text = content if isinstance(content, str) else "\n".join(_block(block) for block in content)
    return {"id": item.custom_id[:_SHOWN], "system": params.get("system", "")[:_SHOWN], "prompt": text[:_SHOWN]}


def _block(block: dict[str, Any]) -> str:
    return str(block["text"]) if block["type"] == "text" else f"[{block['type']}]"


async def once(body: bytes) -> AsyncGenerator[bytes, None]:
    """*body* as blocks."""
    if body:
        yield body
