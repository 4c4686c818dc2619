"""A tumour from 30 measured features, with two hidden layers of 128. Takes raw units; standardises inside."""

import torch
from torch import Tensor, nn

N_FEATURES = 30
HIDDEN = 128


class Mlp(nn.Module):
    """Features (rows, 30) in raw units to logits (rows, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(N_FEATURES))
        self.register_buffer("deviation", torch.ones(N_FEATURES))
        self.layers = nn.Sequential(
            nn.Linear(N_FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2)
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.layers((features - self.mean) / self.deviation)


def build() -> nn.Module:
    return Mlp()
