"""What is killed comes back, what is stopped stays gone, and no job is lost between them."""

import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest
from attributor.bootstrap.api import EXIT_CONFIG
from attributor.storage.embedded import EmbeddedStore
from e2e.live import (
    computing_path,
    created,
    ended,
    events,
    eventually,
    explained,
    free_port,
    gone,
    pair,
    running,
    slow,
    start,
    strange_tracebacks,
)

pytestmark = pytest.mark.e2e


def test_whatever_is_killed_is_replaced_and_jobs_go_on(launch):
    service = launch()
    with httpx.Client(base_url=service.url, timeout=20) as client:
        kept = explained(client, pair("raises"))["links"]["self"]

        path = created(client, slow(30))
        computing_path(client, path)
        worker = service.pid("worker")
        os.kill(worker, signal.SIGKILL)
        told = [event.data for event in events(client, path) if event.name in ("state", "end")]
        assert {data["attempts"] for data in told[:-1]} == {1, 2}, "the stream goes on through it"
        assert told[-1]["state"] == "succeeded"
        job = client.get(path).json()
        assert (job["state"], job["attempts"], len(job["results"])) == ("succeeded", 2, 1)
        assert service.pid("worker", other_than=worker)

        api = service.pid("api")
        os.kill(api, signal.SIGKILL)
        assert service.pid("api", other_than=api)
        service.await_ready()
        assert client.get(path).json() == job

        path = created(client, slow(30))
        computing_path(client, path)
        store = service.pid("store")
        os.kill(store, signal.SIGKILL)
        assert service.pid("store", other_than=store)
        service.await_ready()
        assert ended(client, path, within_s=30)["state"] == "succeeded"
        assert client.get(kept).json()["state"] == "succeeded"
        assert explained(client, pair("raises"))["state"] == "succeeded"
    assert service.stop() == 0
    assert not strange_tracebacks(service.log()), strange_tracebacks(service.log())[0]


def test_nothing_outlives_a_killed_supervisor_and_its_data_serve_again(launch, tmp_path):
    service = launch(tmp_path)
    with httpx.Client(base_url=service.url, timeout=20) as client:
        path = created(client, slow(5))
        answer = ended(client, path)
        running(client, unfinished := created(client, slow(40)))
    pids = list(service.children().values())
    assert len(pids) == 3
    service.process.kill()
    service.process.wait()
    eventually(lambda: gone(pids), 8)

    again = launch(tmp_path)
    with httpx.Client(base_url=again.url, timeout=20) as client:
        assert client.get(path).json() == answer
        assert ended(client, unfinished)["state"] == "succeeded"
    pids = list(again.children().values())
    assert again.stop(signal.SIGTERM) == 0
    assert gone(pids)


def test_a_planned_restart_costs_a_job_no_attempt(launch, tmp_path):
    service = launch(tmp_path, ATTRIBUTOR_WORKER__DRAIN_S="0.2")
    with httpx.Client(base_url=service.url, timeout=20) as client:
        computing_path(client, path := created(client, slow(60)))
    assert service.stop() == 0
    with httpx.Client(base_url=launch(tmp_path).url, timeout=20) as client:
        job = ended(client, path)
    assert (job["state"], job["attempts"]) == ("succeeded", 1)


def test_a_second_service_on_the_same_data_lives_on_when_the_first_stops(launch, tmp_path):
    first, second = launch(tmp_path), launch(tmp_path)
    assert first.stop() == 0
    with httpx.Client(base_url=second.url, timeout=20) as client:
        eventually(lambda: client.get("/health/ready").status_code == 200, 20)
        assert explained(client, pair("raises"))["state"] == "succeeded"


def test_no_url_of_a_store_is_on_a_command_line(service):
    assert all("redis" not in word and ".sock" not in word for word in service.command_lines())


def test_an_open_stream_does_not_hold_up_the_end(launch):
    service = launch()
    with httpx.Client(base_url=service.url, timeout=20) as client:
        path = created(client, slow(240))
        with client.stream("GET", f"{path}/events") as response:
            lines = response.iter_lines()
            assert next(lines).startswith("event: state")
            began = time.monotonic()
            service.process.send_signal(signal.SIGINT)
            assert "retry: 1000" in list(lines)
    assert service.stop() == 0
    assert time.monotonic() - began < 8
    assert not strange_tracebacks(service.log()), strange_tracebacks(service.log())[0]


def test_a_taken_port_ends_it_soon_with_a_sentence(small_models, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        service = start(small_models, tmp_path, port=other.getsockname()[1])
        seen = set()
        while service.process.poll() is None:
            seen |= set(service.children().values())
        assert service.process.wait(15) not in (0, None)
    assert f"127.0.0.1:{service.port}: Address already in use" in service.log()
    assert "Traceback" not in service.log()
    assert "ready at" not in service.log()
    assert gone(list(seen))


def test_a_lone_api_on_a_taken_port_says_so_too(service, small_models):
    url = EmbeddedStore(service.data_dir).url
    ended = run("api", "--redis-url", url, "--port", str(service.port), "--models", str(small_models))
    assert ended.returncode == EXIT_CONFIG
    assert "address already in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_second_worker_takes_its_share_and_leaves(launch, small_models):
    service = launch(ATTRIBUTOR_WORKER__MAX_ACTIVE_JOBS="1")
    command = [sys.executable, "-m", "attributor", "worker", "--workers", "1", "--models", str(small_models)]
    url = EmbeddedStore(service.data_dir).url
    with (
        subprocess.Popen([*command, "--redis-url", url, "--log-level", "warning"], cwd=service.data_dir) as second,
        httpx.Client(base_url=service.url, timeout=20) as client,
    ):
        service.await_ready(workers=2)
        paths = [created(client, slow(40)) for _ in range(3)]
        eventually(lambda: [client.get(path).json()["state"] for path in paths[:2]] == ["running"] * 2, 5)
        second.send_signal(signal.SIGTERM)
        assert second.wait(10) == 0
        assert [ended(client, path)["state"] for path in paths] == ["succeeded"] * 3


def run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "attributor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, **more)


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (["--models", "/nowhere"], {}, "there is no model folder"),
        (["--port", "70000"], {}, "api.port"),
        ([], {"ATTRIBUTOR_WORKER__THREDS": "2"}, "worker.threds"),
        ([], {"ATTRIBUTOR_STORE__LEASE_S": "soon"}, "store.lease_s"),
        (["--data-dir", "/dev/null/data"], {}, "cannot keep the job store"),
    ],
)
def test_a_wrong_setting_is_a_sentence_not_a_trace(small_models, tmp_path, arguments, environment, sentence):
    options = ["--models", str(small_models), "--port", str(free_port()), "--data-dir", str(tmp_path)]
    ended = run("serve", *options, *arguments, env={**os.environ, **environment}, cwd=tmp_path)
    assert ended.returncode != 0
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
