"""The REST API, `/api/v1`: routes by resource (`*_routes`), their parameters, and the OpenAPI document.

Answers are views (`orchestrator.views`). Has no rules of its own.
"""
