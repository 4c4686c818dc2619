"""Jobs that killed workers, on Redis: what `reap.lua` put into quarantine. Knows the scripts' arguments."""

from attributor.jobs.job import JobRecord
from attributor.storage.connection import RedisStore
from attributor.storage.redis_jobs import RedisJobStore


class RedisQuarantine:
    """Port Quarantine."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._jobs = RedisJobStore(store)

    async def page(self, limit: int) -> list[JobRecord]:
        """See the port."""
        ids = await self._store.call("ZREVRANGE", self._store.keys.key("quarantine"), 0, limit - 1)
        records = [await self._jobs.any_record(job_id.decode()) for job_id in ids]
        return [record for record in records if record is not None]

    async def record(self, job_id: str) -> JobRecord | None:
        """See the port."""
        if await self._store.call("ZSCORE", self._store.keys.key("quarantine"), job_id) is None:
            return None
        return await self._jobs.any_record(job_id)

    async def retry(self, job_id: str) -> bool:
        """See the port."""
        return bool(await self._store.run("retry", job_id))

    async def drop(self, job_id: str) -> bool:
        """See the port."""
        record = await self.record(job_id)
        return record is not None and await self._jobs.erase(job_id, tenant=record.tenant)
