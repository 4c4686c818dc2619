"""Small torch modules, their descriptions, and short ways to put routes through a TorchModel."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from attributor.core.asks import Ask, Asks, Node, one_node_each
from attributor.jobs.explanation import Target, Term
from attributor.jobs.model import InputKind, InputSpec, ModelInfo, OutputKind, OutputScale, OutputSpec, Tensors
from attributor.model_port import Blur, CurveSpec, Evaluations, Points, Registered, RouteSpec
from attributor.runtimes.torch_runtime import TorchModel, configure_threads
from torch import Tensor, nn

configure_threads()

LOGIT = Target((Term(0),), scale=OutputScale.LOGIT)


class Formula(nn.Module):
    """A model of one class whose logit is a formula of a row's two values; counts and records its passes."""

    def __init__(self, formula: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.formula = formula
        self.batches: list[Tensor] = []
        self.grad_modes: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(x.detach().clone())
        self.grad_modes.append(torch.is_grad_enabled())
        return self.formula(x[:, 0], x[:, 1])[:, None]


class TwoClasses(nn.Module):
    """Two logits, trainable: a linear map. (1, 1) gives (1, 3.5)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.linear.load_state_dict({"weight": torch.tensor([[2.0, -1.0], [0.5, 3.0]]), "bias": torch.zeros(2)})

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class Skipping(nn.Module):
    """Two layers and a head; with `skip`, what goes round the first layer is added before the head."""

    def __init__(self, *, skip: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
        self.act = nn.SiLU()
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        z = self.act(self.first(x))
        return self.head(torch.tanh(self.second(z) + (x if self.skip else 0.0)))


class Masked(nn.Module):
    """Two inputs: the mask, never attributed, multiplies what a layer makes of x."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer, self.head = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.head(torch.tanh(self.layer(x) * mask))


class Tagger(nn.Module):
    """Token ids to logits per position, through a sequence layer; reads the ids' own zeros as padding, too."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.embed, self.mix, self.head = nn.Embedding(7, 4), nn.GRU(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.of_embedding(self.embed(ids), ids)

    def of_embedding(self, embedded: Tensor, ids: Tensor) -> Tensor:
        return self.head(self.mix(embedded * (ids != 0)[:, :, None])[0])


def row(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def described(
    *inputs: InputSpec, n_labels: int = 2, kind: OutputKind = OutputKind.CLASSES, positions: int | None = None
) -> ModelInfo:
    output = OutputSpec("out", tuple(str(index) for index in range(n_labels)), kind, positions)
    return ModelInfo("net", "1", "", "", "", "", "", inputs, output, {}, "zero")


def vector_info(n: int = 2, n_labels: int = 2, kind: OutputKind = OutputKind.CLASSES) -> ModelInfo:
    return described(InputSpec("x", InputKind.TENSOR, (n,)), n_labels=n_labels, kind=kind)


TOKENS = InputSpec("ids", InputKind.TOKENS, (4,), vocabulary=7, embedding="embed", pad_id=0)
MASKED_INFO = described(
    InputSpec("x", InputKind.TENSOR, (3,)), InputSpec("mask", InputKind.TENSOR, (3,), attributed=False)
)


def open_straight(
    model: TorchModel,
    name: str,
    example: Tensors,
    *baselines: Tensors,
    targets: tuple[Target, ...] = (LOGIT,),
    bends: Mapping[str, Blur | Registered] | None = None,
    plain: bool = False,
    **spec: object,
) -> None:
    """A star: a curve to the example from each baseline."""
    model.open(name, RouteSpec(example, targets, **spec))  # type: ignore[arg-type]
    for baseline in baselines:
        model.add_curve(name, CurveSpec(baseline, example, bends or {}, plain))


def at(name: str, *alphas: float, gradient: bool = True, curve: int = 0, first: int = 0) -> list[Points]:
    """A portion of points of one node each, numbered from `first`."""
    return [Points(name, one_node_each(curve, alphas, first, gradient=gradient))]


def meeting(name: str, *nodes: Node, gradient: bool = True) -> list[Points]:
    """A portion of one point, at which several curves meet."""
    return [Points(name, Asks((Ask(nodes, gradient),)))]


def evaluated(model: TorchModel, name: str, alphas: Sequence[float], curve: int = 0, first: int = 1) -> Evaluations:
    """The example (node 0, without a gradient), then nodes from `first`; the example's evaluation is left out."""
    if first == 1:
        model.evaluate(at(name, 1.0, gradient=False))
    (found,) = model.evaluate(at(name, *alphas, curve=curve, first=first))
    return found


def said(evaluations: Evaluations) -> tuple[list[list[float]], list[list[float]], list[int]]:
    """Scores, slopes and tops as lists, to be compared; without gradients no slopes."""
    slopes = [] if np.isnan(evaluations.slopes).all() else evaluations.slopes.tolist()
    return evaluations.scores.tolist(), slopes, evaluations.tops.tolist()


def trapezoid(n: int) -> tuple[list[float], dict[int, float]]:
    """n + 1 alphas and their weights, by node from 1."""
    weights = [1 / n if 0 < number < n else 0.5 / n for number in range(n + 1)]
    return [number / n for number in range(n + 1)], dict(enumerate(weights, start=1))


def gradient_of(function: Callable[[Tensor], Tensor], point: np.ndarray) -> tuple[float, np.ndarray]:
    """A scalar function of one float32 row and its gradient there, by hand."""
    leaf = torch.tensor(point).requires_grad_()
    value = function(leaf[None]).squeeze()
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.item(), gradient.numpy()
