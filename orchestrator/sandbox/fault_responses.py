"""The responses that the faults of a call stand for: those of the API, of a proxy, or of a captive portal."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from orchestrator.domain.batches_api import ApiError
from orchestrator.sandbox.exchange import Break, SandboxResponse, one_piece
from orchestrator.sandbox.faults import LOW_CREDIT

CUTS: Final[Mapping[str, Break]] = MappingProxyType(
    {"drop": "close", "drop_reset": "reset", "hang": "hang", "drop_after_accept": "close", "hang_after_accept": "hang"}
)

#: Status, type and message of the faults that the API itself answers.
_ANSWERS: Final[Mapping[str, tuple[int, str, str]]] = MappingProxyType(
    {
        "400": (400, "invalid_request_error", "Invalid request"),
        "401": (401, "authentication_error", "API key is invalid."),
        "402": (402, "billing_error", "There is a problem with your billing information."),
        "403": (403, "permission_error", "Your API key does not have permission to use the specified resource."),
        "404": (404, "not_found_error", "Not found"),
        "408": (408, "timeout_error", "Request timed out"),
        "409": (409, "conflict_error", "Conflict"),
        "413": (413, "request_too_large", "Request exceeds the maximum size"),
        "429": (429, "rate_limit_error", "This request would exceed your organization's rate limit."),
        "500": (500, "api_error", "Internal server error"),
        "503": (503, "api_error", "Service unavailable"),
        "504": (504, "timeout_error", "Request timed out"),
        "529": (529, "overloaded_error", "Overloaded"),
        "overloaded_500": (500, "api_error", "Overloaded"),
        "error_after_accept": (500, "api_error", "Internal server error"),
        "credit": (400, "invalid_request_error", LOW_CREDIT),
        "spend": (429, "rate_limit_error", "You have reached your tier's spend limit for this month."),
    }
)

_PAGES: Final[Mapping[str, tuple[int, str]]] = MappingProxyType(
    {
        "502": (502, "<html><head><title>502 Bad Gateway</title></head></html>"),
        "html_200": (200, "<html><head><title>Sign in to the network</title></head></html>"),
        "202": (202, '{"status":"not ready"}'),
        "203": (203, "not ready"),
        "204": (204, ""),
        "206": (206, '{"id":"msgbatch_01"'),
        "early_413": (413, "<html><head><title>413 Request Entity Too Large</title></head></html>"),
    }
)


def as_error(fault: str, *, retry_after_s: float) -> ApiError | None:
    """The API error that *fault* stands for, if it is one. Only 429, 503 and 529 carry retry-after."""
    if fault not in _ANSWERS:
        return None
    status, kind, message = _ANSWERS[fault]
    waits = fault in {"429", "529", "503"}
    headers = (("retry-after", f"{retry_after_s:g}"),) if waits else ()
    details = {"error_code": "enforced_spend_limit_reached"} if fault == "spend" else None
    return ApiError(status, kind, message, headers=headers, details=details)


def as_answer(fault: str) -> SandboxResponse | None:
    """The response of a proxy or portal that *fault* stands for, if it is one."""
    if fault in _PAGES:
        status, page = _PAGES[fault]
        content = page.encode()
        headers = [("content-type", "text/html"), ("content-length", str(len(content)))]
        return SandboxResponse(status=status, headers=headers, body=one_piece(content), close=fault == "early_413")
    if fault in {"garbled_200", "garbled_after_accept"}:
        return SandboxResponse(
            status=200,
            headers=[("content-type", "application/json")],
            body=one_piece(b'{"id":"msgbatch_01","type":"message_ba'),
        )
    if fault == "redirect":
        headers = [("location", "http://elsewhere.invalid/v1/messages/batches"), ("content-length", "0")]
        return SandboxResponse(status=307, headers=headers, body=one_piece(b""))
    return None
