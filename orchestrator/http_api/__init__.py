"""The engine's HTTP face: every route over the unix socket, and over TCP where it is asked for.

Owns how facts and errors look as JSON, and the servers. Holds no rules of its own: it reads through the ports it is
handed and asks the engine. `views`, `problems` and `lines` need neither an event loop nor a web framework: the other
faces use them.
"""
