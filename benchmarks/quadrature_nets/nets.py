"""The nets without inception blocks, as torch modules. Knows no data set, no weights file and no score."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .inception import GoogLeNet, SmallInception

TUMOUR_FEATURES = 30
DIGIT_CLASSES = 10
DIGIT_SIDE_PX = 8
ATOM_FEATURES = 17
BOND_KINDS = 4
# Keeps the sum over a molecule's atoms near one at the start of training; molecules here have about 16 atoms.
TYPICAL_ATOMS = 16


def tumour_mlp() -> nn.Module:
    """Two hidden layers of 128 ReLU: (n, 30) to (n, 2)."""
    return nn.Sequential(nn.Linear(TUMOUR_FEATURES, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))


def digits_cnn() -> nn.Module:
    """Two convolutions, one max-pool: (n, 1, 8, 8) to (n, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(24, 48, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(48 * 16, 64),
        nn.ReLU(),
        nn.Linear(64, DIGIT_CLASSES),
    )


class RowLstm(nn.Module):
    """Two LSTM layers of 64 that read a digit row by row: (n, 8, 8) to (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(DIGIT_SIDE_PX, 64, num_layers=2, batch_first=True)
        self.classify = nn.Linear(64, DIGIT_CLASSES)

    def forward(self, rows: Tensor) -> Tensor:
        return self.classify(self.lstm(rows)[0][:, -1])


class EncoderBlock(nn.Module):
    """A pre-norm transformer block with GELU, without dropout: (n, tokens, width) to the same shape."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        projected = self.project_in(self.norm_attention(tokens))
        query, key, value = projected.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.project_out(mixed.transpose(1, 2).flatten(2))
        return tokens + self.feed_forward(tokens)


class PatchTransformer(nn.Module):
    """Three encoder blocks over the sixteen 2x2 patches of a digit: (n, 8, 8) to (n, 10)."""

    PATCH_PX = 2
    WIDTH = 64

    def __init__(self) -> None:
        super().__init__()
        patches = (DIGIT_SIDE_PX // self.PATCH_PX) ** 2
        self.embed = nn.Linear(self.PATCH_PX**2, self.WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(patches, self.WIDTH))
        self.blocks = nn.Sequential(*(EncoderBlock(self.WIDTH, heads=4) for _ in range(3)))
        self.classify = nn.Sequential(nn.LayerNorm(self.WIDTH), nn.Linear(self.WIDTH, DIGIT_CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        patches = functional.unfold(images[:, None], self.PATCH_PX, stride=self.PATCH_PX).transpose(1, 2)
        return self.classify(self.blocks(self.embed(patches) + self.position).mean(1))


class MessageLayer(nn.Module):
    """One round of messages, with one weight matrix per kind of bond: (n, atoms, width) to the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stay = nn.Linear(width, width)
        self.send = nn.Linear(width, BOND_KINDS * width, bias=False)

    def forward(self, atoms: Tensor, bonds: Tensor) -> Tensor:
        messages = self.send(atoms).unflatten(2, (BOND_KINDS, -1)).transpose(1, 2)
        return atoms + functional.silu(self.stay(atoms) + (bonds @ messages).sum(1))


class MoleculeNet(nn.Module):
    """Three rounds of messages between bonded atoms, then a sum over the atoms: a number per molecule.

    `atoms` is (n, atoms, 17); `bonds` is (4, atoms, atoms) or (n, 4, atoms, atoms), one normalised adjacency per
    kind of bond; `present` is (n, atoms), 1 for an atom and 0 for padding, and absent where nothing is padded.
    """

    WIDTH = 48

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(ATOM_FEATURES, self.WIDTH)
        self.rounds = nn.ModuleList(MessageLayer(self.WIDTH) for _ in range(3))
        self.contribute = nn.Sequential(nn.Linear(self.WIDTH, self.WIDTH), nn.SiLU())
        self.read_out = nn.Sequential(nn.Linear(self.WIDTH, self.WIDTH), nn.Tanh(), nn.Linear(self.WIDTH, 1))

    def forward(self, atoms: Tensor, bonds: Tensor, present: Tensor | None = None) -> Tensor:
        hidden = functional.silu(self.embed(atoms))
        for message_round in self.rounds:
            hidden = message_round(hidden, bonds)
        contributions = self.contribute(hidden)
        if present is not None:
            contributions = contributions * present[:, :, None]
        return self.read_out(contributions.sum(1) / TYPICAL_ATOMS)[:, 0]


# The nets that train.py trains; MiniLM comes trained.
BUILDERS = {
    "mlp": tumour_mlp,
    "digits_cnn": digits_cnn,
    "inception": SmallInception,
    "googlenet": GoogLeNet,
    "lstm": RowLstm,
    "transformer": PatchTransformer,
    "graph": MoleculeNet,
}
