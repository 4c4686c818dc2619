"""Waiting for a job, and its server-sent events. Both read the record anew each time the job may have changed."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import orjson
from fastapi.sse import format_sse_event

from attributor.api.answers import summary
from attributor.api.dependencies import Deps
from attributor.errors import StoreUnavailable
from attributor.jobs.job import JobRecord
from attributor.jobs.state import TERMINAL, JobState

log = logging.getLogger(__name__)

#: The record is looked at anew after so many seconds even if nothing was said: positions move, the service may be
#: shutting down, and an event lost with a connection to the store must not cost the wait.
LONGEST_BLINK_S = 1.0
#: The longest that a stream says nothing, seconds: proxies cut what looks dead after 30 or 60.
KEEP_ALIVE_S = 15.0
#: When a stream is cut at shutdown, the client is told to come back after so many milliseconds.
RECONNECT_MS = 1_000
_RECONNECT = f"retry: {RECONNECT_MS}\n\n".encode()


async def wait_until_ended(deps: Deps, job_id: str, tenant: str, timeout_s: float) -> JobRecord | None:
    """The job's record once it has ended, or as it stands after `timeout_s`; None if it is gone."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    async with deps.events.subscribe(job_id) as changes:
        while True:
            record = await deps.store.record(job_id, tenant=tenant)
            left_s = deadline - loop.time()
            if record is None or record.state in TERMINAL or left_s <= 0 or deps.draining.is_set():
                return record
            await changes.wait(min(left_s, LONGEST_BLINK_S))


async def event_stream(deps: Deps, job_id: str, tenant: str) -> AsyncIterator[bytes]:
    """`state` at every change of state or position, `progress` while it runs, `end` last; comments in between.

    The first event says how the job stands, so a client that comes back needs no replay. At shutdown, or without a
    store, the stream asks it to come back.
    """
    try:
        async for event in _events(deps, job_id, tenant):
            yield event
    except StoreUnavailable as error:
        log.warning("a stream of events ends: %s", error)
        yield _RECONNECT


async def _events(deps: Deps, job_id: str, tenant: str) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    said: dict[str, Any] = {}
    spoke_at = loop.time()
    async with deps.events.subscribe(job_id) as changes:
        while True:
            record = await deps.store.record(job_id, tenant=tenant)
            if record is None:
                yield _event("end", {"id": job_id, "state": None}, 0)
                return
            position = await deps.store.position(job_id) if record.state is JobState.QUEUED else None
            for name, data in _news(record, position):
                if said.get(name) != data:
                    said[name] = data
                    spoke_at = loop.time()
                    yield _event(name, data, record.revision)
            if record.state in TERMINAL:
                return
            if deps.draining.is_set():
                yield _RECONNECT
                return
            if loop.time() - spoke_at > KEEP_ALIVE_S:
                spoke_at = loop.time()
                yield b": still here\n\n"
            await changes.wait(LONGEST_BLINK_S)


def _news(record: JobRecord, position: int | None) -> list[tuple[str, dict[str, Any]]]:
    document = summary(record, position)
    if record.state in TERMINAL:
        error = {"code": record.failure.code, "detail": record.failure.detail} if record.failure else None
        ended = {name: document[name] for name in ("id", "state", "finished_at", "links")}
        return [("end", ended | {"error": error})]
    news = [("state", {name: document[name] for name in ("id", "state", "cancelling", "position", "attempts")})]
    if document["progress"] is not None:
        news.append(("progress", document["progress"]))
    return news


def _event(name: str, data: dict[str, Any], revision: int) -> bytes:
    return format_sse_event(event=name, data_str=orjson.dumps(data).decode(), id=str(revision))
