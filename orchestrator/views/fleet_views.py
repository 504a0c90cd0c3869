"""A fleet of daemons as JSON and in words: who is there, who holds what, what waits, what is not as it should."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self

from orchestrator.domain import humanize
from orchestrator.ports.dispatch import HASHED, FleetDaemon, FleetView, Held, UnitKind, UnitsWaiting
from orchestrator.views.view import Count, Timestamp, View, parse_time, time_text

if TYPE_CHECKING:
    from datetime import datetime

#: A daemon shows every five seconds that it lives: two signs may be lost.
SILENT_AFTER: Final = timedelta(seconds=15)
#: A stage is somebody's within 14 s of its holder's death.
_STAGE_WAITS: Final = timedelta(minutes=1)
_MOST_OFFSET: Final = timedelta(seconds=5)
#: Of units that wait.
_TO_DO: Final = MappingProxyType(
    {UnitKind.STAGE: "to hold", UnitKind.SUBMIT: "to send", UnitKind.COLLECT: "to download"}
)


class HeldUnitView(View, frozen=True, kw_only=True):
    """A batch that a daemon sends or downloads, and since when."""

    batch: Count
    since: Timestamp

    @classmethod
    def of(cls, held: Held) -> Self:
        """The view of *held*, which is no stage."""
        return cls(batch=int(held.what), since=time_text(held.since))


class FleetDaemonView(View, frozen=True, kw_only=True):
    """A process on the store. `works`: it takes units. `settings`: a hash of what all must have alike."""

    name: str
    host: str
    pid: Count
    version: str
    settings: str
    started_at: Timestamp
    seen_at: Timestamp
    silent: bool
    works: bool
    stages: list[str]
    uploads: list[HeldUnitView]
    downloads: list[HeldUnitView]

    @classmethod
    def of(cls, daemon: FleetDaemon, fleet: FleetView) -> Self:
        """The view of *daemon* among *fleet*."""
        return cls(
            name=daemon.name,
            host=daemon.host,
            pid=daemon.pid,
            version=daemon.version,
            settings=_hash(daemon.settings),
            started_at=time_text(daemon.started_at),
            seen_at=time_text(daemon.seen_at),
            silent=is_silent(daemon, fleet.at),
            works=daemon.works,
            stages=sorted(each.what for each in units_of(daemon, fleet, UnitKind.STAGE)),
            uploads=[HeldUnitView.of(each) for each in units_of(daemon, fleet, UnitKind.SUBMIT)],
            downloads=[HeldUnitView.of(each) for each in units_of(daemon, fleet, UnitKind.COLLECT)],
        )


class UnitsWaitingView(View, frozen=True, kw_only=True):
    """Units of one kind (`stage`, `submit`, `collect`) that are due and nobody has; since when the oldest is due."""

    kind: str
    count: Count
    since: Timestamp

    @classmethod
    def of(cls, waiting: UnitsWaiting) -> Self:
        """The view of *waiting*."""
        return cls(kind=waiting.kind.value, count=waiting.count, since=time_text(waiting.since))


class FleetAnswerView(View, frozen=True, kw_only=True):
    """The daemons on the store, by the database's clock. `fleet` is false, and all else empty, where one owns it.

    `clock_offset_s`: how far the database's clock is ahead of the clock of who asked it.
    """

    fleet: bool
    at: Timestamp | None
    clock_offset_s: float | None
    daemons: list[FleetDaemonView]
    waiting: list[UnitsWaitingView]
    attention: list[str]

    @classmethod
    def of(cls, fleet: FleetView | None) -> Self:
        """The view of *fleet*; None: one process owns the store."""
        if fleet is None:
            return cls(fleet=False, at=None, clock_offset_s=None, daemons=[], waiting=[], attention=[])
        return cls(
            fleet=True,
            at=time_text(fleet.at),
            clock_offset_s=round(fleet.offset.total_seconds(), 3),
            daemons=[FleetDaemonView.of(daemon, fleet) for daemon in fleet.daemons],
            waiting=[UnitsWaitingView.of(each) for each in fleet.waiting],
            attention=list(fleet_attentions(fleet)),
        )


def units_of(daemon: FleetDaemon, fleet: FleetView, kind: UnitKind) -> list[Held]:
    """The units of *kind* that *daemon* has; a command has none, whatever its name."""
    return [each for each in fleet.held if daemon.works and each.kind is kind and each.daemon == daemon.name]


def is_silent(daemon: FleetDaemon, at: datetime) -> bool:
    """Whether *daemon* has shown no sign of life for so long that it may be gone."""
    return at - daemon.seen_at > SILENT_AFTER


def alive_count(fleet: FleetView) -> int:
    """How many daemons work and show signs of life."""
    return sum(daemon.works and not is_silent(daemon, fleet.at) for daemon in fleet.daemons)


def fleet_attentions(fleet: FleetView) -> Iterator[str]:
    """What a person should look at, as sentences."""
    for daemon in fleet.daemons:
        if is_silent(daemon, fleet.at):
            yield f"{daemon.name} was last heard of {humanize.span(fleet.at - daemon.seen_at)} ago"
    working = [daemon for daemon in fleet.daemons if daemon.works]
    yield from _twice((daemon.name for daemon in working), "{} is the name of several daemons")
    if words := ", ".join(_unlike_settings(working)):
        yield f"settings differ: {words}"
    if words := _unlike((each.name, each.version) for each in working):
        yield f"versions differ: {words}"
    yield from _late_stages(fleet)
    if abs(fleet.offset) > _MOST_OFFSET:
        side = "behind" if fleet.offset > timedelta(0) else "ahead of"
        yield f"the clock of this machine is {humanize.span(abs(fleet.offset))} {side} the database's"


def _late_stages(fleet: FleetView) -> Iterator[str]:
    for each in fleet.waiting:
        late = fleet.at - each.since
        if each.kind is UnitKind.STAGE and alive_count(fleet) and late > _STAGE_WAITS:
            which = "1 stage is nobody's" if each.count == 1 else f"{each.count} stages are nobody's, one of them"
            yield f"{which} for {humanize.span(late)}"


def _twice(names: Iterable[str], words: str) -> Iterator[str]:
    found = list(names)
    yield from (words.format(name) for name in sorted(set(found)) if found.count(name) > 1)


def _unlike_settings(daemons: Sequence[FleetDaemon]) -> Iterator[str]:
    """`limits.max_uploads (a, b 4; c 8)` for each setting that is not the same in all who know it."""
    for name in dict.fromkeys(name for daemon in daemons for name in daemon.settings):
        known = [(daemon.name, daemon.settings[name]) for daemon in daemons if name in daemon.settings]
        if words := _unlike(known):
            yield f"{name} ({words})"


def _hash(settings: Mapping[str, str]) -> str:
    return sha256(repr(sorted(settings.items())).encode()).hexdigest()[:12]


def _unlike(pairs: Iterable[tuple[str, str]]) -> str:
    """`a 1.0; b, c 1.1` where what stands second is not the same in all; else nothing. No hash is shown."""
    groups: dict[str, list[str]] = {}
    for name, value in pairs:
        groups.setdefault(value, []).append(name)
    parts = [f"{', '.join(names)}{'' if value.startswith(HASHED) else f' {value}'}" for value, names in groups.items()]
    return "; ".join(parts) if len(groups) > 1 else ""


def fleet_lines(fleet: FleetAnswerView) -> Iterator[str]:
    """The part of the screen of `status`; none where one process owns the store."""
    at = parse_time(fleet.at)
    if at is None:
        return
    title = humanize.count(sum(daemon.works and not daemon.silent for daemon in fleet.daemons), "daemon")
    waits = [_waiting(each, at) for each in fleet.waiting]
    yield f"fleet      {title}" + (f"; waiting: {', '.join(waits)}" if waits else "")
    for daemon in fleet.daemons:
        if daemon.works:
            yield humanize.plain(f"           {daemon.name}  {_doing(daemon)}")
    yield from (f"attention  {humanize.plain(words)}" for words in fleet.attention)


def _waiting(units: UnitsWaitingView, at: datetime) -> str:
    return f"{units.count:,} {_TO_DO[UnitKind(units.kind)]} for {humanize.span(at - parse_time(units.since))}"


def _doing(daemon: FleetDaemonView) -> str:
    parts = [*(["silent"] if daemon.silent else []), f"version {daemon.version}"]
    if daemon.stages:
        parts.append(f"holds {', '.join(daemon.stages)}")
    for word, units in (("sends", daemon.uploads), ("downloads", daemon.downloads)):
        if units:
            parts.append(f"{word} {humanize.batches(len(units))}")
    return "; ".join(parts)
