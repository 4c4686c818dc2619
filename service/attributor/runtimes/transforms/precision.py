"""Passes in bfloat16, and what a result states about their error. Knows torch alone.

Matrix products and convolutions take bfloat16 (eight bits of mantissa) and add up in float32; torch's autocast says
which operators do. Scores at a path's ends stay float32, so that completeness is told of the true score.

The gradient at the example alone says little: there a probability is saturated, and bfloat16 was wrong by 47 % of next
to nothing where the attribution was right to 0.2 % (tabular MLP). So the nodes that carry most of the attribution are
evaluated again in float32. Their vectors then stand in the answer, which makes it 1.4 to 11 times as exact, and their
own error, three times, is what is stated.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

#: Nodes evaluated again in float32, those of the largest weight * |vector|. Ours: at 15 nodes two of them left 14 % of
#: the digits' and mlp's answers further off than stated, three 5 %.
CHECKED_NODES = 3

#: Stated error over the checked nodes' own. Ours: 3 covers all of 217 inputs of the eight nets of the quadrature
#: benchmark at 15 nodes, 2 misses 8 % of the MLP's. An estimate all the same: where bfloat16 switches a ReLU at a node
#: that is not checked (untrained net of 128 units, all nodes alike), two of five were further off.
_MARGIN = 3.0


def bfloat16(device: torch.device) -> AbstractContextManager[None]:
    """Within the context, passes of any module run in bfloat16 where that pays; gradients by float32 stay float32.

    The forward pass belongs inside; its backward pass goes in the same types. Outputs may be bfloat16: widen them.
    """
    context: AbstractContextManager[None] = torch.autocast(device.type, torch.bfloat16)
    return context


def nodes_to_check(weights: Sequence[float], vectors: Tensor) -> list[int]:
    """The places of the nodes to evaluate again in float32, given their weights and vectors (nodes, ...)."""
    sizes = vectors.reshape(len(vectors), -1).abs().sum(1, dtype=torch.float64)
    shares = sizes * torch.tensor(weights, dtype=torch.float64, device=sizes.device).abs()
    found: list[int] = shares.topk(min(CHECKED_NODES, len(shares))).indices.tolist()
    return found


def precision_error(weights: Sequence[float], exact: Tensor, rounded: Tensor) -> float:
    """What to state as relative L1 error of an attribution from bfloat16 passes, float32 in place of the checked nodes.

    `exact`, `rounded`: vectors gradient * gamma' of the checked nodes, (nodes, ...), in float32 and bfloat16 passes; of
    a prefix, after they were pulled back. 3 * sum_k |w_k| |exact_k - rounded_k|_1 / sum_k |w_k| |exact_k|_1; 0 where
    both are zero, infinite where only `exact` is.
    """
    scale = torch.tensor(weights, dtype=torch.float64, device=exact.device).abs()
    wide = exact.double().reshape(len(exact), -1)
    apart = (wide - rounded.double().reshape(len(exact), -1)).abs().sum(1) @ scale
    size = wide.abs().sum(1) @ scale
    return float(_MARGIN * apart / size) if float(apart) > 0 else 0.0
