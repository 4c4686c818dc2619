"""What a manifest may say of an input by itself: columns, pictures, tokens, lengths."""

import pytest
from attributor.errors import BundleError
from attributor.jobs.model import Element, Fit
from attributor.registry.manifest import parse
from bundles import manifest_text

FILES = f'\n[files]\n"model.py" = {{ sha256 = "{"0" * 64}", size_bytes = 3 }}\n'
IMAGE = manifest_text("small", "1", [], ["no", "yes"], (3, 2, 2)) + FILES
NORMALISED = "normalise = { mean = [0.5, 0.4, 0.3], std = [0.2, 0.2, 0.1] }"
TABULAR = manifest_text("small", "1", ["age", "colour"], ["no", "yes"]) + FILES
COLOUR = '{ name = "colour" }'
AGE = '{ name = "age" }'


def tabular(features, width, more=""):
    text = TABULAR.replace(f"[{AGE}, {COLOUR}]", f"[{features}]{more}")
    return text.replace("shape = [2]", f"shape = [{width}]")


def the_input(text):
    (spec,) = parse(text.encode()).info.inputs
    return spec


def refusal(text):
    with pytest.raises(BundleError) as caught:
        parse(text.encode())
    return caught.value.detail


def test_a_column_of_categories_is_a_number_or_one_element_for_each():
    colour = '{ name = "colour", categories = ["red", "green"], one_hot = true, missing = "red" }'
    spec = the_input(tabular(f"{AGE}, {colour}", 3))
    assert [element.name for element in spec.elements] == ["age", "colour=red", "colour=green"]
    assert (spec.features[1].missing, spec.features[1].missing_category) == (None, "red")
    spec = the_input(tabular(f"{AGE}, {colour.replace('one_hot = true', 'one_hot = false')}", 2))
    assert spec.elements[1] == Element("colour", 0.0, 1.0)


def test_a_number_stands_for_what_is_missing_and_features_are_grouped():
    age = '{ name = "age", unit = "years", minimum = 0, maximum = 120, missing = 38.5 }'
    spec = the_input(tabular(f"{age}, {COLOUR}", 2, '\ngroups = { person = ["age"], "all of it" = ["age", "colour"] }'))
    assert (spec.features[0].unit, spec.features[0].missing) == ("years", 38.5)
    assert spec.groups == {"person": ("age",), "all of it": ("age", "colour")}


@pytest.mark.parametrize(
    ("features", "width", "more", "words"),
    [
        ('{ name = "a", categories = ["x", "y"], one_hot = true }', 1, "", "needs shape [2], one element"),
        ('{ name = "a", categories = ["x", "x"] }', 1, "", "categories must differ; repeated: x"),
        ('{ name = "a", categories = ["x"] }', 1, "", "features.0.categories"),
        ('{ name = "a", one_hot = true }', 1, "", "one_hot is for a column with categories"),
        ('{ name = "a", categories = ["x", "y"], minimum = 0 }', 1, "", "minimum and maximum are for columns of"),
        (
            '{ name = "a", categories = ["x", "y"], missing = "z" }',
            1,
            "",
            "missing must be one of the categories: x, y",
        ),
        ('{ name = "a", categories = ["x", "y"], missing = 1 }', 1, "", "missing must be one of the categories"),
        ('{ name = "a", missing = "x" }', 1, "", "missing must be a number"),
        ('{ name = "a", missing = nan }', 1, "", "finite number"),
        (AGE, 1, '\ngroups = { size = ["weight"] }', "groups.size: there is no feature 'weight'"),
        (AGE, 1, '\ngroups = { size = ["age", "age"] }', "groups.size: features must differ"),
        (AGE, 1, "\ngroups = { size = [] }", "groups.size"),
        ('{ name = "a", categories = ["x", "y"], one_hot = true }, { name = "a=x" }', 3, "", "names of elements must"),
        (AGE, 1, '\nfit = "crop"', "only an image has fit"),
        (AGE, 1, f"\n{NORMALISED}", "only an image has normalise"),
        (AGE, 1, "\nvariable = true", "variable = true is for tokens"),
        (AGE, 1, '\nsource = "text"', "source and part go together"),
        (AGE, 1, '\ntensor = "x"', "inputs.0.tensor is for framework onnx"),
    ],
)
def test_what_a_tabular_input_cannot_say_is_refused(features, width, more, words):
    assert words in refusal(tabular(features, width, more))


def test_pictures_may_be_normalised_by_channel_and_of_another_size():
    spec = the_input(IMAGE.replace("value_range = [0.0, 1.0]", f'{NORMALISED}\nfit = "crop"'))
    assert spec.value_range is None
    assert spec.normalise == ((0.5, 0.2), (0.4, 0.2), (0.3, 0.1))
    assert spec.fit is Fit.CROP
    assert the_input(IMAGE).fit is None


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ("", "either value_range"),
        (f"value_range = [0, 1]\n{NORMALISED}", "either value_range"),
        ("normalise = { mean = [0.5], std = [0.5] }", "a mean and a std for each of the channels, which are 3"),
        ("normalise = { mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0] }", "normalise.std.2"),
        ('value_range = [0, 1]\nfit = "pad"', "inputs.0.fit"),
        ('value_range = [0, 1]\ngroups = { a = ["b"] }', "only a tabular input has features, and groups"),
    ],
)
def test_what_an_image_cannot_say_is_refused(new, words):
    assert words in refusal(IMAGE.replace("value_range = [0.0, 1.0]", new))


def test_an_input_beyond_all_measure_is_refused_before_its_baselines_are_made():
    assert "stands for 3000000000 numbers" in refusal(IMAGE.replace("[3, 2, 2]", "[3, 100000, 10000]"))
