"""The target as a module: inputs in, one score per row out, so that Captum's hooks find layers all the way.

Knows torch and the words of a request; knows no method.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attributor.jobs.explanation import Target
from attributor.jobs.model import NO_TOKEN, InputSpec, OutputKind, OutputScale, OutputSpec
from attributor.runtimes.layers import submodule


class TargetScores(nn.Module):
    """F as a module over the attributed inputs, followed by the fixed ones; counts the rows that pass.

    `target`: resolved. `order`: for each input of the module, its place among the tensors given. The weighted sum of
    outputs is a linear layer, so that rules for linear layers reach from the score to the input.
    """

    def __init__(self, module: nn.Module, output: OutputSpec, target: Target, order: Sequence[int]) -> None:
        super().__init__()
        self.module = module
        self.head = nn.Linear(len(output.labels), 1, bias=False)
        weights = torch.zeros(1, len(output.labels))
        for term in target.terms:
            weights[0, term.index] += term.weight
        self.head.weight = nn.Parameter(weights, requires_grad=False)
        self._target = target
        self._are_probabilities = output.kind is OutputKind.PROBABILITIES
        self._order = tuple(order)
        self.forwards = 0
        self.backwards = 0

    def forward(self, *tensors: Tensor) -> Tensor:
        """Scores, shape (rows,)."""
        outputs = self.module(*(tensors[place] for place in self._order))
        if self._target.position is not None:
            outputs = outputs[:, self._target.position]
        if self._target.scale is OutputScale.PROBABILITY and not self._are_probabilities:
            outputs = outputs.softmax(-1)
        elif self._target.scale is OutputScale.LOG_PROBABILITY:
            outputs = self._logarithms(outputs)
        scores: Tensor = self.head(outputs)
        self.forwards += len(scores)
        if scores.requires_grad:
            scores.register_hook(self._count_backward)  # type: ignore[no-untyped-call]
        return scores.squeeze(1)

    def _logarithms(self, outputs: Tensor) -> Tensor:
        if not self._are_probabilities:
            return outputs.log_softmax(-1)
        # An output that the target leaves out may be 0, and 0 times the logarithm of it is no number.
        return torch.where(self.head.weight != 0, outputs, 1.0).log()

    def _count_backward(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def let_tokens_vanish(module: nn.Module, declared: Sequence[InputSpec]) -> None:
    """Make the embeddings of token inputs answer zero for NO_TOKEN, which no embedding knows.

    `declared`: all inputs, in the order in which the module takes them. Raises UnknownLayer.
    """
    places = {place: each.embedding for place, each in enumerate(declared) if each.attributed and each.embedding}
    absent: dict[str, Tensor] = {}

    def before(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        given = list(arguments)
        for place, name in places.items():
            absent[name] = given[place] == NO_TOKEN
            given[place] = given[place].clamp(min=0)
        return tuple(given)

    def zeroed(name: str) -> Callable[[nn.Module, Any, Tensor], Tensor]:
        def after(_: nn.Module, __: Any, output: Tensor) -> Tensor:
            missing = absent[name]
            return output.masked_fill(missing.view(*missing.shape, *[1] * (output.dim() - missing.dim())), 0.0)

        return after

    module.register_forward_pre_hook(before)
    for name in places.values():
        submodule(module, name).register_forward_hook(zeroed(name))
