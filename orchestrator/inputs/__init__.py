"""Input: reads requests from files, streams and objects, and says what is wrong with those that may not be sent.

Owns reading, unpacking, splitting into lines and validation line by line. Must not store anything, and does not know
which `custom_id` occurred before: uniqueness is checked by the store, which sees the whole job through an index.
"""

from orchestrator.inputs.blocks import read_blocks
from orchestrator.inputs.formats import unpacked_text
from orchestrator.inputs.object_source import ObjectSource, source_from_objects
from orchestrator.inputs.problem_report import problem_line, problem_lines, refused_lines
from orchestrator.inputs.text_sources import JsonLinesSource, StreamSource, open_source, source_from_stream

__all__ = [
    "JsonLinesSource",
    "ObjectSource",
    "StreamSource",
    "open_source",
    "problem_line",
    "problem_lines",
    "read_blocks",
    "refused_lines",
    "source_from_objects",
    "source_from_stream",
    "unpacked_text",
]
