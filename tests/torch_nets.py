"""Random torch modules and their descriptions, for tests that go through the real model and the real engine.

Every net is in eval mode, frozen, and settled by its seed.
"""

import copy
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from attributor.jobs.model import InputKind, InputSpec, ModelInfo, OutputKind, OutputSpec
from attributor.runtimes.torch_runtime import configure_threads
from torch import Tensor, nn

configure_threads()

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU, "gelu": nn.GELU}
KINKED = frozenset({"relu"})


def settled(module: nn.Module) -> nn.Module:
    """As a bundle's module is given to the runtime."""
    return module.eval().requires_grad_(False)


def wide(module: nn.Module) -> nn.Module:
    """The same net in float64."""
    return copy.deepcopy(module).double()


def mlp(seed: int, sizes: Sequence[int], activation: str = "tanh", gain: float = 1.5) -> nn.Sequential:
    """Layers named 0, 1, ...: linear and activation by turns, linear at last.

    Weights are drawn `gain` / sqrt(n) wide, biases of every layer 0.5: wide enough that the nets are far from linear.
    """
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layer = nn.Linear(n_in, n_out)
        layer.weight.data = torch.randn(n_out, n_in, generator=generator) * gain / n_in**0.5
        layer.bias.data = torch.randn(n_out, generator=generator) * 0.5
        layers += [layer, ACTIVATIONS[activation]()]
    return settled(nn.Sequential(*layers[:-1]))


def cnn(seed: int, activation: str = "relu", n_classes: int = 3) -> nn.Sequential:
    """Two convolutions and a pool (of the largest with ReLU, else of the mean): (n, 2, 6, 6) to (n, classes).

    Torch's own first weights, three times as wide: far from linear.
    """
    torch.manual_seed(seed)
    pool = nn.MaxPool2d(2) if activation in KINKED else nn.AvgPool2d(2)
    act = ACTIVATIONS[activation]
    convolutions = (nn.Conv2d(2, 6, 3, padding=1), act(), pool, nn.Conv2d(6, 8, 3), act())
    net = settled(nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(8, n_classes)))
    for parameter in net.parameters():
        parameter.mul_(3.0)
    return net


class Skip(nn.Module):
    """A layer `first` that the input also goes round: (n, 4) to (n, 2)."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.head = nn.Linear(4, 4), nn.Linear(4, 2)
        settled(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(torch.tanh(self.first(x)), x)

    def after(self, z: Tensor, x: Tensor) -> Tensor:
        return self.head(torch.tanh(z) + 0.5 * torch.sin(x))


class Tagger(nn.Module):
    """Token ids (n, 5) to logits per position (n, 5, 4): embedding, GRU, linear."""

    VOCABULARY, POSITIONS, CLASSES = 11, 5, 4

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(self.VOCABULARY, 6)
        self.mix = nn.GRU(6, 8, batch_first=True)
        self.head = nn.Linear(8, self.CLASSES)
        self.head.weight.data *= 4
        settled(self)

    def forward(self, ids: Tensor) -> Tensor:
        return self.of_embedded(self.embed(ids))

    def of_embedded(self, embedded: Tensor) -> Tensor:
        return self.head(self.mix(embedded)[0])


class Reader(Tagger):
    """The same, with one answer per text: (n, 5) to (n, 4)."""

    def of_embedded(self, embedded: Tensor) -> Tensor:
        return super().of_embedded(embedded).mean(1)


class PictureAndTable(nn.Module):
    """Two inputs, which meet in a product: pictures (n, 2, 6, 6) and rows (n, 3) to (n, 3)."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.look, self.read = cnn(seed, "tanh"), mlp(seed, (3, 8, 3))
        settled(self)

    def forward(self, picture: Tensor, table: Tensor) -> Tensor:
        return self.look(picture) * (1 + self.read(table).tanh())


def described(
    *inputs: InputSpec,
    n_out: int = 2,
    kind: OutputKind = OutputKind.CLASSES,
    positions: int | None = None,
    reference_count: int = 0,
) -> ModelInfo:
    """A description, version 1, whose labels are the numbers of the outputs."""
    output = OutputSpec("out", tuple(str(n) for n in range(n_out)), kind, positions)
    return ModelInfo(
        "net", "1", "d1", "net", "", "", "", inputs, output, {}, "zero", reference_count=reference_count
    )  # fmt: skip


def row(n: int, name: str = "x") -> InputSpec:
    """An input of n plain numbers."""
    return InputSpec(name, InputKind.TENSOR, (n,))


PICTURE = InputSpec("picture", InputKind.IMAGE, (2, 6, 6), value_range=(0.0, 1.0))
TOKENS = InputSpec("ids", InputKind.TOKENS, (5,), vocabulary=Tagger.VOCABULARY, embedding="embed", pad_id=0)


def values_of(n: int, n_out: int = 1) -> ModelInfo:
    """A regression net on n numbers, `x`."""
    return described(row(n), n_out=n_out, kind=OutputKind.VALUES)


def classes_of(n: int, n_out: int = 2) -> ModelInfo:
    """A classifier on n numbers, `x`."""
    return described(row(n), n_out=n_out)


def normal(seed: int, *shape: int) -> np.ndarray:
    """Standard normal numbers, float32."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def uniform(seed: int, *shape: int) -> np.ndarray:
    """Numbers from 0 to 1, as a picture's, float32."""
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)
