"""Attributions in the terms of what was given, held strictly to what OpenAPI says of them; and their sums."""

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from attributor.api.documented_explained import Explained
from attributor.api.explained_documents import explained_documents
from attributor.inputs.smiles import BOND_KINDS, MoleculeReader, atom_width
from attributor.inputs.text import TextReader
from attributor.jobs.given import Atom, Bond, Given, GivenMolecule, GivenPicture, GivenText, Token
from attributor.jobs.job import JobKind, JobSpec
from attributor.jobs.model import Feature, InputKind, InputSpec, Part
from pydantic import TypeAdapter
from tokenizer_files import byte_level, word_piece
from unit.api.results import result

IDS = InputSpec("ids", InputKind.TOKENS, (9,), vocabulary=99, embedding="e", source="text", part=Part.IDS)
MASK = InputSpec("mask", InputKind.TENSOR, (9,), attributed=False, source="text", part=Part.MASK)
#: "Naïve cats" and "cats!", nine positions, of which the last is padding.
PAIR = GivenText(
    ("Naïve cats", "cats!"),
    (
        Token("[CLS]", 0, 0, 0, None),
        Token("na", 0, 2, 0, 0),
        Token("##ïve", 2, 5, 0, 0),
        Token("cats", 6, 10, 0, 1),
        Token("[SEP]", 0, 0, 0, None),
        Token("cats", 0, 4, 1, 0),
        Token("!", 4, 5, 1, 1),
        Token("[SEP]", 0, 0, 1, None),
    ),
)
TABLE = InputSpec(
    "table",
    InputKind.TABULAR,
    (5,),
    (
        Feature("age", "years"),
        Feature("colour", categories=("red", "green", "blue"), one_hot=True),
        Feature("size", categories=("small", "large")),
    ),
    groups={"looks": ("colour", "size"), "all": ("age", "colour", "size")},
)
ATOMS = InputSpec("atoms", InputKind.TENSOR, (4, 3), source="molecule", part=Part.ATOMS)
BONDS = InputSpec("bonds", InputKind.TENSOR, (4, 4, 2), source="molecule", part=Part.BONDS)
PRESENT = InputSpec("present", InputKind.TENSOR, (4,), source="molecule", part=Part.ATOM_MASK)
#: Ethanol's heavy atoms, in a tensor with room for four.
ETHANOL = GivenMolecule(
    "CCO",
    (Atom("C", 0, aromatic=False), Atom("C", 0, aromatic=False), Atom("O", 0, aromatic=False)),
    (Bond(0, 1, "single"), Bond(1, 2, "single")),
)
IMAGE = InputSpec("photo", InputKind.IMAGE, (3, 4, 6), value_range=(0.0, 1.0))


def shares(*inputs: InputSpec) -> dict[str, np.ndarray]:
    """Attributions whose sums float64 holds exactly, in whatever order they are added up."""
    rng = np.random.default_rng(5)
    return {
        each.name: (rng.integers(-(2**20), 2**20, each.shape) / 2**20).astype(np.float32)
        for each in inputs
        if each.attributed
    }


def total(attributions: dict[str, np.ndarray]) -> float:
    return float(sum(each.sum(dtype=np.float64) for each in attributions.values()))


def explained(
    *inputs: InputSpec, given: Given | None = None, example: Any = None, attributions: Any = None, **changes: Any
) -> Any:
    """As a client reads it, after the strictest look at its form."""
    empty = {each.name: np.zeros(each.shape, np.float32) for each in inputs}
    spec = JobSpec(
        kind=JobKind.ATTRIBUTION,
        model="m",
        version="1",
        digest="d",
        declared=inputs,
        inputs=(empty | (example or {}),),
        fingerprint="",
        given=() if given is None else (given,),
    )
    made = result(attributions=attributions or shares(*inputs), **changes)
    content = orjson.dumps(explained_documents(made.attributions, made.input, spec))
    TypeAdapter(dict[str, Explained] | None).validate_json(content, strict=True)
    return orjson.loads(content)


def added(entries: list[dict[str, Any]]) -> float:
    return sum(entry["attribution"] for entry in entries)


def test_a_texts_words_and_special_tokens_add_up_to_its_attribution():
    given = Given({"text": PAIR}, {}, {})
    text = explained(IDS, MASK, given=given)["text"]
    values = shares(IDS)["ids"].tolist()
    assert added(text["words"]) + text["special"] == total(shares(IDS))
    assert text["special"] == values[0] + values[4] + values[7] + values[8]
    assert [(word["text"], word["segment"]) for word in text["words"]] == [
        ("Naïve", 0),
        ("cats", 0),
        ("cats", 1),
        ("!", 1),
    ]
    assert text["words"][0]["attribution"] == values[1] + values[2]
    assert (text["words"][0]["start"], text["words"][0]["end"]) == (0, 5)


def test_a_token_points_to_its_word_and_its_characters():
    tokens = explained(IDS, MASK, given=Given({"text": PAIR}, {}, {}))["text"]["tokens"]
    assert [token["word"] for token in tokens] == [None, 0, 0, 1, None, 2, 3, None]
    assert tokens[2] == {
        "token": "##ïve",
        "start": 2,
        "end": 5,
        "segment": 0,
        "word": 0,
        "attribution": shares(IDS)["ids"].tolist()[2],
    }


def test_ids_that_were_sent_stay_ids():
    made = explained(IDS, MASK, example={"ids": np.arange(9)})
    assert list(made) == ["ids"]
    assert made["ids"]["kind"] == "tokens"
    assert [entry["id"] for entry in made["ids"]["tokens"]] == list(range(9))
    assert added(made["ids"]["tokens"]) == total(shares(IDS))


def test_columns_add_up_and_say_their_categories():
    made = explained(TABLE, example={"table": np.array([61, 0, 0, 1, 1], np.float32)})["table"]
    values = shares(TABLE)["table"].tolist()
    assert [(each["name"], each["unit"], each["value"]) for each in made["columns"]] == [
        ("age", "years", 61.0),
        ("colour", None, "blue"),
        ("size", None, "large"),
    ]
    assert made["columns"][1]["attribution"] == sum(values[1:4])
    assert added(made["columns"]) == total(shares(TABLE))
    looks, everything = made["groups"]
    assert looks == {"name": "looks", "attribution": sum(values[1:])}
    assert everything["attribution"] == total(shares(TABLE))


@pytest.mark.parametrize("inputs", [(ATOMS, BONDS), (ATOMS, BONDS, PRESENT), (ATOMS,), (BONDS,)])
def test_atoms_bonds_and_the_rest_add_up(inputs):
    made = explained(*inputs, given=Given({}, {"molecule": ETHANOL}, {}))
    assert list(made) == ["molecule"]
    molecule = made["molecule"]
    assert added(molecule["atoms"]) + added(molecule["bonds"]) + molecule["rest"] == total(shares(*inputs))
    assert [atom["symbol"] for atom in molecule["atoms"]] == ["C", "C", "O"]


def test_an_atom_has_its_row_and_a_bond_both_directions():
    given, values = Given({}, {"molecule": ETHANOL}, {}), shares(ATOMS, BONDS)
    molecule = explained(ATOMS, BONDS, given=given)["molecule"]
    atoms, bonds = (values[name].astype(np.float64) for name in ("atoms", "bonds"))
    assert [atom["attribution"] for atom in molecule["atoms"]] == atoms.sum(axis=1).tolist()[:3]
    assert molecule["bonds"][1] == {
        "begin": 1,
        "end": 2,
        "type": "single",
        "attribution": bonds[1, 2].sum() + bonds[2, 1].sum(),
    }


def test_tensors_have_no_other_terms():
    assert explained(ATOMS, BONDS) == {}


def test_a_picture_says_where_the_models_pixels_lie():
    given = Given({}, {}, {"photo": GivenPicture(60, 80, (10.0, 20.0, 50.0, 46.5))})
    assert explained(IMAGE, given=given) == {
        "photo": {
            "kind": "image",
            "shape": [4, 6],
            "picture": {"width": 60, "height": 80, "box": [10.0, 20.0, 50.0, 46.5]},
        }
    }
    assert explained(IMAGE)["photo"]["picture"] is None


def test_inputs_stand_in_their_declared_order():
    given = Given({"text": PAIR}, {"molecule": ETHANOL}, {})
    assert list(explained(TABLE, IDS, MASK, ATOMS, BONDS, IMAGE, given=given)) == ["table", "text", "molecule", "photo"]


def test_a_space_before_a_word_is_no_part_of_it():
    ids = InputSpec(
        "ids", InputKind.TOKENS, (3,), vocabulary=9, embedding="e", variable=True, source="t", part=Part.IDS
    )
    tokens = (Token("a", 0, 1, 0, 0), Token("\u0120cat", 1, 5, 0, 1), Token("\u0120", 5, 6, 0, 2))
    made = explained(ids, given=Given({"t": GivenText(("a cat ",), tokens)}, {}, {}))["t"]
    assert [(each["text"], each["start"], each["end"]) for each in made["words"]] == [
        ("a", 0, 1),
        ("cat", 2, 5),
        (" ", 5, 6),
    ]


@pytest.mark.parametrize("variable", [True, False])
@pytest.mark.parametrize("file", [word_piece(), byte_level()], ids=["word pieces", "bytes"])
@pytest.mark.parametrize("value", ["Hello  Worldly!", {"text": "Hello world", "pair": "naïve 猫, hello"}])
def test_what_a_real_tokenizer_makes_of_a_text_adds_up(file, value, variable):
    ids = replace(IDS, shape=(60,), vocabulary=300, pad_id=0, variable=variable)
    parts, text = TextReader(file, [ids]).read(value, field="text")
    own = replace(ids, shape=parts[Part.IDS].shape)
    attributions = shares(own)
    made = explained(ids, given=Given({"text": text}, {}, {}), attributions=attributions)["text"]
    assert added(made["words"]) + made["special"] == total(attributions)
    assert len(made["tokens"]) == len(text.tokens)
    for word in made["words"]:
        assert word["text"] == text.texts[word["segment"]][word["start"] : word["end"]]
    assert {"Hello"} <= {word["text"] for word in made["words"]}


def test_what_rdkit_makes_of_a_molecule_adds_up():
    atoms, bonds = replace(ATOMS, shape=(14, atom_width(["C", "O"]))), replace(BONDS, shape=(14, 14, len(BOND_KINDS)))
    _, aspirin = MoleculeReader(["C", "O"], [atoms, bonds]).read("CC(=O)Oc1ccccc1C(=O)O", field="molecule")
    made = explained(atoms, bonds, given=Given({}, {"molecule": aspirin}, {}))["molecule"]
    assert added(made["atoms"]) + added(made["bonds"]) + made["rest"] == total(shares(atoms, bonds))
    assert (len(made["atoms"]), len(made["bonds"])) == (13, 13)
    assert {bond["type"] for bond in made["bonds"]} == {"single", "double", "aromatic"}


def test_columns_of_numbers_are_what_each_is_by_itself():
    odd = ("per_cent %", 'quoted "%b"', "\u00e4\n", "}{")
    table = InputSpec(
        "x", InputKind.TABULAR, (4,), tuple(Feature(name, "%" if i else None) for i, name in enumerate(odd))
    )
    example = np.array([17.99, -0.0, 1e-30, 3e38], np.float32)
    made = explained(table, example={"x": example})["x"]
    values = shares(table)["x"].astype(np.float64).tolist()
    assert made["columns"] == [
        {"name": name, "unit": "%" if i else None, "value": float(str(example[i])), "attribution": values[i]}
        for i, name in enumerate(odd)
    ]
    assert made["groups"] == []


def test_groups_of_numbers_add_up():
    table = InputSpec(
        "x", InputKind.TABULAR, (3,), tuple(map(Feature, "abc")), groups={"ends": ("a", "c"), "b": ("b",)}
    )
    values = shares(table)["x"].tolist()
    assert explained(table)["x"]["groups"] == [
        {"name": "ends", "attribution": values[0] + values[2]},
        {"name": "b", "attribution": values[1]},
    ]
