"""The job queue on Redis: leases, fenced by a token that changes with every claim. What each step does stands in
its Lua script; every one is safe to send again after a lost reply.

Knows the scripts' arguments; must not know what a model or an attribution is.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from uuid import uuid4

from attributor.errors import (
    DeadlineExceeded,
    IdempotencyConflict,
    InternalError,
    ModelNotReady,
    OutOfMemory,
    QueueFull,
    QuotaExceeded,
    StoreUnavailable,
    TenantQueueFull,
    Unavailable,
    WorkerLost,
)
from attributor.jobs.codec import decode, encode
from attributor.jobs.job import ClaimedJob, Failure, JobKind, JobSpec, Lease, Progress
from attributor.jobs.result import JobResult, PartialResult
from attributor.jobs.state import JobState
from attributor.jobs.terms import USUAL_TERMS, Terms
from attributor.ports import Beat, Claimed, Enqueued, ResultStore
from attributor.storage.connection import MAX_BLOCK_S, RedisStore
from attributor.storage.entries import Entries
from attributor.storage.keys import ANSWER_TTL_S, PREDICTION_TTL_S, PRIORITIES, RESULT_TTL_S, line
from attributor.storage.large_results import INLINE_BYTES, ResultPieces

#: Leases treated by one reap: ours, so that the script holds the server for a few milliseconds at most.
_REAP_LIMIT = 100

#: Failures that say nothing of the question: whoever asks the same is not told so, but computed.
_OF_THE_MOMENT = frozenset(
    error.code for error in (DeadlineExceeded, InternalError, ModelNotReady, OutOfMemory, StoreUnavailable, WorkerLost)
)

#: Of `enqueue.lua`, in our words.
_REFUSALS: Mapping[bytes, tuple[type[Unavailable], str]] = MappingProxyType(
    {
        b"full": (QueueFull, "as much work is waiting as the service accepts; try again later"),
        b"tenant_full": (TenantQueueFull, "as much of your work is waiting as the service accepts; try again later"),
        b"quota": (QuotaExceeded, "the evaluations that you may ask for within the hour do not suffice for this job"),
    }
)

_log = logging.getLogger(__name__)

Outcome = JobResult | Failure | None


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """How long, how often, how much.

    `lease_s`: a worker silent for so long loses its jobs; ours, 15 missed beats of one a second, longer than a
    model's first pass. `max_attempts`: workers that a job is lost with before it counts as what killed them, the last
    one alone; ours, two chances to blame something else. `max_queued`, `max_queued_cost`: jobs, and evaluations, that
    wait; ours, over a minute of work for a fast worker. `tenant_part`: of either, the most of one tenant.
    `cache_bytes`: most that answers kept for repeats take; 0: every job is computed by itself.
    """

    lease_s: float = 15.0
    max_attempts: int = 3
    max_queued: int = 10_000
    max_queued_cost: int = 2_000_000
    tenant_part: float = 1.0
    result_ttl_s: float = RESULT_TTL_S
    prediction_ttl_s: float = PREDICTION_TTL_S
    cache_bytes: int = 64_000_000


class RedisJobQueue:
    """Port JobQueue."""

    def __init__(
        self, store: RedisStore, policy: QueuePolicy | None = None, results: ResultStore | None = None
    ) -> None:
        """`results`: where large results go; by default into the store itself."""
        self._store = store
        self._inputs = ResultPieces(store)
        self._results = results or self._inputs
        self._policy = policy or QueuePolicy()
        policy = self._policy
        bounds = policy.max_queued, policy.max_queued_cost
        self._entries = Entries(store, (*bounds, *(math.ceil(each * policy.tenant_part) for each in bounds)))
        #: Under this name it waits to be woken.
        self._seat = uuid4().hex

    async def enqueue(
        self,
        spec: JobSpec,
        *,
        idempotency_key: str | None = None,
        content_key: str | None = None,
        answer_to: str | None = None,
        terms: Terms = USUAL_TERMS,
    ) -> Enqueued:
        """See the port. ValueError for a priority that no worker serves."""
        if spec.priority not in PRIORITIES:
            raise ValueError(f"priority {spec.priority} is not one of {PRIORITIES}")
        prediction = spec.kind is JobKind.PREDICTION
        ttl_s = self._policy.prediction_ttl_s if prediction else self._policy.result_ttl_s
        new_id, payload, place = f"job_{uuid4().hex}", encode(spec), ""
        if len(payload) > INLINE_BYTES:
            place, payload = await self._inputs.put(new_id, payload), b""
        words = (
            new_id,
            payload,
            _ms(ttl_s),
            idempotency_key or "",
            spec.fingerprint,
            spec.kind.value,
            spec.tenant,
            line(spec.priority, comparison=spec.is_comparison),
            spec.model,
            spec.version,
            spec.digest,
            len(spec.inputs),
            "" if spec.deadline_s is None else _ms(spec.deadline_s),
            (content_key or "") if self._policy.cache_bytes else "",
            answer_to or "",
            max(1, spec.cost),
            f"{terms.weight:.17g}",
            "" if terms.max_queued_cost is None else terms.max_queued_cost,
            "" if terms.evaluations_per_hour is None else terms.evaluations_per_hour,
            place,
        )
        outcome, job_id = await self._entries.add(words)
        if place and outcome not in (b"created", b"answered"):
            await self._inputs.drop(place.encode())
        if outcome in _REFUSALS:
            refusal, why = _REFUSALS[outcome]
            raise refusal(why, retry_after_s=job_id / 1000)
        if outcome == b"conflict":
            raise IdempotencyConflict(
                "this Idempotency-Key was used before with a different body; use a new key for a new request",
                field="Idempotency-Key",
            )
        return Enqueued(job_id.decode(), replayed=outcome == b"replayed", waits=outcome == b"created")

    async def cancel(self, job_id: str, *, tenant: str) -> JobState | None:
        """See the port."""
        state = await self._store.run("cancel", job_id, tenant)
        return JobState(state.decode()) if state else None

    async def claim(
        self,
        evaluations: int,
        *,
        jobs: int | None = None,
        comparisons: int = 0,
        wait_s: float = 0.0,
        keen: bool = False,
        empty: bool = False,
    ) -> Claimed:
        """See the port; waits for MAX_BLOCK_S at most. A job whose spec this release cannot read is failed here, not
        handed out."""
        most = evaluations if jobs is None else jobs
        lease_ms, ttl_ms = _ms(self._policy.lease_s), _ms(ANSWER_TTL_S)
        begins = ("claim", evaluations, most, comparisons, lease_ms, uuid4().hex, ttl_ms)
        words = (*begins, self._seat, _flag(keen), _flag(empty))
        if wait_s > 0:
            said = ("wait", self._seat, _flag(keen), _flag(comparisons > 0), _flag(empty))
            # 0 would mean "for ever" to the server.
            bell = ("BLPOP", self._store.keys.key("bell", self._seat), max(round(min(wait_s, MAX_BLOCK_S), 3), 0.001))
            rows, vacate = await self._store.block(bell, said, words)
        else:
            rows, vacate = await self._store.run(*words)
        claimed = []
        for job_id, token, payload, created_ms, started_ms, weight, alone in rows:
            lease = Lease(job_id.decode(), token.decode())
            try:
                spec = decode(payload if payload is not None else await self._large_input(lease), JobSpec)
            except ValueError as error:
                _log.exception("job %s cannot be read", lease.job_id, extra={"job_id": lease.job_id})
                await self.finish(lease, Failure(InternalError.code, f"the stored job cannot be read: {error}"))
                continue
            born, began = int(created_ms) / 1000, int(started_ms) / 1000
            claimed.append(ClaimedJob(lease, spec, born, began, float(weight), alone == b"1"))
        return Claimed(claimed, vacate=vacate == 1)

    async def _large_input(self, lease: Lease) -> bytes:
        """A spec that lies in pieces. Raises ValueError if it is gone."""
        place = await self._store.call("HGET", self._store.keys.key("job", lease.job_id), "payload_at")
        data = None if place is None else await self._inputs.get(place)
        if data is None:
            raise ValueError("its input is not in the store any more")
        return data

    async def leave(self) -> None:
        """See the port."""
        await self._store.run("leave", self._seat)

    async def beat(self, progress: Mapping[Lease, Progress | None]) -> Beat:
        """See the port. A lease is lost also by cancelling: it ends `lease_s` later if the worker holds on."""
        if not progress:
            return Beat()
        arguments: list[str | int] = [_ms(self._policy.lease_s)]
        for lease, now in progress.items():
            arguments += [lease.job_id, lease.token, *_progress_fields(now)]
        stop, watched = await self._store.run("beat", *arguments)
        return Beat(_ids(stop), _ids(watched))

    async def publish(self, lease: Lease, partial: PartialResult) -> None:
        """See the port. Results are added, also where none of an earlier call's arrived."""
        results, estimates = partial.results, partial.estimates
        await self._store.run(
            "publish",
            lease.job_id,
            lease.token,
            results[0].input if results else "",
            encode(PartialResult(results)) if results else "",
            encode(PartialResult((), estimates)) if estimates else "",
        )

    async def finish(self, lease: Lease, outcome: Outcome) -> bool:
        """See the port."""
        [recorded] = await self.finish_all({lease: outcome})
        return recorded

    async def finish_all(self, outcomes: Mapping[Lease, Outcome]) -> list[bool]:
        """See the port. A job that was cancelled meanwhile ends as cancelled, whatever the outcome."""
        arguments: list[str | bytes | int] = [self._policy.cache_bytes, _ms(ANSWER_TTL_S)]
        for lease, outcome in outcomes.items():
            state, result, failure, shared = _outcome_fields(outcome)
            place = ""
            if len(result) > INLINE_BYTES:
                place, result = await self._results.put(f"{lease.job_id}:{lease.token}", result), b""
            arguments += [lease.job_id, lease.token, state, result, place, failure, shared]
        return [recorded == 1 for recorded in await self._store.run("finish", *arguments)]

    async def release(self, leases: Iterable[Lease]) -> None:
        """See the port."""
        arguments = [word for lease in leases for word in (lease.job_id, lease.token)]
        if arguments:
            await self._store.run("release", *arguments)

    async def reap(self) -> list[str]:
        """See the port. Treats at most 100 leases a call."""
        await self._results.sweep()
        attempts = self._policy.max_attempts
        lost = Failure(
            WorkerLost.code,
            f"{attempts} workers were lost while they computed this job, the last one while it computed nothing else; "
            "the job is in quarantine",
        )
        late = Failure(DeadlineExceeded.code, "the job's deadline passed while it waited in the queue")
        words = (attempts, _REAP_LIMIT, encode(lost), encode(late), _ms(self._policy.lease_s))
        return sorted(_ids(await self._store.run("reap", *words)))


def _ids(replied: Iterable[bytes]) -> frozenset[str]:
    return frozenset(job_id.decode() for job_id in replied)


def _outcome_fields(outcome: Outcome) -> tuple[str, bytes, bytes, str]:
    """State, result, failure, and whether all who ask the same share it."""
    if outcome is None:
        return JobState.CANCELLED.value, b"", b"", ""
    if isinstance(outcome, Failure):
        return JobState.FAILED.value, b"", encode(outcome), "" if outcome.code in _OF_THE_MOMENT else "1"
    return JobState.SUCCEEDED.value, encode(outcome), b"", "1"


def _progress_fields(progress: Progress | None) -> tuple[str, str, str]:
    if progress is None:
        return "", "", ""
    error = progress.completeness_error
    return str(progress.evaluations), "" if error is None else repr(float(error)), str(progress.inputs_done)


def _flag(is_so: bool) -> str:
    return "1" if is_so else ""


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
