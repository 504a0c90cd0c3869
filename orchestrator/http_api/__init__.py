"""The engine's HTTP face: every route over the unix socket, and over TCP where it is asked for.

Owns how facts and errors look as JSON, and the servers. Holds no rules of its own: it reads through the ports it is
handed and asks the engine. What it shares with the other faces is in `orchestrator.views`.
"""
