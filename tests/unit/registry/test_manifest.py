import re

import numpy as np
import pytest
from attributor.errors import BundleError
from attributor.jobs.model import InputKind
from attributor.registry.manifest import parse
from bundles import manifest_text

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
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused(old, new, words):
    with pytest.raises(BundleError, match=re.escape(words)):
        parse(TABULAR.replace(old, new).encode())


@pytest.mark.parametrize(("data", "words"), [(b"a = ", "not TOML"), (b'a = "\xff"', "not UTF-8")])
def test_what_is_no_text_or_no_toml_is_refused(data, words):
    with pytest.raises(BundleError, match=words):
        parse(data)
