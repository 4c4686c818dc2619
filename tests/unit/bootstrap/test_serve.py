"""What `attributor serve` does before it starts anything, and how it knows that it is ready."""

import socket
import threading

import pytest
from attributor.bootstrap.exits import EXIT_CONFIG
from attributor.bootstrap.serve import StoreAndWord, address_problem, run_serve
from attributor.settings import Settings


def settings(port: int) -> Settings:
    """Of a service without a store of its own."""
    return Settings(api={"port": port}, store={"redis_url": "redis://unused.invalid"}, worker={"processes": 1})


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def test_a_free_address_is_no_problem_and_a_taken_one_is(port):
    assert address_problem("127.0.0.1", port) is None
    with socket.create_server(("127.0.0.1", port)):
        assert f"127.0.0.1:{port}: Address already in use" in address_problem("127.0.0.1", port)


def test_a_host_that_is_not_ours_is_a_problem(port):
    assert "192.0.2.1" in address_problem("192.0.2.1", port)  # RFC 5737: of no host
    assert "no-such-host.invalid" in address_problem("no-such-host.invalid", port)


def test_a_taken_port_ends_it_before_anything_is_started(port):
    with socket.create_server(("127.0.0.1", port)):
        assert run_serve(settings(port)) == EXIT_CONFIG


@pytest.mark.parametrize("answer", [b"220 no HTTP\r\n", b"HTTP/1.1 503 Not yet\r\nContent-Length: 0\r\n\r\n", b""])
def test_another_answer_than_its_own_is_not_readiness(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve_once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve_once)
        thread.start()
        assert not StoreAndWord(settings(server.getsockname()[1])).is_ready()
        thread.join(5)
