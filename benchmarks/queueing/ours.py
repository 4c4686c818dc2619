"""The service's queue without the service: RedisJobQueue, and a worker that answers everything with the same."""

import asyncio
import contextlib
import sys
from pathlib import Path

import numpy as np
import uvloop
from attributor.jobs.job import ClaimedJob, JobKind, JobSpec, Lease
from attributor.jobs.model import InputKind, InputSpec
from attributor.jobs.result import PredictionResult
from attributor.storage.connection import RedisStore
from attributor.storage.redis_events import RedisJobEvents
from attributor.storage.redis_jobs import RedisJobStore
from attributor.storage.redis_queue import QueuePolicy, RedisJobQueue

from benchmarks.queueing.party import AT_ONCE, LEASE_S, RESULT_TTL_S, hangs, url

#: As `WorkerSettings.beat_s`, and the longest wait of a worker's claim.
BEAT_S, BELL_S = 0.5, 1.0
WAIT_S = 600.0
POLICY = QueuePolicy(lease_s=LEASE_S, result_ttl_s=RESULT_TTL_S, max_queued=1_000_000)
ANSWER = PredictionResult({"logits": np.zeros((1, 2), np.float32)})
NOTHING, HOLD = "nothing", "hold"


class Ours:
    name = "attributor"
    keeps = True
    command = (sys.executable, "-m", "benchmarks.queueing.ours")

    async def open(self) -> None:
        self._store = RedisStore(url())
        self._queue = RedisJobQueue(self._store, POLICY)
        self._jobs = RedisJobStore(self._store)
        self._events = RedisJobEvents(self._store)
        self._room = asyncio.Semaphore(AT_ONCE)
        await self._events.start()

    async def close(self) -> None:
        await self._events.stop()
        await self._store.close()

    async def ask(self) -> None:
        await self._answer(NOTHING, "")

    async def hold(self, folder: Path) -> None:
        await self._answer(HOLD, str(folder))

    async def ask_all(self, n: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(n):
                tasks.create_task(self.ask())

    async def put(self, n: int) -> None:
        for _ in range(n):
            await self._queue.enqueue(_spec(NOTHING, ""))

    async def _answer(self, model: str, folder: str) -> None:
        async with self._room:
            job_id = (await self._queue.enqueue(_spec(model, folder), answer_to=self._events.desk)).job_id
        async with self._events.subscribe(job_id, ends_only=True) as changes:
            await changes.wait(WAIT_S)
            if changes.sent() is None and await self._jobs.result(job_id) is None:
                raise RuntimeError(f"{job_id} ended without a result")


def _spec(model: str, folder: str) -> JobSpec:
    return JobSpec(
        kind=JobKind.ATTRIBUTION,
        model=model,
        version="1",
        digest=folder,
        declared=(InputSpec("x", InputKind.TENSOR, (2,)),),
        inputs=({"x": np.zeros(2, np.float32)},),
        fingerprint="f" * 64,
    )


async def work() -> None:
    """As the service's worker: claims, one beat for all that is held, and reaps."""
    queue, held = RedisJobQueue(RedisStore(url()), POLICY), set()
    beating = asyncio.create_task(_beat(queue, held))
    while not beating.done():
        claimed = await queue.claim(AT_ONCE, jobs=AT_ONCE, wait_s=BELL_S, empty=not held)
        held |= {job.lease for job in claimed if _hangs(job)}
        done = {job.lease: ANSWER for job in claimed if job.lease not in held}
        if done:
            await queue.finish_all(done)
    beating.result()


def _hangs(job: ClaimedJob) -> bool:
    return job.spec.model == HOLD and hangs(job.spec.digest)


async def _beat(queue: RedisJobQueue, held: set[Lease]) -> None:
    while True:
        await queue.reap()
        await queue.beat(dict.fromkeys(held))
        await asyncio.sleep(BEAT_S)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(work())
