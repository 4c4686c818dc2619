"""Small nets on texts of any length, and their answers by hand in float64, beside all code of the service."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from attributor.jobs.model import InputKind, InputSpec, ModelInfo, OutputKind, Tensors
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_nets import described, settled, wide

MOST, VOCABULARY, PAD = 9, 11, 0
IDS = InputSpec(
    "ids", InputKind.TOKENS, (MOST,), vocabulary=VOCABULARY, embedding="embed", pad_id=PAD, mask_id=1, variable=True
)
MASK = InputSpec("mask", InputKind.TOKENS, (MOST,), vocabulary=2, attributed=False, variable=True)


class Encoder(nn.Module):
    """Ids (n, T) and a mask (n, T) to three logits (n, 3): a transformer layer, and the mean of what is not masked."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.places = nn.Embedding(MOST, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True)
        self.head = nn.Linear(8, 3)
        self.head.weight.data *= 4
        self.rows: list[int] = []
        settled(self)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        self.rows.append(len(ids))
        return self.of_embedded(self.embed(ids), mask)

    def of_embedded(self, embedded: Tensor, mask: Tensor) -> Tensor:
        mixed = self.layer(embedded + self.places.weight[: embedded.shape[1]], src_key_padding_mask=mask == 0)
        kept = (mask != 0).to(mixed.dtype)[:, :, None]
        return self.head((mixed * kept).sum(1) / kept.sum(1))


class Lstm(nn.Module):
    """Ids (n, T) to four logits per position (n, T, 4)."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed, self.mix, self.head = nn.Embedding(VOCABULARY, 6), nn.LSTM(6, 8, batch_first=True), nn.Linear(8, 4)
        self.head.weight.data *= 4
        settled(self)

    def forward(self, ids: Tensor) -> Tensor:
        return self.of_embedded(self.embed(ids))

    def of_embedded(self, embedded: Tensor) -> Tensor:
        return self.head(self.mix(embedded)[0])


ENCODER_INFO: ModelInfo = described(IDS, MASK, n_out=3)
LSTM_INFO: ModelInfo = described(IDS, n_out=4, kind=OutputKind.SEQUENCE, positions=MOST)


def text(*ids: int) -> Tensors:
    """An example of the encoder; of the LSTM without its mask."""
    return {"ids": np.array(ids), "mask": np.ones(len(ids), np.int64)}


def tokens(*ids: int) -> Tensors:
    """An example of the LSTM."""
    return {"ids": np.array(ids)}


def by_hand(
    net: Any,
    example: Sequence[int],
    baseline: Sequence[int] | None,
    score: Callable[[Tensor], Tensor],
    *others: Tensor,
    n_nodes: int = 200,
) -> tuple[float, float, NDArray[np.float64]]:
    """F(x), F(x') and a number per token: the straight path in the embedding, from that of `baseline` (None: zero), by
    Gauss and Legendre. `score`: of the net's outputs, per row; `others`: what it takes beside the embedding."""
    double = wide(net)
    end = double.embed.weight[list(example)]
    start = torch.zeros_like(end) if baseline is None else double.embed.weight[list(baseline)]
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    alphas = torch.tensor((nodes + 1) / 2)[:, None, None]

    def scores(rows: Tensor) -> Tensor:
        return score(double.of_embedded(rows, *(other.expand(len(rows), -1) for other in others)))

    rows = (start + alphas * (end - start)).requires_grad_()
    (gradients,) = torch.autograd.grad(scores(rows).sum(), rows)
    mean = torch.tensordot(torch.tensor(weights / 2), gradients, 1)
    at_end, at_start = (float(scores(each[None])) for each in (end, start))
    return at_end, at_start, ((end - start) * mean).sum(1).detach().numpy()
