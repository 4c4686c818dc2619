from attributor.engine.active_job import ActiveJob
from attributor.engine.explain import explain
from attributor.engine.fairness import Claimant, Fairness
from attributor.engine.scheduler import Batch, _whole_rounds, plan
from attributor.jobs.explanation import Layer
from doubles import RecordingModel, fixed, job_spec, model_info
from problems import named

WAVE = named("x_x_sin")
INFO = model_info(WAVE)


def job(name: str, model: RecordingModel, n_steps: int, n_inputs: int = 1, layer: Layer | None = None) -> ActiveJob:
    spec = job_spec(WAVE, *([float(i)] for i in range(n_inputs)), quadrature=fixed(n_steps), layer=layer)
    active = ActiveJob.of(name, spec, (model, INFO, {}), explain(lambda: 0.0), 0.0)
    while (task := active.next_task()) is not None:
        active.begin(task)
    return active


def planner(*jobs: ActiveJob):
    """Plans passes of these jobs, all of one tenant and priority, that cost nothing."""
    fairness = Fairness()
    for each in jobs:
        fairness.enter(Claimant(each.id, "", 1, None, id(each.model)), 0.0)

    def next_pass() -> Batch | None:
        batch = plan({each.id: each for each in jobs}, fairness, 0.0)
        if batch is not None:
            fairness.charge(dict.fromkeys(batch.sizes(), 0.0))
        return batch

    return next_pass


def paths(batch: Batch) -> list[str]:
    return [pick.portion.task.work.id for _, pick in batch.picks for _ in pick.points.asks]


def alphas(batch: Batch) -> list[float]:
    return [ask.nodes[0].alpha for points in batch.points for ask in points.asks]


def gradients(batch: Batch) -> set[bool]:
    return {ask.gradient for points in batch.points for ask in points.asks}


def test_without_jobs_there_is_no_pass():
    assert planner()() is None


def test_jobs_that_wait_for_nothing_make_no_pass():
    next_pass = planner(job("a", RecordingModel(WAVE), 3))
    assert next_pass() is not None
    assert next_pass() is not None  # the baseline's score, which needs no gradient
    assert next_pass() is None


def test_jobs_share_a_pass_until_it_is_full():
    model = RecordingModel(WAVE, max_points=5)
    batch = planner(job("a", model, 10), job("b", model, 10))()
    assert sum(batch.sizes().values()) == len(paths(batch)) == 5
    assert set(batch.sizes()) <= {"a", "b"}


def test_what_a_short_job_leaves_goes_to_the_others():
    model = RecordingModel(WAVE, max_points=6)
    next_pass = planner(job("a", model, 10), job("b", model, 1))
    assert next_pass().sizes() in ({"a": 5, "b": 1}, {"a": 6, "b": 0}, {"a": 6})
    assert sum(next_pass().sizes().values()) == 5


def test_inputs_of_one_job_come_one_after_the_other():
    batch = planner(job("a", RecordingModel(WAVE, max_points=5), 2, n_inputs=3))()
    assert paths(batch) == ["a/0"] * 2 + ["a/1"] * 2 + ["a/2"]


def test_points_that_did_not_fit_wait_for_the_next_pass_in_their_order():
    next_pass = planner(job("a", RecordingModel(WAVE, max_points=3), 5))
    assert [alphas(next_pass()) for _ in range(3)] == [[1.0, 0.2, 0.4], [0.6, 0.8], [0.0]]


def test_a_pass_is_of_one_kind_and_that_of_the_example_comes_first():
    next_pass = planner(job("a", RecordingModel(WAVE), 4))
    with_gradients, without = next_pass(), next_pass()
    assert (gradients(with_gradients), alphas(with_gradients)) == ({True}, [1.0, 0.25, 0.5, 0.75])
    assert (gradients(without), alphas(without)) == ({False}, [0.0])


def test_a_pass_is_of_one_model():
    one, two = RecordingModel(WAVE), RecordingModel(WAVE)
    batch = planner(job("a", two, 2), job("b", one, 2), job("c", two, 2))()
    assert batch.model is two
    assert set(paths(batch)) == {"a/0", "c/0"}


def test_a_pass_is_of_one_lane():
    model = RecordingModel(WAVE)
    batch = planner(job("a", model, 2), job("b", model, 2, layer=Layer("hidden")), job("c", model, 2))()
    assert set(paths(batch)) == {"a/0", "c/0"}


def test_a_job_with_points_of_another_lane_only_is_left_alone():
    model = RecordingModel(WAVE)
    odd = job("b", model, 2, layer=Layer("hidden"))
    next_pass = planner(job("a", model, 2), odd)
    next_pass()
    assert [line.waiting for line in odd.lines.values()] == [2]
    assert any("b/0" in paths(next_pass()) for _ in range(2))


def test_the_part_of_one_job_keeps_its_order():
    model = RecordingModel(WAVE)
    a, b = job("a", model, 2), job("b", model, 2, n_inputs=2)
    batch = planner(a, b)()
    assert batch.jobs == [a, b]
    part = batch.of_job(b)
    assert part.jobs == [b]
    assert part.model is model
    assert paths(part) == ["b/0", "b/0", "b/1", "b/1"]
    assert alphas(part) == [1.0, 0.5] * 2
    assert part.sizes() == {"b": 4}


def test_shares_that_hold_no_whole_round_still_fill_the_pass():
    room = 256
    for n_jobs in (3, 9, 30, 256):
        shares = {f"job {n}": room // n_jobs for n in range(n_jobs)}
        rounds = _whole_rounds(shares, room, 29)
        assert sum(rounds.values()) == room // 29
    assert _whole_rounds({"a": 3, "b": 5}, 8, 29) == {"b": 1}
    assert _whole_rounds({"a": 58, "b": 87, "c": 0}, 256, 29) == {"a": 2, "b": 3}
    # What is left of the shares goes to those that miss least, and to nobody whose share is whole.
    assert _whole_rounds({"a": 29, "b": 57, "c": 30}, 116, 29) == {"a": 1, "b": 2, "c": 1}
