"""Texts, molecules, pictures of any size and tables with categories, over HTTP: answered in the terms they were given.

What stands in `explained` adds up to the attributions of the tensors, and what cannot be read makes no job.
"""

import base64
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from attributor.api.documents import JobDocument
from e2e.live import ALONE, explained, problem, start
from format_bundles import POSITIONS, VOCABULARY, minilm_bundle, transformer_bundle
from given_bundles import MEAN, PHOTO_SHAPE, SEEN_ROWS, STD, molecule_bundle, people_bundle, photo_bundle
from PIL import Image

pytestmark = pytest.mark.e2e

REVIEW = "The  film was a joys."
PERSON = {"age": 63.5, "colour": "blue", "size": "L", "income": 1.25}
ETHANOL = "CCO"


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("given")
    for write in (molecule_bundle, photo_bundle, people_bundle):
        write(folder)
    transformer_bundle(folder, "reviews", "sequence-classification", labels=("bad", "fair", "good"))
    minilm_bundle(folder)
    service = start(folder, tmp_path_factory.mktemp("given-data"), ALONE)
    try:
        service.await_ready()
        with httpx.Client(base_url=service.url, timeout=60) as client:
            yield client
    finally:
        service.stop()


def answers(client: httpx.Client, model: str, *items: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """The results, held to the documented form; what is explained adds up to what is attributed."""
    job = explained(client, {"model": model, "inputs": list(items), "absolute_tolerance": 1e-6, **more})
    assert job["state"] == "succeeded", job["error"]
    JobDocument.model_validate_json(json.dumps(job), strict=True)
    for result in job["results"]:
        gap = result["score"] - result["baseline_score"]
        assert abs(gap) > 1e-4
        assert result["attribution_sum"] == pytest.approx(gap, abs=0.0101 * abs(gap) + 1e-5)
        (terms,) = result["explained"].values()
        parts = terms.get("words", []) + terms.get("columns", []) + terms.get("atoms", []) + terms.get("bonds", [])
        if parts:
            total = sum(each["attribution"] for each in parts) + terms.get("special", 0.0) + terms.get("rest", 0.0)
            assert total == pytest.approx(result["attribution_sum"], abs=1e-6)
    return job["results"]


def refused(client: httpx.Client, model: str, item: dict[str, Any], field: str, code: str = "invalid_input") -> str:
    """Why, of the field it must be of; no job was made of it."""
    before = client.get("/v1/attributions").json()
    found = problem(client.post("/v1/attributions", json={"model": model, "inputs": [item]}), 422, code)
    assert client.get("/v1/attributions").json() == before
    assert (
        problem(client.post(f"/v1/models/{model}:predict", json={"inputs": [item]}), 422, code)["errors"]
        == (found["errors"])
    )
    assert found["errors"][0]["field"] == field
    return str(found["errors"][0]["detail"])


# Texts.


def test_a_text_is_explained_token_by_token_and_word_by_word(given):
    (result,) = answers(given, "reviews", {"text": REVIEW})
    text = result["explained"]["text"]
    assert text["texts"] == [REVIEW]
    pieces = [(token["token"], REVIEW[token["start"] : token["end"]]) for token in text["tokens"][1:-1]]
    assert pieces == [
        ("the", "The"),
        ("film", "film"),
        ("was", "was"),
        ("a", "a"),
        ("joy", "joy"),
        ("##s", "s"),
        (".", "."),
    ]
    numbers = result["attributions"]["input_ids"]["data"]
    assert [token["attribution"] for token in text["tokens"]] == pytest.approx(numbers, rel=1e-6)
    assert [word["text"] for word in text["words"]] == ["The", "film", "was", "a", "joys", "."]
    joys, tokens = text["words"][4], text["tokens"][5:7]
    assert joys["attribution"] == pytest.approx(sum(token["attribution"] for token in tokens))
    assert (joys["start"], joys["end"]) == (16, 20)


def test_a_pair_is_explained_text_by_text(given):
    pair = {"text": "A good film", "pair": "not bad"}
    (result,) = answers(given, "reviews", {"text": pair})
    text = result["explained"]["text"]
    assert text["texts"] == ["A good film", "not bad"]
    found = [(word["segment"], text["texts"][word["segment"]][word["start"] : word["end"]]) for word in text["words"]]
    assert found == [(0, "A"), (0, "good"), (0, "film"), (1, "not"), (1, "bad")]
    alone = answers(given, "reviews", {"text": "A good film not bad"})[0]
    assert alone["score"] != pytest.approx(result["score"], abs=1e-6), "the second text has segments of its own"


def test_texts_of_different_length_go_in_one_request_and_are_as_when_alone(given):
    items = [{"text": REVIEW}, {"text": "not good"}]
    together = answers(given, "reviews", *items)
    assert [result["attributions"]["input_ids"]["shape"] for result in together] == [[9], [4]]
    for item, result in zip(items, together, strict=True):
        (alone,) = answers(given, "reviews", item)
        assert result["score"] == pytest.approx(alone["score"], abs=1e-6)
        assert result["attributions"]["input_ids"]["data"] == pytest.approx(
            alone["attributions"]["input_ids"]["data"], abs=1e-5
        )


def test_the_ids_of_a_text_give_the_same_answer_without_its_words(given):
    (spoken,) = answers(given, "reviews", {"text": "not good"})
    ids = [2, 11, 12, 3]
    (sent,) = answers(given, "reviews", {"input_ids": ids})
    assert sent["attributions"] == spoken["attributions"]
    assert [token["id"] for token in sent["explained"]["input_ids"]["tokens"]] == ids


@pytest.mark.parametrize(
    ("item", "field", "code", "words"),
    [
        ({"text": ""}, "text", "invalid_input", "is empty"),
        ({"text": "good " * 11}, "text", "invalid_shape", f"13 tokens, .* at most {POSITIONS}"),
        ({"input_ids": [2, VOCABULARY, 3]}, "input_ids.1", "invalid_input", f"from 0 to {VOCABULARY - 1}"),
        ({"input_ids": [2, -1]}, "input_ids.1", "invalid_input", f"from 0 to {VOCABULARY - 1}"),
        ({"input_ids": [2, 5.5, 3]}, "input_ids.1", "invalid_input", "whole number"),
        ({"input_ids": [5] * (POSITIONS + 1)}, "input_ids", "invalid_shape", f"1 to {POSITIONS}"),
        (
            {"input_ids": {"shape": [2], "datatype": "FP32", "data": [2, 3]}},
            "input_ids.datatype",
            "invalid_input",
            "token ids",
        ),
        ({"text": "good", "input_ids": [2, 3]}, "input_ids", "invalid_input", "give one of the two"),
        ({"input_ids": [2, 3], "attention_mask": [1]}, "attention_mask", "invalid_shape", "equally many"),
    ],
)
def test_what_is_no_text_for_the_model_makes_no_job(given, item, field, code, words):
    assert re.search(words, refused(given, "reviews", item, f"inputs.0.{field}", code))


# Molecules.


def test_a_molecule_is_explained_by_its_atoms_and_bonds(given):
    pytest.importorskip("rdkit")
    (result,) = answers(given, "molecules", {"molecule": "C1=CC=CC=C1C#N"})
    molecule = result["explained"]["molecule"]
    assert [atom["symbol"] for atom in molecule["atoms"]] == ["C"] * 7 + ["N"]
    assert [bond["type"] for bond in molecule["bonds"]].count("aromatic") == 6
    assert {bond["type"] for bond in molecule["bonds"]} == {"aromatic", "single", "triple"}
    atoms = np.array(result["attributions"]["atoms"]["data"])
    bonds = np.array(result["attributions"]["bonds"]["data"])
    assert [atom["attribution"] for atom in molecule["atoms"]] == pytest.approx(atoms.sum(1)[:8].tolist(), abs=1e-6)
    triple = next(bond for bond in molecule["bonds"] if bond["type"] == "triple")
    both_ways = bonds[triple["begin"], triple["end"]].sum() + bonds[triple["end"], triple["begin"]].sum()
    assert triple["attribution"] == pytest.approx(both_ways, abs=1e-6)
    assert abs(triple["attribution"]) > 1e-4
    assert molecule["rest"] == pytest.approx(0.0, abs=1e-6), "nothing else than the molecule differs from the baseline"


def test_a_molecule_is_the_same_from_whichever_atom_it_is_written(given):
    pytest.importorskip("rdkit")
    one, other = answers(given, "molecules", {"molecule": ETHANOL}, {"molecule": ETHANOL[::-1]}, tolerance=1e-4)
    assert one["score"] == pytest.approx(other["score"], abs=1e-5)
    forth, back = ([atom["attribution"] for atom in each["explained"]["molecule"]["atoms"]] for each in (one, other))
    assert forth == pytest.approx(back[::-1], abs=1e-3)


@pytest.mark.parametrize(
    ("smiles", "code", "words"),
    [
        ("C1CC", "invalid_input", "unclosed ring"),
        ("C(C)(C)(C)(C)C", "invalid_input", "no molecule"),
        ("hello", "invalid_input", "no SMILES"),
        ("C" * 11, "invalid_shape", "11 atoms; the model takes at most 10"),
        (5, "invalid_input", "SMILES"),
    ],
)
def test_what_is_no_molecule_for_the_model_makes_no_job(given, smiles, code, words):
    pytest.importorskip("rdkit")
    assert words in refused(given, "molecules", {"molecule": smiles}, "inputs.0.molecule", code)


def test_numbers_are_not_token_ids(given):
    detail = refused(given, "molecules", {"atoms": [1, 2], "bonds": [1], "mask": [1]}, "inputs.0.atoms")
    assert "this input takes numbers" in detail


# Pictures.


def gradients(width: int, height: int) -> Image.Image:
    """A smooth picture in three colours."""
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    pixels = np.stack([40 + 170 * across, 200 - 150 * down, 90 + 60 * across * down], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def sent(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def tensor_of(picture: Image.Image) -> dict[str, Any]:
    """A picture of the model's size, as the numbers that the model takes."""
    values = (np.asarray(picture) / 255 - MEAN) / STD
    return {"shape": list(PHOTO_SHAPE), "datatype": "FP32", "data": values.transpose(2, 0, 1).ravel().tolist()}


def test_a_picture_of_another_size_is_cut_scaled_and_drawn_as_the_model_saw_it(given):
    photo = gradients(64, 32)
    (result,) = answers(given, "photos", {"photo": sent(photo)}, visualizations=[{"kind": "overlay"}])
    image = result["explained"]["photo"]
    assert image["shape"] == [8, 8]
    assert image["picture"] == {"width": 64, "height": 32, "box": [16.0, 0.0, 48.0, 32.0]}

    seen = photo.resize((8, 8), Image.Resampling.BICUBIC, box=(16, 0, 48, 32))
    (same,) = answers(given, "photos", {"photo": tensor_of(seen)}, visualizations=[{"kind": "overlay"}])
    assert same["explained"]["photo"]["picture"] is None
    assert same["score"] == pytest.approx(result["score"], abs=1e-6)
    drawn, drawn_of_tensor = (each["visualizations"][0]["png"] for each in (result, same))
    assert drawn == drawn_of_tensor

    overlay = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn))).resize((8, 8), Image.Resampling.NEAREST))
    grey = np.asarray(seen.convert("L"))
    ignored = overlay[SEEN_ROWS:]
    assert np.array_equal(ignored, np.repeat(grey[SEEN_ROWS:, :, None], 3, axis=-1)), "no attribution, no tint"
    assert not np.array_equal(overlay[0, :, 0], overlay[0, :, 2])
    # By other means: the mean over blocks of four by four of the middle.
    middle = np.asarray(photo, dtype=float)[:, 16:48].reshape(8, 4, 8, 4, 3).mean(axis=(1, 3))
    assert np.abs(np.asarray(seen) - middle).max() < 4


def test_a_picture_of_the_models_own_size_is_taken_as_it_is(given):
    photo = gradients(8, 8)
    as_picture, as_tensor = answers(given, "photos", {"photo": sent(photo)}, {"photo": tensor_of(photo)})
    assert as_picture["explained"]["photo"]["picture"] is None
    assert as_picture["score"] == pytest.approx(as_tensor["score"], abs=1e-6)


# Tables.


def test_columns_and_groups_are_explained_with_their_values(given):
    (result,) = answers(given, "people", {"person": PERSON}, visualizations=[{"kind": "bars"}])
    table = result["explained"]["person"]
    assert {column["name"]: column["value"] for column in table["columns"]} == PERSON
    assert table["columns"][0]["unit"] == "years"
    numbers = result["attributions"]["person"]["data"]
    shares = {column["name"]: column["attribution"] for column in table["columns"]}
    assert shares["colour"] == pytest.approx(sum(numbers[1:4]), abs=1e-6)
    assert {group["name"]: group["attribution"] for group in table["groups"]} == pytest.approx(
        {"person": shares["age"] + shares["size"], "looks": shares["colour"]}
    )
    bars = {bar["name"]: bar for bar in result["visualizations"][0]["bars"]}
    assert {name: bar["value"] for name, bar in bars.items()} == PERSON
    assert bars["colour"]["attribution"] == pytest.approx(shares["colour"], rel=1e-3)


def test_what_is_missing_takes_the_declared_value(given):
    left_out = {"size": "L", "income": 1.25}
    usual = {**left_out, "age": 40, "colour": "red"}
    results = answers(given, "people", *({"person": each} for each in (left_out, {**left_out, "age": None}, usual)))
    assert len({result["score"] for result in results}) == 1
    values = {column["name"]: column["value"] for column in results[0]["explained"]["person"]["columns"]}
    assert values == {"age": 40.0, "colour": "red", "size": "L", "income": 1.25}


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"income": None}, "income", "must be a number"),
        ({"size": None}, "size", 'its categories are "S", "M", "L"'),
        ({"size": "XL"}, "size", "unknown category"),
        ({"colour": "blu"}, "colour", 'did you mean "blue"?'),
        ({"colour": 1}, "colour", "name of a category"),
        ({"age": "old"}, "age", "must be a number"),
        ({"hight": 1}, "hight", "unknown feature"),
    ],
)
def test_what_no_column_takes_makes_no_job(given, change, field, words):
    assert words in refused(given, "people", {"person": PERSON | change}, f"inputs.0.person.{field}")


def test_missing_without_a_declared_value_is_refused(given):
    person = {name: value for name, value in PERSON.items() if name != "income"}
    assert '"income"' in refused(given, "people", {"person": person}, "inputs.0.person.income")


# Sentence encoders.


def embedding(client: httpx.Client, text: str) -> np.ndarray:
    found = client.post("/v1/models/minilm:predict", json={"inputs": [{"text": text}]})
    assert found.status_code == 200, found.text
    return np.array(list(found.json()["predictions"][0]["values"].values()))


def test_the_similarity_of_two_sentences_is_explained_word_by_word(given):
    other = embedding(given, "A kitten is sleeping.")
    assert other.shape == (384,)
    assert np.linalg.norm(other) == pytest.approx(1.0, abs=1e-5)
    sentence = "The cat naps on a warm sofa."
    terms = [{"output": k, "weight": weight} for k, weight in enumerate(other.tolist())]
    (result,) = answers(given, "minilm", {"text": sentence}, target={"outputs": terms})
    cosine = float(embedding(given, sentence) @ other)
    assert result["score"] == pytest.approx(cosine, abs=1e-5)
    assert cosine > 0.4
    shares = {word["text"]: word["attribution"] for word in result["explained"]["text"]["words"]}
    assert list(shares) == ["The", "cat", "naps", "on", "a", "warm", "sofa", "."]
    assert max(shares, key=lambda word: shares[word]) in ("cat", "naps")
