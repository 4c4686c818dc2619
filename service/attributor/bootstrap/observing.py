"""What a process counts and traces, on its way to the store and to the collector of traces."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from threading import Thread
from uuid import uuid4

from opentelemetry.trace import SpanKind

from attributor.errors import StoreUnavailable
from attributor.jobs.job import JobSpec
from attributor.jobs.terms import USUAL_TERMS, Terms
from attributor.ports import Enqueued
from attributor.storage.connection import RedisStore
from attributor.storage.redis_queue import QueuePolicy, RedisJobQueue
from attributor.telemetry.metrics import Tally
from attributor.telemetry.tracing import Tracing, open_tracing, traceparent_of_current

log = logging.getLogger(__name__)

#: Between two pushes of a tally, seconds. Ours: a tenth of the interval at which monitors usually look, and one small
#: script a second for the store.
PUSH_S = 1.0
#: The longest that the last push and the last spans are waited for, seconds each. Ours: a fifth of a short drain.
LAST_S = 1.0

Count = Callable[[Mapping[str, float], str], Awaitable[None]]


class Pushing:
    """Hands on what was counted. What the store has not taken is said again, under the same nonce."""

    def __init__(self, tally: Tally, count: Count) -> None:
        self._tally = tally
        self._count = count
        self._untold: Mapping[str, float] = {}
        self._nonce = ""

    async def push(self) -> None:
        """Once. Raises StoreUnavailable; what was counted is kept then."""
        if not self._untold:
            self._untold, self._nonce = self._tally.take(), uuid4().hex
        if self._untold:
            await self._count(self._untold, self._nonce)
            self._untold = {}

    async def run(self, over: asyncio.Event) -> None:
        """Until `over` is set, and then once more."""
        last = False
        while not last:
            with suppress(TimeoutError):
                async with asyncio.timeout(PUSH_S):
                    await over.wait()
            last = over.is_set()
            with suppress(StoreUnavailable):  # whoever else speaks to it says so
                await self.push()


@asynccontextmanager
async def observed(process: str, count: Count) -> AsyncIterator[tuple[Tally, Tracing | None]]:
    """A tally that is pushed while the context lasts, and at its end; and traces, if they are wanted."""
    tally, tracing = Tally(), open_tracing(process)
    over = asyncio.Event()
    pushing = asyncio.create_task(Pushing(tally, count).run(over))
    try:
        yield tally, tracing
    finally:
        over.set()
        await asyncio.wait((pushing,), timeout=LAST_S)
        if tracing is not None:
            # In a thread that nobody waits for at the process's end: a collector that is away is tried for longer.
            closing = Thread(target=tracing.close, daemon=True)
            closing.start()
            await asyncio.to_thread(closing.join, LAST_S)


class TracedQueue(RedisJobQueue):
    """A queue that sends the trace of a request along with its job."""

    def __init__(self, store: RedisStore, policy: QueuePolicy, tracing: Tracing) -> None:
        super().__init__(store, policy)
        self._tracer = tracing.tracer

    async def enqueue(
        self,
        spec: JobSpec,
        *,
        idempotency_key: str | None = None,
        content_key: str | None = None,
        answer_to: str | None = None,
        terms: Terms = USUAL_TERMS,
    ) -> Enqueued:
        """See the port."""
        with self._tracer.start_as_current_span("enqueue", kind=SpanKind.PRODUCER) as span:
            enqueued = await super().enqueue(
                replace(spec, traceparent=traceparent_of_current()),
                idempotency_key=idempotency_key,
                content_key=content_key,
                answer_to=answer_to,
                terms=terms,
            )
            span.set_attribute("attributor.job.id", enqueued.job_id)
            return enqueued
