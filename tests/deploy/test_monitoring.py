"""Dashboard and alerts: every metric that they name is one that a server has, and the page for operators knows it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.http.job_metrics import JobWatch
from serving.http.metrics import Metrics
from serving.http.stage_metrics import StageWatch
from serving.jobs.service import Jobs
from serving.pipeline.admission import Admission
from serving.pipeline.contracts import Stages
from serving.settings import Settings
from serving.stages.remembered import RememberedEncoder

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "choreo.json"
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
NAME = re.compile(r"\b(?:choreo|process)_[a-z0-9_]+\b")
NOTHING: Any = None
SUFFIXES = re.compile(r"_(total|bucket|count|sum|created)$")


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return found


def metrics() -> dict[str, str]:
    """Types by name, as a server tells them."""
    made = Metrics()
    made.watch(Admission(1, 1), "1.0")
    made.watch_encoder(RememberedEncoder(NOTHING, 0))
    made.watch_more(StageWatch(Stages(NOTHING, NOTHING, NOTHING, NOTHING)))
    made.watch_more(JobWatch(Jobs(Settings(), *[NOTHING] * 5)))
    lines = made.text().decode().splitlines()
    return {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE")}


def expressions() -> list[str]:
    return [rule["expr"] for rule in alerts()] + [target["expr"] for panel in panels() for target in panel["targets"]]


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_exists(expression: str) -> None:
    """A counter is asked for as `name_total`, a histogram by its buckets, its count or its sum."""
    known = metrics()
    names = NAME.findall(expression)
    assert names
    for name in names:
        kind = known.get(name) or known.get(SUFFIXES.sub("", name))
        assert kind is not None, name
        assert (kind == "histogram") == bool(re.search(r"_(bucket|count|sum)$", name)), name
    assert expression.count("(") == expression.count(")")


def test_every_alert_says_what_to_do() -> None:
    for rule in alerts():
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        heading = rule["annotations"]["runbook"].partition("#")[2]
        assert heading == rule["alert"].lower()
        assert f"### {rule['alert']}\n" in PAGE


def test_the_page_lists_every_metric() -> None:
    own = {name for name in metrics() if name.startswith("choreo_") and not name.endswith("_created")}
    listed = set(re.findall(r"^\| `(choreo_[a-z_]+)", PAGE, re.MULTILINE))
    assert listed == own


def test_the_page_lists_every_setting() -> None:
    listed = re.findall(r"^\| `(CHOREO_[A-Z_]+)` \|", PAGE, re.MULTILINE)
    assert listed == [f"CHOREO_{name.upper()}" for name in Settings.model_fields]


def test_the_defaults_on_the_page_are_those_of_the_program() -> None:
    for name, info in Settings.model_fields.items():
        if type(info.default) in (int, float) and not name.endswith("bytes"):
            assert f"| `CHOREO_{name.upper()}` | {info.default:g} |" in PAGE, name
