"""Real servers of every kind that the service can run on, each a process of the tests' own."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import redis
from attributor.storage.checkup import RIGHTS
from attributor.storage.embedded import EmbeddedStore, find_server

KINDS = ("valkey", "redis", "redis-tls", "cluster")
#: Of a node of a cluster: the bus has its port and this.
BUS_OFFSET = 10_000
N_NODES, N_SLOTS = 3, 16_384


@contextmanager
def server(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a server of that kind; skips, with the reason, where there is no program for it."""
    with ExitStack() as stack:
        yield stack.enter_context(_KINDS[kind](folder))


def free_port(highest: int = 65_535) -> int:
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = int(probe.getsockname()[1])
        if port <= highest:
            return port


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server until the end of the context."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            yield running
        finally:
            running.kill()


def answers(client: redis.Redis, within_s: float = 20.0) -> redis.Redis:
    """The client, once its server answers."""
    return until(lambda: client.ping() and client, within_s)


def until(found: Callable[[], object], within_s: float = 20.0):
    """What `found` returns once it is true and raises no error of Redis."""
    end = time.monotonic() + within_s
    while True:
        with suppress(redis.RedisError):
            if value := found():
                return value
        assert time.monotonic() < end, f"not so within {within_s} s"
        time.sleep(0.05)


def redis_server() -> str:
    """Debian's program; skips where it is not installed."""
    if (program := shutil.which("redis-server")) is None:
        pytest.skip("there is no redis-server on PATH: apt-get install redis-server")
    return program


@contextmanager
def _valkey(folder: Path) -> Iterator[str]:
    embedded = EmbeddedStore(folder)
    assert embedded.start()
    yield embedded.url
    embedded.stop()


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    port = free_port()
    with process(redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)):
        url = f"redis://127.0.0.1:{port}"
        answers(redis.Redis.from_url(url))
        yield url


@contextmanager
def _redis_tls(folder: Path) -> Iterator[str]:
    """Over TLS only, for a user with the rights that `attributor doctor` advises and no more, but two with which tests
    look at what is left, and cut connections."""
    ca, certificate, key = certificates(folder)
    rights = RIGHTS.removeprefix("ACL SETUSER ... ").format(keys="{test-")
    acl = folder / "users.acl"
    acl.write_text(f"user default off\nuser service on >a-word {rights} +keys +client|kill\n")
    port = free_port()
    options = ("--tls-port", str(port), "--port", "0", "--bind", "127.0.0.1", "--save", "", "--dir", str(folder))
    files = (
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        key,
        "--tls-ca-cert-file",
        ca,
        "--tls-auth-clients",
        "no",
    )
    with process(redis_server(), *options, *files, "--aclfile", str(acl)):
        url = f"rediss://service:a-word@localhost:{port}?ssl_ca_certs={ca}"
        answers(redis.Redis.from_url(url))
        yield url


def certificates(folder: Path, days: int = 2) -> tuple[str, str, str]:
    """A certificate authority of the tests' own, a certificate for localhost, and its key."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("there is no openssl on PATH, which makes the certificates")
    ca, ca_key, key, asked, certificate, names = (
        str(folder / name) for name in ("ca.pem", "ca.key", "server.key", "server.csr", "server.pem", "names")
    )
    Path(names).write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    run = lambda *words: subprocess.run([openssl, *words], check=True, capture_output=True)  # noqa: E731
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run("req", "-x509", *new_key, "-keyout", ca_key, "-out", ca, "-days", "2", "-subj", "/CN=tests")
    run("req", *new_key, "-keyout", key, "-out", asked, "-subj", "/CN=localhost")
    signed = ("-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-out", certificate, "-extfile", names)
    run("x509", "-req", "-in", asked, *signed, "-days", str(days))
    return ca, certificate, key


@contextmanager
def _cluster(folder: Path) -> Iterator[str]:
    with cluster(folder) as nodes:
        yield f"redis://127.0.0.1:{nodes[0].connection_pool.connection_kwargs['port']}"


@contextmanager
def cluster(folder: Path) -> Iterator[list[redis.Redis]]:
    """Clients of the nodes, each of which has a third of the slots."""
    program = find_server()
    with ExitStack() as stack:
        nodes = []
        for number in range(N_NODES):
            port = free_port(65_535 - BUS_OFFSET)
            own = folder / str(number)
            own.mkdir()
            options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(own))
            stack.enter_context(process(program, *options, "--cluster-enabled", "yes"))
            nodes.append(answers(redis.Redis(port=port)))
        step = -(-N_SLOTS // N_NODES)
        for number, node in enumerate(nodes):
            node.execute_command("CLUSTER ADDSLOTSRANGE", number * step, min((number + 1) * step, N_SLOTS) - 1)
            node.execute_command("CLUSTER MEET", "127.0.0.1", nodes[0].connection_pool.connection_kwargs["port"])
        for node in nodes:
            until(lambda node=node: node.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        yield nodes


_KINDS = {"valkey": _valkey, "redis": _redis, "redis-tls": _redis_tls, "cluster": _cluster}
