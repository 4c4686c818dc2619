import pytest
from attributor.comparators.patches import patches
from attributor.inputs.perturbing import default_samples, n_patches, window_shape
from attributor.jobs.explanation import Method
from attributor.jobs.model import InputKind, InputSpec


def image(*shape: int) -> InputSpec:
    return InputSpec("x", InputKind.IMAGE, shape, value_range=(0.0, 1.0))


@pytest.mark.parametrize(
    ("declared", "window", "expected"),
    [
        (image(1, 8, 8), None, (1, 1, 1)),
        (image(3, 224, 224), None, (3, 28, 28)),
        (image(3, 9, 9), None, (3, 2, 2)),
        (image(3, 224, 10), 16, (3, 16, 10)),
        (InputSpec("x", InputKind.TABULAR, (100,)), None, (1,)),
        (InputSpec("x", InputKind.TABULAR, (100,)), 5, (5,)),
        (InputSpec("x", InputKind.TENSOR, (640,)), None, (10,)),
        (InputSpec("x", InputKind.TOKENS, (30,)), None, (1,)),
    ],
)
def test_windows_leave_about_64_patches_unless_one_is_asked_for(declared, window, expected):
    assert window_shape(declared, window) == expected


@pytest.mark.parametrize("window", [None, 1, 3, 100])
def test_patches_are_as_many_as_the_methods_make(window):
    declared = [image(3, 50, 31), InputSpec("y", InputKind.TABULAR, (7,)), InputSpec("z", InputKind.TENSOR, (2, 5, 4))]
    assert n_patches(declared, window) == int(patches(declared, window)[-1].max()) + 1


def test_inputs_that_are_held_are_no_features():
    held = InputSpec("mask", InputKind.TENSOR, (7,), attributed=False)
    assert n_patches([image(1, 4, 4), held], 2) == 4


def test_linear_models_have_the_samples_of_their_authors_packages():
    assert (default_samples(Method.KERNEL_SHAP, 10), default_samples(Method.LIME, 10)) == (2068, 1000)
