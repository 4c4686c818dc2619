"""Other makers' methods through HTTP: answered from processes of their own, which end when their jobs are cancelled."""

import time

import httpx
import numpy as np
import psutil
import pytest
from e2e.live import created, ended, eventually, example, explained, gone, running

pytestmark = pytest.mark.e2e

#: As many as the API allows: more than a minute of KernelSHAP on the digits.
MOST_SAMPLES = 100_000
#: What a comparator's process computes before it reaches the method; measured 2.4 s.
START_CPU_S = 3.0


def digit(method: str, **more) -> dict:
    """A comparator's request on the digit of the examples."""
    body = example("digit")
    return {"model": body["model"], "inputs": body["inputs"], "method": method, **more}


def comparators(service) -> list[int]:
    """The pids of the worker's children."""
    return [child.pid for child in psutil.Process(service.pid("worker")).children()]


def values(result: dict) -> np.ndarray:
    return np.array(result["attributions"]["image"]["data"], dtype=float)


def test_deep_lift_is_answered_with_its_gap(client, service):
    job = explained(client, digit("deep_lift", target={"scale": "logit"}))
    assert job["state"] == "succeeded", job
    (result,) = job["results"]
    assert (result["method"], result["target"]["scale"]) == ("deep_lift", "logit")
    assert result["completeness_error"]["absolute"] == pytest.approx(
        abs(result["attribution_sum"] - (result["score"] - result["baseline_score"])), abs=1e-9
    )
    assert result["completeness_error"]["absolute"] < 0.1 * abs(result["score"] - result["baseline_score"])
    assert comparators(service) == []


def test_occlusion_is_answered_without_a_promise(client):
    job = explained(client, digit("occlusion", options={"window": 2}))
    assert job["state"] == "succeeded", job
    (result,) = job["results"]
    assert result["completeness_error"] is None
    assert result["completeness_reason"]
    assert result["backwards"] == 0
    found = values(result).reshape(8, 8)
    blocks = found.reshape(4, 2, 4, 2).transpose(0, 2, 1, 3).reshape(16, 4)
    assert np.ptp(blocks, axis=1).max() == 0, "a window's elements share its value"
    assert np.abs(found).max() > 0.01


def test_a_cancelled_comparison_ends_its_process_while_others_are_served(client, service):
    path = created(client, digit("kernel_shap", options={"samples": MOST_SAMPLES}))
    running(client, path)
    (pid,) = eventually(lambda: comparators(service), 20)
    eventually(lambda: psutil.Process(pid).cpu_times().user > START_CPU_S, 60)
    began = time.monotonic()
    assert explained(client, example("digit"))["state"] == "succeeded"
    assert time.monotonic() - began < 5, "the engine does not wait for it"
    assert client.get(path).json()["state"] == "running"
    assert psutil.pid_exists(pid)
    assert client.delete(path).status_code == 202
    assert ended(client, path)["state"] == "cancelled"
    eventually(lambda: gone([pid]), 5)
    assert comparators(service) == []
    assert explained(client, example("digit"))["state"] == "succeeded"


def test_a_killed_worker_takes_its_comparisons_with_it(launch):
    """And the job is taken up by the next worker."""
    private = launch()
    with httpx.Client(base_url=private.url, timeout=40) as client:
        body = {
            "model": "slow",
            "inputs": [{"features": {"a": 1.0, "b": 2.0}}],
            "method": "kernel_shap",
            "options": {"samples": MOST_SAMPLES},
        }
        path = created(client, body)
        (pid,) = eventually(lambda: comparators(private), 20)
        worker = private.pid("worker")
        psutil.Process(worker).kill()
        eventually(lambda: gone([pid]), 5)
        private.pid("worker", other_than=worker)
        eventually(lambda: comparators(private), 20)
        client.delete(path)
        assert ended(client, path)["state"] == "cancelled"
