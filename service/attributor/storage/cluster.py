"""Which node of a cluster to speak to. All our keys lie in one slot (keys.py), so it is one node at a time; which one,
its fellows say. A server that is no cluster is the only node there is.

Knows addresses and what nodes say of each other; sends no other command.
"""

from urllib.parse import urlsplit, urlunsplit

from redis.exceptions import ResponseError

from attributor.storage.wire import Wire

#: Begins a node's answer where another one has the keys: then come the slot and that node's address.
_MOVED = "MOVED "


class Nodes:
    """The nodes known so far. `url`: of the one to speak to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._known = [url]

    def follow(self, answer: str) -> bool:
        """Turn to the node that has our keys, if the answer says that it is another one."""
        if not answer.startswith(_MOVED):
            return False
        self.url = at(self.url, answer.split()[2])
        self._keep(self.url)
        return True

    def try_another(self) -> None:
        """Turn to the next node: this one is not there. One that has not our keys says who has."""
        self.url = self._known[(self._known.index(self.url) + 1) % len(self._known)]

    async def learn(self, wire: Wire) -> None:
        """Ask a node for its fellows, in case it ends. Raises WireLost."""
        if self.url.startswith("unix:"):
            return  # others are not on this machine
        try:
            [slots] = [await future for future in wire.send(("CLUSTER", "SLOTS"))]
        except ResponseError:
            return  # it is no cluster, or the user may not ask
        for _, _, *nodes in slots:
            for host, port, *_ in nodes:
                self._keep(at(self.url, f"{(host or b'').decode()}:{port}"))

    def _keep(self, url: str) -> None:
        if url not in self._known:
            self._known.append(url)


def at(url: str, address: str) -> str:
    """A node's URL with the address of another one; one without a host is on the same."""
    parts = urlsplit(url)
    user, sign, _ = parts.netloc.rpartition("@")
    host, _, port = address.rpartition(":")
    host = f"[{host}]" if ":" in host else host or parts.hostname or ""
    return urlunsplit(parts._replace(netloc=f"{user}{sign}{host}:{port}"))
