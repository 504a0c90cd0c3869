"""A durable job orchestrator for the Message Batches API: kill it anywhere, lose nothing, pay once."""

from typing import Final

__version__: Final = "0.1.0"
__all__ = ["__version__"]
