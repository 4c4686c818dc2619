import pytest
from attributor.core.adaptive import FEWEST_FIRST_NODES, AdaptiveIntegrator
from attributor.core.fixed import FixedIntegrator
from attributor.core.integrator import Curve
from attributor.core.placing import first_scan
from attributor.engine.active_job import ActiveJob
from attributor.engine.explain import explain
from attributor.engine.integration import integrator_for
from attributor.engine.prediction import predict
from attributor.jobs.job import Quadrature, RuleName
from doubles import RecordingModel, fixed, job_spec, model_info
from problems import named

WAVE = named("x_x_sin")
STRAIGHT = (Curve(1, 0),)


def start(model: RecordingModel, *inputs, procedure=None, **changes) -> ActiveJob:
    on = (model, model_info(WAVE), {})
    job = ActiveJob.of("a", job_spec(WAVE, *inputs, **changes), on, procedure or explain(lambda: 0.0), 0.0)
    for task in job.tasks:
        task.start()
    return job


def serve(model: RecordingModel, task) -> None:
    """One pass over what a task waits for."""
    waiting = list(task.waiting)
    task.waiting.clear()
    evaluations = model.evaluate([point for _, point in waiting])
    for (place, point), evaluation in zip(waiting, evaluations, strict=True):
        task.tell(place, point, evaluation)


@pytest.mark.parametrize("rule", RuleName)
def test_every_rule_name_has_its_integrator(rule):
    integrator = integrator_for(Quadrature(rule=rule, n_steps=8), STRAIGHT, 1)
    gradients = sum(ask.gradient for ask in integrator.ask())
    if rule is RuleName.ADAPTIVE:
        assert isinstance(integrator, AdaptiveIntegrator)
    else:
        assert isinstance(integrator, FixedIntegrator)
        assert gradients == 8


def test_a_fixed_rule_without_a_count_is_refused():
    with pytest.raises(ValueError, match="n_steps"):
        integrator_for(Quadrature(rule=RuleName.MIDPOINT), STRAIGHT, 1)


def test_a_budget_too_small_is_refused():
    with pytest.raises(ValueError, match="max_evaluations"):
        integrator_for(Quadrature(max_evaluations=FEWEST_FIRST_NODES - 1), STRAIGHT, 1)


def test_a_job_without_inputs_is_refused():
    with pytest.raises(ValueError, match="at least one input"):
        start(RecordingModel(WAVE), inputs=())


def test_every_input_has_a_task_of_its_own_with_its_first_points_waiting():
    job = start(RecordingModel(WAVE), [1.0], [2.0])
    assert [task.work.id for task in job.tasks] == ["a/0", "a/1"]
    assert [len(task.waiting) for task in job.tasks] == [len(first_scan(1))] * 2
    assert not job.done


def test_a_prediction_waits_for_one_point_per_input():
    job = start(RecordingModel(WAVE), [1.0], [2.0], procedure=predict)
    assert [len(task.waiting) for task in job.tasks] == [1, 1]


def test_telling_counts_passes_and_ends_a_fixed_rule():
    model = RecordingModel(WAVE)
    (task,) = start(model, quadrature=fixed(1, RuleName.MIDPOINT)).tasks
    serve(model, task)
    work = task.work
    assert (work.costs.forwards, work.costs.backwards, work.costs.evaluations) == (3, 1, 1)
    assert task.done
    assert model.paths == set()


def test_what_is_wanted_next_waits_after_the_last_point_of_a_wish():
    model = RecordingModel(WAVE)
    (task,) = start(model, [5.0], quadrature=Quadrature(tolerance=0.001)).tasks
    waiting = list(task.waiting)
    task.waiting.clear()
    for place, point in waiting[1:]:
        task.tell(place, point, model.evaluate([waiting[0][1], point])[1])
        assert not task.waiting
    task.tell(*waiting[0], model.evaluate([waiting[0][1]])[0])
    assert task.waiting


def test_starting_opens_a_route_per_input_and_closing_frees_each_once():
    model = RecordingModel(WAVE)
    job = start(model, [1.0], [2.0])
    assert model.paths == {"a/0", "a/1"}
    assert model.routes["a/1/path"].example["x"].tolist() == [2.0]
    job.tasks[0].close()
    assert model.paths == {"a/1"}
    job.close()
    job.close()
    assert model.paths == set()
