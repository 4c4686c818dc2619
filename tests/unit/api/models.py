"""Models of every kind, as their manifests would describe them: what requests are mapped against."""

from dataclasses import replace
from typing import Any

import numpy as np
from attributor.inputs.smiles import BOND_KINDS, MoleculeReader, atom_width
from attributor.inputs.text import TextReader
from attributor.jobs.job import JobSpec
from attributor.jobs.model import (
    Baseline,
    Feature,
    InputKind,
    InputSpec,
    ModelInfo,
    OutputKind,
    OutputSpec,
    Part,
    Source,
    SourceKind,
)
from attributor.ports import SourceReader
from tokenizer_files import word_piece

LAYERS = ("convolutions", "convolutions.2", "convolutions.4", "classifier.1", "classifier.2")


def model(name: str, inputs: tuple[InputSpec, ...], output: OutputSpec, **more: Any) -> ModelInfo:
    """With a baseline `none` of zeros."""
    zeros = {
        spec.name: np.zeros(spec.shape, np.int64 if spec.kind is InputKind.TOKENS else np.float32) for spec in inputs
    }
    return ModelInfo(
        **{
            "name": name,
            "version": "1",
            "digest": "d" * 64,
            "title": "",
            "description": "",
            "licence": "",
            "source": "",
            "inputs": inputs,
            "output": output,
            "baselines": {"none": Baseline("none", "", zeros)},
            "default_baseline": "none",
        }
        | more
    )


IMAGE = InputSpec("image", InputKind.IMAGE, (1, 8, 8), value_range=(0.0, 1.0))
TOKENS = InputSpec("tokens", InputKind.TOKENS, (8,), vocabulary=30_000, embedding="words", pad_id=0, mask_id=3)
HOUSE = InputSpec("house", InputKind.TABULAR, (2,), (Feature("rooms"), Feature("area")))
PHOTO = InputSpec("photo", InputKind.IMAGE, (1, 2, 2), value_range=(0.0, 1.0))
RECORD = InputSpec("record", InputKind.TABULAR, (2,), (Feature("age"), Feature("weight")))
MASK = InputSpec("mask", InputKind.TENSOR, (8,), attributed=False)
TEXT = InputSpec(
    "ids", InputKind.TOKENS, (16,), vocabulary=12, embedding="words", variable=True, source="text", part=Part.IDS
)
ATOMS = InputSpec("atoms", InputKind.TENSOR, (20, atom_width("CO")), source="molecule", part=Part.ATOMS)
BONDS = InputSpec("bonds", InputKind.TENSOR, (20, 20, len(BOND_KINDS)), source="molecule", part=Part.BONDS)
PERSON = InputSpec(
    "person",
    InputKind.TABULAR,
    (5,),
    (
        Feature("age", missing=40.0),
        Feature("colour", categories=("red", "blue"), one_hot=True),
        Feature("size", categories=("S", "M", "L")),
        Feature("income"),
    ),
    groups={"who": ("age", "size")},
)

DIGITS = model(
    "digits",
    (IMAGE,),
    OutputSpec("logits", tuple("0123456789")),
    baselines={
        name: Baseline(name, "", {"image": np.full((1, 8, 8), value, np.float32)})
        for name, value in (("black", 0.0), ("white", 1.0), ("mean", 0.3))
    },
    default_baseline="black",
)
REVIEWS = model("reviews", (TOKENS,), OutputSpec("logits", ("bad", "good")))
MASKED = model("masked", (TOKENS, MASK), OutputSpec("logits", ("bad", "good")))
WORDS = model(
    "words",
    (replace(TOKENS, shape=(4,)),),
    OutputSpec("logits", ("the", "cat", "sat"), OutputKind.SEQUENCE, 4),
)
PRICES = model(
    "prices", (HOUSE,), OutputSpec("values", ("price",), OutputKind.VALUES), reference_count=50, paths=("spiral",)
)
RATES = model("rates", (HOUSE,), OutputSpec("values", ("rent", "price"), OutputKind.VALUES))
PATIENTS = model("photo-and-record", (PHOTO, RECORD), OutputSpec("logits", ("well", "ill")), reference_count=9)
LARGE = model("large", (replace(IMAGE, shape=(3, 224, 224)),), OutputSpec("logits", ("cat", "dog")))
OF_TEXT = {"sources": {"text": Source("text", SourceKind.TEXT, "tokenizer.json")}}
COMMENTS = model("comments", (TEXT,), OutputSpec("logits", ("bad", "good")), **OF_TEXT)
ENCODER = model("encoder", (TEXT,), OutputSpec("embedding", tuple("012"), OutputKind.VALUES), **OF_TEXT)
MOLECULES = model(
    "molecules",
    (ATOMS, BONDS),
    OutputSpec("values", ("solubility",), OutputKind.VALUES),
    sources={"molecule": Source("molecule", SourceKind.SMILES, elements=("C", "O"))},
)
PEOPLE = model("people", (PERSON,), OutputSpec("logits", ("no", "yes")))
MODELS = {info.name: info for info in (DIGITS, REVIEWS, MASKED, WORDS, PRICES, RATES, PATIENTS, LARGE)}
#: Those whose inputs a person gives in another form.
GIVEN = {info.name: info for info in (COMMENTS, ENCODER, MOLECULES, PEOPLE)}
#: By model, the readers of its sources.
READERS: dict[str, dict[str, SourceReader]] = {
    "comments": {"text": TextReader(word_piece(), [TEXT])},
    "encoder": {"text": TextReader(word_piece(), [TEXT])},
    "molecules": {"molecule": MoleculeReader("CO", [ATOMS, BONDS])},
}

PIXELS = {"shape": [1, 8, 8], "data": [0.5] * 64}
#: An input of each model.
INPUTS: dict[str, dict[str, Any]] = {
    "digits": {"image": PIXELS},
    "reviews": {"tokens": [5, 6, 7]},
    "masked": {"tokens": [5, 6, 7], "mask": {"shape": [8], "data": [1, 1, 1, 0, 0, 0, 0, 0]}},
    "words": {"tokens": [5, 6, 7, 8]},
    "prices": {"house": {"rooms": 4, "area": 90}},
    "rates": {"house": {"rooms": 4, "area": 90}},
    "photo-and-record": {
        "photo": {"shape": [1, 2, 2], "data": [0.1, 0.2, 0.3, 0.4]},
        "record": {"age": 61, "weight": 70},
    },
    "large": {"image": {"shape": [3, 224, 224], "data": [0.5] * (3 * 224 * 224)}},
}


def spec(name: str = "digits", n_inputs: int = 1, **fields: Any) -> JobSpec:
    """The job of a request on one of the models."""
    from attributor.api.mapping.specs import attribution_spec
    from attributor.api.schemas.bodies import AttributionBody

    body = AttributionBody.model_validate({"model": name, "inputs": [INPUTS[name]] * n_inputs, **fields})
    return attribution_spec(body, MODELS[name], tenant="t", layers=LAYERS)
