"""Records of jobs to documents. No HTTP, no waiting; needs nothing but what the job itself carries."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from attributor.api.problems import STATUS
from attributor.jobs.job import Failure, JobRecord
from attributor.jobs.state import JobState


def summary(record: JobRecord, position: int | None) -> dict[str, Any]:
    """A job without its results (JobSummary)."""
    here = f"/v1/attributions/{record.id}"
    # What the last beat of a job that has ended, or went back to the queue, had said is out of date.
    progress = record.progress if record.state is JobState.RUNNING else None
    return {
        "id": record.id,
        "state": record.state,
        "cancelling": record.cancelling,
        "model": {"name": record.model, "version": record.version, "digest": record.digest},
        "inputs": record.n_inputs,
        "created_at": rfc3339(record.created_at),
        "started_at": rfc3339(record.started_at),
        "finished_at": rfc3339(record.finished_at),
        "expires_at": rfc3339(record.expires_at),
        "attempts": record.attempts,
        "cached": record.cached,
        "position": position,
        "progress": None
        if progress is None
        else {
            "evaluations": progress.evaluations,
            "completeness_error": progress.completeness_error,
            "inputs_done": progress.inputs_done,
            "inputs": record.n_inputs,
        },
        "links": {
            "self": here,
            "results": f"{here}/results",
            "events": f"{here}/events",
            "visualizations": f"{here}/visualizations/{{kind}}",
        },
    }


def queued_s(record: JobRecord) -> float | None:
    """How long the job waited for the worker that has it or had it, seconds; None while it waits."""
    return None if record.started_at is None else max(record.started_at - record.created_at, 0.0)


def in_microseconds(seconds: float | None) -> float | None:
    """Rounded to what the clocks can tell."""
    return None if seconds is None else round(seconds, 6)


def failure_document(failure: Failure | None) -> dict[str, str] | None:
    """Why a job failed (FailureDocument)."""
    if failure is None:
        return None
    return {"code": failure.code, "title": STATUS[failure.code][1], "detail": failure.detail}


def job_document(
    record: JobRecord, position: int | None, results: Sequence[Any] | None, following: str | None = None
) -> dict[str, Any]:
    """A whole job (JobDocument). `following`: where the results after these are."""
    started, finished = record.started_at, record.finished_at
    return summary(record, position) | {
        "timings": {
            "queued_s": in_microseconds(queued_s(record)),
            "computing_s": None
            if started is None or finished is None
            else in_microseconds(max(finished - started, 0.0)),
        },
        "results": results,
        "next": following,
        "error": failure_document(record.failure),
    }


def rfc3339(seconds: float | None) -> str | None:
    """Seconds since the epoch as a date and time, UTC, with milliseconds."""
    if seconds is None:
        return None
    whole, microseconds = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{microseconds // 1000:03d}Z"


@lru_cache(16)  # of jobs that end at about the same time, each of four times falls in the same second or two
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
