import base64
from io import BytesIO

import numpy as np
import pytest
from attributor.errors import InvalidInput, InvalidShape
from attributor.inputs.decode import decode_inputs
from attributor.inputs.text import TextReader
from attributor.jobs.given import NOTHING_GIVEN, GivenPicture
from attributor.jobs.model import Feature, Fit, InputKind, InputSpec, Part
from PIL import Image
from tokenizer_files import word_piece

TABLE = InputSpec("features", InputKind.TABULAR, (2,), (Feature("age"), Feature("dose")))
PHOTO = InputSpec("image", InputKind.IMAGE, (1, 2, 3), value_range=(0.0, 1.0))
SIGNAL = InputSpec("signal", InputKind.TENSOR, (2,))
SIGNAL_VALUE = {"shape": [2], "datatype": "FP64", "data": [0.5, 1]}


def png() -> str:
    file = BytesIO()
    Image.new("L", (3, 2), 255).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_each_kind_is_read_in_its_own_form() -> None:
    item = {"signal": SIGNAL_VALUE, "features": {"age": 40, "dose": 2.5}, "image": png()}
    tensors, given = decode_inputs([TABLE, PHOTO, SIGNAL], {}, item, field="inputs.0")
    assert list(tensors) == ["features", "image", "signal"]
    assert given == NOTHING_GIVEN
    np.testing.assert_array_equal(tensors["features"], np.array([40, 2.5], dtype=np.float32))
    np.testing.assert_array_equal(tensors["image"], np.ones((1, 2, 3), dtype=np.float32))
    np.testing.assert_array_equal(tensors["signal"], np.array([0.5, 1], dtype=np.float32))


@pytest.mark.parametrize("spec", [TABLE, PHOTO, SIGNAL])
def test_every_kind_takes_a_tensor(spec: InputSpec) -> None:
    count = int(np.prod(spec.shape))
    value = {"shape": list(spec.shape), "datatype": "FP32", "data": list(range(count))}
    array = decode_inputs([spec], {}, {spec.name: value}, field="inputs.0")[0][spec.name]
    np.testing.assert_array_equal(array, np.arange(count, dtype=np.float32).reshape(spec.shape))


def test_a_column_called_data_does_not_make_a_table_a_tensor() -> None:
    spec = InputSpec("t", InputKind.TABULAR, (2,), (Feature("data"), Feature("shape")))
    array = decode_inputs([spec], {}, {"t": {"data": 1, "shape": 2}}, field="inputs.0")[0]["t"]
    np.testing.assert_array_equal(array, np.array([1, 2], dtype=np.float32))


def test_an_unknown_input_is_refused_and_the_known_ones_listed() -> None:
    with pytest.raises(InvalidInput, match='the model takes "features"') as caught:
        decode_inputs([TABLE], {}, {"feature": {}}, field="inputs.3")
    assert caught.value.field == "inputs.3.feature"


def test_a_missing_input_is_named() -> None:
    with pytest.raises(InvalidInput, match="missing") as caught:
        decode_inputs([TABLE, SIGNAL], {}, {"signal": SIGNAL_VALUE}, field="inputs.1")
    assert caught.value.field == "inputs.1.features"


@pytest.mark.parametrize(
    ("spec", "value", "said"),
    [
        (TABLE, [1, 2], "feature name to number"),
        (TABLE, "1,2", "feature name to number"),
        (TABLE, None, "feature name to number"),
        (PHOTO, [1], "base64"),
        (PHOTO, 5, "base64"),
        (SIGNAL, [0.5, 1], "a plain list is one of token ids, and this input takes numbers.*datatype"),
        (SIGNAL, "0.5", "datatype"),
    ],
)
def test_a_value_of_another_form_is_told_the_right_one(spec: InputSpec, value: object, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        decode_inputs([spec], {}, {spec.name: value}, field="inputs.0")
    assert caught.value.field == f"inputs.0.{spec.name}"


def text_input(name: str, part: Part, *, attributed: bool = False) -> InputSpec:
    vocabulary = 12 if part is Part.IDS else 2
    return InputSpec(
        name,
        InputKind.TOKENS,
        (8,),
        vocabulary=vocabulary,
        attributed=attributed,
        variable=True,
        source="text",
        part=part,
    )


IDS = text_input("input_ids", Part.IDS, attributed=True)
MASK = text_input("attention_mask", Part.MASK)
TYPES = text_input("token_type_ids", Part.SEGMENTS)
VECTORS = InputSpec("vectors", InputKind.TENSOR, (8, 2), attributed=False, variable=True)
ENCODER = [IDS, MASK, TYPES]
SOURCES = {"text": TextReader(word_piece(), ENCODER)}


def encoder(item: dict[str, object]) -> dict[str, list[int]]:
    tensors, _ = decode_inputs(ENCODER, SOURCES, item, field="inputs.0")
    assert list(tensors) == ["input_ids", "attention_mask", "token_type_ids"]
    assert {array.dtype for array in tensors.values()} == {np.dtype(np.int64)}
    return {name: array.tolist() for name, array in tensors.items()}


def test_a_source_fills_all_inputs_that_are_made_from_it() -> None:
    made = encoder({"text": {"text": "Hello", "pair": "good"}})
    assert made == {
        "input_ids": [2, 4, 3, 7, 3],
        "attention_mask": [1] * 5,
        "token_type_ids": [0, 0, 0, 1, 1],
    }
    _, given = decode_inputs(ENCODER, SOURCES, {"text": "Hello"}, field="inputs.0")
    assert given.texts["text"].texts == ("Hello",)


def test_beside_ids_of_variable_length_mask_and_segments_may_be_left_out() -> None:
    assert encoder({"input_ids": [2, 4, 3]}) == {
        "input_ids": [2, 4, 3],
        "attention_mask": [1, 1, 1],
        "token_type_ids": [0, 0, 0],
    }
    made = encoder({"input_ids": [2, 4, 3], "token_type_ids": [0, 1, 1], "attention_mask": [1, 1, 0]})
    assert (made["attention_mask"], made["token_type_ids"]) == ([1, 1, 0], [0, 1, 1])


def test_the_parts_wanted_come_from_a_source_and_no_others() -> None:
    tensors, _ = decode_inputs([IDS], SOURCES, {"text": "Hello"}, field="baseline")
    assert list(tensors) == ["input_ids"]


def test_a_mask_of_numbers_comes_from_a_source_as_numbers() -> None:
    mask = InputSpec("m", InputKind.TENSOR, (8,), attributed=False, variable=True, source="text", part=Part.MASK)
    tensors, _ = decode_inputs([IDS, mask], SOURCES, {"text": "Hello"}, field="inputs.0")
    assert tensors["m"].dtype == np.float32


@pytest.mark.parametrize(
    ("item", "field", "words"),
    [
        ({"text": "good", "input_ids": [1]}, "input_ids", 'is made from "text", which is given as well'),
        ({"text": "good", "token_type_ids": [0]}, "token_type_ids", 'is made from "text", which is given as well'),
        ({}, "text", 'is missing; the model takes "text" .or the tensors "input_ids", "attention_mask", "token_type'),
        ({"attention_mask": [1]}, "input_ids", "is missing"),
        ({"txt": "good"}, "txt", 'unknown input; the model takes "text"'),
        ({"input_ids": "good"}, "input_ids", 'a list of token ids.*or give "text" in its place'),
        ({"input_ids": [0.5]}, "input_ids.0", "whole number from 0 to 11, not 0.5"),
        ({"input_ids": [12]}, "input_ids.0", "whole number from 0 to 11, not 12"),
        ({"text": "good " * 7}, "text", "has 9 tokens, special ones counted; the model takes at most 8"),
        ({"text": 5}, "text", "must be a text"),
    ],
)
def test_what_does_not_fit_an_encoder_is_refused_at_its_place(item: dict[str, object], field: str, words: str) -> None:
    with pytest.raises((InvalidInput, InvalidShape), match=words) as caught:
        decode_inputs(ENCODER, SOURCES, item, field="inputs.0")
    assert caught.value.field == f"inputs.0.{field}"


def test_all_inputs_of_variable_length_have_equally_many_positions() -> None:
    item = {"input_ids": [2, 4, 3], "attention_mask": [1, 1], "token_type_ids": [0, 0, 0]}
    with pytest.raises(InvalidShape, match='has 2 positions and "input_ids" 3') as caught:
        decode_inputs(ENCODER, SOURCES, item, field="inputs.0")
    assert caught.value.field == "inputs.0.attention_mask"
    vectors = {"shape": [2, 2], "data": [1, 2, 3, 4]}
    with pytest.raises(InvalidShape, match="has 2 positions"):
        decode_inputs([IDS, VECTORS], SOURCES, {"text": "good", "vectors": vectors}, field="inputs.0")
    tensors, _ = decode_inputs([IDS, VECTORS], {}, {"input_ids": [2, 3], "vectors": vectors}, field="inputs.0")
    assert tensors["vectors"].tolist() == [[1, 2], [3, 4]]


def test_a_tensor_longer_than_the_most_positions_is_refused_with_what_fits() -> None:
    vectors = {"shape": [9, 2], "data": [0] * 18}
    with pytest.raises(InvalidShape, match=r"takes \[1 to 8, 2\]") as caught:
        decode_inputs([VECTORS], {}, {"vectors": vectors}, field="inputs.0")
    assert caught.value.field == "inputs.0.vectors.shape"


def test_a_declared_source_without_a_reader_leaves_the_tensors() -> None:
    with pytest.raises(InvalidInput, match='takes "input_ids"'):
        decode_inputs([IDS], {}, {"text": "good"}, field="inputs.0")


def test_a_picture_that_was_fitted_is_told_by_its_input() -> None:
    spec = InputSpec("image", InputKind.IMAGE, (1, 4, 6), value_range=(0.0, 1.0), fit=Fit.STRETCH)
    tensors, given = decode_inputs([spec], {}, {"image": png()}, field="inputs.0")
    assert given.pictures == {"image": GivenPicture(3, 2, (0.0, 0.0, 3.0, 2.0))}
    np.testing.assert_array_equal(tensors["image"], np.ones((1, 4, 6), dtype=np.float32))
