"""The HTTP API of a running engine: over its unix socket, and over TCP where that is configured.

Owns the servers, the routes and the pages. Holds no rules of its own: it reads through ports and sends commands to the
engine. What it shares with the command line and the library is in `orchestrator.views`.
"""
