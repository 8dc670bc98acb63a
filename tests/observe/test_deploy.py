"""What labs get to watch the service with: Prometheus' rules and Grafana's dashboard."""

import json
import os
import re
import shutil

import pytest
import yaml

from tests.api.answers import post_tile, strict_json
from tests.conftest import REPOSITORY
from tests.drawing import draw_tile, encoded
from tests.processes import ran

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
GRAFANA = REPOSITORY / "deploy" / "grafana"
DASHBOARD = strict_json((GRAFANA / "marrowscope.json").read_text(encoding="utf-8"))
RULES = (PROMETHEUS / "alerts.yml").read_text(encoding="utf-8")
WHITE = encoded(draw_tile([]) * 0 + 255)
NAMED = r"\b(?:marrowscope|process)_\w+"


def expressions():
    """Every expression of the dashboard and the alerts."""
    shown = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    alerts = [rule["expr"] for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"]]
    return shown + alerts


def test_every_metric_that_is_watched_is_one_that_the_service_has(serve, sample, tmp_path):
    client = serve(drift_dir=tmp_path)
    for tile in (sample, WHITE):
        post_tile(client, tile)
    for path in ("/livez", "/readyz", "/metrics"):
        client.get(path)
    text = client.get("/metrics").text
    had = set(re.findall(r"(?m)^([a-z_]+)[{ ]", text))
    for expression in expressions():
        named = set(re.findall(NAMED, expression))
        assert named <= had, expression
        assert named or "up{" in expression
    # Likewise what they are asked for by: a label or a fixed value that is not there would match nothing, for ever.
    labels = {"instance", "job", *re.findall(r'[{,]([a-z_]+)="', text)}
    for expression in expressions():
        assert set(re.findall(r'([a-z_]+)[=!]~?"', expression)) <= labels, expression
        for by in re.findall(r"by \(([^)]*)\)", expression):
            assert set(re.split(", *", by)) <= labels, expression
        for route in re.findall(r'route[=!]~?"([^"]*)"', expression):
            assert all(f'route="{path}"' in text for path in route.split("|")), expression


def test_the_dashboard_can_be_imported_anywhere():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert "id" not in DASHBOARD
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    for panel in DASHBOARD["panels"]:
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == wanted
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used == set(variables)


def test_no_panel_lies_on_another():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert all(0 <= x < 24 for x, _ in cells)
        assert not cells & taken, panel["title"]
        taken |= cells


def test_grafana_finds_the_dashboard_and_prometheus():
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/marrowscope.yml").read_text())["providers"]
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    assert f"./deploy/grafana:{provider['options']['path']}:ro" in compose["grafana"]["volumes"]
    assert source["url"].split(":")[1].strip("/") in compose
    (scraped,) = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    assert set(scraped["dns_sd_configs"][0]["names"]) <= set(compose)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", PROMETHEUS / "prometheus.yml"),
        ("check", "rules", PROMETHEUS / "alerts.yml"),
        ("test", "rules", REPOSITORY / "tests" / "observe" / "alerts.test.yml"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_promtool_agrees(arguments):
    if shutil.which("promtool") is None:
        assert "CI" not in os.environ, "promtool is not installed (Debian: apt install prometheus)"
        pytest.skip("promtool is not installed (Debian: apt install prometheus).")
    found = ran(["promtool", *arguments])
    assert found.returncode == 0, found.stdout + found.stderr
