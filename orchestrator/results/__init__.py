"""Output: puts the bytes of results where a person asked for them, whole or not at all.

Owns temporary files, renames and syncs, and how tables are written; what is in a cell is told by the domain.
"""

from orchestrator.results.renderings import defused, open_rendering, parquet_job, refuse_unwritable, text_piece
from orchestrator.results.sinks import FileSink, PipeSink, StdoutSink, check_writable, open_sink

__all__ = [
    "FileSink",
    "PipeSink",
    "StdoutSink",
    "check_writable",
    "defused",
    "open_rendering",
    "open_sink",
    "parquet_job",
    "refuse_unwritable",
    "text_piece",
]
