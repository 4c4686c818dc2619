"""What inputs must keep among themselves: parts of a text or a molecule, and lengths."""

import numpy as np
import pytest
from attributor.errors import BundleError
from attributor.inputs.smiles import atom_width
from attributor.jobs.model import Part, Source, SourceKind
from attributor.registry.manifest import parse

FILES = "\n[files]\n" + "".join(
    f'"{name}" = {{ sha256 = "{"0" * 64}", size_bytes = 3 }}\n' for name in ("model.py", "tokenizer.json", "x.npy")
)
HEAD = """\
schema_version = 1
name = "small"
version = "1"
title = "t"
description = "d"
framework = "torch"
entry = "model:build"
licence = "none"
source = "tests"
default_baseline = "zero"
"""
TEXT = f"""{HEAD}
[sources.text]
kind = "text"
tokenizer = "tokenizer.json"

[[inputs]]
name = "ids"
kind = "tokens"
shape = [8]
variable = true
vocabulary = 9
embedding = "embedding"
source = "text"
part = "ids"

[[inputs]]
name = "mask"
kind = "tokens"
shape = [8]
variable = true
attributed = false
vocabulary = 2
source = "text"
part = "mask"

[output]
name = "logits"
kind = "sequence"
classes = 2
positions = 8

[baselines.zero]
description = "d"
values.ids = 0
values.mask = [1, 1, 1, 1, 1, 1, 1, 0]
{FILES}"""
MOLECULE = f"""{HEAD}
[sources.molecule]
kind = "smiles"
elements = ["C", "N", "Cl"]

[[inputs]]
name = "atoms"
kind = "tensor"
shape = [6, ATOM_WIDTH]
source = "molecule"
part = "atoms"

[[inputs]]
name = "bonds"
kind = "tensor"
shape = [6, 6, 4]
source = "molecule"
part = "bonds"

[[inputs]]
name = "there"
kind = "tensor"
shape = [6]
attributed = false
source = "molecule"
part = "atom_mask"

[output]
name = "logits"
labels = ["no", "yes"]

[baselines.zero]
description = "d"
values.atoms = 0
values.bonds = 0
values.there = 1
{FILES}"""


def refusal(text, old, new):
    assert old in text
    with pytest.raises(BundleError) as caught:
        parse(text.replace(old, new, 1).encode())
    return caught.value.detail


def test_a_text_of_any_length_becomes_ids_and_a_mask():
    info = parse(TEXT.encode()).info
    assert info.sources == {"text": Source("text", SourceKind.TEXT, "tokenizer.json")}
    assert [(spec.source, spec.part, spec.variable) for spec in info.inputs] == [
        ("text", Part.IDS, True),
        ("text", Part.MASK, True),
    ]
    tensors = info.baselines["zero"].tensors
    np.testing.assert_array_equal(tensors["ids"], np.zeros(8, np.int64))
    assert tensors["mask"].tolist() == [1] * 7 + [0]


IDS = 'embedding = "embedding"\nsource = "text"\npart = "ids"'
MASK = 'vocabulary = 2\nsource = "text"\npart = "mask"'


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('tokenizer = "tokenizer.json"', 'tokenizer = "words.json"', "sources.text.tokenizer names words.json, which"),
        ('tokenizer = "tokenizer.json"', "", "tokenizer, the name of a file of the bundle"),
        ('tokenizer = "tokenizer.json"', 'tokenizer = "tokenizer.json"\nelements = ["C"]', "sources of kind smiles"),
        ('kind = "text"', 'kind = "speech"', "sources.text.kind"),
        ("[sources.text]", "[sources.words]", "inputs.0.source: there is no [sources.text]"),
        ("[sources.text]", "[sources.ids]", "a source is called ids, too"),
        ('part = "ids"', "", "source and part go together"),
        ('part = "ids"', 'part = "atoms"', "a source of kind text has the parts ids, mask, segments, not atoms"),
        ('part = "mask"', 'part = "ids"', "two inputs are the same part"),
        (IDS, 'embedding = "embedding"', "an input with part = 'ids' is needed"),
        (MASK, 'vocabulary = 1\nsource = "text"\npart = "mask"', "a mask of tokens needs vocabulary = 2"),
        (MASK, MASK.replace("vocabulary = 2\n", ""), "tokens need vocabulary"),
        (
            'kind = "tokens"\nshape = [8]\nvariable = true\nattr',
            'kind = "tensor"\nshape = [8]\nattr',
            "only an input of",
        ),
        ("variable = true\nattributed = false", "attributed = false", "all variable or none"),
        ("shape = [8]\nvariable = true\nattr", "shape = [9]\nvariable = true\nattr", "equally many"),
        ("positions = 8", "positions = 9", "output.positions must be 8"),
        ("values.ids = 0", "values.ids = [0, 0]", "shape [8] is needed, this is [2]"),
        (
            'default_baseline = "zero"',
            'default_baseline = "zero"\nreference_set = { ids = "x.npy", mask = "x.npy" }',
            "reference_set: its inputs have one length",
        ),
    ],
)
def test_what_does_not_make_a_text_is_refused(old, new, words):
    assert words in refusal(TEXT, old, new)


def test_a_text_of_fixed_length_needs_padding():
    fixed = TEXT.replace("variable = true\n", "")
    with pytest.raises(BundleError, match="pad_id or variable = true is needed"):
        parse(fixed.encode())
    assert not parse(fixed.replace("vocabulary = 9", "vocabulary = 9\npad_id = 0").encode()).info.inputs[0].variable


def test_what_goes_with_tokens_is_variable_only_beside_them_and_as_long():
    beside = (
        '[[inputs]]\nname = "x"\nkind = "tensor"\nshape = [SIZE, 3]\nvariable = true\nattributed = false\n\n[output]'
    )
    text = TEXT.replace("[output]", beside).replace("values.ids = 0", "values.ids = 0\nvalues.x = 1")
    assert parse(text.replace("SIZE", "8").encode()).info.inputs[2].takes((5, 3))
    assert "equally many positions at most" in refusal(text, "SIZE", "7")
    alone = text.replace("SIZE", "8").replace("variable = true\nvocabulary = 9", "vocabulary = 9\npad_id = 0")
    alone = alone.replace("variable = true\nattributed = false\nvocabulary", "attributed = false\nvocabulary")
    assert "a tensor is variable only beside them" in refusal(alone, "schema_version", "schema_version")


def molecule():
    return MOLECULE.replace("ATOM_WIDTH", str(atom_width(["C", "N", "Cl"])))


def test_a_molecule_becomes_atoms_bonds_and_a_mask():
    info = parse(molecule().encode()).info
    assert info.sources["molecule"].elements == ("C", "N", "Cl")
    assert [spec.part for spec in info.inputs] == [Part.ATOMS, Part.BONDS, Part.ATOM_MASK]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('elements = ["C", "N", "Cl"]', "", "elements = ["),
        ('"Cl"]', '"C"]', "elements must differ; repeated: C"),
        ('"Cl"]', '"CL"]', "elements.2"),
        ("[6, 6, 4]", "[6, 5, 4]", "bonds need shape [atoms, atoms, bond types]"),
        ("[6, 6, 4]", "[5, 5, 4]", "equally many"),
        ("[6, 6, 4]", "[6, 6, 3]", "there are 4 kinds of bonds (single, double, triple, aromatic)"),
        ('"Cl"]', '"Cl", "F"]', "numbers for each atom, with these elements"),
        ("shape = [6]\n", "shape = [6, 1]\n", "atom_mask need shape [atoms]"),
        ("shape = [6]\nattributed = false", "shape = [6]", "attributed = false is needed"),
        ('kind = "tensor"', 'kind = "tokens"\nvocabulary = 9\nembedding = "e"', "tokens need shape"),
    ],
)
def test_what_does_not_make_a_molecule_is_refused(old, new, words):
    assert words in refusal(molecule(), old, new)
