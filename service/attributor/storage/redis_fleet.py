"""What the workers say of themselves, on Redis. Knows the keys of workers and models, and nothing of jobs."""

import logging
from collections.abc import Mapping

from attributor.jobs.codec import decode, encode
from attributor.jobs.model import ModelReport
from attributor.storage.connection import RedisStore

_log = logging.getLogger(__name__)


class RedisFleet:
    """Port Fleet."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def report_model(self, report: ModelReport) -> None:
        """See the port. The report written last stands."""
        await self._store.call("HSET", self._store.keys.key("models"), report.ref, encode(report))

    async def forget_model(self, ref: str) -> None:
        """See the port."""
        await self._store.call("HDEL", self._store.keys.key("models"), ref)

    async def model_reports(self) -> Mapping[str, ModelReport]:
        """See the port. Reports that another release wrote are left out: its workers are being replaced."""
        rows = await self._store.call("HGETALL", self._store.keys.key("models"))
        reports = {}
        for ref, data in zip(rows[::2], rows[1::2], strict=True):
            try:
                reports[ref.decode()] = decode(data, ModelReport)
            except ValueError as error:
                _log.warning("the report on %s is left out: %s", ref.decode(), error)
        return reports

    async def beat_worker(self, worker_id: str) -> None:
        """See the port."""
        await self._store.run("beat_worker", worker_id)

    async def worker_left(self, worker_id: str) -> None:
        """See the port."""
        await self._store.call("ZREM", self._store.keys.key("workers"), worker_id)

    async def workers_alive(self) -> int:
        """See the port."""
        return int(await self._store.run("count_workers"))
