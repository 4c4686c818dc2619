"""Records and results to documents. No HTTP, no waiting; needs nothing but what the job itself carries."""

import base64
import io
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attributor.api.problems import STATUS
from attributor.jobs.job import JobRecord, JobSpec
from attributor.jobs.model import InputSpec
from attributor.jobs.result import PathResult
from attributor.jobs.state import JobState
from attributor.rendering.draw import draw
from attributor.rendering.subject import Subject

#: Attributions with more values than this go as base64 npy: as JSON numbers they take four times the time and bytes.
MOST_NUMBERS = 10_000


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
        "created_at": _time(record.created_at),
        "started_at": _time(record.started_at),
        "finished_at": _time(record.finished_at),
        "expires_at": _time(record.expires_at),
        "attempts": record.attempts,
        "position": position,
        "progress": None
        if progress is None
        else {
            "evaluations": progress.evaluations,
            "completeness_error": progress.completeness_error,
            "inputs_done": progress.inputs_done,
            "inputs": record.n_inputs,
        },
        "links": {"self": here, "events": f"{here}/events", "visualizations": f"{here}/visualizations/{{kind}}"},
    }


def queued_s(record: JobRecord) -> float | None:
    """How long the job waited for the worker that has it or had it, seconds; None while it waits."""
    return None if record.started_at is None else max(record.started_at - record.created_at, 0.0)


def job_document(record: JobRecord, position: int | None, results: list[dict[str, Any]] | None) -> dict[str, Any]:
    """A whole job (JobDocument)."""
    failure = record.failure
    started, finished = record.started_at, record.finished_at
    return summary(record, position) | {
        "timings": {
            "queued_s": queued_s(record),
            "computing_s": None if started is None or finished is None else max(finished - started, 0.0),
        },
        "results": results,
        "error": None
        if failure is None
        else {"code": failure.code, "title": STATUS[failure.code][1], "detail": failure.detail},
    }


def result_document(result: PathResult, spec: JobSpec, i: int, encoding: str, queued_s: float) -> dict[str, Any]:
    """The answer for input number `i` (ResultDocument)."""
    return {
        "method": "integrated_gradients",
        "target": {
            "class": result.target.class_index,
            "label": result.target.label,
            "scale": result.target.scale,
            "predicted": result.target.predicted,
        },
        "baseline": spec.baseline_name,
        "score": result.score,
        "baseline_score": result.baseline_score,
        "attribution_sum": result.attribution_sum,
        "completeness_error": {"absolute": result.completeness_error, "relative": result.relative_completeness_error},
        "tolerance": {"relative": result.tolerance, "absolute": result.absolute_tolerance},
        "converged": result.converged,
        "stop_reason": result.stop_reason,
        "attribution_error": result.attribution_error,
        "rule": result.rule,
        "evaluations": result.evaluations,
        "forwards": result.forwards,
        "backwards": result.backwards,
        "nodes": {
            "alpha": result.nodes.alpha,
            "weight": result.nodes.weight,
            "score": result.nodes.score,
            "slope": result.nodes.slope,
        },
        "attributions": {
            declared.name: _tensor(result.attributions[declared.name], declared, encoding) for declared in spec.declared
        },
        "visualizations": [draw(view, subject(result, spec, i)).payload() for view in spec.visualizations],
        "warnings": [{"code": w.code, "message": w.message} for w in result.warnings],
        "timings": {"queued_s": queued_s, "computing_s": result.computing_s},
    }


def subject(result: PathResult, spec: JobSpec, i: int) -> Subject:
    """What there is to draw for input number `i`."""
    declared = spec.declared[0]
    return Subject(
        input_spec=declared,
        example=spec.inputs[i][declared.name],
        baseline=(spec.baseline or {})[declared.name],
        attributions=result.attributions[declared.name],
        target_label=result.target.label,
        score=result.score,
        baseline_score=result.baseline_score,
        completeness_error=result.completeness_error,
        relative_completeness_error=result.relative_completeness_error,
    )


def npy(values: NDArray[np.float32]) -> bytes:
    """An array as a npy file."""
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _tensor(values: NDArray[np.float32], declared: InputSpec, encoding: str) -> dict[str, Any]:
    as_numbers = encoding == "numbers" or (encoding == "auto" and values.size <= MOST_NUMBERS)
    document: dict[str, Any] = {
        "datatype": "FP32",
        "shape": list(values.shape),
        "encoding": "numbers" if as_numbers else "base64-npy",
        "data": np.ascontiguousarray(values) if as_numbers else base64.b64encode(npy(values)).decode(),
    }
    if declared.features:
        document["features"] = [feature.name for feature in declared.features]
    return document


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
