"""Jobs that share answers, in random but repeatable traffic against a real server: none is left behind."""

import asyncio
import random

import pytest
from attributor.errors import ModelError, WorkerLost
from attributor.jobs.job import Failure
from attributor.jobs.state import TERMINAL
from attributor.storage.keys import NAMES

#: Where a job may wait, be held, or be waited for.
PLACES = ("ready", "ring", "followers", "flight", "deadlines", "leases")


class Traffic:
    """Clients and workers of one store; some workers lose their leases."""

    def __init__(self, seed, queues, jobs, make_spec, outcomes):
        self._choose = random.Random(seed)
        self._queues, self._jobs, self._make_spec, self._outcomes = queues, jobs, make_spec, outcomes
        self.ids, self.leases = [], []

    async def enqueue(self):
        deadline_s = self._choose.choice([None, None, None, 0.01])
        spec = self._make_spec(priority=self._choose.randrange(3), deadline_s=deadline_s)
        self.ids.append((await self._queues[0].enqueue(spec, content_key=self._choose.choice("abc"))).job_id)

    async def claim(self):
        queue, empty = self._choose.choice(self._queues), self._choose.random() < 0.5
        taken = await queue.claim(self._choose.randrange(1, 3), empty=empty)
        self.leases.extend(job.lease for job in taken)

    async def finish(self):
        if self.leases:
            lease = self._choose.choice(self.leases[-4:])  # some of them are lost or have ended
            await self._queues[0].finish(lease, self._choose.choice(self._outcomes))

    async def release(self):
        if self.leases:
            await self._queues[0].release([self._choose.choice(self.leases)])

    async def cancel(self):
        await self._queues[0].cancel(self._choose.choice(self.ids), tenant="default")

    async def erase(self):
        await self._jobs.erase(self._choose.choice(self.ids), tenant="default")

    async def reap(self):
        await self._queues[1].reap()

    async def run(self, steps):
        await self.enqueue()
        often = [self.enqueue, self.claim, self.finish] * 3
        for _ in range(steps):
            await self._choose.choice([*often, self.release, self.cancel, self.erase, self.reap])()

    async def finish_everything(self):
        """All leases run out or are given up, and what waits is claimed until nothing does."""
        await asyncio.sleep(0.01)
        for lease in self.leases:
            await self._queues[0].finish(lease, None)
        while taken := await self._queues[0].claim(50, empty=True):
            await self._queues[0].finish_all({job.lease: None for job in taken})
        await self._queues[0].reap()


@pytest.mark.parametrize("seed", range(3))
async def test_after_any_mix_of_events_nothing_is_left_waiting(
    queue, impatient, jobs, make_spec, counters, store, answer, seed
):
    outcomes = [answer, Failure(ModelError.code, "x"), Failure(WorkerLost.code, "x"), None]
    traffic = Traffic(seed, [queue, impatient], jobs, make_spec, outcomes)
    await traffic.run(300)
    await traffic.finish_everything()
    records = [record for each in traffic.ids if (record := await jobs.record(each, tenant="default"))]
    assert len(records) > 20
    assert {record.state for record in records} <= TERMINAL
    assert any(record.cached for record in records)
    assert await counters() == {"queued": 0, "running": 0}
    left = [await store.call("KEYS", f"{store.keys.prefix}{NAMES[place]}*") for place in PLACES]
    assert left == [[]] * len(PLACES)
