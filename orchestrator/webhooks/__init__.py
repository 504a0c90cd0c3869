"""Sends notices to other programs by HTTP: signed, with a time limit, and only to allowed addresses.

Knows neither the store nor the engine. Source: Standard Webhooks 1.0.0, read 2026-11-26.
"""
