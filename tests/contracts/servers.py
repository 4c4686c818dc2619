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
from attributor.storage.embedded import EmbeddedStore, find_server
from attributor.storage.rights import RIGHTS

KINDS = ("valkey", "redis", "redis-tls", "cluster")
#: Of a node of a cluster: the bus has its port and this.
BUS_OFFSET = 10_000
N_NODES, N_SLOTS = 3, 16_384
#: The shortest with which nodes on a busy machine do not lose each other.
NODE_TIMEOUT_MS = 2000


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
    rights = RIGHTS.removeprefix("ACL SETUSER ... ").format(keys="{test-")
    acl = folder / "users.acl"
    acl.write_text(f"user default off\nuser service on >a-word {rights} +keys +client|kill\n")
    ca, certificate, key = certificates(folder)
    with tls_server(folder, (ca, certificate, key), "--aclfile", str(acl)) as port:
        url = f"rediss://service:a-word@localhost:{port}?ssl_ca_certs={ca}"
        answers(redis.Redis.from_url(url))
        yield url


@contextmanager
def tls_server(folder: Path, files: tuple[str, str, str], *options: str) -> Iterator[int]:
    """The port of a Redis 7 that speaks TLS only, with these files: authority, certificate, key."""
    port = free_port()
    where = ("--tls-port", str(port), "--port", "0", "--bind", "127.0.0.1", "--save", "", "--dir", str(folder))
    names = ("--tls-ca-cert-file", "--tls-cert-file", "--tls-key-file")
    words = (word for pair in zip(names, files, strict=True) for word in pair)
    with process(redis_server(), *where, *words, "--tls-auth-clients", "optional", *options):
        until_listens(port)
        yield port


def until_listens(port: int) -> None:
    def listens() -> bool:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    until(listens)


def certificates(folder: Path, days: int = 2, host: str = "localhost") -> tuple[str, str, str]:
    """A certificate authority of the tests' own, a certificate for `host` for so long from now on, and its key."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("there is no openssl on PATH, which makes the certificates")
    ca, ca_key, key, asked, certificate, names = (
        str(folder / name) for name in ("ca.pem", "ca.key", "server.key", "server.csr", "server.pem", "names")
    )
    Path(names).write_text(f"subjectAltName=DNS:{host}\n")
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
        yield f"redis://127.0.0.1:{port_of(nodes[0])}"


@contextmanager
def cluster(folder: Path, *, n_replicas: int = 0) -> Iterator[list[redis.Redis]]:
    """Clients of the nodes, each of which has a third of the slots; then those of replicas of the last of them."""
    program = find_server()
    with ExitStack() as stack:
        nodes = []
        for number in range(N_NODES + n_replicas):
            port = free_port(65_535 - BUS_OFFSET)
            own = folder / str(number)
            own.mkdir()
            options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(own))
            stack.enter_context(
                process(program, *options, "--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS))
            )
            nodes.append(answers(redis.Redis(port=port)))
            nodes[-1].execute_command("CLUSTER MEET", "127.0.0.1", port_of(nodes[0]))
        owners, replicas = nodes[:N_NODES], nodes[N_NODES:]
        step = -(-N_SLOTS // N_NODES)
        for number, node in enumerate(owners):
            node.execute_command("CLUSTER ADDSLOTSRANGE", number * step, min((number + 1) * step, N_SLOTS) - 1)
        for node in nodes:
            until(lambda node=node: node.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        for replica in replicas:
            replica.execute_command("CLUSTER REPLICATE", owners[-1].execute_command("CLUSTER MYID"))
            until(lambda replica=replica: replica.info("replication")["master_link_status"] == "up")
        yield nodes


def port_of(node: redis.Redis) -> int:
    return int(node.connection_pool.connection_kwargs["port"])


_KINDS = {"valkey": _valkey, "redis": _redis, "redis-tls": _redis_tls, "cluster": _cluster}
