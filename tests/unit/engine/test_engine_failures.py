import logging
import math

import numpy as np
import pytest
from attributor.engine.engine import Engine
from attributor.jobs.job import Failure, Quadrature, RuleName
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
    told,
)
from problems import named

WAVE = named("x_x_sin")


def test_a_job_whose_model_raises_fails_alone(caplog):
    model = RecordingModel(WAVE, raising={"bad/0"})
    engine = engine_on(model)
    for job_id in ("good", "bad", "fine"):
        engine.admit(job_id, job_spec(WAVE))
    with caplog.at_level(logging.CRITICAL):
        outcomes = run_to_end(engine)
    assert outcomes["bad"] == Failure("model_error", "the model raised RuntimeError: shapes do not match")
    assert_same_answer(only(outcomes["good"]), only(alone(WAVE, job_spec(WAVE))))
    assert_same_answer(only(outcomes["fine"]), only(alone(WAVE, job_spec(WAVE))))
    assert model.paths == set()


def test_only_the_first_line_of_a_models_exception_is_told_and_not_at_length(caplog):
    class Wordy(RecordingModel):
        def evaluate(self, points):
            raise ValueError("x" * 1000 + "\nsecret")

    engine = engine_on(Wordy(WAVE))
    engine.admit("a", job_spec(WAVE))
    outcome = run_to_end(engine)["a"]
    assert outcome.detail == "the model raised ValueError: " + "x" * 200
    assert "secret" in caplog.text


def test_an_exception_without_a_message_is_told_by_its_type():
    class Mute(RecordingModel):
        def evaluate(self, points):
            raise ZeroDivisionError

    engine = engine_on(Mute(WAVE))
    engine.admit("a", job_spec(WAVE))
    assert run_to_end(engine)["a"] == Failure("model_error", "the model raised ZeroDivisionError: ")


def test_a_pass_too_large_for_the_device_is_run_job_by_job():
    class Small(RecordingModel):
        def evaluate(self, points):
            if len({point.route for point in points}) > 1:
                raise MemoryError("out of memory")
            return super().evaluate(points)

    engine = engine_on(Small(WAVE))
    engine.admit("a", job_spec(WAVE))
    engine.admit("b", job_spec(WAVE, [3.0]))
    outcomes = run_to_end(engine)
    assert only(outcomes["a"]).converged
    assert only(outcomes["b"]).converged


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_a_score_that_is_nan_fails_its_job_and_no_other(alpha):
    model = RecordingModel(WAVE, spoilt={("bad/0", alpha): told(math.nan, 0.0)})
    engine = engine_on(model)
    for job_id in ("bad", "good"):
        engine.admit(job_id, job_spec(WAVE))
    outcomes = run_to_end(engine)
    assert outcomes["bad"] == Failure("non_finite_score", f"the model's score is nan at alpha = {alpha:g} of the path")
    assert only(outcomes["good"]).converged
    assert model.paths == set()


def test_an_interior_gradient_that_is_nan_fails_its_job_and_no_other():
    alpha = only(alone(WAVE, job_spec(WAVE))).nodes.alpha[1]
    model = RecordingModel(WAVE, spoilt={("bad/0", alpha): told(1.0, math.nan)})
    engine = engine_on(model)
    for job_id in ("bad", "good"):
        engine.admit(job_id, job_spec(WAVE))
    outcomes = run_to_end(engine)
    detail = f"the gradient is not finite at alpha = {alpha:g} of the path"
    assert outcomes["bad"] == Failure("non_finite_gradient", detail)
    assert only(outcomes["good"]).converged


def test_an_end_without_a_finite_gradient_costs_nothing():
    problem = named("root_and_square")
    engine = engine_on(RecordingModel(problem))
    engine.admit("a", job_spec(problem))
    result = only(run_to_end(engine)["a"])
    assert result.converged
    assert np.isfinite(result.attributions[INPUT]).all()
    assert result.attributions[INPUT] == pytest.approx(problem.exact, rel=0.02)
    assert result.nodes.slope[0] is None
    assert result.nodes.weight[0] == 0
    assert math.isfinite(result.attribution_error)
    assert not result.warnings


def test_a_model_that_is_not_ready_fails_the_job_with_that_code():
    provider = one_model(RecordingModel(WAVE))
    provider.not_ready.add("net@1")
    engine = Engine(provider, FakeClock())
    engine.admit("a", job_spec(WAVE))
    assert not engine.idle
    assert run_to_end(engine) == {"a": Failure("model_not_ready", "net@1 failed its proof")}


def test_a_job_for_another_digest_is_not_computed():
    engine = engine_on(RecordingModel(WAVE))
    engine.admit("a", job_spec(WAVE, digest="d2"))
    assert run_to_end(engine)["a"].code == "model_not_ready"


def test_a_model_that_goes_away_does_not_strand_the_jobs_on_it():
    model = RecordingModel(WAVE)
    provider = one_model(model)
    engine = Engine(provider, FakeClock())
    engine.admit("a", job_spec(WAVE))
    provider.not_ready.add("net@1")
    assert only(run_to_end(engine)["a"]).converged
    assert model.paths == set()


def test_two_digests_of_one_name_never_share_a_pass():
    old, new = RecordingModel(WAVE), RecordingModel(WAVE)
    provider = one_model(old)
    engine = Engine(provider, FakeClock())
    engine.admit("old", job_spec(WAVE))
    provider.models["net@1"] = new
    engine.admit("new", job_spec(WAVE))
    outcomes = run_to_end(engine)
    assert_same_answer(only(outcomes["old"]), only(outcomes["new"]))
    assert old.points_of("new") == []
    assert new.points_of("old") == []


@pytest.mark.parametrize(
    "changes", [{"quadrature": Quadrature(max_evaluations=1)}, {"quadrature": fixed(None)}, {"inputs": ()}]
)
def test_a_specification_that_makes_no_sense_ends_its_job_not_the_worker(changes):
    engine = engine_on(RecordingModel(WAVE))
    engine.admit("a", job_spec(WAVE, **changes))
    engine.admit("b", job_spec(WAVE))
    outcomes = run_to_end(engine)
    assert outcomes["a"].code == "internal_error"
    assert only(outcomes["b"]).converged


def test_a_cancelled_job_is_forgotten_with_its_vectors():
    model = RecordingModel(WAVE)
    engine = engine_on(model)
    engine.admit("a", job_spec(WAVE, [1.0], [2.0], quadrature=Quadrature(tolerance=0.0001)))
    engine.step()
    assert set(model.paths) == {"a/0", "a/1"}
    engine.cancel("a")
    assert model.paths == set()
    assert engine.idle
    assert run_to_end(engine) == {}


def test_cancelling_one_job_leaves_the_other():
    engine = engine_on(RecordingModel(WAVE))
    engine.admit("a", job_spec(WAVE))
    engine.admit("b", job_spec(WAVE))
    engine.step()
    engine.cancel("a")
    outcomes = run_to_end(engine)
    assert set(outcomes) == {"b"}
    assert_same_answer(only(outcomes["b"]), only(alone(WAVE, job_spec(WAVE))))


def test_nothing_is_returned_for_a_cancelled_job_even_if_it_could_not_start():
    engine = engine_on(RecordingModel(WAVE))
    engine.admit("a", job_spec(WAVE, digest="d2"))
    engine.cancel("a")
    assert engine.idle
    assert engine.step() == []


def test_cancelling_an_unknown_job_is_no_fault():
    engine = engine_on(RecordingModel(WAVE))
    engine.cancel("never seen")
    assert engine.idle


def test_a_path_is_freed_as_soon_as_it_is_done():
    model = RecordingModel(WAVE, max_points=5)
    engine = engine_on(model)
    engine.admit("a", job_spec(WAVE, [1.0], [2.0], quadrature=fixed(5, RuleName.TRAPEZOID)))
    engine.step()
    assert set(model.paths) == {"a/1"}
    engine.step()
    assert model.paths == set()


def test_a_job_that_does_not_fit_the_device_frees_what_it_had_placed():
    model = RecordingModel(WAVE, refusing={"a/1"})
    engine = engine_on(model)
    engine.admit("a", job_spec(WAVE, [1.0], [2.0], [3.0]))
    assert model.paths == set()
    assert run_to_end(engine)["a"] == Failure(
        "model_error", "inputs.1: the model raised MemoryError: no room on the device"
    )
    assert len(engine.progress()) == 0


def test_a_job_admitted_again_starts_afresh():
    model = RecordingModel(WAVE)
    engine = engine_on(model)
    engine.admit("a", job_spec(WAVE, quadrature=Quadrature(tolerance=0.001)))
    engine.step()
    engine.admit("a", job_spec(WAVE, [3.0]))
    outcomes = run_to_end(engine)
    assert_same_answer(only(outcomes["a"]), only(alone(WAVE, job_spec(WAVE, [3.0]))))
    assert model.paths == set()


def test_of_several_inputs_the_one_at_fault_is_named():
    model = RecordingModel(WAVE, spoilt={("a/1", 0.25): told(math.nan, 0.0)})
    engine = engine_on(model)
    engine.admit("a", job_spec(WAVE, [1.0], [2.0]))
    outcome = run_to_end(engine)["a"]
    assert outcome.code == "non_finite_score"
    assert outcome.detail.startswith("inputs.1: ")


def test_a_model_that_leaves_the_program_ends_its_own_job_alone():
    class Leaving(RecordingModel):
        def evaluate(self, points):
            if any(each.route.startswith("bad/") for each in points):
                raise SystemExit("the licence has expired")
            return super().evaluate(points)

    engine = engine_on(Leaving(WAVE))
    for job_id in ("good", "bad"):
        engine.admit(job_id, job_spec(WAVE))
    outcomes = run_to_end(engine)
    assert outcomes["bad"] == Failure("model_error", "the model raised SystemExit: the licence has expired")
    assert_same_answer(only(outcomes["good"]), only(alone(WAVE, job_spec(WAVE))))


def test_a_model_that_leaves_the_program_when_a_route_is_opened_ends_its_own_job_alone():
    class Leaving(RecordingModel):
        def open(self, route, spec):
            raise SystemExit(1)

    engine = engine_on(Leaving(WAVE))
    engine.admit("a", job_spec(WAVE))
    assert run_to_end(engine)["a"] == Failure("model_error", "the model raised SystemExit: 1")
