"""What a job will cost in seconds and bytes: from its counts and from what a worker measured of its model."""

from dataclasses import dataclass, replace

from attributor.api.mapping.budget import answer_bytes, point_bytes, size_of, vector_bytes
from attributor.api.mapping.counting import Counts, counts
from attributor.api.schemas.bodies import AttributionBody
from attributor.jobs.explanation import COMPARATORS
from attributor.jobs.job import JobSpec
from attributor.jobs.model import ModelInfo, ModelReport

#: A forward pass as a share of an evaluation, where it was not measured by itself: as it was counted in
#: ARCHITECTURE.md, decision 13.
FORWARD_SHARE = 1 / 3
NOT_MEASURED = "no worker has measured the model yet"
OF_A_COMPARATOR = "Captum computes it, in a process whose start takes 2 to 10 seconds and whose speed is not measured"


@dataclass(frozen=True, slots=True)
class Seconds:
    """Of computing on one worker, in full passes."""

    expected: float
    at_most: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a worker, for the job, bytes, at the most. `one_pass`: None while it is not measured."""

    points: int
    vectors: int
    one_pass: int | None


@dataclass(frozen=True, slots=True)
class Expected:
    """`seconds` None: `reason` says why. `answer_bytes`: as the store keeps it, float32."""

    per_input: Counts
    total: Counts
    seconds: Seconds | None
    reason: str | None
    memory: Memory
    answer_bytes: int


def expected(body: AttributionBody, spec: JobSpec, info: ModelInfo, report: ModelReport | None) -> Expected:
    """Of a job that was found to be sound."""
    per_input = counts(spec, info, looks=report is None or report.looks)
    total = per_input.times(len(spec.inputs))
    size = size_of(body, spec.explanation)
    if size.adds:
        size = replace(size, nodes=max(size.nodes, per_input.evaluations.expected // size.copies))
    reason = _not_told(spec, report)
    return Expected(
        per_input,
        total,
        None if reason or report is None else _seconds(spec, total, report),
        reason,
        Memory(
            point_bytes(size, info),
            vector_bytes(size, spec.explanation, info),
            _pass_bytes(total, report),
        ),
        answer_bytes(size, spec.explanation, info),
    )


def _not_told(spec: JobSpec, report: ModelReport | None) -> str | None:
    if spec.explanation.method in COMPARATORS:
        return OF_A_COMPARATOR
    return NOT_MEASURED if report is None or report.seconds_per_evaluation is None else None


def _seconds(spec: JobSpec, total: Counts, report: ModelReport) -> Seconds:
    """Each further target is a backward pass more."""
    evaluation = report.seconds_per_evaluation or 0.0
    forward = report.seconds_per_forward
    if forward is None:
        forward = FORWARD_SHARE * evaluation
    gradient = evaluation + (len(spec.explanation.targets) - 1) * max(evaluation - forward, 0.0)
    evaluations, forwards = total.evaluations, total.forwards
    return Seconds(
        evaluations.expected * gradient + (forwards.expected - evaluations.expected) * forward,
        evaluations.at_most * gradient + (forwards.at_most - evaluations.at_most) * forward,
    )


def _pass_bytes(total: Counts, report: ModelReport | None) -> int | None:
    """Of the largest pass that the job can fill."""
    if report is None or report.points_per_pass is None or report.bytes_per_point is None:
        return None
    return min(report.points_per_pass, total.forwards.at_most) * report.bytes_per_point
