"""The job queue on Redis: leases, fenced by a token that changes with every claim. What each step does stands in
its Lua script; every one is safe to send again after a lost reply.

Knows the scripts' arguments; must not know what a model or an attribution is.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import uuid4

from attributor.errors import IdempotencyConflict, InternalError, QueueFull, WorkerLost
from attributor.jobs.codec import decode, encode
from attributor.jobs.job import ClaimedJob, Failure, JobKind, JobSpec, Lease, Progress
from attributor.jobs.result import JobResult
from attributor.jobs.state import JobState
from attributor.ports import Enqueued
from attributor.storage.connection import MAX_BLOCK_S, RedisStore
from attributor.storage.keys import IDEMPOTENCY_TTL_S, PREDICTION_TTL_S, PRIORITIES, RESULT_TTL_S, line

#: Leases treated by one reap: ours, so that the script holds the server for a few milliseconds at most.
_REAP_LIMIT = 100

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """How long and how often.

    `lease_s`: a worker silent for so long loses its jobs; ours, 15 missed beats of one a second, longer than a
    model's first pass. `max_attempts`: claims of one job before it counts as the killer of its workers; ours, two
    chances to blame something else. `max_queued`: ours, over a minute of work for a fast worker.
    """

    lease_s: float = 15.0
    max_attempts: int = 3
    max_queued: int = 10_000
    result_ttl_s: float = RESULT_TTL_S
    prediction_ttl_s: float = PREDICTION_TTL_S


class RedisJobQueue:
    """Port JobQueue."""

    def __init__(self, store: RedisStore, policy: QueuePolicy | None = None) -> None:
        self._store = store
        self._policy = policy or QueuePolicy()

    async def enqueue(self, spec: JobSpec, *, idempotency_key: str | None = None) -> Enqueued:
        """See the port. ValueError for a priority that no worker serves."""
        if spec.priority not in PRIORITIES:
            raise ValueError(f"priority {spec.priority} is not one of {PRIORITIES}")
        prediction = spec.kind is JobKind.PREDICTION
        ttl_s = self._policy.prediction_ttl_s if prediction else self._policy.result_ttl_s
        outcome, job_id = await self._store.run(
            "enqueue",
            f"job_{uuid4().hex}",
            encode(spec),
            _ms(ttl_s),
            self._policy.max_queued,
            idempotency_key or "",
            _ms(IDEMPOTENCY_TTL_S),
            spec.fingerprint,
            spec.kind.value,
            spec.tenant,
            line(spec.priority, comparison=spec.is_comparison),
            spec.model,
            spec.version,
            spec.digest,
            len(spec.inputs),
        )
        if outcome == b"full":
            raise QueueFull(
                f"{self._policy.max_queued} jobs are waiting, as many as the service accepts; try again later"
            )
        if outcome == b"conflict":
            raise IdempotencyConflict(
                "this Idempotency-Key was used before with a different body; use a new key for a new request",
                field="Idempotency-Key",
            )
        return Enqueued(job_id.decode(), replayed=outcome == b"replayed")

    async def cancel(self, job_id: str, *, tenant: str) -> JobState | None:
        """See the port."""
        state = await self._store.run("cancel", job_id, tenant)
        return JobState(state.decode()) if state else None

    async def claim(self, limit: int, *, comparisons: int = 0) -> list[ClaimedJob]:
        """See the port. A job whose spec this release cannot read is failed here, not handed out."""
        rows = await self._store.run("claim", limit, comparisons, _ms(self._policy.lease_s), uuid4().hex)
        claimed = []
        for job_id, token, payload, created_ms, started_ms in rows:
            lease = Lease(job_id.decode(), token.decode())
            try:
                spec = decode(payload, JobSpec)
            except ValueError as error:
                _log.exception("job %s cannot be read", lease.job_id)
                await self.finish(lease, Failure(InternalError.code, f"the stored job cannot be read: {error}"))
                continue
            claimed.append(ClaimedJob(lease, spec, int(created_ms) / 1000, int(started_ms) / 1000))
        return claimed

    async def wait_for_work(self, timeout_s: float) -> None:
        """See the port. Blocks the server's connection for at most MAX_BLOCK_S at a time."""
        end = time.monotonic() + timeout_s
        while (left_s := end - time.monotonic()) > 0:
            # 0 would mean "for ever" to the server, so the last bit is rounded up to a millisecond.
            block_s = max(round(min(left_s, MAX_BLOCK_S), 3), 0.001)
            if await self._store.call("BLPOP", self._store.keys.key("bell"), block_s):
                return

    async def beat(self, progress: Mapping[Lease, Progress | None]) -> set[str]:
        """See the port. A lease is lost also by cancelling: it ends `lease_s` later if the worker holds on."""
        if not progress:
            return set()
        arguments: list[str | int] = [_ms(self._policy.lease_s)]
        for lease, now in progress.items():
            arguments += [lease.job_id, lease.token, *_progress_fields(now)]
        return {job_id.decode() for job_id in await self._store.run("beat", *arguments)}

    async def finish(self, lease: Lease, outcome: JobResult | Failure | None) -> bool:
        """See the port. A job that was cancelled meanwhile ends as cancelled, whatever the outcome."""
        state, result, failure = JobState.CANCELLED, b"", b""
        if isinstance(outcome, Failure):
            state, failure = JobState.FAILED, encode(outcome)
        elif outcome is not None:
            state, result = JobState.SUCCEEDED, encode(outcome)
        recorded = await self._store.run("finish", lease.job_id, lease.token, state.value, result, failure)
        return bool(recorded)

    async def release(self, leases: Iterable[Lease]) -> None:
        """See the port."""
        arguments = [word for lease in leases for word in (lease.job_id, lease.token)]
        if arguments:
            await self._store.run("release", *arguments)

    async def reap(self) -> list[str]:
        """See the port. Treats at most 100 leases a call."""
        attempts = self._policy.max_attempts
        lost = Failure(WorkerLost.code, f"the worker that held the job was lost, {attempts} times of {attempts} tried")
        return [job_id.decode() for job_id in await self._store.run("reap", attempts, _REAP_LIMIT, encode(lost))]


def _progress_fields(progress: Progress | None) -> tuple[str, str, str]:
    if progress is None:
        return "", "", ""
    error = progress.completeness_error
    return str(progress.evaluations), "" if error is None else repr(float(error)), str(progress.inputs_done)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
