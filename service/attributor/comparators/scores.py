"""The target as a module: inputs in, one score per row out, so that Captum's hooks find layers all the way.

Knows torch and the words of a request; knows no method.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attributor.jobs.explanation import Target
from attributor.jobs.model import NO_TOKEN, InputSpec, OutputScale


class TargetScores(nn.Module):
    """F as a module over the attributed inputs, followed by the fixed ones; counts the rows that pass.

    `target`: resolved. `order`: for each input of the module, its place among the tensors given. The weighted sum of
    outputs is a linear layer, so that rules for linear layers reach from the score to the input.
    """

    def __init__(self, module: nn.Module, n_outputs: int, target: Target, order: Sequence[int]) -> None:
        super().__init__()
        self.module = module
        self.head = nn.Linear(n_outputs, 1, bias=False)
        weights = torch.zeros(1, n_outputs)
        for term in target.terms:
            weights[0, term.index] += term.weight
        self.head.weight = nn.Parameter(weights, requires_grad=False)
        self._target = target
        self._order = tuple(order)
        self.forwards = 0
        self.backwards = 0

    def forward(self, *tensors: Tensor) -> Tensor:
        """Scores, shape (rows,)."""
        outputs = self.module(*(tensors[place] for place in self._order))
        if self._target.position is not None:
            outputs = outputs[:, self._target.position]
        if self._target.scale is OutputScale.PROBABILITY:
            outputs = outputs.softmax(-1)
        elif self._target.scale is OutputScale.LOG_PROBABILITY:
            outputs = outputs.log_softmax(-1)
        scores: Tensor = self.head(outputs)
        self.forwards += len(scores)
        if scores.requires_grad:
            scores.register_hook(self._count_backward)  # type: ignore[no-untyped-call]
        return scores.squeeze(1)

    def _count_backward(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def let_tokens_vanish(module: nn.Module, declared: Sequence[InputSpec]) -> None:
    """Make the embeddings of token inputs answer zero for NO_TOKEN, which no embedding knows."""
    for name in {each.embedding for each in declared if each.embedding is not None}:
        _let_vanish(module.get_submodule(name))


def _let_vanish(embedding: nn.Module) -> None:
    absent: list[Tensor] = []

    def before(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        ids, *others = arguments
        absent.append(ids == NO_TOKEN)
        return (ids.clamp(min=0), *others)

    def after(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
        return output.masked_fill(absent.pop().unsqueeze(-1), 0.0)

    embedding.register_forward_pre_hook(before)
    embedding.register_forward_hook(after)
