import math

from attributor.comparators.patches import patches, strides
from attributor.inputs.perturbing import window_shape
from attributor.jobs.model import InputKind, InputSpec


def image(*shape: int) -> InputSpec:
    return InputSpec("x", InputKind.IMAGE, shape, value_range=(0.0, 1.0))


def test_a_stride_is_never_longer_than_its_window():
    assert strides((3, 16, 10), 12) == (3, 12, 10)
    assert strides((3, 16, 10), None) == (3, 16, 10)


def test_patches_are_numbered_through_all_inputs():
    first, second = patches([image(2, 3, 3), InputSpec("y", InputKind.TABULAR, (2,))], 2)
    assert first.tolist() == [[[[0, 0, 1], [0, 0, 1], [2, 2, 3]]] * 2]
    assert second.tolist() == [[4, 4]]


def test_every_patch_of_a_picture_has_elements():
    (numbers,) = patches([image(3, 50, 31)], None)
    assert sorted(set(numbers.flatten().tolist())) == list(range(int(numbers.max()) + 1))
    side = window_shape(image(3, 50, 31), None)[1]
    assert int(numbers.max()) + 1 == math.ceil(50 / side) * math.ceil(31 / side)
