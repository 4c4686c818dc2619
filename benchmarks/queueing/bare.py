"""The limit: a list of questions and one of answers, LPUSH and BRPOP, one round trip each, and nothing kept."""

import asyncio
import sys
from collections import deque
from pathlib import Path

import uvloop
from attributor.storage.wire import open_wire

from benchmarks.queueing.party import url

POP_S = 1.0


class Bare:
    name = "bare LPUSH and BRPOP"
    keeps = False
    command = (sys.executable, "-m", "benchmarks.queueing.bare")

    async def open(self) -> None:
        self._wire = await open_wire(url())
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._listening = asyncio.create_task(self._listen(await open_wire(url())))

    async def close(self) -> None:
        self._listening.cancel()
        self._wire.close()

    async def ask(self) -> None:
        seen = asyncio.get_running_loop().create_future()
        self._waiting.append(seen)
        self._wire.send(("LPUSH", "questions", b"nothing"))
        await seen

    async def hold(self, folder: Path) -> None:
        raise NotImplementedError(f"{folder}: what a worker has popped dies with it")

    async def ask_all(self, n: int) -> None:
        await asyncio.gather(*(self.ask() for _ in range(n)))

    async def put(self, n: int) -> None:
        for _ in range(n):
            [pushed] = self._wire.send(("LPUSH", "questions", b"nothing"))
            await pushed

    async def _listen(self, wire) -> None:
        while True:
            [popped] = wire.send(("BRPOP", "answers", POP_S))
            if await popped:
                self._waiting.popleft().set_result(None)


async def work() -> None:
    wire = await open_wire(url())
    while True:
        [popped] = wire.send(("BRPOP", "questions", POP_S))
        if await popped:
            [pushed] = wire.send(("LPUSH", "answers", b"nothing"))
            await pushed


if __name__ == "__main__":
    uvloop.run(work())
