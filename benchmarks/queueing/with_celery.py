"""celery on Redis: what is not acknowledged is put back once it is older than the visibility timeout.

At least once by late acknowledgement and by rejecting what a lost process of the pool held; many tasks reserved at
once, as its guide advises for short ones.
"""

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from celery import Celery
from celery.result import ResultSet

from benchmarks.queueing.party import AT_ONCE, LEASE_S, RESULT_TTL_S, hangs, url

#: How often is looked for such tasks; as it comes, each 100 s (10 s, and then only every tenth time).
RESTORE_S = 2
HANGS_S, WAIT_S = 3600.0, 90.0
_URL = url().replace("unix://", "redis+socket://")

app = Celery("queueing", broker=_URL, backend=_URL)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_transport_options={
        "visibility_timeout": LEASE_S,
        "unacked_restore_interval": RESTORE_S,
        "unacked_restore_throttle": 1,
    },
    result_backend_transport_options={"visibility_timeout": LEASE_S},
    worker_prefetch_multiplier=AT_ONCE,
    result_expires=RESULT_TTL_S,
    broker_connection_retry_on_startup=True,
)


@app.task
def nothing() -> bool:
    return True


@app.task
def hold(folder: str) -> bool:
    if hangs(folder):
        time.sleep(HANGS_S)
    return True


class CeleryParty:
    name = "celery"
    keeps = True
    command = (
        *(sys.executable, "-m", "celery", "-A", "benchmarks.queueing.with_celery", "worker", "--pool", "prefork"),
        *("--concurrency", "1", "--hostname", "w{number}@%h", "--loglevel", "ERROR", "--without-mingle"),
    )

    async def open(self) -> None:
        self._threads = [ThreadPoolExecutor(1) for _ in range(2)]  # a result is waited for where its task was sent

    async def close(self) -> None:
        for each in self._threads:
            each.shutdown(wait=False)

    async def ask(self) -> None:
        await self._in_thread(0, lambda: nothing.delay().get(timeout=WAIT_S))

    async def hold(self, folder: Path) -> None:
        await self._in_thread(1, lambda: hold.delay(str(folder)).get(timeout=WAIT_S))

    async def ask_all(self, n: int) -> None:
        await self._in_thread(0, lambda: ResultSet([nothing.delay() for _ in range(n)]).join_native())

    async def put(self, n: int) -> None:
        await self._in_thread(0, lambda: [nothing.delay() for _ in range(n)])

    async def _in_thread(self, which: int, work) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads[which], work)
