"""The eight nets as the benchmark sees them: scores, examples and baselines. Knows no quadrature.

`load("mlp").tuning` are fifty cases to tune on, `.held_out` fifty to report.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .choose_inputs import INPUTS
from .data import classifier_rows
from .molecules import molecules
from .sentences import MiniLm
from .train import trained

KINKED = ("mlp", "digits_cnn", "inception", "googlenet")
SMOOTH = ("lstm", "minilm", "transformer", "graph")
NAMES = KINKED + SMOOTH
TUNING_CASES = 50


@dataclass(frozen=True, slots=True)
class Case:
    """One question: the path's two ends (same shape and dtype), and the score along it.

    `score` maps points (n, *example.shape) to (n,), each point's score independent of the others'.
    """

    example: Tensor
    baseline: Tensor
    score: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Net:
    """A trained net and its hundred cases. `smooth` is False where ReLU or max-pool kink the score."""

    name: str
    smooth: bool
    module: nn.Module
    cases: tuple[Case, ...]

    @property
    def tuning(self) -> tuple[Case, ...]:
        return self.cases[:TUNING_CASES]

    @property
    def held_out(self) -> tuple[Case, ...]:
        return self.cases[TUNING_CASES:]


def load(name: str, dtype: torch.dtype = torch.float32) -> Net:
    """A net by its name; other dtypes hold the same float32 weights, inputs and targets.

    Trains the GoogLeNet at the first call (minutes).
    """
    if name not in NAMES:
        raise ValueError(f"no net is named {name!r}; the nets are {', '.join(NAMES)}")
    inputs = json.loads(INPUTS.read_text(encoding="utf-8"))[name]
    if name == "minilm":
        module, cases = _sentence_cases(inputs, dtype)
    elif name == "graph":
        module, cases = _molecule_cases(inputs, dtype)
    else:
        module, cases = _classifier_cases(name, inputs, dtype)
    return Net(name, name in SMOOTH, module, tuple(cases))


def _classifier_cases(name: str, rows: list[int], dtype: torch.dtype) -> tuple[nn.Module, list[Case]]:
    """Probability of the class predicted at the example; black (for `mlp` the mean of the training rows)."""
    module = trained(name)
    examples, _ = classifier_rows(name, tuple(rows))
    with torch.no_grad():
        targets = module(examples).argmax(1).tolist()
    module = module.to(dtype)

    def probability(target: int) -> Callable[[Tensor], Tensor]:
        return lambda points: module(points).softmax(1)[:, target]

    return module, [
        Case(example, torch.zeros_like(example), probability(target))
        for example, target in zip(examples.to(dtype), targets, strict=True)
    ]


def _molecule_cases(lines: list[int], dtype: torch.dtype) -> tuple[nn.Module, list[Case]]:
    """Predicted logP; atoms without features on the same bonds."""
    module = trained("graph").to(dtype)

    def log_p(bonds: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda points: module(points, bonds)

    chosen = [molecules()[line] for line in lines]
    return module, [
        Case(one.atoms.to(dtype), torch.zeros_like(one.atoms, dtype=dtype), log_p(one.bonds.to(dtype)))
        for one in chosen
    ]


def _sentence_cases(pairs: list[list[str]], dtype: torch.dtype) -> tuple[nn.Module, list[Case]]:
    """Cosine to the second sentence; word embeddings zero but for the special tokens at both ends."""
    model = MiniLm.load()
    model.encoder.to(dtype)

    def cosine(direction: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda points: torch.cosine_similarity(model.meaning(points), direction[None], dim=1)

    cases = []
    for first, second in pairs:
        example = model.words(first)
        baseline = torch.zeros_like(example)
        baseline[[0, -1]] = example[[0, -1]]
        cases.append(Case(example, baseline, cosine(model.meaning(model.words(second)[None])[0])))
    return model.encoder, cases
