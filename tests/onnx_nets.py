"""Seeded nets and their ONNX files by every exporter, for tests and benchmarks of the importer."""

import io
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

Exporter = Literal["torchscript", "dynamo"]

N_WORDS = 50
N_POSITIONS = 12
#: Positions that the transformers know.
_MOST_POSITIONS = 128


class Residual(nn.Module):
    """Two convolutions with batch norm around a shortcut."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(out)
        self.second = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(out)
        self.shortcut = nn.Conv2d(channels, out, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(y)) + self.shortcut(x))


class ResidualCnn(nn.Module):
    """Pictures of 3x64x64 to ten classes, over `width`, 2 and 4 times `width` channels."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 5, padding=2)
        self.pool = nn.MaxPool2d(2)
        self.blocks = nn.Sequential(Residual(width, 2 * width), Residual(2 * width, 4 * width))
        self.head = nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(self.pool(F.relu(self.stem(x))))
        return self.head(y.mean((2, 3)))


class Encoder(nn.Module):
    """A transformer over embeddings, with a mask of the words that are there: two classes, from the first position."""

    def __init__(self, hidden: int = 64, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(_MOST_POSITIONS, hidden) * 0.1)
        self.layers = nn.ModuleList(Layer(hidden, heads) for _ in range(layers))
        self.head = nn.Linear(hidden, 2)

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        # One row of the mask per query: onnxruntime's Attention does not broadcast them.
        seen = mask[:, None, None, :].to(torch.bool).expand(-1, 1, embedded.shape[1], -1)
        y = embedded + self.places[: embedded.shape[1]]
        for layer in self.layers:
            y = layer(y, seen)
        return self.head(torch.tanh(y[:, 0]))


class Layer(nn.Module):
    """Attention and a feed-forward part, each with a shortcut and a norm, as in BERT."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(hidden, hidden) for _ in range(3))
        self.out = nn.Linear(hidden, hidden)
        self.wide, self.narrow = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)
        self.first_norm, self.second_norm = nn.LayerNorm(hidden), nn.LayerNorm(hidden)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = self.first_norm(x + self.out(y.transpose(1, 2).flatten(2)))
        return self.second_norm(x + self.narrow(F.gelu(self.wide(x))))


class WordEncoder(nn.Module):
    """The encoder from ids of words."""

    def __init__(self, hidden: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(N_WORDS, hidden)
        self.encoder = Encoder(hidden, layers)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.encoder(self.words(ids), mask)


class LstmClassifier(nn.Module):
    """A two-layer LSTM in both directions over (rows, positions, 16): three classes of the mean state."""

    def __init__(self, hidden: int = 24) -> None:
        super().__init__()
        self.lstm = nn.LSTM(16, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(2 * hidden, 3)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x)
        return self.head(states.mean(1))


@dataclass(frozen=True, slots=True)
class Net:
    """A net by name. `inputs(rows, seed)`: what it takes; `positions`: the axis of its inputs that may be of any
    length, None if there is none."""

    make: Callable[..., nn.Module]
    inputs: Callable[..., tuple[Tensor, ...]]
    positions: int | None = None


def _pictures(rows: int, seed: int) -> tuple[Tensor, ...]:
    return (torch.randn(rows, 3, 64, 64, generator=_generator(seed)),)


def _sequences(rows: int, seed: int, positions: int = N_POSITIONS) -> tuple[Tensor, ...]:
    return (torch.randn(rows, positions, 16, generator=_generator(seed)),)


def _masks(rows: int, positions: int) -> Tensor:
    """The last positions of every second row are padding."""
    mask = torch.ones(rows, positions, dtype=torch.int64)
    mask[1::2, -3:] = 0
    return mask


def _embeddings(rows: int, seed: int, positions: int = N_POSITIONS, hidden: int = 64) -> tuple[Tensor, ...]:
    return torch.randn(rows, positions, hidden, generator=_generator(seed)), _masks(rows, positions)


def _words(rows: int, seed: int, positions: int = N_POSITIONS) -> tuple[Tensor, ...]:
    return torch.randint(0, N_WORDS, (rows, positions), generator=_generator(seed)), _masks(rows, positions)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


NETS = {
    "cnn": Net(ResidualCnn, _pictures),
    "transformer": Net(Encoder, _embeddings),
    "words": Net(WordEncoder, _words),
    "lstm": Net(LstmClassifier, _sequences, positions=1),
}


@cache
def net(name: str, **sizes: int) -> nn.Module:
    """The net of this name in eval mode, frozen, with the same weights in every process."""
    state = torch.get_rng_state()
    torch.manual_seed(0)
    module = NETS[name].make(**sizes)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):  # statistics as if it had been trained
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
    torch.set_rng_state(state)
    return module.eval().requires_grad_(False)


_exported: dict[Any, bytes] = {}


def export(
    module: nn.Module,
    inputs: Sequence[Tensor],
    exporter: Exporter = "dynamo",
    opset: int = 20,
    *,
    dynamic_batch: bool = True,
    dynamic_positions: int | None = None,
) -> bytes:
    """The module as a file, made once per process; `dynamic_positions`: an axis of the first input of any length."""
    key = (id(module), exporter, opset, dynamic_batch, dynamic_positions)
    if key not in _exported:
        axes = [{0: "rows"} if dynamic_batch else {} for _ in inputs]
        if dynamic_positions is not None:
            axes[0][dynamic_positions] = "positions"
        run = _by_dynamo if exporter == "dynamo" else _by_torchscript
        _exported[key] = run(module, tuple(inputs), opset, axes)
    return _exported[key]


def _by_torchscript(module: nn.Module, inputs: tuple[Tensor, ...], opset: int, axes: list[dict[int, str]]) -> bytes:
    names, file = [f"input{i}" for i in range(len(inputs))], io.BytesIO()
    with warnings.catch_warnings():  # the exporter's own: it is deprecated, it traces, it warns of LSTM's batches
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            inputs,
            file,
            opset_version=opset,
            dynamo=False,
            input_names=names,
            output_names=["output"],
            dynamic_axes={name: each for name, each in zip(names, axes, strict=True) if each},
        )
    return file.getvalue()


def _by_dynamo(module: nn.Module, inputs: tuple[Tensor, ...], opset: int, axes: list[dict[int, str]]) -> bytes:
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.fx", "torch.export")]
    levels = [each.level for each in loggers]
    try:
        for each in loggers:
            each.setLevel(logging.ERROR)
        with warnings.catch_warnings():  # of its own parts that are deprecated
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                inputs,
                opset_version=opset,
                dynamo=True,
                verbose=False,
                dynamic_shapes=tuple(dict.fromkeys(each, torch.export.Dim.DYNAMIC) if each else None for each in axes),
            )
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
    assert program is not None
    return program.model_proto.SerializeToString()


@cache
def sklearn_mlp(*, plain: bool = True) -> tuple[Any, bytes]:
    """A pipeline of StandardScaler and MLPClassifier on eight numbers, three classes, and its file by skl2onnx.

    `plain`: without the map of names that a classifier's probabilities are put into.
    """
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    rows = random.normal(3, 2, (200, 8)).astype(np.float32)
    classes = (rows[:, :3] * [1, 2, 3]).argmax(1)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((12, 8), max_iter=300, random_state=0, tol=1e-2))
    pipeline.fit(rows, classes)
    said = {"zipmap": False} if plain else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = to_onnx(
            pipeline, rows[:1], options=said and {id(pipeline): said}, target_opset={"": 20, "ai.onnx.ml": 3}
        )
    return pipeline, model.SerializeToString()
