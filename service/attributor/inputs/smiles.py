"""A molecule, as SMILES, to atoms, bonds and a mask of fixed sizes, by RDKit, which is loaded when it is first needed.

RDKit says what is a molecule and what is aromatic; stereochemistry is not looked at. The featurisation is fixed, so
that a model can be trained for it: see `atom_width`. Knows nothing of networks.
"""

import logging
import re
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attributor.errors import BundleError, InvalidInput, InvalidShape, UnsupportedByModel
from attributor.jobs.given import Atom, Bond, GivenMolecule
from attributor.jobs.model import InputSpec, Part

#: The bond's place on the last axis of BONDS; RDKit's names in small letters.
BOND_KINDS = ("single", "double", "triple", "aromatic")

#: Ours: ten for each of a hundred atoms, and read in well under a second, whatever the rings.
MAX_SMILES_CHARS = 1000

#: Numbers of neighbours: 0, 1, 2, 3, and 4 or more.
_DEGREES = 5
#: Formal charge, aromatic, hydrogens, in a ring.
_NUMBERS = 4

#: SMILES are printable ASCII; RDKit takes what follows a space for a name.
_PRINTABLE = re.compile(r"[!-~]+")
_HYDROGEN = 1


def atom_width(elements: Sequence[str]) -> int:
    """The numbers of one atom, n elements being declared. By column:

    0 to n - 1: 1 at the atom's element, in the declared order; n: 1 for any other element;
    n + 1 to n + 5: 1 at its number of neighbours in the graph: 0, 1, 2, 3, 4 or more;
    n + 6: its formal charge; n + 7: 1 if it is aromatic; n + 8: how many hydrogens it bears; n + 9: 1 if in a ring.
    """
    return len(elements) + 1 + _DEGREES + _NUMBERS


class MoleculeReader:
    """SourceReader of SMILES, for the inputs that are made from one source and the elements that the model knows.

    Raises BundleError if the inputs' shapes are not those of this featurisation.
    """

    def __init__(self, elements: Sequence[str], specs: Sequence[InputSpec]) -> None:
        self._elements = tuple(elements)
        if not specs:
            raise BundleError("No input is made from the molecule.")
        self._atoms = specs[0].shape[0]
        shapes = {
            Part.ATOMS: (self._atoms, atom_width(elements)),
            Part.BONDS: (self._atoms, self._atoms, len(BOND_KINDS)),
            Part.ATOM_MASK: (self._atoms,),
        }
        for spec in specs:
            right = None if spec.part is None else shapes.get(spec.part)
            if spec.shape != right:
                detail = f"The input {spec.name!r} has shape {list(spec.shape)}; as {spec.part} of a molecule it has "
                raise BundleError(f"{detail}{list(right or ())}.", field="inputs")

    def read(self, value: object, *, field: str) -> tuple[Mapping[Part, NDArray[Any]], GivenMolecule]:
        """ATOMS (atoms, atom_width), BONDS (atoms, atoms, 4), symmetric, and ATOM_MASK (atoms,), float32, zero behind
        the molecule's own atoms; atoms in the order of the SMILES.

        Raises InvalidInput for what RDKit cannot read, InvalidShape for too many atoms, UnsupportedByModel where RDKit
        is not installed.
        """
        molecule = self._molecule(_smiles(value, field), field)
        given = _given(str(value), molecule, field)
        atoms = np.zeros((self._atoms, atom_width(self._elements)), np.float32)
        bonds = np.zeros((self._atoms, self._atoms, len(BOND_KINDS)), np.float32)
        mask = np.zeros(self._atoms, np.float32)
        mask[: len(given.atoms)] = 1
        for row, atom in zip(atoms, molecule.GetAtoms(), strict=False):
            row[:] = self._features(atom)
        for bond in given.bonds:
            kind = BOND_KINDS.index(bond.kind)
            bonds[bond.begin, bond.end, kind] = bonds[bond.end, bond.begin, kind] = 1
        return {Part.ATOMS: atoms, Part.BONDS: bonds, Part.ATOM_MASK: mask}, given

    def _molecule(self, smiles: str, field: str) -> Any:
        """Its heavy atoms are counted before RDKit looks for rings, which takes long in a large one."""
        chem = _rdkit(field)
        with _Complaints() as complaints:
            drawn = chem.MolFromSmiles(smiles, sanitize=False)
            if drawn is None:
                raise InvalidInput(f"is no SMILES; RDKit says: {complaints.syntax}", field=field)
            count = sum(atom.GetAtomicNum() != _HYDROGEN for atom in drawn.GetAtoms())
            if count > self._atoms:
                raise self._too_many(count, field)
            molecule = chem.MolFromSmiles(smiles)
            if molecule is None:
                reasons = [problem.Message() for problem in chem.DetectChemistryProblems(drawn)]
                raise InvalidInput(f"is no molecule; RDKit says: {(reasons or ['no reason'])[0]}", field=field)
        if not molecule.GetNumAtoms():
            raise InvalidInput("has no atoms", field=field)
        if molecule.GetNumAtoms() > self._atoms:  # hydrogens that RDKit keeps: isotopes, H2
            raise self._too_many(molecule.GetNumAtoms(), field)
        return molecule

    def _too_many(self, count: int, field: str) -> InvalidShape:
        return InvalidShape(f"has {count} atoms; the model takes at most {self._atoms}", field=field)

    def _features(self, atom: Any) -> list[float]:
        symbol, degree = atom.GetSymbol(), min(atom.GetDegree(), _DEGREES - 1)
        elements = [float(symbol == element) for element in self._elements]
        return [
            *elements,
            float(symbol not in self._elements),
            *(float(degree == count) for count in range(_DEGREES)),
            float(atom.GetFormalCharge()),
            float(atom.GetIsAromatic()),
            float(atom.GetTotalNumHs()),
            float(atom.IsInRing()),
        ]


def _smiles(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput('must be a molecule as SMILES, such as "CCO"', field=field)
    if len(value) > MAX_SMILES_CHARS:
        raise InvalidInput(f"has {len(value)} characters; at most {MAX_SMILES_CHARS} are read", field=field)
    if not _PRINTABLE.fullmatch(value):
        raise InvalidInput("is empty or holds spaces or other characters that are not of SMILES", field=field)
    return value


def _given(smiles: str, molecule: Any, field: str) -> GivenMolecule:
    atoms = tuple(
        Atom(atom.GetSymbol(), atom.GetFormalCharge(), bool(atom.GetIsAromatic())) for atom in molecule.GetAtoms()
    )
    bonds = tuple(
        Bond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), str(bond.GetBondType()).lower())
        for bond in molecule.GetBonds()
    )
    for bond in bonds:
        if bond.kind not in BOND_KINDS:
            detail = f"atoms {bond.begin} and {bond.end} have a {bond.kind} bond; known are {', '.join(BOND_KINDS)}"
            raise InvalidInput(detail, field=field)
    return GivenMolecule(smiles, atoms, bonds)


def _rdkit(field: str) -> Any:
    try:
        return _quiet_rdkit()
    except ImportError:
        detail = "SMILES are read by RDKit, which is not installed where this service runs (attributor[molecules])"
        raise UnsupportedByModel(f"{detail}; give the tensors in its place", field=field) from None


@cache
def _quiet_rdkit() -> Any:
    """RDKit's chemistry; what it would print on the standard error goes to `_Complaints`."""
    from rdkit import Chem, rdBase

    rdBase.LogToPythonLogger()
    log = logging.getLogger("rdkit")
    log.handlers[:] = [_Listener()]
    log.propagate = False
    return Chem


class _Complaints:
    """What RDKit says, within the context and in this thread."""

    _open = threading.local()

    def __init__(self) -> None:
        self._said: list[str] = []

    def __enter__(self) -> "_Complaints":
        self._open.said = self._said
        return self

    def __exit__(self, *_: object) -> None:
        self._open.said = None

    @classmethod
    def add(cls, message: str) -> None:
        """Keep a message for whoever listens in this thread."""
        said = getattr(cls._open, "said", None)
        if said is not None:
            said.append(message)

    @property
    def syntax(self) -> str:
        """The first complaint about the writing, and where: RDKit counts characters from 1."""
        found = [re.search(r"Parse Error: (.+?) (?:while parsing|for input)", message) for message in self._said]
        reason = next((match.group(1) for match in found if match), "it cannot be read")
        places = [re.search(r"around position (\d+)", message) for message in self._said]
        place = next((f", around character {match.group(1)}" for match in places if match), "")
        return f"{reason}{place}"


class _Listener(logging.Handler):
    """From Python's logging to `_Complaints`."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's words."""
        _Complaints.add(record.getMessage())
