"""The targets: for each, the figure that is held against it, the sizes it is meant for, and the limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

_K: Final = 1000
_M: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """*figure* of *part* must be at most *limit* (or at least, if `at_least`)."""

    part: str
    figure: str
    words: str
    limit: float
    sizes: tuple[int, ...]  #: a figure has one value per size; "requests", or batches for `idle`
    unit: str = "×"
    scale: float = 1.0  #: from the figure to the unit
    at_least: bool = False

    def is_met(self, value: float) -> bool:
        """True if *value* keeps to it."""
        return value >= self.limit if self.at_least else value <= self.limit

    def shown(self, value: float) -> str:
        """*value* in the target's unit."""
        return f"{value * self.scale:,.4g} {self.unit}"

    @property
    def limit_shown(self) -> str:
        """The limit, with its direction."""
        return f"{'≥' if self.at_least else '≤'} {self.shown(self.limit)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A target at one size. value: None if it was not measured."""

    target: Target
    size: int
    value: float | None

    @property
    def cells(self) -> list[str]:
        """Measure, value, target, and whether it is met."""
        words = f"{self.target.words}, {self.size:,}"
        if self.value is None:
            return [words, "not measured", self.target.limit_shown, "?"]
        met = "yes" if self.target.is_met(self.value) else "**no**"
        return [words, self.target.shown(self.value), self.target.limit_shown, met]


_MB: Final = ("MB", 1e-6)
_MS: Final = ("ms", 1.0)
_TIMES: Final = ("×", 1.0)


def _most(source: str, words: str, limit: float, sizes: tuple[int, ...], unit: tuple[str, float] = _TIMES) -> Target:
    """*source*: part and figure, as `scaling.peak_bytes`."""
    part, figure = source.split(".")
    return Target(part=part, figure=figure, words=words, limit=limit, sizes=sizes, unit=unit[0], scale=unit[1])


TARGETS: Final = (
    _most("end_to_end.wall_vs_guide", "`run`, wall / the guide's loop, usual requests", 0.5, (100 * _K,)),
    _most("end_to_end.cpu_vs_guide", "`run`, CPU / the guide's loop, usual requests", 0.4, (100 * _K,)),
    _most("end_to_end.peak_bytes", "`run`, peak memory, usual requests", 120e6, (100 * _K,), _MB),
    replace(_most("peers.wall_speedup", "the fastest peer's wall / ours", 4, (10 * _K, 100 * _K)), at_least=True),
    _most("peers.peak_share", "our peak memory / the leanest peer's", 1.0, (10 * _K, 100 * _K)),
    _most("tables.csv_peak_bytes", "rows of CSV made requests, peak memory", 200e6, (_M,), _MB),
    _most("tables.parquet_peak_bytes", "rows of Parquet made requests, peak memory", 200e6, (_M,), _MB),
    _most("hot_path.intake_vs_floor", "intake / its floor", 1.3, (50 * _K,)),
    _most("hot_path.collect_vs_floor", "collect + settle / its floor", 1.3, (50 * _K,)),
    _most("body.upload_stall_p99_ms", "loop stall in an upload, p99", 20, (100 * _K,), _MS),
    _most("body.upload_stall_max_ms", "loop stall in an upload, longest", 100, (100 * _K,), _MS),
    _most("body.download_stall_p99_ms", "loop stall in downloads, p99", 20, (_M,), _MS),
    _most("body.download_stall_max_ms", "loop stall in downloads, longest", 100, (_M,), _MS),
    _most("scaling.peak_bytes", "`run`, peak memory, small requests", 120e6, (100 * _K, _M, 10 * _M), _MB),
    _most("scaling.peak_growth", "`run`, peak memory / that at 100,000", 1.2, (10 * _M,)),
    _most("scaling.wall_growth", "`run`, time per request / that at 100,000", 1.2, (10 * _M,)),
    _most("scaling.status_vs_1000", "`status` / that at 1,000", 1.1, (10 * _M,)),
    _most("scaling.first_call_s", "start after `kill -9` to the first API call", 5, (10 * _M,), ("s", 1.0)),
    _most("store_size.usual", "store / input, prose", 1.0, (50 * _K,)),
    _most("store_size.small_uuid", "store / input, small requests with UUIDs", 1.0, (50 * _K,)),
    _most("store_size.shared_prefix", "store / input, shared 40 kB prompt", 0.1, (50 * _K,)),
    _most("idle.lists_per_look", "list calls per look, batches in flight", 1.0, (1000,), ("calls", 1.0)),
    _most("service.status_p99_ms", "status over HTTP while 200 clients poll a busy daemon, p99", 50, (100 * _K,), _MS),
    replace(
        _most("service.throughput_share", "a polled daemon's throughput / an unpolled one's", 0.9, (100 * _K,)),
        at_least=True,
    ),
    replace(
        _most(
            "fleet.stored_per_s", "results that one daemon stores on PostgreSQL", 25_000, (100 * _K,), ("a second", 1.0)
        ),
        at_least=True,
    ),
    replace(_most("fleet.stored_by_two", "two daemons' rate / one's", 1.3, (100 * _K,)), at_least=True),
    _most("fleet.settle_s", "failures settled, 2 ms from PostgreSQL", 10, (50 * _K,), ("s", 1.0)),
    _most("fleet.longest_turn_s", "the longest turn of that", 1, (50 * _K,), ("s", 1.0)),
)


def verdicts(figures: Mapping[str, Mapping[str, float]]) -> list[Verdict]:
    """Every target at every size it is meant for. *figures*: by part, then by name."""
    return [
        Verdict(target=target, size=size, value=figures.get(target.part, {}).get(f"{target.figure}@{size}"))
        for target in TARGETS
        for size in target.sizes
    ]


def verdicts_at_any_size(figures: Mapping[str, Mapping[str, float]]) -> Iterator[Verdict]:
    """The targets whose figure was measured at all, at the sizes it was measured: for a short run."""
    for target in TARGETS:
        for name, value in figures.get(target.part, {}).items():
            figure, _, size = name.partition("@")
            if figure == target.figure:
                yield Verdict(target=target, size=int(size), value=value)
