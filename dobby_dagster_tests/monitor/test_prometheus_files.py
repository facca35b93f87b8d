"""The files in `deploy/` for Prometheus: valid, and each alert fires when it should and only then."""

import json

import yaml

from dobby_dagster_tests.helpers.prometheus import DEPLOY, needs_prometheus, promtool

RULES = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}


@needs_prometheus
def test_configuration_and_rules_are_valid() -> None:
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yml")


@needs_prometheus
def test_each_alert_fires_when_it_should() -> None:
    promtool("test", "rules", "rules_test.yml")
    tested = (DEPLOY / "prometheus" / "rules_test.yml").read_text()
    assert [name for name in ALERTS if f'alertname="{name}"' not in tested] == []


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("warning", "error", "critical"), name
        assert rule["annotations"].keys() == {"summary", "action"}, name


def test_the_documentation_explains_each_alert() -> None:
    text = (DEPLOY.parent / "docs" / "monitoring.md").read_text()
    assert [name for name in ALERTS if f"`{name}`" not in text] == []


def test_the_dashboard_has_panels_with_a_place_of_their_own() -> None:
    panels = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
