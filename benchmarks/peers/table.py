"""The peers: exact versions, how each is started, and what is worth knowing beside its figures.

All are told the same: batches of up to 100,000 requests (the API's limit), a look every 0.5 s, or every second where
only whole seconds are taken. `drivers/job.py` holds these figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

#: litellm downloads a table of prices when it is imported, unless it is told to take its own.
_LITELLM: Final = {"LITELLM_LOCAL_MODEL_COST_MAP": "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One program; `pins` empty means this project itself, in the environment that measures.

    `forced`: pins that are installed afterwards without asking what others require. `env`: set for the driver.
    """

    name: str
    pins: tuple[str, ...] = ()
    forced: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def driver(self) -> str:
        """The file in `drivers/`."""
        return f"run_{self.name.replace('-', '_')}.py"

    @property
    def version(self) -> str:
        """The version of the program itself: its own pin comes first."""
        return self.pins[0].partition("==")[2] if self.pins else "this tree"


OURS: Final = Peer(name="orchestrator")
PEERS: Final = (
    # `process`; looks every 1 s (whole seconds); the driver cuts; stores batches, not requests.
    Peer(
        name="batchwizard",
        pins=("batchwizard==0.5.0", "anthropic==0.125.0"),
    ),
    # `Runner.run` every 0.5 s; JSON answers only; its tool schema makes bodies bigger; Parquet manifests.
    Peer(
        name="llm-batch-py",
        pins=("llm-batch-py==0.1.8", "anthropic==2.14.0", "polars==2.1.0"),
    ),
    # `model_request_batch`; waits 0.5 s before its first look; keeps everything in memory alone.
    Peer(
        name="pydantic-ai",
        pins=("pydantic-ai-slim[anthropic]==2.68.0", "anthropic==2.14.0"),
    ),
    # Its poller; does not split: the driver cuts; answers come without ids; stores batches, not requests.
    Peer(
        name="langasync",
        pins=("langasync==0.2.3", "langchain-anthropic==1.7.10", "langchain-core==1.8.3", "anthropic==2.14.0"),
        env={"LANGASYNC_BATCH_POLL_INTERVAL": "0.5"},
    ),
    # Looks every 1 s (whole seconds); request and response files.
    Peer(
        name="curator",
        pins=("bespokelabs-curator==0.1.31", "anthropic==0.84.0", "litellm==1.83.7", "datasets==3.6.0"),
        forced=("instructor==1.11.3",),  # its requirements let in later ones, which lack a function that it calls
        env={**_LITELLM, "TELEMETRY_ENABLED": "0", "CURATOR_VIEWER": "0", "HF_HUB_OFFLINE": "1"},
    ),
    # JSON answers only; every request and result in SQLite, one transaction a result.
    Peer(
        name="steadybatch",
        pins=("steadybatch==0.2.1", "anthropic==2.14.0"),
    ),
    # N concurrent `generate` calls, sent when all are gathered; keeps everything in memory alone.
    Peer(
        name="inspect-ai",
        pins=("inspect-ai==0.3.285", "anthropic==2.14.0"),
    ),
    # Base URL and even pause set in its modules, for want of settings; stores batches, not requests.
    Peer(
        name="batchlane",
        pins=("batchlane==0.2.0", "litellm==1.110.2"),
        env=_LITELLM,
    ),
)
