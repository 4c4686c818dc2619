from dataclasses import replace

import numpy as np
import pytest
from attributor.engine.outcome import Copy
from attributor.engine.prediction import predict, prediction_result, resolved
from attributor.engine.work import Question, Work
from attributor.errors import NonFiniteScore
from attributor.jobs.explanation import Target, Term
from attributor.jobs.model import OutputKind, OutputScale
from doubles import PREDICTED, RecordingModel, job_spec, model_info, told
from problems import named

CUBIC = named("cubic")


def work_on(model: RecordingModel) -> Work:
    return Work("a/0", Question(0, job_spec(CUBIC), model_info(CUBIC)), model, {}, 0.0)


def answered(model, steps):
    """Serve a procedure to its end."""
    try:
        points = next(steps)
        while True:
            points = steps.send(model.evaluate(points))
    except StopIteration as stop:
        return stop.value


def test_a_prediction_is_one_forward_pass_at_the_input():
    model = RecordingModel(CUBIC)
    assert answered(model, predict(work_on(model))).tolist() == [-2.0, 2.0]
    assert [[(seen.alpha, seen.gradient) for seen in points] for points in model.passes] == [[(1.0, False)]]


@pytest.mark.parametrize(
    ("kind", "scale"), [(OutputKind.CLASSES, OutputScale.LOGIT), (OutputKind.VALUES, OutputScale.VALUE)]
)
def test_outputs_are_read_on_a_scale_that_the_model_has(kind, scale):
    model, info = RecordingModel(CUBIC), model_info(CUBIC)
    info = replace(info, output=replace(info.output, kind=kind))
    steps = predict(Work("a/0", Question(0, job_spec(CUBIC), info), model, {}, 0.0))
    next(steps)
    (route,) = model.routes.values()
    assert [target.scale for target in route.targets] == [scale]


def test_predictions_are_stacked_under_the_outputs_name():
    rows = [np.array([1.0, 2.0], dtype=np.float32)] * 3
    assert prediction_result(rows, model_info(CUBIC)).outputs["score"].shape == (3, 2)


def test_targets_are_resolved_at_the_example_and_its_route_is_freed():
    model = RecordingModel(CUBIC)
    work = work_on(model)
    at_example = answered(model, resolved(work, Copy(work.example, (Target(), Target(rank=1)))))
    assert [target.terms for target in at_example.targets] == [(Term(PREDICTED),), (Term(0),)]
    assert at_example.predicted == (PREDICTED, PREDICTED)
    assert at_example.scores == (2.0, -2.0)
    assert model.routes == {}


def test_a_score_that_is_not_finite_resolves_nothing():
    model = RecordingModel(CUBIC, spoilt={("a/0", 1.0): told(np.nan, None)})
    work = work_on(model)
    with pytest.raises(NonFiniteScore):
        answered(model, resolved(work, Copy(work.example, (Target(),))))
