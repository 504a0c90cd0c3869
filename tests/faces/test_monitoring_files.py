"""What is shipped for Prometheus and Grafana fits what a live engine tells."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faces.client_world import SLOW, settings, short_runtime_folder
from faces.test_http_api_metrics import scraped
from prometheus_client.parser import text_string_to_metric_families
from support.tools import needed_tool

from orchestrator.daemon import running_engine

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus/alerts.yml"
BOARD = DEPLOY / "grafana/orchestrator.json"
METRICS = DEPLOY.parent / "docs/reference/metrics.md"
NAME = re.compile(r"\b(?:orchestrator|process)_[a-z_]+\b")


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with short_runtime_folder():
        yield


def told(database: Path) -> dict[str, str]:
    """Every name that a query may use of an engine on *database*, with the type of its metric."""

    async def scrape() -> str:
        async with running_engine(settings(database, **SLOW), sandbox=True):
            return (await scraped(database)).text

    names: dict[str, str] = {}
    for family in text_string_to_metric_families(asyncio.run(scrape())):
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {f"{family.name}{end}": family.type for end in ends}
    return names


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(BOARD.read_text(encoding="utf-8"))["panels"]
    return found


def test_every_metric_of_the_alerts_and_of_the_dashboard_exists(tmp_path: Path) -> None:
    """A query for a name that is not there is silent for ever."""
    known = told(tmp_path / "x.db")
    rules = "\n".join(line for line in ALERTS.read_text(encoding="utf-8").splitlines() if "  description" not in line)
    queries = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    for text in (rules, queries):
        used = set(NAME.findall(text))
        assert len(used) > 8
        assert used <= set(known), used - set(known)


def test_the_dashboard_shows_spending_budgets_and_estimates() -> None:
    """A panel has each; of a budget, what is spent and reserved beside it."""
    queries = [" ".join(target["expr"] for target in panel["targets"]) for panel in panels()]
    for names in (
        {"orchestrator_cost_usd_total"},
        {f"orchestrator_budget_{part}usd" for part in ("", "spent_", "reserved_")},
        {"orchestrator_estimate_ratio_bucket"},
    ):
        assert any(names <= set(NAME.findall(query)) for query in queries), names


def test_every_metric_is_explained_and_shown(tmp_path: Path) -> None:
    """The page of the metrics lists what there is, and nothing else."""
    known = {re.sub(r"_(bucket|sum|count)$", "", name) for name in told(tmp_path / "x.db")}
    ours = {name for name in known if name.startswith("orchestrator_")}
    listed = set(re.findall(r"^\| `(orchestrator_[a-z_]+)", METRICS.read_text(encoding="utf-8"), re.MULTILINE))
    assert listed == ours


def test_promtool_accepts_the_rules_and_each_fires_when_it_should() -> None:
    """Prometheus's own checker, and a test for every alert: when it fires, and when it does not."""
    promtool = needed_tool("promtool", package="prometheus")
    for check in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]):
        done = subprocess.run(
            [promtool, *check], cwd=ALERTS.parent, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
    alerts = set(re.findall(r"- alert: (\w+)", ALERTS.read_text(encoding="utf-8")))
    tests = (ALERTS.parent / "alerts.test.yml").read_text(encoding="utf-8")
    assert {alert for alert in alerts if alert not in tests} == set()


def test_promtool_accepts_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    """As rules, with Grafana's variables filled in; panels do not overlap."""
    promtool = needed_tool("promtool", package="prometheus")
    lines = ["groups:", "- name: board", "  rules:"]
    for number, panel in enumerate(panels()):
        for target in panel["targets"]:
            expr = json.dumps(target["expr"].replace("$instance", ".*"))
            lines += [f"  - record: panel:{number}_{target['refId'].lower()}:x", f"    expr: {expr}"]
    (tmp_path / "board.yml").write_text("\n".join(lines))
    done = subprocess.run(
        [promtool, "check", "rules", "board.yml"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cells = [
        (x, y)
        for panel in panels()
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
