"""What HTTP, queue and processes cost where they do nothing: the floor under a small net's requests.

The HTTP server, the store and the connections of the service, with an application that hands each body on as it is, and
two workers that answer everything with the same bytes, an answer to one row of `breast-cancer` in length. Prints a rate
for HTTP alone and for all of it.  Run: .venv/bin/python -m benchmarks.floor
"""

import asyncio
import itertools
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
import uvloop
from attributor.bootstrap.http_server import Http
from attributor.storage.embedded import EmbeddedStore
from attributor.storage.wire import Wire, open_wire

from benchmarks.serving import load, processes
from benchmarks.serving.bundles import REPOSITORY

BODY, ANSWER = b"{" + b" " * 600 + b"}", b"{" + b" " * 6_900 + b"}"
CLIENTS = (1, 8, 128)
PACE = load.Pace(1, 4)
WORKERS = 2
AT_ONCE = 64
ID_BYTES = 8
_URL = "FLOOR_STORE"

Answered = Callable[[bytes], Awaitable[bytes]]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="floor-") as folder:
        store = EmbeddedStore(Path(folder) / "store")
        store.start()
        try:
            for name, url in (("HTTP alone", ""), ("HTTP, queue and workers", store.url)):
                port = processes.free_port()
                commands = [[sys.executable, "-m", "benchmarks.floor", "api", str(port)]]
                commands += [[sys.executable, "-m", "benchmarks.floor", "worker"]] * (WORKERS if url else 0)
                server = processes.start(commands, [port], REPOSITORY, {_URL: url}, Path(folder) / "log")
                try:
                    _measure(name, port, server)
                finally:
                    server.stop()
        finally:
            store.stop()


def _measure(name: str, port: int, server: processes.Server) -> None:
    requests = load.prepared("/", [BODY])
    processes.wait_until(lambda: _listens(port), server, 30)
    for clients in CLIENTS:
        run = load.run([port], requests, clients, PACE)
        print(f"{name}, {clients} clients: {run.rate:,.0f}/s, p50 {run.latency_ms(0.5):.3g} ms", flush=True)


def _listens(port: int) -> bool:
    try:
        return bool(load.run([port], load.prepared("/", [BODY]), 1, load.Pace(0, 0.2)).answers)
    except OSError:
        return False


async def serve(port: int) -> None:
    answered = _at_once if not os.environ[_URL] else await _through_the_queue()

    async def application(scope, receive, send) -> None:
        body = (await receive())["body"]
        answer = await answered(body)
        length = str(len(answer)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": answer})

    settings = {"http": Http, "lifespan": "off", "log_level": "warning", "access_log": False}
    await uvicorn.Server(uvicorn.Config(application, port=port, **settings)).serve()


async def _at_once(_: bytes) -> bytes:
    return ANSWER


async def _through_the_queue() -> Answered:
    numbers, waiting = itertools.count(), {}
    wire = await open_wire(os.environ[_URL])

    async def listen() -> None:
        async for item in _items(await open_wire(os.environ[_URL]), "answers"):
            waiting.pop(item[:ID_BYTES]).set_result(item[ID_BYTES:])

    async def answered(body: bytes) -> bytes:
        number = b"%08d" % next(numbers)
        answer = waiting[number] = asyncio.get_running_loop().create_future()
        wire.send(("RPUSH", "questions", number + body))
        return await answer

    answered.listening = asyncio.create_task(listen())
    return answered


async def _items(wire: Wire, key: str):
    """What is pushed to a list, as it comes."""
    while True:
        first, more = [await each for each in wire.send(("BLPOP", key, 1.0), ("LPOP", key, AT_ONCE))]
        for item in [*((first or [])[1:]), *(more or [])]:
            yield item


async def work() -> None:
    """Keeps each answer for a while, as the service does, and hands it over."""
    wire = await open_wire(os.environ[_URL])
    async for item in _items(await open_wire(os.environ[_URL]), "questions"):
        number = item[:ID_BYTES]
        wire.send(("SET", b"result:" + number, ANSWER, "PX", 60_000), ("RPUSH", "answers", number + ANSWER))


if __name__ == "__main__":
    if sys.argv[1:2] == ["api"]:
        uvloop.run(serve(int(sys.argv[2])))
    elif sys.argv[1:] == ["worker"]:
        uvloop.run(work())
    else:
        main()
