import sys
import threading

import numpy as np
import pytest
from attributor.errors import AttributorError, BundleError, InvalidInput, InvalidShape, UnsupportedByModel
from attributor.inputs import smiles
from attributor.inputs.smiles import BOND_KINDS, MAX_SMILES_CHARS, MoleculeReader, atom_width
from attributor.jobs.given import Atom, Bond, GivenMolecule
from attributor.jobs.model import InputKind, InputSpec, Part
from hypothesis import given, settings
from hypothesis import strategies as st

ELEMENTS = ("C", "N", "O")
N_ATOMS = 9
ATOMS = InputSpec("atoms", InputKind.TENSOR, (N_ATOMS, atom_width(ELEMENTS)), source="molecule", part=Part.ATOMS)
BONDS = InputSpec("bonds", InputKind.TENSOR, (N_ATOMS, N_ATOMS, 4), source="molecule", part=Part.BONDS)
MASK = InputSpec("mask", InputKind.TENSOR, (N_ATOMS,), attributed=False, source="molecule", part=Part.ATOM_MASK)
READER = MoleculeReader(ELEMENTS, [ATOMS, BONDS, MASK])


def read(text: str):
    pytest.importorskip("rdkit")
    return READER.read(text, field="inputs.0.molecule")


def refusal(value: object) -> AttributorError:
    pytest.importorskip("rdkit")
    with pytest.raises(AttributorError) as caught:
        READER.read(value, field="inputs.0.molecule")
    assert caught.value.field == "inputs.0.molecule"
    return caught.value


def test_a_molecule_becomes_atoms_bonds_and_a_mask() -> None:
    parts, molecule = read("CC(=O)[O-]")
    assert molecule == GivenMolecule(
        "CC(=O)[O-]",
        (Atom("C", 0, False), Atom("C", 0, False), Atom("O", 0, False), Atom("O", -1, False)),
        (Bond(0, 1, "single"), Bond(1, 2, "double"), Bond(1, 3, "single")),
    )
    assert parts[Part.ATOM_MASK].tolist() == [1] * 4 + [0] * 5
    assert {(array.dtype, array.shape) for array in parts.values()} == {
        (np.dtype(np.float32), spec.shape) for spec in (ATOMS, BONDS, MASK)
    }
    bonds = parts[Part.BONDS]
    np.testing.assert_array_equal(bonds, bonds.transpose(1, 0, 2))
    assert {tuple(place) for place in np.argwhere(bonds).tolist()} == {
        (0, 1, 0),
        (1, 0, 0),
        (1, 2, 1),
        (2, 1, 1),
        (1, 3, 0),
        (3, 1, 0),
    }
    assert not parts[Part.ATOMS][4:].any()


def test_the_columns_of_an_atom_are_those_documented() -> None:
    parts, _ = read("c1cc[nH]c1")
    carbon, nitrogen = parts[Part.ATOMS][0].tolist(), parts[Part.ATOMS][3].tolist()
    #                  C  N  O  other  degree 0 to 4    charge, aromatic, hydrogens, ring
    assert carbon == [1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1]
    assert nitrogen == [0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1]
    sulphur = read("S(C)(C)(C)(C)(C)C")[0][Part.ATOMS][0].tolist()
    assert sulphur == [0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    ammonium = read("[NH4+]")[0][Part.ATOMS][0].tolist()
    assert ammonium == [0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 4, 0]


def test_every_kind_of_bond_has_its_place() -> None:
    parts, molecule = read("C#CC=Cc1ccoc1")
    assert {bond.kind for bond in molecule.bonds} == set(BOND_KINDS)
    for bond in molecule.bonds:
        assert parts[Part.BONDS][bond.begin, bond.end].argmax() == BOND_KINDS.index(bond.kind)
        assert parts[Part.BONDS][bond.begin, bond.end].sum() == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("C(C", "is no SMILES; RDKit says: extra open parentheses, around character 2"),
        ("CCX", "is no SMILES; RDKit says: syntax error, around character 3"),
        ("c1ccccc", "is no SMILES; RDKit says: unclosed ring"),
        ("C(C)(C)(C)(C)C", "is no molecule; RDKit says: Explicit valence for atom # 0 C, 5, is greater than permitted"),
        ("c1cccc1", "is no molecule; RDKit says: Can't kekulize mol"),
        ("N->[Fe]", "a dative bond; known are single, double, triple, aromatic"),
        ("CCO ethanol", "holds spaces"),
        ("C\0C", "not of SMILES"),
        ("C\ud800", "not of SMILES"),
        ("", "is empty"),
        ("C" * (MAX_SMILES_CHARS + 1), f"at most {MAX_SMILES_CHARS}"),
        (5, "as SMILES"),
        ({"smiles": "C"}, "as SMILES"),
    ],
)
def test_what_is_no_molecule_is_refused_with_the_reason_and_nothing_printed(
    text: object, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(fault := refusal(text), InvalidInput)
    assert words in fault.detail
    assert "\n" not in fault.detail
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("text", "count"), [("C" * 10, 10), ("[2H]" + "C" * 9, 10), ("C" * 900, 900)])
def test_a_molecule_of_too_many_atoms_is_refused_with_both_numbers(text: str, count: int) -> None:
    assert isinstance(fault := refusal(text), InvalidShape)
    assert f"has {count} atoms; the model takes at most 9" in fault.detail


def test_hydrogens_that_are_written_are_not_atoms_of_their_own() -> None:
    _, molecule = read("[H]C([H])([H])[H]")
    assert molecule.atoms == (Atom("C", 0, False),)


def test_reasons_of_molecules_read_at_once_are_not_mixed_up() -> None:
    pytest.importorskip("rdkit")
    found: list[str] = []

    def reads(text: str, place: int) -> None:
        for _ in range(50):
            assert f"around character {place}" in refusal(text).detail
        found.append(text)

    threads = [threading.Thread(target=reads, args=("C" * n + "X", n + 1)) for n in (1, 3, 5, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4


@settings(max_examples=300, deadline=None)
@given(st.text("CNOScnos()[]=#$123%+-@/\\.HX*:> ", max_size=20) | st.text(max_size=8))
def test_no_smiles_raises_anything_but_stated_errors(text: str) -> None:
    pytest.importorskip("rdkit")
    try:
        _, molecule = READER.read(text, field="f")
    except (InvalidInput, InvalidShape):
        return
    assert 0 < len(molecule.atoms) <= N_ATOMS


def test_without_rdkit_a_molecule_is_refused_and_the_tensors_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    smiles._quiet_rdkit.cache_clear()
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(UnsupportedByModel, match=r"attributor\[molecules\]"):
        READER.read("C", field="f")


@pytest.mark.parametrize(
    ("part", "shape"), [(Part.ATOMS, (N_ATOMS, 12)), (Part.BONDS, (N_ATOMS, N_ATOMS, 3)), (Part.ATOM_MASK, (8,))]
)
def test_inputs_of_other_shapes_than_the_featurisation_are_a_defect_of_the_bundle(
    part: Part, shape: tuple[int, ...]
) -> None:
    wrong = InputSpec("wrong", InputKind.TENSOR, shape, source="molecule", part=part)
    with pytest.raises(BundleError, match="'wrong' has shape"):
        MoleculeReader(ELEMENTS, [BONDS, wrong])
