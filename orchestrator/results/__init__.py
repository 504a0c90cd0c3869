"""Output: puts the bytes of results where a person asked for them, whole or not at all.

Owns temporary files, renames and syncs. Must not know what a result is: lines are made in the domain.
"""

from orchestrator.results.sinks import FileSink, PipeSink, StdoutSink, check_writable, open_sink

__all__ = ["FileSink", "PipeSink", "StdoutSink", "check_writable", "open_sink"]
