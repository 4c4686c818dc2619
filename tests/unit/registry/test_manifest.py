import re
import tracemalloc

import numpy as np
import pytest
from attributor.errors import BundleError
from attributor.jobs.model import NO_TOKEN, InputKind, OutputKind
from attributor.registry.manifest import parse
from bundles import (
    manifest_text,
    path_bundle,
    regression_bundle,
    sequence_bundle,
    token_bundle,
    two_input_bundle,
)

FILES = f'\n[files]\n"model.py" = {{ sha256 = "{"0" * 64}", size_bytes = 3 }}\n'
TABULAR = manifest_text("small", "1", ["a", "b"], ["no", "yes"], baselines={"zero": 0.0, "other": [1.0, -2.0]}) + FILES
IMAGE = manifest_text("small", "1", [], ["no", "yes"], (1, 2, 3)) + FILES


def test_a_manifest_becomes_plain_values():
    manifest = parse(TABULAR.encode())
    assert manifest.info.ref == "small@1"
    assert manifest.entry == "model:build"
    assert manifest.files["model.py"].size_bytes == 3
    (features,) = manifest.info.inputs
    assert (features.kind, features.shape) == (InputKind.TABULAR, (2,))
    assert [feature.name for feature in features.features] == ["a", "b"]
    assert manifest.info.output.labels == ("no", "yes")


def test_one_number_fills_a_baseline_and_a_list_is_taken_as_it_is():
    baselines = parse(TABULAR.encode()).info.baselines
    np.testing.assert_array_equal(baselines["zero"].tensors["features"], [0.0, 0.0])
    np.testing.assert_array_equal(baselines["other"].tensors["features"], [1.0, -2.0])
    assert baselines["other"].tensors["features"].dtype == np.float32
    assert parse(IMAGE.encode()).info.baselines["zero"].tensors["image"].shape == (1, 2, 3)


def many_baselines(count: int) -> bytes:
    """Of one input of 2**26 numbers, each baseline one number for all."""
    text = re.sub(r"kind.*?\n(?=\n\[output)", f'kind = "tensor"\nshape = [{2**26}]\n', TABULAR, flags=re.DOTALL)
    text = re.sub(r"\[baselines\.other\].*?(?=\n\[files)", "", text, flags=re.DOTALL)
    tables = (f'[baselines.b{number}]\ndescription = "d"\nvalues.features = 0.5\n' for number in range(count - 1))
    return (text + "".join(tables)).encode()


def test_one_number_takes_no_memory_for_each_element_it_stands_for():
    tracemalloc.start()
    baselines = parse(many_baselines(4)).info.baselines
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert baselines["b2"].tensors["features"].shape == (2**26,)
    assert most_bytes < 10**7
    with pytest.raises(ValueError, match="read-only"):
        baselines["b2"].tensors["features"][0] = 1.0


def test_what_the_baselines_stand_for_is_bounded():
    with pytest.raises(BundleError, match=f"the 5 baselines stand for more than {2**28} numbers"):
        parse(many_baselines(5))


def test_of_a_thousand_faults_the_first_are_told():
    with pytest.raises(BundleError, match=r"labels\.0: Input should be a valid string.*; and 992 more") as caught:
        parse(TABULAR.replace('["no", "yes"]', str([1] * 1000)).encode())
    assert len(caught.value.detail) < 1000
    with pytest.raises(BundleError) as caught:
        parse(f"{'x' * 100_000} = 1\n{TABULAR}".encode())
    assert len(caught.value.detail) < 1000


NORMALISED = re.sub(
    "value_range.*",
    "normalise = { mean = [0.4, 0.2, 0.5], std = [0.5, 0.25, 1.0] }",
    IMAGE.replace("[1, 2, 3]", "[3, 2, 2]"),
)


def test_black_and_white_are_those_of_the_value_range_or_of_each_channels_normalisation():
    for text, black, white in ((IMAGE, [0.0], [1.0]), (NORMALISED, [-0.8, -0.8, -0.5], [1.2, 3.2, 0.5])):
        for colour, channels in (("black", black), ("white", white)):
            info = parse(text.replace("values.image = 0.0", f'values.image = "{colour}"').encode()).info
            tensor = info.baselines["zero"].tensors["image"]
            assert (tensor.dtype, tensor.shape) == (np.float32, info.inputs[0].shape)
            for channel, value in zip(tensor, channels, strict=True):
                np.testing.assert_allclose(channel, value, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "given", "words"),
    [
        (IMAGE, "grey", '\'grey\' is no value of image: give a number, lists of them, "black" or "white"'),
        (TABULAR, "black", "'black' is no value of features: give a number, lists of them; \"black\" is for images"),
    ],
)
def test_other_words_are_no_baselines(text, given, words):
    name = "image" if text is IMAGE else "features"
    with pytest.raises(BundleError) as caught:
        parse(text.replace(f"values.{name} = 0.0", f'values.{name} = "{given}"', 1).encode())
    assert words in caught.value.detail
    assert caught.value.field == f"baselines.zero.values.{name}"


def read(folder):
    return parse((folder / "manifest.toml").read_bytes())


def test_several_inputs_keep_their_order_and_their_kinds(tmp_path):
    manifest = read(two_input_bundle(tmp_path))
    assert [(spec.name, spec.kind, spec.shape) for spec in manifest.info.inputs] == [
        ("measurements", InputKind.TABULAR, (2,)),
        ("signal", InputKind.TENSOR, (3,)),
    ]
    assert manifest.reference_files == {"measurements": "measurements.npy", "signal": "signal.npy"}


def test_tokens_and_what_is_only_given_are_declared(tmp_path):
    info = read(token_bundle(tmp_path)).info
    ids, mask = info.inputs
    assert (ids.kind, ids.vocabulary, ids.embedding, ids.pad_id, ids.mask_id) == (
        InputKind.TOKENS,
        12,
        "embedding",
        0,
        1,
    )
    assert (ids.attributed, mask.attributed, mask.vocabulary) == (True, False, None)
    assert info.baselines["nothing"].tensors["ids"].tolist() == [NO_TOKEN] * 6
    assert info.baselines["padding"].tensors["ids"].dtype == np.int64


def test_outputs_are_classes_values_or_a_sequence(tmp_path):
    values = read(regression_bundle(tmp_path)).info.output
    assert (values.kind, values.labels, values.shape) == (OutputKind.VALUES, ("price", "rent"), (2,))
    sequence = read(sequence_bundle(tmp_path)).info.output
    assert (sequence.kind, sequence.positions, sequence.shape) == (OutputKind.SEQUENCE, 5, (5, 9))
    assert sequence.labels == tuple("012345678")
    assert parse(TABULAR.encode()).info.output.kind is OutputKind.CLASSES


def test_registered_paths_are_named(tmp_path):
    manifest = read(path_bundle(tmp_path))
    assert manifest.info.paths == ("arc",)
    assert manifest.path_entries == {"arc": "arcs:arc"}


TOKENS = (
    TABULAR.replace('kind = "tabular"', 'kind = "tokens"\nvocabulary = 9\nembedding = "e"')
    .replace('features = [{ name = "a" }, { name = "b" }]\n', "")
    .replace("[1.0, -2.0]", "[1, -1]")
)


def test_any_change_of_the_text_changes_the_digest():
    assert parse(TABULAR.encode()).info.digest != parse((TABULAR + "#").encode()).info.digest


def test_a_manifest_never_reads_the_environment(monkeypatch):
    for name in ("TITLE", "title", "ATTRIBUTOR_TITLE", "MODEL_TITLE"):
        monkeypatch.setenv(name, "from outside")
    with pytest.raises(BundleError) as caught:
        parse(re.sub("title = .*\n", "", TABULAR).encode())
    assert caught.value.field == "title"


@pytest.mark.parametrize(
    ("text", "old", "new", "field"),
    [
        (TABULAR, 'title = "A model of a test"', "title = 3", "title"),
        (TABULAR, "schema_version = 1", "schema_version = 2", "schema_version"),
        (TABULAR, "schema_version = 1", "schema_version = true", "schema_version"),
        (TABULAR, "schema_version = 1", "schema_version = 1.0", "schema_version"),
        (TABULAR, "shape = [2]", f"shape = [{'1, ' * 32} 2]", "inputs.0.shape"),
        (TABULAR, 'version = "1"', "version = 1", "version"),
        (TABULAR, 'name = "small"', 'name = "../up"', "name"),
        (TABULAR, 'licence = "none"', 'license = "none"', "licence"),
        (TABULAR, 'source = "tests"', 'source = "tests"\nsurprise = 1', "surprise"),
        (TABULAR, 'entry = "model:build"', 'entry = "os.path:join"', "entry"),
        (TABULAR, '{ name = "b" }', '{ name = "b", minimum = "low" }', "inputs.0.features.1.minimum"),
        (TABULAR, '{ name = "b" }', '{ name = "b", minimum = 2, maximum = 1 }', "inputs.0.features.1"),
        (TABULAR, '{ name = "b" }', '{ name = "a" }', "inputs.0"),
        (TABULAR, "shape = [2]", "shape = [3]", "inputs.0"),
        (TABULAR, "shape = [2]", "shape = [0]", "inputs.0.shape.0"),
        (TABULAR, "shape = [2]", "shape = [2]\nvalue_range = [0, 1]", "inputs.0"),
        (IMAGE, "shape = [1, 2, 3]", "shape = [2, 2, 3]", "inputs.0"),
        (IMAGE, "value_range = [0.0, 1.0]", "", "inputs.0"),
        (IMAGE, "value_range = [0.0, 1.0]", "value_range = [0.0, inf]", "inputs.0.value_range.1"),
        (TABULAR, '["no", "yes"]', '["no", "no"]', "output"),
        (TABULAR, '["no", "yes"]', "[]", "output.labels"),
        (TABULAR, "[1.0, -2.0]", "[1.0]", "baselines.other.values.features"),
        (TABULAR, "[1.0, -2.0]", "[1.0, nan]", "baselines.other.values.features.1"),
        (TABULAR, "values.features = 0.0", "values.image = 0.0", "baselines.zero.values"),
        (TABULAR, "values.features = 0.0", "values.features = inf", "baselines.zero.values.features.float"),
        (TABULAR, f'"{"0" * 64}"', '"abc"', "files.model.py.sha256"),
        (TABULAR, "shape = [2]", "shape = [2]\nattributed = false", "inputs.0"),
        (TABULAR, "shape = [2]", "shape = [2]\nvocabulary = 3", "inputs.0"),
        (TABULAR, "shape = [2]", "shape = [2]\npad_id = 0", "inputs.0"),
        (TABULAR, 'labels = ["no", "yes"]', "classes = 0", "output.classes"),
        (TABULAR, 'labels = ["no", "yes"]', "", "output"),
        (TABULAR, 'labels = ["no", "yes"]', 'labels = ["no", "yes"]\nclasses = 2', "output"),
        (TABULAR, 'labels = ["no", "yes"]', 'labels = ["no", "yes"]\npositions = 2', "output"),
        (TABULAR, 'labels = ["no", "yes"]', 'labels = ["no", "yes"]\nkind = "sequence"', "output"),
        (TABULAR, 'labels = ["no", "yes"]', 'labels = ["no", "yes"]\nkind = "logits"', "output.kind"),
        (TABULAR, "[output]", '[paths.arc]\nentry = "arc"\n[output]', "paths.arc.entry"),
        (TOKENS, "shape = [2]", "shape = [2, 2]", "inputs.0"),
        (TOKENS, "vocabulary = 9", "", "inputs.0"),
        (TOKENS, 'embedding = "e"', "", "inputs.0"),
        (TOKENS, 'embedding = "e"', 'embedding = "e"\nattributed = false', "inputs.0"),
        (TOKENS, 'embedding = "e"', 'embedding = "e"\nmask_id = 9', "inputs.0"),
        (TOKENS, 'embedding = "e"', 'embedding = "e"\npad_id = -1', "inputs.0.pad_id"),
        (TOKENS, "[1, -1]", "[1, 9]", "baselines.other.values.features.1"),
        (TOKENS, "[1, -1]", "[-2, 1]", "baselines.other.values.features.0"),
        (TOKENS, "[1, -1]", "0.5", "baselines.other.values.features.0"),
    ],
)
def test_an_error_names_its_field(text, old, new, field):
    assert text.count(old) >= 1
    with pytest.raises(BundleError) as caught:
        parse(text.replace(old, new, 1).encode())
    assert caught.value.field == field
    assert field.split(".")[-1] in caught.value.detail or field in caught.value.detail


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('default_baseline = "zero"', 'default_baseline = "zeros"', "default_baseline must be one of zero, other"),
        ('"model.py" = {', '"../model.py" = {', "files.../model.py: a file name is plain"),
        ('"model.py" = {', '"/etc/model.py" = {', "a file name is plain"),
        ('"model.py" = {', '"net.py" = {', "entry names model.py"),
        ("[output]", '[paths.arc]\nentry = "arcs:arc"\n[output]', "paths.arc names arcs.py, which files does not list"),
        ("[[inputs]]", 'reference_set = { features = "a.npy" }\n[[inputs]]', "reference_set.features names a.npy"),
        (
            "[[inputs]]",
            'reference_set = { image = "model.py" }\n[[inputs]]',
            "one file for each of these inputs",
        ),
        (
            "[output]",
            '[[inputs]]\nname = "features"\nkind = "tensor"\nshape = [1]\n[output]',
            "names of inputs must differ; repeated: features",
        ),
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused(old, new, words):
    with pytest.raises(BundleError, match=re.escape(words)):
        parse(TABULAR.replace(old, new).encode())


@pytest.mark.parametrize(("data", "words"), [(b"a = ", "not TOML"), (b'a = "\xff"', "not UTF-8")])
def test_what_is_no_text_or_no_toml_is_refused(data, words):
    with pytest.raises(BundleError, match=words):
        parse(data)


def test_a_model_of_which_nothing_is_attributed_is_refused():
    given = 'name = "x"\nkind = "tensor"\nshape = [2]\nattributed = false\n\n[output]'
    text = re.sub(r'name = "features"\nkind.*?\[output\]', given, TABULAR, flags=re.DOTALL)
    with pytest.raises(BundleError, match="inputs: at least one must be attributed"):
        parse(text.replace("values.features", "values.x").encode())


def test_what_is_only_given_takes_no_missing_token():
    text = TOKENS.replace('embedding = "e"', "attributed = false")
    more = '[[inputs]]\nname = "x"\nkind = "tensor"\nshape = [1]\n[output]'
    text = text.replace("[output]", more).replace("values.features", "values.x = 0\nvalues.features")
    with pytest.raises(BundleError, match="whole number from 0 to 8, not -1") as caught:
        parse(text.encode())
    assert caught.value.field == "baselines.other.values.features.1"


def test_tens_of_thousands_of_labels_are_checked_in_no_time():
    labels = ", ".join(f'"{number}"' for number in range(50_000))
    info = parse(TABULAR.replace('"no", "yes"', labels).encode()).info
    assert info.output.shape == (50_000,)


def test_a_manifest_is_bounded_in_size_and_depth():
    with pytest.raises(BundleError, match="at most 1000000 are read"):
        parse(TABULAR.encode() + b"#" * 1_000_000)
    with pytest.raises(BundleError, match="nested too deeply"):
        parse(b"a = " + b"[" * 200_000)
    with pytest.raises(BundleError, match="more than 64 parts"):
        parse(b"[a" + b".a" * 400_000 + b"]")
