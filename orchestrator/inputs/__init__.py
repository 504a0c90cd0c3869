"""Input: reads requests from files, streams and objects, and says what is wrong with those that may not be sent.

Owns reading, unpacking, splitting into lines and validation line by line. Must not store anything, and does not know
which `custom_id` occurred before: uniqueness is checked by the store, which sees the whole job through an index.
"""

from orchestrator.inputs.blocks import path_hint, read_blocks, read_stdin_blocks
from orchestrator.inputs.formats import OF_FILES, OF_UPLOADS, Bounds, unpacked_text
from orchestrator.inputs.joined_source import JoinedSource
from orchestrator.inputs.object_source import ObjectSource, one_by_one, refuse_one, source_from_objects
from orchestrator.inputs.problem_report import problem_line, problem_lines, refused_lines
from orchestrator.inputs.text_sources import (
    JsonLinesSource,
    StreamSource,
    chunks_in_thread,
    open_source,
    source_from_stream,
    unpacks_to_too_much,
)

__all__ = [
    "OF_FILES",
    "OF_UPLOADS",
    "Bounds",
    "JoinedSource",
    "JsonLinesSource",
    "ObjectSource",
    "StreamSource",
    "chunks_in_thread",
    "one_by_one",
    "open_source",
    "path_hint",
    "problem_line",
    "problem_lines",
    "read_blocks",
    "read_stdin_blocks",
    "refuse_one",
    "refused_lines",
    "source_from_objects",
    "source_from_stream",
    "unpacked_text",
    "unpacks_to_too_much",
]
