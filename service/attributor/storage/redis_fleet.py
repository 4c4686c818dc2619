"""What the processes say of themselves, and the service's numbers, on Redis. Knows the keys of workers and models, and
the scripts for numbers; must not know what is counted."""

import logging
from collections.abc import Mapping

from attributor.jobs.codec import decode, encode
from attributor.jobs.figures import Figures, Line
from attributor.jobs.model import ModelReport
from attributor.storage.connection import RedisStore
from attributor.storage.keys import PRIORITIES, line

_log = logging.getLogger(__name__)

#: A nonce is remembered for so long, ms. Ours: longer than anything is said again.
_REMEMBERED_MS = 60_000

_LINES = tuple((priority, comparison) for comparison in (False, True) for priority in PRIORITIES)
_NAMES = tuple(line(priority, comparison=comparison) for priority, comparison in _LINES)


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

    async def count(self, counted: Mapping[str, float], nonce: str) -> None:
        """See the port."""
        words = [word for name, number in counted.items() for word in (name, repr(float(number)))]
        await self._store.run("tally", nonce, _REMEMBERED_MS, *words)

    async def figures(self) -> Figures:
        """See the port. What another release does not count is 0."""
        counters, counted, suspects, in_quarantine, workers, jobs = await self._store.run("figures", *_NAMES)
        known = _by_name(counters)

        def counter(name: str) -> int:
            return max(0, int(known.get(name, 0)))

        return Figures(
            lines=tuple(
                Line(priority, comparison, n, counter(f"cost:{name}"))
                for (priority, comparison), name, n in zip(_LINES, _NAMES, jobs, strict=True)
            ),
            followers=max(0, counter("queued") - sum(jobs) - suspects),
            suspects=suspects,
            running=counter("running"),
            redelivered=counter("redelivered"),
            quarantined=counter("quarantined"),
            in_quarantine=in_quarantine,
            workers=workers,
            counted=_by_name(counted),
        )


def _by_name(words: list[bytes]) -> dict[str, float]:
    return {name.decode(): float(number) for name, number in zip(words[::2], words[1::2], strict=True)}
