import pytest
from attributor.core.adaptive import FIRST_NODES, AdaptiveIntegrator
from attributor.core.integrator import FixedIntegrator
from attributor.engine.active_job import ActiveJob, integrator_for
from attributor.engine.prediction import PredictionProbe
from attributor.jobs.job import JobKind, Quadrature, RuleName
from doubles import RecordingModel, fixed, job_spec, model_info
from problems import named

WAVE = named("x_x_sin")


def start(model: RecordingModel, *inputs, **changes) -> ActiveJob:
    return ActiveJob.start("a", job_spec(WAVE, *inputs, **changes), model, model_info(WAVE), 0.0)


@pytest.mark.parametrize("rule", RuleName)
def test_every_rule_name_has_its_integrator(rule):
    integrator = integrator_for(Quadrature(rule=rule, n_steps=8))
    gradients = sum(node.gradient for node in integrator.ask())
    if rule is RuleName.ADAPTIVE:
        assert isinstance(integrator, AdaptiveIntegrator)
    else:
        assert isinstance(integrator, FixedIntegrator)
        assert gradients == 8


def test_a_fixed_rule_without_a_count_is_refused():
    with pytest.raises(ValueError, match="n_steps"):
        integrator_for(Quadrature(rule=RuleName.MIDPOINT))


def test_a_budget_too_small_is_refused():
    with pytest.raises(ValueError, match="max_evaluations"):
        integrator_for(Quadrature(max_evaluations=4))


def test_a_job_without_inputs_is_refused():
    model = RecordingModel(WAVE)
    with pytest.raises(ValueError, match="at least one input"):
        ActiveJob.start("a", job_spec(WAVE, inputs=()), model, model_info(WAVE), 0.0)


def test_every_input_has_a_path_of_its_own_with_its_first_nodes_waiting():
    job = start(RecordingModel(WAVE), [1.0], [2.0])
    assert [path.id for path in job.paths] == ["a/0", "a/1"]
    assert [len(path.waiting) for path in job.paths] == [FIRST_NODES, FIRST_NODES]
    assert not job.done


def test_a_prediction_waits_for_one_score_per_input():
    job = start(RecordingModel(WAVE), [1.0], [2.0], kind=JobKind.PREDICTION, baseline=None)
    assert all(isinstance(path.integrator, PredictionProbe) for path in job.paths)
    assert [len(path.waiting) for path in job.paths] == [1, 1]


def test_telling_counts_passes_and_queues_what_is_wanted_next():
    path = start(RecordingModel(WAVE), quadrature=fixed(1, RuleName.MIDPOINT)).paths[0]
    told = list(path.waiting)
    path.waiting.clear()
    for node in told:
        path.tell(node, 1.0, 1.0 if node.gradient else None)
    assert (path.forwards, path.backwards) == (3, 1)
    adaptive = start(RecordingModel(WAVE)).paths[0]
    told = list(adaptive.waiting)
    adaptive.waiting.clear()
    for node in told:
        adaptive.tell(node, node.alpha**8, 0.0)
    assert len(adaptive.waiting) > 0


def test_opening_places_every_path_and_closing_frees_each_once():
    model = RecordingModel(WAVE)
    job = start(model, [1.0], [2.0])
    job.open()
    assert set(model.paths) == {"a/0", "a/1"}
    assert model.paths["a/1"].example["x"].tolist() == [2.0]
    job.close_path(job.paths[0])
    assert set(model.paths) == {"a/1"}
    job.close()
    job.close()
    assert model.paths == {}


def test_what_was_placed_before_a_refusal_can_be_freed():
    model = RecordingModel(WAVE, refusing={"a/1"})
    job = start(model, [1.0], [2.0], [3.0])
    with pytest.raises(MemoryError):
        job.open()
    assert set(model.paths) == {"a/0"}
    job.close()
    assert model.paths == {}
