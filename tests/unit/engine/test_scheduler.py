from attributor.engine.active_job import ActiveJob
from attributor.engine.explain import explain
from attributor.engine.scheduler import plan
from attributor.jobs.explanation import Layer
from doubles import RecordingModel, fixed, job_spec, model_info
from problems import named

WAVE = named("x_x_sin")
INFO = model_info(WAVE)


def job(name: str, model: RecordingModel, n_steps: int, n_inputs: int = 1, layer: Layer | None = None) -> ActiveJob:
    spec = job_spec(WAVE, *([float(i)] for i in range(n_inputs)), quadrature=fixed(n_steps), layer=layer)
    active = ActiveJob.of(name, spec, (model, INFO, {}), explain(lambda: 0.0), 0.0)
    for task in active.tasks:
        task.start()
    return active


def paths(batch) -> list[str]:
    return [pick.task.work.id for pick in batch.picks]


def alphas(batch) -> list[float]:
    return [point.ask.nodes[0].alpha for point in batch.points]


def test_without_jobs_there_is_no_pass():
    assert plan([]) is None


def test_jobs_that_wait_for_nothing_make_no_pass():
    only = job("a", RecordingModel(WAVE), 3)
    assert plan([only]) is not None
    assert plan([only]) is None


def test_jobs_take_turns_one_point_each_until_the_pass_is_full():
    model = RecordingModel(WAVE, max_points=5)
    batch = plan([job("a", model, 10), job("b", model, 10)])
    assert paths(batch) == ["a/0", "b/0", "a/0", "b/0", "a/0"]


def test_what_a_short_job_leaves_goes_to_the_others():
    model = RecordingModel(WAVE, max_points=6)
    batch = plan([job("a", model, 10), job("b", model, 1)])
    assert paths(batch) == ["a/0", "b/0", "a/0", "b/0", "a/0", "a/0"]


def test_inputs_of_one_job_come_one_after_the_other():
    model = RecordingModel(WAVE, max_points=5)
    batch = plan([job("a", model, 2, n_inputs=3)])
    assert paths(batch) == ["a/0"] * 3 + ["a/1"] * 2


def test_points_that_did_not_fit_wait_for_the_next_pass_in_their_order():
    active = job("a", RecordingModel(WAVE, max_points=3), 4)
    first, second = plan([active]), plan([active])
    assert alphas(first) == [1.0, 0.0, 0.25]
    assert alphas(second) == [0.5, 0.75]


def test_a_pass_is_of_the_first_waiting_jobs_model():
    one, two = RecordingModel(WAVE), RecordingModel(WAVE)
    batch = plan([job("a", two, 2), job("b", one, 2), job("c", two, 2)])
    assert batch.model is two
    assert set(paths(batch)) == {"a/0", "c/0"}


def test_a_pass_is_of_one_lane():
    model = RecordingModel(WAVE)
    batch = plan([job("a", model, 2), job("b", model, 2, layer=Layer("hidden")), job("c", model, 2)])
    assert set(paths(batch)) == {"a/0", "c/0"}


def test_the_part_of_one_job_keeps_its_order():
    model = RecordingModel(WAVE)
    a, b = job("a", model, 2), job("b", model, 2)
    batch = plan([a, b])
    assert batch.jobs == [a, b]
    part = batch.of_job(b)
    assert part.jobs == [b]
    assert part.model is model
    assert set(paths(part)) == {"b/0"}
    assert alphas(part) == [1.0, 0.0, 0.5]
    assert [point.ask.gradient for point in part.points] == [True, False, True]
