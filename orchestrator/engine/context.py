"""What every stage is given: store, API, clock, entropy, settings, and the signals that stages share."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.engine.batch_list import MalformedEntries, PageSize
from orchestrator.engine.liveness import ApiHealth, StageLiveness
from orchestrator.engine.settings import EngineSettings
from orchestrator.engine.wakeup import Wakeup
from orchestrator.ports.provider import Courier, Provider
from orchestrator.ports.runtime import Clock, Entropy, Meter, NullMeter
from orchestrator.ports.store import EngineStore


@dataclass(slots=True)
class Imports:
    """Imports of this process.

    reading: the public ids of jobs whose input is being read; any other `importing` job is a leftover. may_be_left: an
    import failed, so it may have left one.
    """

    reading: set[str] = field(default_factory=set)
    may_be_left: bool = False


@dataclass(slots=True, kw_only=True)
class Context:
    """Given to every stage.

    settings: replaced as a whole on reload, so read it anew each time. courier: None if no notices are to be sent.
    ask_at_once: a person may have fixed the account, so the probe need not wait.
    """

    store: EngineStore
    provider: Provider
    clock: Clock
    entropy: Entropy
    settings: EngineSettings
    health: ApiHealth = field(default_factory=ApiHealth)
    wakeup: Wakeup = field(default_factory=Wakeup)
    liveness: StageLiveness = field(default_factory=StageLiveness)
    imports: Imports = field(default_factory=Imports)
    meter: Meter = field(default_factory=NullMeter)
    courier: Courier | None = None
    ask_at_once: bool = False
    page_size: PageSize = field(default_factory=PageSize)
    malformed: MalformedEntries = field(default_factory=MalformedEntries)
