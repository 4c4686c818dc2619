import math

import numpy as np
import pytest
from attributor.core.first_round import first_nodes
from attributor.core.integrator import Tolerance
from attributor.core.placing import first_scan
from attributor.engine.engine import PASSES_AHEAD, Engine, Room
from attributor.engine.fairness import HEAD_START, STAGE
from attributor.jobs.explanation import Target, Term
from attributor.jobs.job import Failure, JobKind, Quadrature, RuleName
from attributor.jobs.model import OutputScale
from attributor.jobs.result import PredictionResult
from doubles import (
    INPUT,
    PREDICTED,
    FakeClock,
    FakeProvider,
    RecordingModel,
    alone,
    assert_same_answer,
    engine_on,
    fixed,
    job_spec,
    model_info,
    one_model,
    only,
    run_to_end,
    told,
)
from problems import named

CUBIC = named("cubic")
WAVE = named("x_x_sin")


def test_an_idle_engine_does_nothing():
    engine = engine_on(RecordingModel(CUBIC))
    assert engine.idle
    assert len(engine.progress()) == 0
    assert engine.step() == []
    assert engine.progress() == {}


def test_a_job_gets_its_exact_attributions():
    model = RecordingModel(CUBIC)
    engine = engine_on(model)
    engine.admit("a", job_spec(CUBIC))
    assert len(engine.progress()) == 1
    result = only(run_to_end(engine)["a"])
    assert result.attributions[INPUT] == pytest.approx(CUBIC.exact)
    assert result.attributions[INPUT].dtype == np.float32
    assert (result.score, result.baseline_score) == (2.0, 0.0)
    assert result.converged
    assert result.target.label == "yes"
    assert len(engine.progress()) == 0
    assert engine.idle


def test_two_jobs_share_a_pass():
    model = RecordingModel(WAVE)
    engine = engine_on(model)
    engine.admit("a", job_spec(WAVE))
    engine.admit("b", job_spec(WAVE, [3.0]))
    engine.step()
    assert {point.path for point in model.passes[0]} == {"a/0", "b/0"}
    assert len(model.passes[0]) == 2 * len(first_scan(1))


def test_a_job_joins_one_that_is_under_way():
    model = RecordingModel(WAVE)
    engine = engine_on(model)
    engine.admit("a", job_spec(WAVE, quadrature=Quadrature(tolerance=0.001)))
    engine.step()
    engine.admit("b", job_spec(WAVE))
    engine.step()
    assert {point.path for point in model.passes[1]} == {"a/0", "b/0"}


@pytest.mark.parametrize("max_points", [1, 3, 8, 1000])
def test_company_does_not_change_an_answer(max_points):
    specs = {
        "tight": job_spec(WAVE, quadrature=Quadrature(tolerance=0.001)),
        "loose": job_spec(WAVE, [4.0], quadrature=Quadrature(tolerance=0.05)),
        "other": job_spec(WAVE, [2.5], baseline={INPUT: np.array([-1.0], dtype=np.float32)}),
        "fixed": job_spec(WAVE, quadrature=fixed(50)),
        "gauss": job_spec(WAVE, [3.0], quadrature=fixed(12, RuleName.GAUSS_LEGENDRE)),
    }
    engine = engine_on(RecordingModel(WAVE, max_points=max_points))
    for job_id, spec in specs.items():
        engine.admit(job_id, spec)
    outcomes = run_to_end(engine)
    for job_id, spec in specs.items():
        assert_same_answer(only(outcomes[job_id]), only(alone(WAVE, spec)))


@pytest.mark.parametrize("max_points", [1, 7, 64])
def test_no_pass_holds_more_points_than_the_model_takes(max_points):
    model = RecordingModel(WAVE, max_points=max_points)
    engine = engine_on(model)
    for i in range(5):
        engine.admit(str(i), job_spec(WAVE, quadrature=fixed(20)))
    run_to_end(engine)
    with_gradients = [len(points) for points in model.passes if points[0].gradient]
    without = [len(points) for points in model.passes if not points[0].gradient]
    assert max(with_gradients) == max_points
    # Full passes: no job waits while there is room.
    assert len(with_gradients) == math.ceil(5 * 20 / max_points)
    assert sum(without) == 5


def test_alpha_1_comes_first_even_in_passes_of_one_point():
    # RecordingModel itself refuses another order.
    model = RecordingModel(WAVE, max_points=1)
    engine = engine_on(model)
    engine.admit("a", job_spec(WAVE, [1.0], [2.0], quadrature=fixed(4, RuleName.MIDPOINT)))
    run_to_end(engine)
    seen = [(points[0].path, points[0].alpha, points[0].gradient) for points in model.passes]
    assert seen[:4] == [("a/0", 1.0, False), ("a/0", 0.0, False), ("a/1", 1.0, False), ("a/1", 0.0, False)]
    inner = (0.125, 0.375, 0.625, 0.875)
    assert seen[4:] == [(path, alpha, True) for path in ("a/0", "a/1") for alpha in inner]


def steps_until_done(engine: Engine, job_id: str) -> int:
    for step in range(1, 1000):
        if any(finished.job_id == job_id for finished in engine.step()):
            return step
    raise AssertionError(f"{job_id} starves")


def test_a_job_of_500_nodes_does_not_starve_one_of_5():
    engine = engine_on(RecordingModel(WAVE, max_points=8))
    engine.admit("long", job_spec(WAVE, quadrature=fixed(500)))
    engine.step()
    engine.admit("short", job_spec(WAVE, quadrature=fixed(5)))
    # 5 gradients fit a pass of 8, the baseline's score takes another, and one for the turn to come round.
    assert steps_until_done(engine, "short") <= 3
    assert len(engine.progress()) == 1


def test_a_job_of_many_inputs_does_not_starve_one_of_one():
    engine = engine_on(RecordingModel(WAVE, max_points=8))
    engine.admit("wide", job_spec(WAVE, *([i / 10] for i in range(100)), quadrature=fixed(50)))
    engine.step()
    engine.admit("short", job_spec(WAVE, quadrature=fixed(5)))
    assert steps_until_done(engine, "short") <= 3


def test_with_more_jobs_than_points_everyone_gets_a_turn():
    model = RecordingModel(WAVE, max_points=4)
    engine = engine_on(model)
    for i in range(10):
        engine.admit(str(i), job_spec(WAVE, quadrature=fixed(500)))
    for n_steps in (40, 120, 200):  # 160, 640 and 1,440 points in all
        for _ in range(n_steps):
            engine.step()
        served = [len(model.points_of(str(i))) for i in range(10)]
        assert max(served) - min(served) <= STAGE


def two_models() -> tuple[RecordingModel, RecordingModel, Engine]:
    first, second = RecordingModel(WAVE, max_points=4), RecordingModel(CUBIC, max_points=4)
    infos = {"one@1": model_info(WAVE, "one"), "two@1": model_info(CUBIC, "two")}
    return first, second, Engine(FakeProvider({"one@1": first, "two@1": second}, infos), FakeClock(tick_s=0.001))


def test_the_second_model_is_not_starved_by_the_first():
    _, second, engine = two_models()
    for i in range(20):
        engine.admit(f"busy{i}", job_spec(WAVE, model="one", quadrature=fixed(500)))
    engine.admit("rare", job_spec(CUBIC, model="two", quadrature=fixed(3)))
    # Turn and turn about: a pass for its three gradients, another for its baseline's score.
    assert steps_until_done(engine, "rare") <= 4
    assert len(second.passes) == 2


def test_two_models_take_turns():
    first, second, engine = two_models()
    engine.admit("a", job_spec(WAVE, model="one", quadrature=fixed(100)))
    engine.admit("b", job_spec(CUBIC, model="two", quadrature=fixed(100)))
    for _ in range(20):
        engine.step()
    assert len(first.passes) == len(second.passes) == 10


def test_several_inputs_are_answered_in_their_order():
    inputs = [[3.0], [0.5], [30.0], [2.0]]
    engine = engine_on(RecordingModel(WAVE, max_points=7))
    engine.admit("a", job_spec(WAVE, *inputs))
    results = run_to_end(engine)["a"].results
    assert len({result.evaluations for result in results}) > 1, "they should end at different times"
    for (x,), result in zip(inputs, results, strict=True):
        assert result.score == pytest.approx(x * x * math.sin(x))
        assert_same_answer(result, only(alone(WAVE, job_spec(WAVE, [x]))))


def test_a_failing_input_fails_the_whole_job():
    model = RecordingModel(WAVE, spoilt={("a/1", 0.5): told(math.inf, 0.0)})
    engine = engine_on(model)
    engine.admit("a", job_spec(WAVE, [1.0], [2.0], [3.0]))
    assert run_to_end(engine)["a"].code == "non_finite_score"
    assert model.paths == set()


def test_a_prediction_returns_outputs_from_one_forward_pass():
    model = RecordingModel(CUBIC)
    engine = engine_on(model)
    engine.admit("p", job_spec(CUBIC, [1.0, 2.0], [2.0, 1.0], kind=JobKind.PREDICTION))
    outcome = run_to_end(engine)["p"]
    assert isinstance(outcome, PredictionResult)
    assert outcome.outputs["score"].tolist() == [[-2.0, 2.0], [-4.0, 4.0]]
    (points,) = model.passes
    assert [(point.alpha, point.gradient) for point in points] == [(1.0, False), (1.0, False)]
    assert model.paths == set()


def test_a_prediction_shares_a_pass_with_attributions():
    model = RecordingModel(WAVE)
    engine = engine_on(model)
    engine.admit("a", job_spec(WAVE))
    engine.admit("p", job_spec(WAVE, kind=JobKind.PREDICTION))
    assert [finished.job_id for finished in engine.step()] == ["p"]
    assert only(run_to_end(engine)["a"]).converged


def test_a_prediction_that_is_not_finite_fails():
    model = RecordingModel(WAVE, spoilt={("p/0", 1.0): told(math.nan, None)})
    engine = engine_on(model)
    engine.admit("p", job_spec(WAVE, kind=JobKind.PREDICTION))
    assert run_to_end(engine)["p"].code == "non_finite_score"


def test_an_output_that_is_not_finite_beside_a_finite_score_fails_a_prediction():
    class HalfBroken(RecordingModel):
        def outputs(self, route):
            return np.array([0.5, np.inf], dtype=np.float32)

    engine = engine_on(HalfBroken(WAVE))
    engine.admit("p", job_spec(WAVE, kind=JobKind.PREDICTION))
    assert run_to_end(engine)["p"] == Failure("non_finite_score", "the model's output is not finite")


@pytest.mark.parametrize(
    ("rule", "n_steps", "forwards", "backwards"),
    [
        (RuleName.RIGHT_RIEMANN, 50, 51, 50),
        (RuleName.MIDPOINT, 10, 12, 10),
        (RuleName.GAUSS_LEGENDRE, 12, 14, 12),
        (RuleName.TRAPEZOID, 9, 9, 9),
    ],
)
def test_the_passes_of_a_fixed_rule_are_counted(rule, n_steps, forwards, backwards):
    model = RecordingModel(WAVE)
    engine = engine_on(model)
    engine.admit("a", job_spec(WAVE, quadrature=fixed(n_steps, rule)))
    result = only(run_to_end(engine)["a"])
    assert (result.forwards, result.backwards, result.evaluations) == (forwards, backwards, backwards)
    points = model.points_of("a")
    assert len(points) == forwards
    assert sum(point.gradient for point in points) == backwards
    assert result.rule == rule
    assert result.stop_reason == "fixed_rule"
    assert len(result.nodes.alpha) == forwards


def test_the_passes_of_the_adaptive_rule_are_counted():
    model = RecordingModel(WAVE)
    engine = engine_on(model)
    engine.admit("a", job_spec(WAVE))
    result = only(run_to_end(engine)["a"])
    assert result.forwards == len(model.points_of("a"))
    assert result.evaluations == result.backwards == sum(slope is not None for slope in result.nodes.slope)
    assert set(result.nodes.alpha) <= {point.alpha for point in model.points_of("a")}
    assert result.stop_reason == "tolerance"


def test_the_target_asked_for_is_the_target_answered():
    engine = engine_on(RecordingModel(CUBIC))
    engine.admit("asked", job_spec(CUBIC, target=Target((Term(0),), scale=OutputScale.LOGIT)))
    engine.admit("open", job_spec(CUBIC))
    outcomes = run_to_end(engine)
    asked, left_open = only(outcomes["asked"]).target, only(outcomes["open"]).target
    assert (asked.terms, asked.label, asked.scale, asked.predicted) == ((Term(0),), "no", OutputScale.LOGIT, False)
    assert (left_open.terms, left_open.label, left_open.predicted) == ((Term(PREDICTED),), "yes", True)


def test_the_computing_time_runs_from_admission_to_the_answer():
    clock = FakeClock()
    engine = Engine(one_model(RecordingModel(WAVE, max_points=3)), clock)
    engine.admit("a", job_spec(WAVE, quadrature=fixed(8)))
    while not engine.idle:
        clock.now_s += 2.0
        for finished in engine.step():
            assert only(finished.outcome).computing_s == 8.0  # 8 gradients in passes of 3, and a score


def test_progress_counts_evaluations_and_inputs_and_states_the_worst_error():
    rule = fixed(5, RuleName.TRAPEZOID)
    engine = engine_on(RecordingModel(WAVE, max_points=5))
    engine.admit("a", job_spec(WAVE, [5.0], [4.0], quadrature=rule))
    before = engine.progress()["a"]
    assert (before.evaluations, before.completeness_error, before.inputs_done) == (0, None, 0)
    engine.step()
    half = engine.progress()["a"]
    assert (half.evaluations, half.inputs_done) == (5, 1)
    assert half.completeness_error == pytest.approx(
        only(alone(WAVE, job_spec(WAVE, quadrature=rule))).relative_completeness_error
    )
    engine.step()
    assert engine.progress() == {}


def test_progress_of_the_adaptive_rule_states_the_running_error():
    kinks = named("odd_kinks")
    engine = engine_on(RecordingModel(kinks))
    engine.admit("a", job_spec(kinks, quadrature=Quadrature(tolerance=0.001)))
    engine.step()
    assert engine.progress()["a"].completeness_error is None
    while not (progress := engine.progress()["a"]).evaluations:
        engine.step()
    assert progress.evaluations == first_nodes(1, Tolerance(0.001, 0.0), 500)
    assert progress.completeness_error > 0
    assert progress.inputs_done == 0


def test_room_is_left_until_first_points_fill_some_passes():
    model = RecordingModel(named("x_x_sin"), max_points=20)
    engine = engine_on(model)
    n = 0
    while room := engine.room().evaluations:
        assert not engine.room().laden
        engine.admit(f"job {n}", job_spec(model.problem, [1.0], quadrature=fixed(15)))
        n += 1
        assert n == 1 or engine.room().evaluations < room  # before the first the passes' size is a guess
    assert n == PASSES_AHEAD * 20 // 15 + 1
    assert engine.room() == Room(0, laden=True, light=False)
    run_to_end(engine)
    assert engine.room() == Room(PASSES_AHEAD * 20, laden=False, light=True)


def test_a_long_job_leaves_room_for_short_ones_but_makes_laden():
    model = RecordingModel(named("x_x_sin"), max_points=20)
    engine = engine_on(model)
    engine.admit("long", job_spec(model.problem, *([float(n)] for n in range(1, 60)), quadrature=fixed(15)))
    before = engine.room()
    for _ in range(2 * HEAD_START // 20):
        engine.step()
    room = engine.room()
    assert room.laden
    assert room.evaluations == PASSES_AHEAD * 20 > before.evaluations
