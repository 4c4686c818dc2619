"""One port for several processes of a service: the system spreads connections over all that listen there."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any


def shared_sockets(host: str, port: int) -> list[socket.socket]:
    """Bound to every address of the host, to be listened on beside others that are bound so. Raises OSError."""
    found = []
    for family, kind, address in _addresses(host, port):
        each = _socket(family, kind)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before may linger
        each.bind(address)
        found.append(each)
    return found


@contextmanager
def reserved(host: str, port: int) -> Iterator[None]:
    """Meanwhile another service finds the port taken, also before any process of this one listens there."""
    with ExitStack() as kept:
        for family, kind, address in _addresses(host, port):
            each = kept.enter_context(_socket(family, kind))
            with suppress(OSError):  # where connections linger that were made without sharing
                each.bind(address)  # but not listened on
        yield


def _addresses(host: str, port: int) -> list[tuple[int, int, Any]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, kind, address) for family, kind, _, _, address in found))


def _socket(family: int, kind: int) -> socket.socket:
    made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 is another address, as without sharing
    return made
