from dataclasses import replace

import numpy as np
import pytest
from attributor.core.adaptive import AdaptiveIntegrator
from attributor.core.asks import Curve
from attributor.core.first_round import FEWEST_FIRST_NODES
from attributor.core.fixed import FixedIntegrator
from attributor.core.placing import first_scan
from attributor.engine.active_job import ActiveJob, Line
from attributor.engine.explain import explain
from attributor.engine.integration import integrator_for
from attributor.engine.prediction import predict
from attributor.engine.task import Pick
from attributor.jobs.explanation import Target, fixed_baseline
from attributor.jobs.job import Quadrature, RuleName
from attributor.jobs.keeping import SUMS_IN_NODES, USUAL_NODES
from attributor.jobs.result import PathResult
from doubles import INPUT, RecordingModel, absorb, alone, assert_same_answer, fixed, job_spec, model_info, only
from problems import named

WAVE = named("x_x_sin")
STRAIGHT = (Curve(1, 0),)


def begin(model: RecordingModel, *inputs, procedure=None, window=None, memory=None, **changes) -> ActiveJob:
    """A job whose first inputs are begun, as many as `window`, or `memory` in bytes, allows: all by default."""
    on = (model, model_info(WAVE), {})
    targets = tuple(Target(rank=rank) for rank in range(changes.pop("targets", 1)))
    spec = job_spec(WAVE, *inputs, **changes)
    spec = replace(spec, explanation=replace(spec.explanation, targets=targets))
    job = ActiveJob.of("a", spec, on, procedure or explain(lambda: 0.0), 0.0)
    job.window = window or job.window
    if memory:
        job.share_out(memory)
    begin_more(job)
    return job


def begin_more(job: ActiveJob) -> None:
    while (task := job.next_task()) is not None:
        job.begin(task)


def serve(model: RecordingModel, job: ActiveJob, most: int = 64) -> list[Pick]:
    """One pass over the points that have waited for longest; the job's next inputs are begun. What was in it."""
    picks = job.take(job.first_lane(), most)
    for pick, told in zip(picks, model.evaluate([pick.points for pick in picks]), strict=True):
        absorb(job, pick, told)
    begin_more(job)
    return picks


def serve_all(model: RecordingModel, job: ActiveJob, most: int = 64) -> None:
    while job.lines:
        serve(model, job, most)
    assert job.done


def waiting(job: ActiveJob) -> list[int]:
    return [line.waiting for line in job.lines.values()]


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
        begin(RecordingModel(WAVE), inputs=())


def test_every_input_has_a_task_of_its_own_with_its_first_points_waiting():
    job = begin(RecordingModel(WAVE), [1.0], [2.0])
    assert [task.work.id for task in job.tasks] == ["a/0", "a/1"]
    assert waiting(job) == [2 * len(first_scan(1))]
    assert not job.done


def test_a_prediction_waits_for_one_point_per_input():
    assert waiting(begin(RecordingModel(WAVE), [1.0], [2.0], procedure=predict)) == [2]


def test_telling_counts_passes_and_ends_a_fixed_rule():
    model = RecordingModel(WAVE)
    job = begin(model, quadrature=fixed(1, RuleName.MIDPOINT))
    serve_all(model, job)
    costs = job.tasks[0].work.costs
    assert (costs.forwards, costs.backwards, costs.evaluations) == (3, 1, 1)
    assert model.paths == set()


def test_the_kind_of_the_first_ask_goes_first_and_the_other_waits_until_all_of_it_is_taken():
    # Right endpoints: a gradient at the example and inside, none at the baseline.
    job = begin(RecordingModel(WAVE, max_points=3), [5.0], quadrature=fixed(5))
    (lane,) = job.lines
    assert lane[1] is True
    assert len(job.take(lane, 3)[0].points.asks) == 3
    assert list(job.lines) == [lane]
    assert len(job.take(lane, 3)[0].points.asks) == 2
    assert [(kind, line.waiting) for (_, kind), line in job.lines.items()] == [(False, 1)]
    assert list(job.lines) == [job.first_lane()]


def test_what_is_wanted_next_waits_after_the_last_point_of_a_wish_in_whatever_order_they_are_told():
    model = RecordingModel(WAVE)
    job = begin(model, [5.0], quadrature=Quadrature(tolerance=0.001))
    lane = job.first_lane()
    picks = [pick for _ in range(len(first_scan(1))) for pick in job.take(lane, 1)]
    assert not job.lines
    evaluated = [model.evaluate([pick.points])[0] for pick in picks]
    for pick, told in [*zip(picks, evaluated, strict=True)][:0:-1]:
        absorb(job, pick, told)
        assert not job.lines
    absorb(job, picks[0], evaluated[0])
    assert job.lines


def some_answer(model: RecordingModel, most: int, **changes) -> PathResult:
    job = begin(model, [5.0], **changes)
    serve_all(model, job, most)
    (result,) = job.tasks[0].answer
    return result


@pytest.mark.parametrize("most", [1, 2, 3, 7])
@pytest.mark.parametrize(
    "quadrature", [Quadrature(tolerance=0.001), fixed(9), fixed(8, RuleName.MIDPOINT), fixed(7, RuleName.TRAPEZOID)]
)
def test_a_wish_told_in_parts_gives_the_same_answer(most, quadrature):
    parts, whole = (some_answer(RecordingModel(WAVE), n, quadrature=quadrature) for n in (most, 64))
    assert_same_answer(parts, whole)
    assert (parts.forwards, parts.backwards) == (whole.forwards, whole.backwards)


def test_a_vertex_where_paths_meet_is_one_point_with_a_node_of_each():
    model = RecordingModel(WAVE)
    baselines = tuple(fixed_baseline(name, {INPUT: np.array([x], np.float32)}) for name, x in (("a", 0.0), ("b", 1.0)))
    spec = job_spec(WAVE, [5.0], quadrature=fixed(6))
    explanation = replace(spec.explanation, baselines=baselines)
    parts, whole = (some_answer(model, most, quadrature=fixed(6), explanation=explanation) for most in (1, 64))
    assert_same_answer(parts, whole)
    # Both paths have a node at the example: 2 * 6 nodes are 11 gradients, and each baseline is one point more.
    assert (whole.evaluations, whole.forwards) == (11, 13)
    first = model.passes[0][0]
    assert (first.alpha, [node.curve for node in first.nodes]) == (1.0, [0, 1])
    assert len(whole.nodes.alpha) == 14


def test_portions_of_several_inputs_share_a_pass_and_each_goes_on_by_itself():
    model = RecordingModel(WAVE)
    job = begin(model, [5.0], [4.0], quadrature=fixed(4))
    picks = serve(model, job, 6)
    assert [(pick.portion.task.work.id, pick.first, len(pick.points.asks)) for pick in picks] == [
        ("a/0", 0, 4),
        ("a/1", 0, 2),
    ]
    (rest,) = job.take(job.first_lane(), 6)
    assert (rest.portion.task.work.id, rest.first, len(rest.points.asks)) == ("a/1", 2, 2)
    (told,) = model.evaluate([rest.points])
    absorb(job, rest, told)
    serve_all(model, job)
    for task, x in zip(job.tasks, (5.0, 4.0), strict=True):
        assert_same_answer(task.answer[0], only(alone(WAVE, job_spec(WAVE, [x], quadrature=fixed(4)))))


def test_points_of_two_lanes_wait_in_lines_of_their_own():
    line, model = Line(), RecordingModel(WAVE)
    job = begin(model, [5.0], [4.0], quadrature=fixed(4))
    (portions,) = [list(each._portions) for each in job.lines.values()]
    for portion in portions:
        line.add(portion)
    assert line.waiting == 8
    taken = list(line.take(5))
    assert [len(pick.points.asks) for pick, _ in taken] == [4, 1]
    # The baseline of the first need not wait any longer, that of the second must.
    assert [then is not None and then.waiting for _, then in taken] == [1, False]
    assert line.waiting == 3
    assert [len(pick.points.asks) for pick, _ in line.take(100)] == [3]
    assert (line.waiting, list(line.take(1))) == (0, [])


def test_no_more_inputs_are_under_way_than_the_window_allows():
    model = RecordingModel(WAVE)
    loose = Quadrature(tolerance=0.05)
    job = begin(model, *([float(x)] for x in range(1, 8)), window=3, quadrature=loose)
    assert model.paths == {"a/0", "a/1", "a/2"}
    most = 0
    while job.lines:
        serve(model, job, 5)
        most = max(most, len(model.paths))
        under_way = job.n_started - job.n_done
        assert under_way == min(3, 7 - job.n_done) == len(model.paths)
    assert job.done
    assert most == 3
    for x, task in enumerate(job.tasks, start=1):
        assert_same_answer(task.answer[0], only(alone(WAVE, job_spec(WAVE, [float(x)], quadrature=loose))))


def test_as_many_inputs_are_under_way_as_the_memory_for_their_vectors_allows():
    # Of one feature, float64 in the double: vectors in two targets, with the sums of sealed panels, and two vertices.
    one = (USUAL_NODES + SUMS_IN_NODES) * 8 * 2 + 2 * 8
    for memory, window in ((10 * one, 7), (3 * one, 3), (3 * one + one // 2, 3), (one, 1)):
        model = RecordingModel(WAVE)
        job = begin(model, *([float(x)] for x in range(1, 8)), targets=2, memory=memory)
        assert job.window == len(model.paths) == window
        assert {task.work.memory.part_bytes for task in job.tasks} == {memory // window}


def test_progress_counts_what_is_done_and_what_is_under_way():
    model = RecordingModel(WAVE)
    job = begin(model, [5.0], [4.0], [3.0], window=1, quadrature=fixed(4))
    seen = []
    while job.lines:
        serve(model, job, 3)
        progress = job.progress()
        seen.append((progress.inputs_done, progress.evaluations))
    assert seen == [(0, 3), (0, 4), (1, 4), (1, 7), (1, 8), (2, 8), (2, 11), (2, 12), (3, 12)]
    answers = [task.answer[0] for task in job.tasks]
    assert job.progress().completeness_error == pytest.approx(max(a.relative_completeness_error for a in answers))


def test_each_answer_is_handed_out_once():
    model = RecordingModel(WAVE)
    job = begin(model, [5.0], [4.0], window=1, quadrature=fixed(4))
    assert job.fresh() == []
    serve(model, job), serve(model, job)
    (first,) = job.fresh()
    assert [result.input for result in first] == [0]
    assert job.fresh() == []
    serve_all(model, job)
    assert [result.input for answer in job.fresh() for result in answer] == [1]


def test_starting_opens_a_route_per_input_and_closing_frees_each_once():
    model = RecordingModel(WAVE)
    job = begin(model, [1.0], [2.0])
    assert model.paths == {"a/0", "a/1"}
    assert model.routes["a/1/path"].example["x"].tolist() == [2.0]
    job.tasks[0].close()
    assert model.paths == {"a/1"}
    job.close()
    job.close()
    assert model.paths == set()


def test_a_procedure_that_wants_no_points_is_a_bug():
    def of_nothing(work):
        yield ()

    with pytest.raises(RuntimeError, match="no points"):
        begin(RecordingModel(WAVE), procedure=of_nothing)
