"""What every stage is handed: the store, the API, time, chance, settings, and where to note the API's health."""

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
    """Imports of this process. reading: the jobs, by public id, whose input comes in now; all others are over.

    may_be_left: one failed, so its job may be there still.
    """

    reading: set[str] = field(default_factory=set)
    may_be_left: bool = False


@dataclass(slots=True, kw_only=True)
class Context:
    """Handed to every stage. courier: None where no notices are to be sent.

    settings: replaced, whole, when a daemon reads its configuration again; look each time. ask_at_once: a person may
    have mended the account, so the probe does not wait for its time.
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
