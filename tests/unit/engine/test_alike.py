"""Kinds of inputs are found again by what was asked, are never mixed up, and keep no model."""

import gc
import weakref
from dataclasses import replace

import numpy as np
from attributor.engine import alike
from attributor.engine.alike import Kinds
from attributor.jobs.explanation import Explanation, Target, fixed_baseline
from attributor.jobs.job import JobKind, JobSpec, Quadrature
from attributor.jobs.model import Feature, InputKind, InputSpec, ModelInfo, OutputSpec
from attributor.runtimes.torch_runtime import TorchModel
from torch import nn

FEATURES = tuple(Feature(f"f{n}") for n in range(3))
INFO = ModelInfo(
    "net", "1", "d", "", "", "", "", (InputSpec("x", InputKind.TABULAR, (3,), features=FEATURES),),
    OutputSpec("logits", ("a", "b")), {}, None,
)  # fmt: skip
X = {"x": np.ones(3, np.float32)}


def model():
    return TorchModel(nn.Linear(3, 2), INFO, sizes=64)


def asked(level=0.0, **words):
    return Explanation(baselines=(fixed_baseline("b", {"x": np.full(3, level, np.float32)}),), **words)


def spec(explanation, **words):
    return replace(
        JobSpec(JobKind.ATTRIBUTION, "net", "1", "d", INFO.inputs, (X,), "", explanation, Quadrature()), **words
    )


def of(kinds, of_model, job):
    return kinds.of(job, of_model, INFO, {})


def test_what_is_asked_again_is_the_same_kind_by_the_object_and_by_its_value():
    kinds, net, one = Kinds(), model(), asked()
    first = of(kinds, net, spec(one))
    assert of(kinds, net, spec(one)) is first
    assert of(kinds, net, spec(asked())) is first


def test_one_object_asks_other_things_of_other_jobs():
    kinds, net, one = Kinds(), model(), asked()
    first = of(kinds, net, spec(one))
    assert of(kinds, net, spec(one, digest="e")) != first
    tight = of(kinds, net, spec(one, quadrature=Quadrature(tolerance=0.001)))
    assert tight != first
    assert tight.quadrature.tolerance == 0.001
    assert of(kinds, net, spec(one, inputs=({"x": np.ones(3, np.float64)},))) != first
    assert of(kinds, net, spec(one, kind=JobKind.PREDICTION)) is None


def test_an_object_that_is_gone_lends_its_place_to_no_other():
    kinds, net = Kinds(), model()
    for level in range(3 * alike.MOST_KINDS):  # each is gone before the next is made, and would have its id
        found = of(kinds, net, spec(asked(float(level), seed=level)))
        assert found.baseline.tensors["x"][0] == level
        assert found.explanation.seed == level
    assert len(kinds._met) <= alike.MOST_KINDS
    assert len(kinds._known) <= alike.MOST_KINDS


def test_a_model_loaded_anew_has_kinds_of_its_own_and_the_old_one_is_let_go():
    kinds, old, one = Kinds(), model(), asked(targets=(Target(),))
    first = of(kinds, old, spec(one))
    anew = of(kinds, model(), spec(one))
    assert anew is not first
    assert anew == first  # of the same files
    gone = weakref.ref(old)
    del old
    gc.collect()
    assert gone() is None
