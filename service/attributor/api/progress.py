"""Waiting for a job, and its server-sent events. Both read the record anew each time the job may have changed."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from math import inf
from typing import Any

import orjson
from fastapi.sse import format_sse_event

from attributor.api.answers import summary
from attributor.api.dependencies import Deps
from attributor.errors import StoreUnavailable
from attributor.jobs.job import JobRecord, JobSpec
from attributor.jobs.result import JobResult
from attributor.jobs.state import TERMINAL, JobState
from attributor.ports import Sent

log = logging.getLogger(__name__)

#: The record is looked at anew after so many seconds even if nothing was said: positions move, the service may be
#: shutting down, and an event lost with a connection to the store must not cost the wait.
LONGEST_BLINK_S = 1.0
#: Of a running job, progress is told at least and at most so often, seconds. A little less than the second that is
#: promised, for the store takes a moment to be read; ten times a second is as fast as people can look.
LONGEST_SILENCE_S, SHORTEST_SILENCE_S = 0.9, 0.1
#: The longest that the stream of a waiting job says nothing, seconds: proxies cut what looks dead after 30 or 60.
KEEP_ALIVE_S = 15.0
#: When a stream is cut at shutdown, the client is told to come back after so many milliseconds.
RECONNECT_MS = 1_000
_RECONNECT = f"retry: {RECONNECT_MS}\n\n".encode()


async def wait_until_ended(
    deps: Deps, job_id: str, tenant: str, timeout_s: float, *, just_queued: JobSpec | None = None
) -> tuple[JobRecord, JobResult | None] | None:
    """The job once it has ended, with its result if it succeeded, or as it stands after `timeout_s`; None: it is gone.

    `just_queued`: what was queued a moment ago; it can hardly have ended yet, so it is not looked at before that is
    told.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    async with deps.events.subscribe(job_id, ends_only=True) as changes:
        if just_queued and timeout_s > 0:
            await changes.wait(min(timeout_s, LONGEST_BLINK_S))
            if (sent := changes.sent()) is not None:
                return succeeded(job_id, just_queued, sent), sent.result
        while True:
            answered = await deps.store.answered(job_id, tenant=tenant)
            left_s = deadline - loop.time()
            if answered is None or answered[0].state in TERMINAL or left_s <= 0 or deps.draining.is_set():
                return answered
            await changes.wait(min(left_s, LONGEST_BLINK_S))


def succeeded(job_id: str, spec: JobSpec, sent: Sent) -> JobRecord:
    """The record of a job whose answer was sent."""
    return JobRecord(
        id=job_id,
        kind=spec.kind,
        state=JobState.SUCCEEDED,
        tenant=spec.tenant,
        model=spec.model,
        version=spec.version,
        digest=spec.digest,
        n_inputs=len(spec.inputs),
        revision=sent.revision,
        attempts=sent.attempts,
        created_at=sent.created_at,
        started_at=sent.started_at,
        finished_at=sent.finished_at,
        expires_at=sent.expires_at,
    )


async def event_stream(deps: Deps, job_id: str, tenant: str) -> AsyncGenerator[bytes, None]:
    """`state` at every change of state or position, `progress` every second while it runs, `end` last; comments in
    between.

    The first event says how the job stands, so a client that comes back needs no replay. At shutdown, or without a
    store, the stream asks it to come back.
    """
    try:
        async for event in _events(deps, job_id, tenant):
            yield event
    except StoreUnavailable as error:
        log.warning("a stream of events ends: %s", error)
        yield _RECONNECT


async def _events(deps: Deps, job_id: str, tenant: str) -> AsyncGenerator[bytes, None]:
    said = _Said()
    async with deps.events.subscribe(job_id) as changes:
        while True:
            record = await deps.store.record(job_id, tenant=tenant)
            if record is None:
                yield _event("end", {"id": job_id, "state": None}, 0)
                return
            position = await deps.store.position(job_id) if record.state is JobState.QUEUED else None
            for name, data in _news(record, position):
                if said.is_due(name, data):
                    if name == "progress":
                        data = {**data, "elapsed_s": _elapsed_s(record)}
                    yield _event(name, data, record.revision)
            if record.state in TERMINAL:
                return
            if deps.draining.is_set():
                yield _RECONNECT
                return
            if said.silent_s() > KEEP_ALIVE_S:
                said.at[""] = time.monotonic()
                yield b": still here\n\n"
            await changes.wait(said.patience_s(record))


class _Said:
    """What a stream has told, by name of event: what, and when on the monotonic clock. `held`: something new is kept
    back, because the last of its kind was told a moment ago."""

    def __init__(self) -> None:
        self.what: dict[str, dict[str, Any]] = {}
        self.at: dict[str, float] = {"": time.monotonic()}
        self.held = False

    def is_due(self, name: str, data: dict[str, Any]) -> bool:
        """Whether it is to be told now; then it counts as told."""
        new = self.what.get(name) != data
        if name == "progress":
            silent_s = time.monotonic() - self.at.get(name, -inf)
            self.held = new and silent_s < SHORTEST_SILENCE_S
            if silent_s < (SHORTEST_SILENCE_S if new else LONGEST_SILENCE_S):
                return False
        elif not new:
            return False
        self.what[name], self.at[name] = data, time.monotonic()
        return True

    def silent_s(self) -> float:
        """Since anything was told."""
        return time.monotonic() - max(self.at.values())

    def patience_s(self, record: JobRecord) -> float:
        """How long to wait for a change before the record is looked at anyway."""
        told_at = self.at.get("progress")
        if record.state is not JobState.RUNNING or told_at is None:
            return LONGEST_BLINK_S
        silence_s = SHORTEST_SILENCE_S if self.held else LONGEST_SILENCE_S
        return max(told_at + silence_s - time.monotonic(), 0.0)


def _news(record: JobRecord, position: int | None) -> list[tuple[str, dict[str, Any]]]:
    document = summary(record, position)
    if record.state in TERMINAL:
        error = {"code": record.failure.code, "detail": record.failure.detail} if record.failure else None
        ended = {name: document[name] for name in ("id", "state", "finished_at", "links")}
        return [("end", ended | {"error": error})]
    news = [("state", {name: document[name] for name in ("id", "state", "cancelling", "position", "attempts")})]
    if record.state is JobState.RUNNING:
        news.append(("progress", document["progress"] or _nothing_yet(record)))
    return news


def _nothing_yet(record: JobRecord) -> dict[str, Any]:
    """Of a job that was taken, and of which its worker has not said a word."""
    return {"evaluations": 0, "completeness_error": None, "inputs_done": 0, "inputs": record.n_inputs}


def _elapsed_s(record: JobRecord) -> float | None:
    """How long it has been computed, by the store's clock and ours."""
    return None if record.started_at is None else round(max(time.time() - record.started_at, 0.0), 3)


def _event(name: str, data: dict[str, Any], revision: int) -> bytes:
    return format_sse_event(event=name, data_str=orjson.dumps(data).decode(), id=str(revision))
