"""Several API processes of one service share a port, and what one was asked another tells."""

import os
import signal

import httpx
import psutil
import pytest
from attributor.bootstrap.exits import EXIT_CONFIG
from e2e.live import Service, created, ended, eventually, explained, pair, slow
from e2e.test_survival import run

pytestmark = pytest.mark.e2e


def apis(service: Service) -> set[int]:
    children = psutil.Process(service.process.pid).children()
    return {child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE and "api" in child.cmdline()}


def connections(pid: int) -> int:
    return sum(each.status == psutil.CONN_ESTABLISHED for each in psutil.Process(pid).net_connections("tcp"))


def test_connections_are_spread_and_the_end_of_one_process_is_not_that_of_the_service(launch):
    service = launch(ATTRIBUTOR_API__PROCESSES="2")
    first = apis(service)
    assert len(first) == 2
    clients = [httpx.Client(base_url=service.url, timeout=20) for _ in range(40)]
    try:
        path = explained(clients[0], pair("raises"))["links"]["self"]
        assert [client.get(path).json()["state"] for client in clients] == ["succeeded"] * 40
        path = created(clients[0], slow(5))
        assert [ended(client, path)["state"] for client in clients] == ["succeeded"] * 40
        assert all(connections(pid) >= 5 for pid in first)
    finally:
        for client in clients:
            client.close()

    lost = min(first)
    os.kill(lost, signal.SIGKILL)
    eventually(lambda: lost not in apis(service), 5)
    for _ in range(20):
        assert httpx.get(f"{service.url}{path}", timeout=5).json()["state"] == "succeeded"
    eventually(lambda: len(apis(service)) == 2, 20)
    assert service.stop() == 0


def test_a_port_that_another_service_has_is_not_shared_with_it(launch, tmp_path, small_models):
    service = launch(ATTRIBUTOR_API__PROCESSES="2")
    other = run("serve", "--data-dir", str(tmp_path), "--port", str(service.port), "--models", str(small_models))
    assert other.returncode == EXIT_CONFIG
    assert "choose another with --port" in other.stderr
