"""Requests of other forms in: OpenAI's batch lines, rows with messages, rows with a prompt become requests of ours.

Owns what each of their fields becomes, and tells what has no counterpart: nothing is left out in silence. Must not
store or send anything.
"""

from orchestrator.conversion.converter import Converted, Converter, Wishes
from orchestrator.conversion.findings import FindingKind, FoundCause

__all__ = ["Converted", "Converter", "FindingKind", "FoundCause", "Wishes"]
