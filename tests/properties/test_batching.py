"""Whoever shares the batch, the answer is the same, and the batch keeps to its bounds."""

import math

from attributor.core.first_round import FIRST_NODES
from attributor.jobs.job import Failure, JobKind, JobSpec, Quadrature, RuleName
from attributor.jobs.result import AttributionResult, JobResult, PredictionResult
from doubles import RecordingModel, alone, assert_same_answer, engine_on, fixed, job_spec, run_to_end, told
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import named

WAVE = named("x_x_sin")

quadratures = st.one_of(
    st.builds(Quadrature, tolerance=st.sampled_from([0.05, 0.01, 0.001]), max_evaluations=st.integers(FIRST_NODES, 60)),
    st.builds(fixed, st.integers(2, 40), st.sampled_from([rule for rule in RuleName if rule is not RuleName.ADAPTIVE])),
)
inputs = st.lists(st.floats(0.5, 6, width=32), min_size=1, max_size=4)


@st.composite
def specs(draw) -> JobSpec:
    rows = [[x] for x in draw(inputs)]
    if draw(st.integers(0, 4)) == 0:
        return job_spec(WAVE, *rows, kind=JobKind.PREDICTION)
    return job_spec(WAVE, *rows, quadrature=draw(quadratures))


def assert_same(one: JobResult | Failure, other: JobResult | Failure) -> None:
    if isinstance(one, PredictionResult):
        assert (one.outputs["score"] == other.outputs["score"]).all()
        return
    assert isinstance(one, AttributionResult), one
    for result, expected in zip(one.results, other.results, strict=True):
        assert_same_answer(result, expected)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(specs(), min_size=1, max_size=6), st.integers(1, 70), st.data())
def test_an_answer_does_not_depend_on_the_company(jobs, max_points, data):
    model = RecordingModel(WAVE, max_points=max_points)
    engine = engine_on(model)
    outcomes = {}
    for i, spec in enumerate(jobs):
        engine.admit(str(i), spec)
        for _ in range(data.draw(st.integers(0, 3))):
            outcomes |= {finished.job_id: finished.outcome for finished in engine.step()}
    outcomes |= run_to_end(engine)
    assert outcomes.keys() == {str(i) for i in range(len(jobs))}
    for i, spec in enumerate(jobs):
        assert_same(outcomes[str(i)], alone(WAVE, spec))
    assert max(len(points) for points in model.passes) <= max_points
    assert model.paths == set()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(specs(), min_size=2, max_size=6),
    st.integers(1, 70),
    st.sampled_from(["raise", "score", "cancel"]),
    st.integers(0, 5),
)
def test_a_job_that_ends_badly_takes_no_other_with_it(jobs, max_points, fault, at_step):
    model = RecordingModel(WAVE, max_points=max_points)
    if fault == "raise":
        model.raising.add("0/0")
    elif fault == "score":
        model.spoilt["0/0", 1.0] = told(math.nan, 0.0)
    engine = engine_on(model)
    for i, spec in enumerate(jobs):
        engine.admit(str(i), spec)
    outcomes = {}
    for _ in range(at_step):
        outcomes |= {finished.job_id: finished.outcome for finished in engine.step()}
    if fault == "cancel":
        engine.cancel("0")
    outcomes |= run_to_end(engine)
    for i, spec in enumerate(jobs[1:], start=1):
        assert_same(outcomes[str(i)], alone(WAVE, spec))
    if fault != "cancel":
        assert outcomes["0"].code == {"raise": "model_error", "score": "non_finite_score"}[fault]
    assert model.paths == set()
