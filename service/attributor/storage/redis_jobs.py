"""Reading and erasing jobs on Redis: the record's hash as a JobRecord, the listing by cursor.

Knows the hash's fields as the Lua scripts write them; must not change a job other than by erasing it.
"""

import asyncio
import logging
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from attributor.errors import InvalidRequest
from attributor.jobs.codec import OtherRelease, decode, decode_result
from attributor.jobs.job import Failure, JobKind, JobRecord, JobSpec, Progress
from attributor.jobs.result import JobResult, PartialResult
from attributor.jobs.state import JobState
from attributor.ports import JobPage, ResultStore
from attributor.storage.connection import RedisStore
from attributor.storage.keys import PRIORITIES, line
from attributor.storage.large_results import ResultPieces

#: Records read by one call of the script: ours, so that it holds the server for a millisecond or two.
_BATCH = 200
#: A message longer than this is read in a thread. Ours: one of many small results takes 30 ms by then.
_LONG_BYTES = 1_000_000
#: Batches read for one page: ours; a filter that matches nothing in 10,000 jobs gets a short page and a cursor.
_MAX_BATCHES = 50

#: The field of a record that says where a large result lies.
_PLACE = b"result_at"

_SEQ = re.compile(r"[0-9]{1,16}")

_Fields = Mapping[bytes, bytes]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class RedisJobStore:
    """Port JobStore. What a release with another message format wrote counts as expired, and is logged."""

    def __init__(self, store: RedisStore, results: ResultStore | None = None) -> None:
        """`results`: where large results are; by default in the store itself."""
        self._store = store
        self._results = results or ResultPieces(store)

    async def record(self, job_id: str, *, tenant: str) -> JobRecord | None:
        """See the port."""
        record = await self.any_record(job_id)
        return record if record is not None and record.tenant == tenant else None

    async def any_record(self, job_id: str) -> JobRecord | None:
        """The job's record, whoever's it is: for those who look after the service."""
        return _listed(job_id, await self._store.call("HGETALL", self._store.keys.key("job", job_id)))

    async def answered(self, job_id: str, *, tenant: str) -> tuple[JobRecord, JobResult | None] | None:
        """See the port."""
        key = self._store.keys.key
        read = (("HGETALL", key("job", job_id)), ("GET", key("result", job_id)))
        *_, (flat, data) = await self._store.calls(("MULTI",), *read, ("EXEC",))
        record = _of_tenant(tenant, job_id, flat)
        if record is None:
            return None
        if data is None and (place := dict(zip(flat[::2], flat[1::2], strict=True)).get(_PLACE)):
            data = await self._results.get(place)
        return record, None if data is None else await _read(job_id, data, decode_result)

    async def position(self, job_id: str) -> int | None:
        """See the port."""
        ahead = await self._store.run("position", job_id)
        return None if ahead is None else int(ahead)

    async def waiting(self, *, priority: int, comparison: bool) -> int:
        """See the port."""
        lines = [line(each, comparison=comparison) for each in PRIORITIES if each <= priority]
        return int(await self._store.run("waiting", *lines))

    async def spec(self, job_id: str) -> JobSpec | None:
        """See the port."""
        key = self._store.keys.key
        data = await self._store.call("GET", key("payload", job_id))
        if data is None and (place := await self._store.call("HGET", key("job", job_id), "payload_at")):
            data = await ResultPieces(self._store).get(place)
        return None if data is None else await _read(job_id, data, _spec)

    async def result(self, job_id: str) -> JobResult | None:
        """See the port."""
        key = self._store.keys.key
        data = await self._store.call("GET", key("result", job_id))
        if data is None and (place := await self._store.call("HGET", key("job", job_id), _PLACE)):
            data = await self._results.get(place)
        return None if data is None else await _read(job_id, data, decode_result)

    async def partial(self, job_id: str) -> PartialResult | None:
        """See the port."""
        messages = await self._store.run("partial", job_id)
        known = [part for data in messages if (part := _readable(job_id, partial(decode, data, PartialResult)))]
        if not known:
            return None
        results = sorted((result for part in known for result in part.results), key=lambda result: result.input)
        done = {result.input for result in results}
        estimates = (each for part in known for each in part.estimates if each.input not in done)
        return PartialResult(tuple(results), tuple(estimates))

    async def page(
        self, *, tenant: str, limit: int, cursor: str | None, state: JobState | None, model: str | None
    ) -> JobPage:
        """See the port. `model` is a name or `name@version`. Full pages, unless 10,000 jobs were read for one."""
        before = None if cursor is None else _read_cursor(cursor)
        kept: list[tuple[int, JobRecord]] = []
        for _ in range(_MAX_BATCHES):
            batch = await self._batch(tenant, before)
            for seq, record in batch:
                if record is None or not _wanted(record, state, model):
                    continue
                if len(kept) == limit:
                    return _page(kept, kept[-1][0])
                kept.append((seq, record))
            if len(batch) < _BATCH:
                return _page(kept, None)
            before = batch[-1][0]
        return _page(kept, before)

    async def erase(self, job_id: str, *, tenant: str) -> bool:
        """See the port."""
        place = await self._store.run("erase", job_id, tenant)
        if place:
            await self._results.drop(place)
        return bool(place != 0)

    async def _batch(self, tenant: str, before: int | None) -> list[tuple[int, JobRecord | None]]:
        """The next index entries by falling seq; None for jobs that have expired or count so."""
        upper = "+inf" if before is None else f"({before}"
        rows = await self._store.run("page", tenant, upper, _BATCH)
        return [(int(seq), _listed(job_id.decode(), flat)) for seq, job_id, flat in rows]


def _page(kept: list[tuple[int, JobRecord]], last_seq: int | None) -> JobPage:
    records = tuple(record for _, record in kept)
    return JobPage(records, None if last_seq is None else _cursor(last_seq))


def _of_tenant(tenant: str, job_id: str, flat: list[bytes]) -> JobRecord | None:
    record = _listed(job_id, flat)
    return record if record is not None and record.tenant == tenant else None


def _listed(job_id: str, flat: list[bytes]) -> JobRecord | None:
    if not flat:
        return None
    return _readable(job_id, lambda: _record(job_id, dict(zip(flat[::2], flat[1::2], strict=True))))


async def _read(job_id: str, data: bytes, read: Callable[[bytes], T]) -> T | None:
    """A message; a long one in a thread, for the sake of all others that the loop serves."""
    if len(data) > _LONG_BYTES:
        return await asyncio.to_thread(_readable, job_id, partial(read, data))
    return _readable(job_id, partial(read, data))


def _spec(data: bytes) -> JobSpec:
    return decode(data, JobSpec)


def _readable(job_id: str, read: Callable[[], T]) -> T | None:
    """What `read` returns; None where another release wrote it: the service restarts on a new release without a
    store that is empty, and the old jobs expire by themselves."""
    try:
        return read()
    except OtherRelease as error:
        _log.warning("job %s counts as expired: %s", job_id, error, extra={"job_id": job_id})
        return None


def _wanted(record: JobRecord, state: JobState | None, model: str | None) -> bool:
    named = model is None or model in (record.model, f"{record.model}@{record.version}")
    return named and (state is None or record.state is state)


def _cursor(seq: int) -> str:
    return urlsafe_b64encode(str(seq).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> int:
    try:
        text = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        text = ""
    if not _SEQ.fullmatch(text) or _cursor(int(text)) != cursor:
        raise InvalidRequest("not a cursor of this listing; use `next_cursor` of the page before", field="cursor")
    return int(text)


def _record(job_id: str, fields: _Fields) -> JobRecord:
    return JobRecord(
        id=job_id,
        kind=JobKind(fields[b"kind"].decode()),
        state=JobState(fields[b"state"].decode()),
        tenant=fields[b"tenant"].decode(),
        model=fields[b"model"].decode(),
        version=fields[b"version"].decode(),
        digest=fields[b"digest"].decode(),
        n_inputs=int(fields[b"n_inputs"]),
        revision=int(fields[b"revision"]),
        attempts=int(fields[b"attempts"]),
        created_at=int(fields[b"created_ms"]) / 1000,
        started_at=_seconds(fields.get(b"started_ms")),
        finished_at=_seconds(fields.get(b"finished_ms")),
        expires_at=_seconds(fields.get(b"expires_ms")),
        cancelling=b"cancel" in fields,
        cached=b"cached" in fields,
        progress=_progress(fields),
        failure=decode(fields[b"failure"], Failure) if b"failure" in fields else None,
    )


def _seconds(ms: bytes | None) -> float | None:
    return None if ms is None else int(ms) / 1000


def _progress(fields: _Fields) -> Progress | None:
    if b"evaluations" not in fields:
        return None
    error = fields[b"completeness_error"]
    return Progress(int(fields[b"evaluations"]), float(error) if error else None, int(fields[b"inputs_done"]))
