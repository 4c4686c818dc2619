"""One scrape of any process is the whole service; and what is written for operators speaks of what is there."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from attributor.telemetry.metrics import METRICS
from e2e.live import ROOT, computing_path, created, ended, eventually, explained, pair, slow
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.e2e

DASHBOARD = ROOT / "deploy" / "grafana" / "attributor.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
#: What every sample of a monitor has besides its own labels.
OF_MONITORS = {"job", "instance", "pod", "le"}


def scraped(client: httpx.Client) -> tuple[dict[str, str], dict[tuple[Any, ...], float]]:
    """Names of samples to the labels they may have, and all samples by name and labels."""
    families = list(text_string_to_metric_families(client.get("/metrics").raise_for_status().text))
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    return {family.name + ending: family.type for family in families for ending in endings[family.type]}, samples


def test_what_happens_is_counted_whichever_process_is_asked(launch):
    service = launch(ATTRIBUTOR_API__PROCESSES="2", ATTRIBUTOR_WORKER__PROCESSES="2")
    with httpx.Client(base_url=service.url, timeout=20) as client:
        for _ in range(3):
            explained(client, pair("raises"))
        assert client.post("/v1/models/raises:predict", json={"inputs": [{"x": [101, 1]}]}).status_code >= 400
        client.get("/v1/attributions/job_of_nobody")

    def same() -> dict[tuple[Any, ...], float] | None:
        found = []
        for _ in range(8):  # connections of their own: some end at one process, some at the other
            with httpx.Client(base_url=service.url, timeout=20) as client:
                found.append(scraped(client)[1])
        done = found[0].get((JOBS[0], *JOBS[1:]), 0)
        stable = [{k: v for k, v in each.items() if "/metrics" not in str(k)} for each in found]
        return stable[0] if done == 3 and all(each == stable[0] for each in stable) else None

    samples = eventually(same, 20)
    assert samples["attributor_workers",] == 2
    assert samples["attributor_store_up",] == 1
    assert samples["attributor_models", ("readiness", "ready")] >= 1
    method = ("method", "integrated_gradients")
    assert samples["attributor_job_run_seconds_count", ("kind", "attribution"), method] == 3
    assert samples["attributor_job_wait_seconds_count", ("kind", "attribution"), ("priority", "1")] == 3
    assert samples["attributor_completeness_error_count", method] == 3
    assert samples["attributor_results_total", ("converged", "true"), method] == 3
    assert samples["attributor_evaluations_total", ("model", "raises")] >= 3 * 5
    passes = samples["attributor_batch_fill_ratio_count", ("model", "raises")]
    assert passes == samples["attributor_pass_seconds_count", ("model", "raises")] >= 3
    assert 0 < samples["attributor_batch_fill_ratio_sum", ("model", "raises")] <= passes
    requests = "attributor_http_requests_total"
    assert samples[requests, ("method", "POST"), ("route", "/v1/attributions"), ("status", "2xx")] == 3
    assert samples[requests, ("method", "GET"), ("route", "/v1/attributions/{job_id}"), ("status", "4xx")] == 1
    text = httpx.get(f"{service.url}/metrics").text
    assert "job_of_nobody" not in text
    assert "default" not in text, "the tenant's name"


JOBS = (
    "attributor_jobs_ended_total",
    ("kind", "attribution"),
    ("method", "integrated_gradients"),
    ("outcome", "succeeded"),
)


def test_the_queue_and_a_lost_worker_show(launch):
    service = launch(ATTRIBUTOR_WORKER__MAX_ACTIVE_JOBS="1")
    with httpx.Client(base_url=service.url, timeout=20) as client:
        paths = [created(client, slow(30)) for _ in range(3)]
        computing_path(client, paths[0])
        of_engine = ("computed_by", "engine"), ("priority", "1")
        samples = scraped(client)[1]
        assert samples["attributor_queue_jobs", *of_engine] == 2
        assert samples["attributor_queue_cost", *of_engine] >= 2 * 30
        assert samples["attributor_running_jobs",] == 1
        os.kill(service.pid("worker"), signal.SIGKILL)
        assert [ended(client, path)["state"] for path in paths] == ["succeeded"] * 3
        samples = scraped(client)[1]
        assert samples["attributor_redeliveries_total",] == 1
        assert samples["attributor_quarantines_total",] == samples["attributor_queue_jobs", *of_engine] == 0


def queries() -> Iterator[tuple[str, str]]:
    """All queries in the dashboard and the alerts, and where they are."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def selectors(query: Any) -> Iterator[tuple[str, set[str]]]:
    """The names of the metrics in a query, and the labels that each is selected by."""
    if isinstance(query, promql_parser.VectorSelector):
        yield query.name, {matcher.name for matcher in query.matchers.matchers}
    for name in ("vector_selector", "expr", "lhs", "rhs"):
        if (inner := getattr(query, name, None)) is not None:
            yield from selectors(inner)
    for inner in getattr(query, "args", ()):
        yield from selectors(inner)


def grouped(text: str) -> set[str]:
    """The labels that a query groups by."""
    return {word for words in re.findall(r"\bby \(([^)]*)\)", text) for word in re.split(r",\s*", words)}


def test_every_query_is_promql_about_what_is_there(client):
    names, samples = scraped(client)
    labels: dict[str, set[str]] = {name: set() for name in names}
    for name, *of in samples:
        labels[name] |= {label for label, _ in of}
    for metric in METRICS:
        for name in names:
            if re.fullmatch(rf"{metric.name}(_total|_bucket|_sum|_count)", name):
                labels[name] |= set(metric.labels)
    found = list(queries())
    assert len(found) > 40
    for where, text in found:
        used = list(selectors(promql_parser.parse(text)))
        assert used, where
        for name, matched in used:
            assert name in names, f"{where}: {name}"
            assert matched <= labels[name] | OF_MONITORS, f"{where}: {matched} of {name}"
        for label in grouped(text):
            assert label in OF_MONITORS or any(label in labels[name] for name, _ in used), f"{where}: by {label}"


def test_every_metric_is_documented_and_no_other(client):
    told = (ROOT / "docs" / "observing.md").read_text()
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in scraped(client)[0]}
    assert set(re.findall(r"^\| `(attributor_\w+)`", told, re.M)) == families


def test_counters_are_read_as_rates_and_gauges_are_not(client):
    names, _ = scraped(client)
    for where, text in queries():
        for kind, name in re.findall(r"(rate|increase)?\(?\b(attributor_\w+)", text):
            assert (kind != "") == (names[name] != "gauge"), f"{where}: {name}"


def test_the_dashboard_is_one():
    """By Grafana's schema, as far as it is used: unique ids, nothing over anything, all of one data source."""
    dashboard = json.loads(DASHBOARD.read_text())
    assert (dashboard["title"], dashboard["uid"]) == ("Attributor", "attributor")
    assert dashboard["schemaVersion"] >= 36
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 15
    assert {panel["type"] for panel in panels} == {"row", "stat", "timeseries"}
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["title"]
            assert panel["description"]
            for target in (panel, *panel["targets"]):
                assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert {each["name"] for each in dashboard["templating"]["list"]} == {"datasource", "job"}


def test_alerts_say_what_is_wrong_and_how_bad_it_is():
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    told = Path(ROOT / "docs" / "observing.md").read_text()
    for rule in group["rules"]:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]
        assert f"`{rule['alert']}`" in told


def test_prometheus_own_checker_takes_the_alerts():
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("no promtool here (Debian's package `prometheus` has it); promql-parser has read the queries")
    ran = subprocess.run([promtool, "check", "rules", ALERTS], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
