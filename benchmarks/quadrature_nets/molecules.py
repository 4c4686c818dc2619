"""Molecules of the NCI list in RDKit's wheel as graphs, with their Crippen logP. Knows no net."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from rdkit import Chem, RDConfig, RDLogger
from rdkit.Chem import Crippen
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .data import Split, split_rows
from .nets import BOND_KINDS

SMILES_FILE = Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi"
# Fewer atoms make no graph to speak of; more are rare in the list.
MIN_ATOMS = 8
MAX_ATOMS = 32
ELEMENTS = ("C", "N", "O", "F", "S", "P", "Cl", "Br", "I")
BONDS = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE, Chem.BondType.AROMATIC)
# Scales that bring counts to about one: most atoms have at most four neighbours and three hydrogens.
DEGREE_SCALE = 4
HYDROGEN_SCALE = 3


@dataclass(frozen=True, slots=True)
class Molecule:
    """Atom features (atoms, 17), one normalised adjacency per kind of bond (4, atoms, atoms), and logP."""

    atoms: Tensor
    bonds: Tensor
    log_p: float


@cache
def molecules() -> dict[int, Molecule]:
    """The usable molecules by their line number in the file, from 0."""
    RDLogger.DisableLog("rdApp.*")
    usable = {}
    for line, text in enumerate(SMILES_FILE.read_text(encoding="utf-8").splitlines()):
        parsed = Chem.MolFromSmiles(text.split()[0])
        if parsed is not None and MIN_ATOMS <= parsed.GetNumAtoms() <= MAX_ATOMS:
            usable[line] = _graph(parsed)
    return usable


def molecule_split() -> Split:
    """Which lines the graph net is trained on."""
    return split_rows(sorted(molecules()))


def padded(lines: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Atoms (n, m, 17), bonds (n, 4, m, m), presence (n, m) and logP (n,), with m the largest number of atoms."""
    chosen = [molecules()[line] for line in lines]
    atoms = pad_sequence([one.atoms for one in chosen], batch_first=True)
    present = pad_sequence([torch.ones(len(one.atoms)) for one in chosen], batch_first=True)
    bonds = torch.zeros(len(chosen), BOND_KINDS, atoms.shape[1], atoms.shape[1])
    for index, one in enumerate(chosen):
        bonds[index, :, : len(one.atoms), : len(one.atoms)] = one.bonds
    return atoms, bonds, present, torch.tensor([one.log_p for one in chosen])


def _graph(parsed: Chem.Mol) -> Molecule:
    atoms = torch.tensor([_atom_features(atom) for atom in parsed.GetAtoms()], dtype=torch.float32)
    bonds = torch.zeros(BOND_KINDS, len(atoms), len(atoms))
    for bond in parsed.GetBonds():
        # A dative bond (rare) is drawn as a single one.
        kind = BONDS.index(bond.GetBondType()) if bond.GetBondType() in BONDS else 0
        begin, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        bonds[kind, begin, end] = bonds[kind, end, begin] = 1
    scale = bonds.sum((0, 2)).clamp(min=1).rsqrt()
    return Molecule(atoms, bonds * scale[:, None] * scale[None, :], Crippen.MolLogP(parsed))


def _atom_features(atom: Chem.Atom) -> list[float]:
    symbol = atom.GetSymbol()
    hybridisation = atom.GetHybridization()
    return [
        *(float(symbol == element) for element in ELEMENTS),
        float(symbol not in ELEMENTS),
        *(float(hybridisation == kind) for kind in (Chem.HybridizationType.SP, Chem.HybridizationType.SP2)),
        atom.GetDegree() / DEGREE_SCALE,
        atom.GetTotalNumHs() / HYDROGEN_SCALE,
        float(atom.GetFormalCharge()),
        float(atom.GetIsAromatic()),
        float(atom.IsInRing()),
    ]
