"""Answers from stacks are held to those of the procedures that they stand in for."""

import gc
import weakref
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from attributor.core.first_round import EVEN_ROUNDS
from attributor.engine.alike import Kinds
from attributor.engine.engine import Engine
from attributor.jobs.explanation import (
    BaselineKind,
    BaselinePart,
    BaselineSpec,
    Explanation,
    Method,
    Precision,
    Smoothing,
    Target,
    Term,
    fixed_baseline,
)
from attributor.jobs.job import Failure, JobKind, JobSpec, Quadrature, RuleName
from attributor.jobs.model import Feature, InputKind, InputSpec, ModelInfo, OutputKind, OutputScale, OutputSpec
from attributor.runtimes.torch_runtime import TorchModel
from torch import nn
from torch_engine import OneModel

FEATURES = tuple(Feature(f"f{n}", minimum=-2.0, maximum=2.0) for n in range(4))
INFO = ModelInfo(
    "net", "1", "d", "", "", "", "", (InputSpec("x", InputKind.TABULAR, (4,), features=FEATURES),),
    OutputSpec("logits", ("a", "b", "c")), {}, None,
)  # fmt: skip
LOOSE, TIGHT = Quadrature(tolerance=0.05), Quadrature(tolerance=0.002)
ZERO = fixed_baseline("zero", {"x": np.zeros(4, np.float32)})
N_POINTS = 14


class Net(nn.Module):
    """Kinked enough that some of its paths need more than a first round. `seen`: rows of each pass.

    An input whose first feature is 1.5 makes a pass raise, one of 1.25 gives scores that are not numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.one, self.two = nn.Linear(4, 24), nn.Linear(24, 3)
        nn.init.normal_(self.one.weight, std=2.0)
        self.seen: list[int] = []

    def forward(self, x):
        self.seen.append(len(x))
        if (x[:, 0] == 1.5).any():
            raise ValueError("will not have it")
        return self.two(torch.relu(self.one(x))) + torch.where(x[:, :1] == 1.25, torch.nan, 0.0)


def examples(n, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 4)).astype(np.float32)
    rows[::3, 2] = 0.0  # as the baseline has it
    rows[::4, 1] = 3.0  # beyond its domain
    return [{"x": row} for row in rows]


def job(*rows, quadrature=LOOSE, info=INFO, **asked):
    asked = {"baselines": (ZERO,), "targets": (Target(),)} | asked
    return JobSpec(JobKind.ATTRIBUTION, "net", "1", "d", info.inputs, rows, "", Explanation(**asked), quadrature)


def engine_of(net=None, info=INFO, sizes=256, **settings):
    rows = {"x": np.random.default_rng(3).normal(size=(20, 4)).astype(np.float32)}
    model = TorchModel(net or Net().eval(), info, sizes=sizes)
    return Engine(OneModel(model, info, rows), lambda: 0.0, **settings), model


def ends(engine, **jobs):
    for name, spec in jobs.items():
        engine.admit(name, spec)
    found = {}
    for _ in range(2000):
        found |= {each.job_id: each.outcome for each in engine.step()}
        if engine.idle:
            return found
    raise AssertionError("a job does not end")


def results(spec, **settings):
    engine, _ = engine_of(**settings)
    return ends(engine, a=spec)["a"].results


def by_procedures(monkeypatch):
    monkeypatch.setattr(Kinds, "of", lambda *_: None)


def assert_equal(one, other):
    """Every field of two results."""
    for each in fields(one):
        a, b = getattr(one, each.name), getattr(other, each.name)
        if each.name in ("attributions", "baseline"):
            assert a.keys() == b.keys()
            for name in a:
                assert a[name].dtype == b[name].dtype
                assert a[name] == pytest.approx(b[name], abs=1e-5), each.name
        elif each.name == "nodes":
            for part in ("alpha", "weight", "score", "piece"):
                assert getattr(a, part) == pytest.approx(getattr(b, part), abs=1e-5), part
            assert [s is None for s in a.slope] == [s is None for s in b.slope]
            assert [s or 0 for s in a.slope] == pytest.approx([s or 0 for s in b.slope], abs=1e-5)
        elif each.name == "baselines":
            assert [x.name for x in a] == [x.name for x in b]
            assert [x.completeness_error for x in a] == pytest.approx([x.completeness_error for x in b], abs=1e-5)
        elif each.name == "forwards":  # each round of a stack begins with both ends
            assert a - b in range(0, 2 * EVEN_ROUNDS, 2)
        elif each.name == "warnings":
            assert [x.code for x in a] == [x.code for x in b]
        elif isinstance(a, float) and not isinstance(a, bool):
            assert a == pytest.approx(b, abs=2e-5), each.name
        else:
            assert a == b, each.name


REGRESSION = replace(INFO, output=OutputSpec("value", ("y", "z", "w"), OutputKind.VALUES))
ASKED = {
    "loose": {},
    "tight": {"quadrature": TIGHT},
    "second class": {"targets": (Target(rank=1, scale=OutputScale.LOGIT),)},
    "a difference": {"targets": (Target((Term(0), Term(2, -1.0)), scale=OutputScale.LOGIT),)},
    "an absolute tolerance": {"quadrature": Quadrature(tolerance=0.01, absolute_tolerance=0.5)},
    "no tolerance but that of vectors": {"quadrature": Quadrature(tolerance=0.05, attribution_tolerance=0.05)},
    "mean": {"baselines": (BaselineSpec("mean", {"x": BaselinePart(BaselineKind.MEAN)}),)},
    "constant": {"baselines": (BaselineSpec("two", {"x": BaselinePart(BaselineKind.CONSTANT, value=2.0)}),)},
    "regression": {"info": REGRESSION, "targets": (Target((Term(0),), scale=OutputScale.VALUE),)},
    "small budget": {"quadrature": Quadrature(tolerance=0.002, max_evaluations=20)},
    "tiny budget": {"quadrature": Quadrature(tolerance=0.002, max_evaluations=5)},
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_an_answer_is_the_same_as_by_its_procedure(asked, monkeypatch):
    spec, info = job(*examples(24), **asked), asked.get("info", INFO)
    found = results(spec, info=info)
    by_procedures(monkeypatch)
    expected = results(spec, info=info)
    assert [each.input for each in found] == list(range(24))
    for one, other in zip(found, expected, strict=True):
        assert_equal(one, other)
    if asked in ({}, ASKED["regression"]):
        assert {w.code for each in found for w in each.warnings} >= {"features_equal_to_baseline", "outside_domain"}


def test_messages_of_warnings_are_the_same_to_the_letter(monkeypatch):
    spec = job(*examples(12))
    found = results(spec)
    by_procedures(monkeypatch)
    texts = [[w.message for w in each.warnings if w.code != "attribution_error_large"] for each in found]
    assert any(texts)
    assert texts == [
        [w.message for w in each.warnings if w.code != "attribution_error_large"] for each in results(spec)
    ]


def test_inputs_of_several_jobs_share_a_pass():
    net = Net().eval()
    engine, _ = engine_of(net)
    rows = examples(6)
    found = ends(engine, a=job(*rows[:3]), b=job(rows[3]), c=job(*rows[4:]))
    assert net.seen[0] == 6 * N_POINTS + 1
    assert [len(found[name].results) for name in "abc"] == [3, 1, 2]
    alone = [results(job(row))[0] for row in rows]
    together = [each for name in "abc" for each in found[name].results]
    for one, other in zip(together, alone, strict=True):
        assert_equal(one, replace(other, input=one.input))


@pytest.mark.parametrize(
    "other",
    [
        {"quadrature": Quadrature(tolerance=0.04)},
        {"baselines": (fixed_baseline("zero", {"x": np.full(4, 0.1, np.float32)}),)},
        {"baselines": (fixed_baseline("nought", {"x": np.zeros(4, np.float32)}),)},
        {"targets": (Target(rank=1),)},
        {"seed": 7},
    ],
    ids=str,
)
def test_inputs_that_are_asked_otherwise_are_no_part_of_it(other):
    net = Net().eval()
    engine, _ = engine_of(net)
    found = ends(engine, a=job(*examples(2)), b=job(*examples(2), **other))
    assert net.seen[0] == 2 * N_POINTS + 1
    assert_equal(found["b"].results[0], results(job(*examples(2), **other))[0])


@pytest.mark.parametrize(
    "asked",
    [
        {"method": Method.SALIENCY},
        {"smoothing": Smoothing(samples=2)},
        {"precision": Precision.BFLOAT16},
        {"interior_alphas": (0.5,)},
        {"targets": (Target(), Target(rank=1))},
        {"baselines": (ZERO, fixed_baseline("b", {"x": np.ones(4, np.float32)}))},
        {"baselines": (BaselineSpec("g", {"x": BaselinePart(BaselineKind.GAUSSIAN, sigma=1.0)}),)},
        {"quadrature": Quadrature(RuleName.MIDPOINT, n_steps=4)},
    ],
    ids=str,
)
def test_what_is_not_plain_has_its_procedure(asked, monkeypatch):
    monkeypatch.setattr(TorchModel, "evaluate_stack", None)
    assert len(results(job(*examples(2), **asked))) == 2 * len(asked.get("targets", (0,)))


def test_a_stack_is_no_larger_than_a_pass():
    net = Net().eval()
    engine, _ = engine_of(net, sizes=4 * N_POINTS + 3)
    assert len(ends(engine, a=job(*examples(10)))["a"].results) == 10
    assert max(net.seen) == 4 * N_POINTS + 1


def test_nor_are_the_stacks_of_later_rounds():
    net = Net().eval()
    engine, _ = engine_of(net, sizes=200)
    assert len(ends(engine, a=job(*examples(24), quadrature=TIGHT))["a"].results) == 24
    assert max(net.seen) <= 200
    assert sum(net.seen) > 24 * 100, "some had several rounds"


@pytest.mark.parametrize("noisy", [1e3, 1e5])
def test_what_another_round_cannot_help_has_none(noisy, monkeypatch):
    class Shifted(Net):
        def forward(self, x):
            return super().forward(x) + noisy

    spec = job(
        *examples(12), quadrature=Quadrature(tolerance=1e-6), targets=(Target((Term(0),), scale=OutputScale.LOGIT),)
    )
    found = results(spec, net=Shifted().eval())
    by_procedures(monkeypatch)
    expected = results(spec, net=Shifted().eval())
    assert {each.stop_reason for each in expected} >= {"float_noise"}
    assert [(e.evaluations, e.stop_reason) for e in found] == [(e.evaluations, e.stop_reason) for e in expected]


def test_a_pass_that_is_smaller_than_a_first_round_takes_one():
    net = Net().eval()
    engine, _ = engine_of(net, sizes=4)
    assert len(ends(engine, a=job(*examples(2)), b=job(*examples(2)))["b"].results) == 2
    assert net.seen[0] == N_POINTS + 1


def test_the_fault_of_one_job_is_not_that_of_its_neighbours():
    rows = examples(3)
    rows[1] = {"x": np.array([1.5, 0, 0, 0], np.float32)}
    engine, _ = engine_of()
    found = ends(engine, a=job(rows[0]), bad=job(rows[1]), c=job(rows[2]))
    assert found["bad"] == Failure("model_error", "the model raised ValueError: will not have it")
    assert len(found["a"].results) == len(found["c"].results) == 1


def test_a_score_that_is_no_number_ends_its_job_with_the_input_and_the_place():
    rows = examples(3)
    rows[1] = {"x": np.array([1.25, 0.3, 0.1, -0.2], np.float32)}
    engine, _ = engine_of()
    found = ends(engine, a=job(rows[0]), bad=job(rows[2], rows[1]))
    assert len(found["a"].results) == 1
    assert found["bad"].code == "non_finite_score"
    assert found["bad"].detail == "inputs.1: the model's score is nan at alpha = 1 of the path"


def test_a_defect_in_the_arithmetic_is_one_jobs_and_no_others(monkeypatch):
    import attributor.engine.first_rounds as module

    original = module.answers

    def spoilt(alike, asked, *rest):
        if any(row.spec.fingerprint == "bad" for row in asked):
            raise ArithmeticError("a defect")
        return original(alike, asked, *rest)

    monkeypatch.setattr(module, "answers", spoilt)
    engine, _ = engine_of()
    rows = examples(2, seed=5)
    found = ends(engine, a=job(rows[0]), bad=replace(job(rows[1]), fingerprint="bad"))
    assert found["bad"].code == "internal_error"
    assert len(found["a"].results) == 1


def test_an_input_that_needs_more_goes_on_from_what_is_known():
    net = Net().eval()
    engine, _ = engine_of(net)
    (result,) = ends(engine, a=job(*examples(1), quadrature=TIGHT))["a"].results
    assert result.evaluations > N_POINTS
    assert result.converged
    assert sum(net.seen) == result.forwards


def test_where_there_is_no_room_for_more_they_wait_and_begin_afresh():
    spec = job(*examples(12), quadrature=TIGHT)
    expected = results(spec)
    # For the vectors of one input at a time.
    engine, model = engine_of(job_vector_bytes=16 * 40)
    found = ends(engine, a=spec)["a"].results
    assert [each.input for each in found] == list(range(12))
    for one, other in zip(found, expected, strict=True):
        assert one.attributions["x"] == pytest.approx(other.attributions["x"], abs=0.05)
        assert one.converged
    assert not model._routes


def test_a_job_is_cancelled_while_it_waits_for_its_first_round_or_after():
    engine, model = engine_of(sizes=N_POINTS)
    engine.admit("a", job(*examples(4), quadrature=TIGHT))
    engine.admit("b", job(*examples(1)))
    engine.step()
    engine.cancel("a")
    assert [each.job_id for _ in range(9) for each in engine.step()] == ["b"]
    assert engine.idle
    assert not model._routes


def test_progress_and_partial_results_have_what_is_answered():
    engine, _ = engine_of(sizes=2 * N_POINTS)
    engine.admit("a", job(*examples(5)))
    engine.step()
    progress = engine.progress()["a"]
    partial = engine.partial("a", estimates=True)
    assert progress.inputs_done == len(partial.results) > 0
    assert progress.evaluations >= progress.inputs_done * (N_POINTS - 1)
    assert progress.completeness_error >= max(each.relative_completeness_error for each in partial.results)


def test_attributions_that_float32_cannot_hold_are_refused():
    class Huge(nn.Module):
        def forward(self, x):
            return torch.stack([x.double().sum(1) * 1e39, x.double().sum(1), x.double().sum(1)], 1)

    engine, _ = engine_of(Huge(), info=REGRESSION)
    target = Target((Term(0),), scale=OutputScale.VALUE)
    found = ends(engine, a=job(*examples(1), targets=(target,), info=REGRESSION), b=job(*examples(1), info=REGRESSION))
    assert isinstance(found["a"], Failure)
    assert found["a"].code in ("non_finite_gradient", "non_finite_score")


def test_many_long_jobs_share_full_passes():
    net = Net().eval()
    engine, _ = engine_of(net, sizes=256)
    found = ends(engine, **{f"job{n}": job(*examples(40, seed=n)) for n in range(16)})
    assert all(len(each.results) == 40 for each in found.values())
    # 640 first rounds, of which 18 fill a pass, and the rounds of the few that need more.
    full = [n for n in net.seen if n >= 256 - N_POINTS]
    assert len(full) >= 0.9 * 640 // 18


def test_those_that_need_more_wait_until_they_fill_a_pass_or_all_first_rounds_are_over():
    net = Net().eval()
    engine, _ = engine_of(net, sizes=4 * N_POINTS)
    assert len(ends(engine, a=job(*examples(40), quadrature=TIGHT))["a"].results) == 40
    small = [n for n in net.seen[:10] if n < 2 * N_POINTS]
    assert not small


def test_a_job_that_failed_after_its_first_round_keeps_nothing_alive():
    engine, _ = engine_of()
    gc.collect()
    gc.disable()
    try:
        bad = np.array([1.25, 0.3, 0.1, -0.2], np.float32)
        kept = weakref.ref(bad)
        assert isinstance(ends(engine, bad=job({"x": bad}))["bad"], Failure)
        del bad
        assert kept() is None
    finally:
        gc.enable()


def test_later_rounds_are_charged_to_the_jobs_that_have_them(monkeypatch):
    engine, _ = engine_of()
    charged = []
    monkeypatch.setattr(engine._fairness, "charge", lambda spent: charged.append(dict(spent)))
    clock = iter(range(1000))
    engine._clock = lambda: float(next(clock))
    rows = examples(24)
    several = [row for row in rows if results(job(row))[0].evaluations > N_POINTS]
    once = [row for row in rows if results(job(row))[0].evaluations == N_POINTS - 1]
    ends(engine, hard=job(several[0]), easy=job(once[0]))
    assert charged[0]["hard"] > 1.9 * charged[0]["easy"]


def test_a_jobs_answer_holds_nothing_of_the_jobs_that_it_was_computed_with():
    inputs = examples(9)
    engine, _ = engine_of()
    found = ends(engine, one=job(*inputs[:4]), two=job(*inputs[4:8], quadrature=LOOSE), lone=job(inputs[8]))
    assert [len(found[name]) for name in ("one", "two", "lone")] == [4, 4, 1]
    assert not found["lone"].columns  # one object is made sooner than the columns of one row
    for name, own in (("one", inputs[:4]), ("two", inputs[4:8])):
        for block in found[name].columns:
            assert set(block.target.tolist()) == set(range(len(block.targets)))
            assert set(block.warned.tolist()) == set(range(len(block.warnings)))
            rows = len(block.inputs)
            assert rows > 1
            assert {len(each) for each in (block.scores, block.attributions["x"], block.sums)} == {rows}
        for made, alone in zip(found[name].results, own, strict=True):
            [by_itself] = results(job(alone))
            assert_equal(replace(made, input=0), by_itself)
