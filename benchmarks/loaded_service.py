"""The whole service under load, and a connection that costs the load's side little. Knows no load."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.serving import processes

REPOSITORY = Path(__file__).resolve().parent.parent
API_PROCESSES = WORKERS = 2


class Connection:
    """One kept-alive connection; one request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._fresh = True

    async def ask(self, head: str, body: bytes = b"", more: str = "") -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, headers, and body of the answer to e.g. `GET /path`. Asks again where the service hung up on a
        connection that had been idle for long, as HTTP lets it."""
        try:
            return await self._ask(head, body, more)
        except (asyncio.IncompleteReadError, ConnectionError):
            if self._fresh:
                raise
            self._streams = None
            return await self._ask(head, body, more)

    async def _ask(self, head: str, body: bytes, more: str) -> tuple[int, dict[bytes, bytes], bytes]:
        self._fresh = self._streams is None
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        lines = f"{head} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{more}"
        writer.write(f"{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        first, *rest = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in rest if line)
        return int(first[9:12]), headers, await reader.readexactly(int(headers.get(b"content-length", 0)))


def serve(port: int, folder: Path, settings: Mapping[str, str]) -> processes.Server:
    """Two API processes and two workers, with answers that are not kept for repeats; data in `folder`/data."""
    command = [sys.executable, "-m", "attributor", "serve", "--port", str(port), "--models", str(REPOSITORY / "models")]
    command += ["--data-dir", str(folder / "data"), "--workers", str(WORKERS), "--log-level", "warning"]
    own = {"ATTRIBUTOR_API__PROCESSES": str(API_PROCESSES), "ATTRIBUTOR_STORE__CACHE_BYTES": "0"}
    return processes.start([command], [port], REPOSITORY, {**own, **settings}, folder / "log")


def ready(port: int) -> bool:
    """Whether all workers are there, and all models proven."""

    async def ask() -> bool:
        status, _, body = await Connection(port).ask("GET /health/ready")
        health = json.loads(body)
        return status == 200 and health["workers"] == WORKERS and set(health["models"].values()) == {"ready"}

    try:
        return asyncio.run(ask())
    except OSError:
        return False
