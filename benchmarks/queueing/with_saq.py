"""saq: a list of active jobs beside the queue, swept for those whose heartbeat has stopped.

At least once only with `retries` and a heartbeat that the job's own code refreshes; sweeping each 2 s rather than the
usual 60.
"""

import asyncio
import sys
from pathlib import Path

from redis.asyncio import Redis
from saq import Worker
from saq.queue.redis import RedisQueue

from benchmarks.queueing.party import AT_ONCE, LEASE_S, RESULT_TTL_S, hangs, url

SWEEP_S, TOUCH_S = 2, 1
#: How often the client looks for a result, of one job and of many; the package's own 0.5 s would be its latency.
LOOK_S, LOOK_AT_ALL_S = 0.005, 0.05
OPTIONS = {"retries": 3, "heartbeat": LEASE_S, "timeout": 600, "ttl": RESULT_TTL_S}


class Saq:
    name = "saq"
    keeps = True
    command = (sys.executable, "-m", "benchmarks.queueing.with_saq")

    async def open(self) -> None:
        self._queue = RedisQueue(Redis.from_url(url()), max_concurrent_ops=AT_ONCE)
        await self._queue.connect()

    async def close(self) -> None:
        await self._queue.disconnect()

    async def ask(self) -> None:
        await self._queue.apply("nothing", poll_interval=LOOK_S, **OPTIONS)

    async def hold(self, folder: Path) -> None:
        await self._queue.apply("hold", folder=str(folder), poll_interval=LOOK_S, **OPTIONS)

    async def ask_all(self, n: int) -> None:
        await self._queue.map("nothing", [{}] * n, poll_interval=LOOK_AT_ALL_S, **OPTIONS)

    async def put(self, n: int) -> None:
        for _ in range(n):
            await self._queue.enqueue("nothing", **OPTIONS)


async def nothing(_) -> bool:
    return True


async def hold(context, *, folder: str) -> bool:
    hung = hangs(folder)
    while hung:
        await context["job"].update()
        await asyncio.sleep(TOUCH_S)
    return True


if __name__ == "__main__":
    queue = RedisQueue(Redis.from_url(url()))
    worker = Worker(queue, [nothing, hold], concurrency=AT_ONCE, timers={"sweep": SWEEP_S})
    asyncio.run(worker.start())
