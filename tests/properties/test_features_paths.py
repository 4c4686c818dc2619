"""Baselines, targets and paths, end to end on torch nets: held against integrals by hand in float64."""

import numpy as np
import pytest
import torch
from attributor.jobs.explanation import BaselineKind, BaselinePart, BaselineSpec, Gamma, GammaKind, Target, Term
from attributor.jobs.job import Quadrature
from attributor.jobs.model import OutputKind, OutputScale
from path_integrals import along, straight, tensor64
from scipy.fft import dctn, idctn
from torch import Tensor, nn
from torch_engine import CLOSE, baseline, codes, explain, explained, fixed, off, output
from torch_nets import (
    PICTURE,
    TOKENS,
    PictureAndTable,
    Reader,
    Tagger,
    classes_of,
    cnn,
    described,
    mlp,
    normal,
    row,
    uniform,
    values_of,
    wide,
)

#: What CLOSE allows, and estimates being estimates.
NEAR = 3e-3
NET, INFO = mlp(1, (4, 16, 12, 3)), classes_of(4, 3)
RELU = mlp(2, (4, 16, 12, 3), "relu")
X, X0 = normal(3, 4), normal(4, 4)
LOGIT = output(1, scale=OutputScale.LOGIT)


def logit(net: nn.Module, index: int = 1):
    double = wide(net)
    return lambda points: double(points)[:, index]


def at(score, point) -> float:
    return score(tensor64(point)[None]).item()


# Baselines


def test_several_baselines_give_the_mean_of_what_each_gives_alone():
    starts = [baseline(x=normal(seed, 4)) for seed in (5, 6, 7)]
    together = explained(NET, INFO, {"x": X}, baselines=tuple(starts), targets=(LOGIT,), quadrature=fixed(20))
    alone = [explained(NET, INFO, {"x": X}, baselines=(s,), targets=(LOGIT,), quadrature=fixed(20)) for s in starts]
    each = np.stack([result.attributions["x"] for result in alone]).astype(np.float64)
    assert off(together.attributions["x"], each.mean(0)) < 1e-5
    assert off(together.spread["x"], each.std(0, ddof=1)) < 1e-5
    assert together.baseline_score == pytest.approx(np.mean([result.baseline_score for result in alone]))
    # The example is the one vertex that the three paths share: one forward pass for all of them.
    assert together.forwards == sum(result.forwards for result in alone) - 2
    weighted = sum(w * slope for w, slope in zip(together.nodes.weight, together.nodes.slope, strict=True) if slope)
    assert weighted == pytest.approx(together.attribution_sum, rel=1e-5)


def test_several_baselines_are_right_by_hand():
    starts = [normal(seed, 4) for seed in (5, 6, 7)]
    result = explained(
        NET, INFO, {"x": X}, baselines=tuple(baseline(x=s) for s in starts), targets=(LOGIT,), quadrature=CLOSE
    )
    assert off(result.attributions["x"], np.mean([straight(logit(NET), s, X) for s in starts], axis=0)) < NEAR


# Targets


def test_targets_of_one_job_are_those_of_separate_jobs():
    targets = [
        LOGIT, Target(rank=1), output(0, scale=OutputScale.LOG_PROBABILITY), output(0, 2, scale=OutputScale.LOGIT)
    ]  # fmt: skip
    asked = {"baselines": (baseline(x=X0),), "quadrature": fixed(20)}
    together = explain(NET, INFO, {"x": X}, targets=tuple(targets), **asked)
    for one, target in zip(together, targets, strict=True):
        alone = explained(NET, INFO, {"x": X}, targets=(target,), **asked)
        assert off(one.attributions["x"], alone.attributions["x"]) < 1e-5
        assert (one.target, one.nodes.alpha) == (alone.target, alone.nodes.alpha)
    assert together[0].forwards == alone.forwards


def test_one_class_less_another_gets_the_difference_of_their_attributions():
    contrast = Target((Term(2), Term(0, -1.0)), scale=OutputScale.LOGIT)
    two, zero, difference = explain(
        NET, INFO, {"x": X}, baselines=(baseline(x=X0),), quadrature=fixed(20),
        targets=(output(2, scale=OutputScale.LOGIT), output(0, scale=OutputScale.LOGIT), contrast),
    )  # fmt: skip
    expected = two.attributions["x"] - zero.attributions["x"]
    assert np.abs(difference.attributions["x"] - expected).sum() < 1e-5 * np.abs(two.attributions["x"]).sum()
    by_hand = straight(lambda p: logit(NET, 2)(p) - logit(NET, 0)(p), X0, X)
    assert off(difference.attributions["x"], by_hand) < 1e-4


@pytest.mark.parametrize("scale", list(OutputScale)[:3])
def test_every_scale_is_right_by_hand(scale):
    read = {"probability": lambda z: z.softmax(1), "logit": lambda z: z, "log_probability": lambda z: z.log_softmax(1)}
    target = Target((Term(0, 0.7), Term(2, -1.5)), scale=scale)

    def score(points: Tensor) -> Tensor:
        found = read[scale](wide(NET)(points))
        return 0.7 * found[:, 0] - 1.5 * found[:, 2]

    result = explained(NET, INFO, {"x": X}, baselines=(baseline(x=X0),), targets=(target,), quadrature=CLOSE)
    assert result.score == pytest.approx(at(score, X), abs=1e-5)
    assert off(result.attributions["x"], straight(score, X0, X)) < NEAR


def test_regression_outputs_are_read_as_they_stand():
    result = explained(
        NET, values_of(4, 3), {"x": X}, baselines=(baseline(x=X0),), targets=(output(1),), quadrature=CLOSE
    )
    assert result.score == pytest.approx(at(logit(NET), X), abs=1e-5)
    assert off(result.attributions["x"], straight(logit(NET), X0, X)) < NEAR


IDS = np.array([3, 0, 8, 5, 8], np.int64)
NO_WORDS = BaselineSpec("nothing", {"ids": BaselinePart(BaselineKind.ZERO_EMBEDDING)})


def test_the_predicted_token_is_that_of_each_targets_own_position():
    net = Tagger(7)
    info = described(TOKENS, n_out=4, kind=OutputKind.SEQUENCE, positions=5)
    targets = tuple(Target(rank=rank, position=position) for position in range(5) for rank in (0, 1))
    results = explain(net, info, {"ids": IDS}, baselines=(NO_WORDS,), targets=targets)
    assert [result.target.predicted for result in results] == [True, False] * 5
    assert len({result.target.terms for result in results[::2]}) > 1, "one token everywhere would prove nothing"


@pytest.mark.parametrize(("position", "token"), [(0, 1), (2, 3), (-1, 0)])
def test_a_position_and_a_token_of_a_sequence_are_right_by_hand(position, token):
    net = Tagger(8)
    info = described(TOKENS, n_out=4, kind=OutputKind.SEQUENCE, positions=5)
    target = output(token, scale=OutputScale.LOG_PROBABILITY, position=position)
    result = explained(net, info, {"ids": IDS}, baselines=(NO_WORDS,), targets=(target,), quadrature=CLOSE)
    end = wide(net).embed(torch.tensor(IDS))
    start = end.clone()
    start[IDS != 0] = 0  # padding stays
    expected = straight(
        lambda points: wide(net).of_embedded(points)[:, position].log_softmax(-1)[:, token], start, end, panels=20
    )
    assert result.target.position == position % 5
    assert off(result.attributions["ids"], expected.sum(-1)) < NEAR
    # Nothing is read backwards: what comes later gets nothing.
    assert not result.attributions["ids"][position % 5 + 1 :].any()


def test_one_answer_per_text_is_right_by_hand():
    net = Reader(9)
    pad = BaselineSpec("pad", {"ids": BaselinePart(BaselineKind.PAD)})
    result = explained(
        net, described(TOKENS, n_out=4), {"ids": IDS}, baselines=(pad,), targets=(LOGIT,), quadrature=CLOSE
    )  # fmt: skip
    embed = wide(net).embed
    start, end = embed(torch.zeros(5, dtype=torch.long)), embed(torch.tensor(IDS))
    expected = straight(lambda points: wide(net).of_embedded(points)[:, 1], start, end, panels=20)
    assert off(result.attributions["ids"], expected.sum(-1)) < NEAR


# Paths


def pieces(points: list[np.ndarray]):
    """The curve through these points, each piece as long as the next."""
    corners = [tensor64(point) for point in points]

    def gamma(alpha: float) -> Tensor:
        k = min(int(alpha * (len(corners) - 1)), len(corners) - 2)
        return corners[k] + (alpha * (len(corners) - 1) - k) * (corners[k + 1] - corners[k])

    return gamma


@pytest.mark.parametrize(("net", "near"), [(NET, NEAR), (RELU, NEAR)], ids=["tanh", "relu"])
def test_a_polyline_is_complete_and_right_by_hand(net, near):
    inner = (normal(10, 4), normal(11, 4))
    result = explained(
        net, INFO, {"x": X}, baselines=(baseline(x=X0),), targets=(LOGIT,), quadrature=CLOSE,
        gamma={"x": Gamma(GammaKind.POLYLINE, points=inner)},
    )  # fmt: skip
    score = logit(net)
    gap = at(score, X) - at(score, X0)
    assert result.converged
    assert abs(result.attribution_sum - gap) <= 1e-3 * abs(gap) + 1e-5
    assert off(result.attributions["x"], along(score, pieces([X0, *inner, X]), 6000)) < near


def blurred64(image: np.ndarray, sigma: float) -> Tensor:
    """The heat equation with reflecting borders, by scipy's transforms."""
    coefficients = dctn(image.astype(np.float64), axes=(1, 2), norm="ortho")
    down, across = (np.pi * np.arange(n) / n for n in image.shape[1:])
    decay = np.exp(-(sigma**2) * (down[:, None] ** 2 + across[None] ** 2) / 2)
    return tensor64(idctn(decay * coefficients, axes=(1, 2), norm="ortho"))


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_blur_path_is_complete_and_right_by_hand(activation):
    net, image, sigma = cnn(12, activation), uniform(13, 2, 6, 6), 3.0
    result = explained(
        net, described(PICTURE, n_out=3), {"picture": image}, baselines=(), targets=(LOGIT,), quadrature=CLOSE,
        gamma={"picture": Gamma(GammaKind.BLUR, sigma=sigma)},
    )  # fmt: skip
    score = logit(net)
    gap = at(score, image) - at(score, blurred64(image, sigma))
    assert result.converged
    assert abs(result.attribution_sum - gap) <= 1e-3 * abs(gap) + 2e-5
    assert np.allclose(result.baseline["picture"], blurred64(image, sigma), atol=1e-6)
    expected = along(score, lambda alpha: blurred64(image, (1 - alpha) * sigma), 1500)
    assert off(result.attributions["picture"], expected) < NEAR


def test_every_input_has_a_path_of_its_own():
    """The picture comes out of a blur while the table goes straight."""
    net, image, table, table0, sigma = PictureAndTable(14), uniform(15, 2, 6, 6), normal(16, 3), normal(17, 3), 2.0
    result = explained(
        net, described(PICTURE, row(3, "table"), n_out=3), {"picture": image, "table": table}, targets=(LOGIT,),
        baselines=(baseline(table=table0),), gamma={"picture": Gamma(GammaKind.BLUR, sigma=sigma)}, quadrature=CLOSE,
    )  # fmt: skip
    double = wide(net)

    def score(points: Tensor) -> Tensor:
        """Both inputs in one row."""
        return double(points[:, :72].reshape(-1, 2, 6, 6), points[:, 72:])[:, 1]

    def gamma(alpha: float) -> Tensor:
        at_alpha = tensor64(table0) + alpha * (tensor64(table) - tensor64(table0))
        return torch.cat([blurred64(image, (1 - alpha) * sigma).flatten(), at_alpha])

    expected = along(score, gamma, 1500)
    found = np.concatenate([result.attributions["picture"].ravel(), result.attributions["table"]])
    gap = at(score, gamma(1.0)) - at(score, gamma(0.0))
    assert off(found, expected) < NEAR
    assert abs(found.sum(dtype=np.float64) - gap) <= 1e-3 * abs(gap) + 2e-5


def bow(start: Tensor, end: Tensor):
    """A path object: a bow beside the straight line, as far off as its middle is long."""
    aside = (end - start).roll(1)

    def bend(alphas: Tensor) -> tuple[Tensor, Tensor]:
        alpha = alphas[:, None]
        points = start + alpha * (end - start) + torch.sin(torch.pi * alpha) * aside
        return points, (end - start) + torch.pi * torch.cos(torch.pi * alpha) * aside

    return bend


@pytest.mark.parametrize("net", [NET, RELU], ids=["tanh", "relu"])
def test_a_registered_path_is_complete_and_right_by_hand(net):
    result = explained(
        net, INFO, {"x": X}, baselines=(baseline(x=X0),), targets=(LOGIT,), quadrature=CLOSE, paths={"bow": bow},
        gamma={"x": Gamma(GammaKind.REGISTERED, name="bow")},
    )  # fmt: skip
    score, (start, end) = logit(net), (tensor64(X0), tensor64(X))

    def gamma(alpha: float) -> Tensor:
        return start + alpha * (end - start) + np.sin(np.pi * alpha) * (end - start).roll(1)

    gap = at(score, X) - at(score, X0)
    assert abs(result.attribution_sum - gap) <= 1e-3 * abs(gap) + 1e-5
    assert off(result.attributions["x"], along(score, gamma, 6000)) < NEAR
    assert off(result.attributions["x"], straight(score, X0, X)) > 0.05, "the straight path says something else"


class Watched(nn.Module):
    """Keeps the inputs of its passes with gradients."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.seen: list[np.ndarray] = []

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.seen += list(x.detach().numpy().copy())
        return self.net(x)


@pytest.mark.parametrize("fraction", [0.1, 0.3])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_guided_path_is_complete_and_no_feature_turns_back(activation, fraction):
    net = Watched(mlp(18, (10, 16, 12, 3), activation)).eval()
    x, x0 = normal(19, 10), normal(20, 10)
    result = explained(
        net, classes_of(10, 3), {"x": x}, baselines=(baseline(x=x0),), targets=(LOGIT,),
        quadrature=Quadrature(tolerance=1e-3, max_evaluations=3000),
        gamma={"x": Gamma(GammaKind.GUIDED, steps=8, fraction=fraction)},
    )  # fmt: skip
    score = logit(net.net)
    gap = at(score, x) - at(score, x0)
    assert result.converged
    assert "not_converged" not in codes(result)
    assert abs(result.attribution_sum - gap) <= 1e-3 * abs(gap) + 1e-5
    seen = np.stack(sorted(net.seen, key=lambda point: -np.abs(point.astype(np.float64) - x).sum()))
    steps = np.diff(seen.astype(np.float64), axis=0) * np.sign(x - x0)
    assert steps.min() >= -1e-6
    # Features arrive one after another, so the path is no straight line.
    share = (seen - x0) / (x - x0)
    assert np.ptp(share, axis=1).max() > 0.9
