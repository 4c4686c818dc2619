"""What the engine says before a job has ended, and what ends it before its time: deadlines; and who pays for a pass."""

import numpy as np
import pytest
from attributor.engine.engine import Engine
from attributor.errors import OutOfMemory
from attributor.jobs.explanation import Explanation, Target
from attributor.jobs.job import Failure, JobKind, Quadrature, RuleName
from attributor.jobs.result import PartialResult
from doubles import (
    INPUT,
    FakeClock,
    RecordingModel,
    alone,
    assert_same_answer,
    engine_on,
    fixed,
    job_spec,
    one_model,
    only,
    run_to_end,
)
from problems import named

WAVE = named("x_x_sin")
TIGHT = Quadrature(tolerance=1e-4)
ALL_GRADIENTS = fixed(5, RuleName.TRAPEZOID)


def test_each_result_is_told_once_as_soon_as_its_input_is_done():
    engine = engine_on(RecordingModel(WAVE, max_points=5))
    engine.admit("a", job_spec(WAVE, [5.0], [4.0], [3.0], quadrature=ALL_GRADIENTS))
    assert engine.partial("a", estimates=False) == PartialResult(())
    told = []
    for _ in range(2):
        engine.step()
        told += engine.partial("a", estimates=False).results
        assert engine.partial("a", estimates=False).results == ()
    assert [result.input for result in told] == [0, 1]
    outcome = run_to_end(engine)["a"]
    for result, whole in zip(told, outcome.results, strict=False):
        assert result is whole
    assert len(outcome.results) == 3


def test_several_results_of_an_input_are_told_together():
    engine = engine_on(RecordingModel(WAVE, max_points=5))
    spec = job_spec(WAVE, [5.0], [4.0], quadrature=ALL_GRADIENTS)
    both = Explanation(baselines=spec.explanation.baselines, targets=(Target(), Target(rank=1)))
    engine.admit("a", job_spec(WAVE, [5.0], [4.0], quadrature=ALL_GRADIENTS, explanation=both))
    engine.step()
    found = engine.partial("a", estimates=False).results
    assert [(result.input, result.target.label) for result in found] == [(0, "yes"), (0, "no")]


def test_nothing_is_told_of_jobs_that_are_not_there_and_of_predictions():
    engine = engine_on(RecordingModel(WAVE, max_points=1))
    engine.admit("p", job_spec(WAVE, [1.0], [2.0], kind=JobKind.PREDICTION))
    engine.step()
    for job_id in ("p", "unknown"):
        assert engine.partial(job_id, estimates=True) == PartialResult(())
    run_to_end(engine)
    assert engine.partial("p", estimates=True) == PartialResult(())


def test_estimates_near_the_answer_while_it_is_computed():
    kinks, inputs = named("odd_kinks"), ([1.0, 1.0], [0.9, 0.8])
    engine = engine_on(RecordingModel(kinks, max_points=6))
    engine.admit("a", job_spec(kinks, *inputs, quadrature=TIGHT))
    answers = [only(alone(kinks, job_spec(kinks, x, quadrature=TIGHT))) for x in inputs]
    assert engine.partial("a", estimates=False).estimates == ()
    errors: dict[int, list[float]] = {0: [], 1: []}
    ended = []
    while not ended:
        for estimate in engine.partial("a", estimates=True).estimates:
            found, answer = estimate.attributions, answers[estimate.input]
            if found is None:
                assert estimate.completeness_error is None
                continue
            assert found[INPUT].dtype == np.float32
            # As complete as it says it is.
            gap = answer.score - answer.baseline_score
            off = abs(float(found[INPUT].sum(dtype=float)) - gap) / abs(gap)
            assert off == pytest.approx(estimate.completeness_error, rel=1e-3, abs=1e-6)
            assert 0 < estimate.evaluations <= answer.evaluations
            errors[estimate.input].append(float(np.abs(found[INPUT] - answer.attributions[INPUT]).sum()))
        ended = engine.step()
    for x, result, of_input in zip(inputs, ended[0].outcome.results, errors.values(), strict=True):
        assert_same_answer(result, only(alone(kinks, job_spec(kinks, x, quadrature=TIGHT))))
        assert len(of_input) > 2
        assert of_input[-1] < of_input[0] / 3


def test_an_input_that_is_done_or_not_begun_has_no_estimate():
    engine = Engine(one_model(RecordingModel(WAVE, max_points=5)), FakeClock(tick_s=0.001), job_vector_bytes=150)
    engine.admit("a", job_spec(WAVE, [5.0], [4.0], [3.0], quadrature=ALL_GRADIENTS))
    under_way = []
    while True:
        under_way.append([estimate.input for estimate in engine.partial("a", estimates=True).estimates])
        if engine.step():
            break
    assert under_way == [[0], [1], [2]]


def test_a_job_ends_at_its_deadline_and_takes_no_other_with_it():
    clock = FakeClock()
    model = RecordingModel(WAVE, max_points=4)
    engine = Engine(one_model(model), clock)
    engine.admit("late", job_spec(WAVE, quadrature=fixed(500), deadline_s=10.0))
    engine.admit("good", job_spec(WAVE, quadrature=fixed(30)))
    for now_s in (1.0, 5.0, 9.99):
        clock.now_s = now_s
        assert engine.step() == []
    clock.now_s = 10.0
    (ended,) = engine.step()
    assert ended.job_id == "late"
    assert ended.outcome == Failure("deadline_exceeded", "the deadline passed before the answer was there")
    assert model.paths == {"good/0"}
    assert model.points_of("good")
    outcome = run_to_end(engine)
    assert_same_answer(only(outcome["good"]), only(alone(WAVE, job_spec(WAVE, quadrature=fixed(30)))))


def test_a_deadline_counts_from_the_creation_of_the_job_not_from_its_admission():
    clock = FakeClock(100.0)
    engine = Engine(one_model(RecordingModel(WAVE, max_points=4)), clock)
    engine.admit("old", job_spec(WAVE, quadrature=fixed(500), deadline_s=10.0), age_s=8.0)
    engine.admit("new", job_spec(WAVE, quadrature=fixed(500), deadline_s=10.0))
    clock.now_s = 101.9
    assert engine.step() == []
    clock.now_s = 102.0
    assert [ended.job_id for ended in engine.step()] == ["old"]
    clock.now_s = 110.0
    assert [ended.job_id for ended in engine.step()] == ["new"]
    assert engine.idle


def test_a_deadline_that_is_past_at_admission_costs_no_pass():
    model = RecordingModel(WAVE)
    engine = Engine(one_model(model), FakeClock(100.0))
    engine.admit("a", job_spec(WAVE, deadline_s=10.0), age_s=10.0)
    (ended,) = engine.step()
    assert (ended.job_id, ended.outcome.code) == ("a", "deadline_exceeded")
    assert model.passes == []
    assert engine.idle


def test_an_answer_before_the_deadline_is_an_answer():
    clock = FakeClock()
    engine = Engine(one_model(RecordingModel(WAVE)), clock)
    engine.admit("a", job_spec(WAVE, deadline_s=10.0))
    assert only(run_to_end(engine)["a"]).converged
    clock.now_s = 11.0
    assert engine.step() == []


def test_a_cancelled_job_has_no_deadline_any_more():
    clock = FakeClock()
    engine = Engine(one_model(RecordingModel(WAVE)), clock)
    engine.admit("a", job_spec(WAVE, deadline_s=10.0))
    engine.cancel("a")
    clock.now_s = 11.0
    assert engine.step() == []
    engine.admit("a", job_spec(WAVE, deadline_s=10.0))  # begun afresh, and so is its time
    assert only(run_to_end(engine)["a"]).converged


def test_jobs_that_end_with_the_pass_pay_for_it_too():
    model = RecordingModel(WAVE, max_points=4)
    engine = engine_on(model)
    engine.admit("long", job_spec(WAVE, quadrature=fixed(500), tenant="one"))
    for number in range(200):  # of the other tenant there is always a job that one pass is enough for
        engine.admit(f"short{number}", job_spec(WAVE, kind=JobKind.PREDICTION, tenant="other"))
        engine.admit(f"more{number}", job_spec(WAVE, kind=JobKind.PREDICTION, tenant="other"))
        engine.step()
    passes_of_the_long_one = sum(any(seen.path == "long/0" for seen in points) for points in model.passes)
    assert 0.4 < passes_of_the_long_one / len(model.passes) < 0.6


def test_a_wish_of_both_kinds_is_served_by_passes_of_one_kind_each_that_others_share():
    model = RecordingModel(WAVE)
    engine = engine_on(model)
    for job_id in ("a", "b"):
        engine.admit(job_id, job_spec(WAVE, quadrature=fixed(4)))
    run_to_end(engine)
    kinds = [({seen.gradient for seen in points}, sorted({seen.path for seen in points})) for points in model.passes]
    assert kinds == [({True}, ["a/0", "b/0"]), ({False}, ["a/0", "b/0"])]


def test_an_estimate_that_fails_is_left_out_and_ends_nothing(caplog):
    class Short(RecordingModel):
        """Has no memory for the sums of one input while it is short of it."""

        is_short = False

        def attributions(self, route, target, weights, *, coarse=False):
            if self.is_short and route.startswith("a/0"):
                raise OutOfMemory("no room")
            return super().attributions(route, target, weights, coarse=coarse)

    kinked = named("odd_kinks")
    model = Short(kinked)
    engine = engine_on(model)
    engine.admit("a", job_spec(kinked, *[kinked.example] * 2, quadrature=TIGHT))
    while not any(each.attributions for each in engine.partial("a", estimates=True).estimates):
        assert engine.step() == []
    model.is_short = True
    assert [each.input for each in engine.partial("a", estimates=True).estimates] == [1]
    assert "no estimate of a/0" in caplog.text
    model.is_short = False
    assert len(run_to_end(engine)["a"].results) == 2
