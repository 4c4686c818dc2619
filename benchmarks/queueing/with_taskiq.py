"""taskiq on a stream with a consumer group: what is not acknowledged is claimed by others after `idle_timeout`.

At least once by the stream's broker with acknowledgement after the result is kept; the group reads from the stream's
beginning, and the lock of those who reclaim ends, so that one who is killed does not hold it for ever.
"""

import asyncio
import sys
from pathlib import Path

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.queueing.party import AT_ONCE, LEASE_S, RESULT_TTL_S, hangs, url

#: How often the client looks for a result; the package's own 0.2 s would be its latency.
LOOK_S = 0.005
HANGS_S = 3600.0

broker = RedisStreamBroker(
    url(), consumer_id="0", idle_timeout=LEASE_S * 1000, unacknowledged_lock_timeout=LEASE_S
).with_result_backend(RedisAsyncResultBackend(url(), result_ex_time=RESULT_TTL_S))


@broker.task
async def nothing() -> bool:
    return True


@broker.task
async def hold(folder: str) -> bool:
    if hangs(folder):
        await asyncio.sleep(HANGS_S)
    return True


class Taskiq:
    name = "taskiq"
    keeps = True
    command = (
        *(sys.executable, "-m", "taskiq", "worker", "benchmarks.queueing.with_taskiq:broker", "--workers", "1"),
        *("--max-async-tasks", str(AT_ONCE), "--ack-type", "when_saved", "--log-level", "ERROR"),
    )

    async def open(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)
        await broker.startup()

    async def close(self) -> None:
        await broker.shutdown()

    async def ask(self) -> None:
        await (await nothing.kiq()).wait_result(check_interval=LOOK_S)

    async def hold(self, folder: Path) -> None:
        await (await hold.kiq(str(folder))).wait_result(check_interval=LOOK_S)

    async def ask_all(self, n: int) -> None:
        for asked in await asyncio.gather(*(self._kiq() for _ in range(n))):
            await asked.wait_result(check_interval=LOOK_S)

    async def put(self, n: int) -> None:
        for _ in range(n):
            await nothing.kiq()

    async def _kiq(self):
        async with self._room:
            return await nothing.kiq()
