"""Bundles whose inputs a person gives in their own terms: molecules, pictures of any size, tables with categories."""

from pathlib import Path

from attributor.inputs.smiles import BOND_KINDS, atom_width
from bundle_nets import SEEDED
from bundles import PYTHON, write_file_model, write_model

ELEMENTS = ["C", "N", "O"]
#: Most atoms of a molecule.
ATOMS = 10
#: The columns of one atom.
WIDTH = atom_width(ELEMENTS)

#: Channels, height, width.
PHOTO_SHAPE = (3, 8, 8)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Rows of pixels, from the top, that the net of pictures looks at: what it ignores has no attribution.
SEEN_ROWS = 3

COLOURS, SIZES = ["red", "green", "blue"], ["S", "M", "L"]
GROUPS = {"person": ["age", "size"], "looks": ["colour"]}

_MOLECULES = (
    f"""
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.kinds = nn.Linear({len(BOND_KINDS)}, 1, bias=False)
        self.first = nn.Linear({WIDTH}, 6)
        self.second = nn.Linear(6, 6)
        self.head = nn.Linear(6, 1)

    def forward(self, atoms, bonds, mask):
        joined = self.kinds(bonds).squeeze(-1)
        hidden = torch.tanh(self.first(atoms + joined @ atoms))
        hidden = torch.tanh(self.second(hidden + joined @ hidden))
        return self.head((hidden * mask.unsqueeze(-1)).sum(1))
"""
    + SEEDED
)

_PHOTOS = (
    f"""
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear({PHOTO_SHAPE[0] * SEEN_ROWS * PHOTO_SHAPE[2]}, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, photo):
        return self.head(torch.tanh(0.2 * self.hidden(photo[:, :, :{SEEN_ROWS}].flatten(1))))
"""
    + SEEDED
)

_PEOPLE = (
    """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(6, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, person):
        scaled = person / torch.tensor([50.0, 1.0, 1.0, 1.0, 2.0, 1.0])
        return self.head(torch.tanh(self.hidden(scaled)))
"""
    + SEEDED
)


def molecule_bundle(root: Path, name: str = "molecules") -> Path:
    """One value, `solubility`, of a molecule given as SMILES: two graph convolutions and a masked sum."""
    tensor = {"kind": "tensor", "source": "molecule"}
    return write_file_model(
        root,
        name,
        made_of=PYTHON,
        files={"model.py": _MOLECULES.encode()},
        inputs=[
            {"name": "atoms", "shape": [ATOMS, WIDTH], "part": "atoms", **tensor},
            {"name": "bonds", "shape": [ATOMS, ATOMS, len(BOND_KINDS)], "part": "bonds", **tensor},
            {"name": "mask", "shape": [ATOMS], "part": "atom_mask", "attributed": False, **tensor},
        ],
        output={"name": "values", "kind": "values", "labels": ["solubility"]},
        baselines={"nothing": {"atoms": 0.0, "bonds": 0.0, "mask": 1.0}},
        sources={"molecule": {"kind": "smiles", "elements": ELEMENTS}},
    )


def photo_bundle(root: Path, name: str = "photos") -> Path:
    """A picture of any size, its middle cut out, normalised by channel; only its uppermost rows count."""
    return write_model(
        root,
        name,
        code=_PHOTOS,
        inputs=[
            {
                "name": "photo",
                "kind": "image",
                "shape": list(PHOTO_SHAPE),
                "normalise": {"mean": list(MEAN), "std": list(STD)},
                "fit": "crop",
            }
        ],
        output={"name": "logits", "labels": ["cat", "dog"]},
        baselines={"mean": {"photo": 0.0}},
    )


def people_bundle(root: Path, name: str = "people") -> Path:
    """age (missing: 40), colour (one-hot; missing: red), size (its number), income; two groups."""
    return write_model(
        root,
        name,
        code=_PEOPLE,
        inputs=[
            {
                "name": "person",
                "kind": "tabular",
                "shape": [6],
                "features": [
                    {"name": "age", "unit": "years", "minimum": 0, "maximum": 120, "missing": 40},
                    {"name": "colour", "categories": COLOURS, "one_hot": True, "missing": "red"},
                    {"name": "size", "categories": SIZES},
                    {"name": "income"},
                ],
                "groups": GROUPS,
            }
        ],
        output={"name": "logits", "labels": ["no", "yes"]},
        baselines={"usual": {"person": [40.0, 1.0, 0.0, 0.0, 1.0, 0.0]}},
    )
