"""Presentation shared by the faces (`cli`, `client`, `http_api`): JSON objects, status sentences, problem documents.

Needs no web framework.
"""
