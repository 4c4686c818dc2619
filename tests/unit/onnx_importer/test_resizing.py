import numpy as np
import pytest
import torch
from attributor.onnx_importer.module import import_model
from attributor.onnx_importer.offenders import Refused
from onnx import TensorProto, helper
from onnx_operators import cases_of, gradient_difference, misjudged, run_both, with_weights, wrong_gradients

RANDOM = np.random.default_rng(0)
X = np.asarray(RANDOM.normal(size=(2, 3, 5, 6)), dtype=np.float32)
#: Central differences are that close where weights are linear in the values.
CLOSE = 1e-6


@pytest.mark.parametrize("op_type", ["Resize", "Upsample", "DepthToSpace", "SpaceToDepth"])
def test_every_case_of_onnx_is_computed_or_refused_as_it_must_be(op_type: str) -> None:
    assert misjudged(op_type) == []


@pytest.mark.parametrize("op_type", ["DepthToSpace", "SpaceToDepth"])
def test_gradients_of_moved_blocks_are_those_of_central_differences(op_type: str) -> None:
    assert wrong_gradients(op_type) == []


@pytest.mark.parametrize("op_type", ["Resize", "Upsample"])
def test_gradients_for_the_picture_are_those_of_central_differences(op_type: str) -> None:
    # The scales are stored: a size has no derivative for them.
    found = {case.name: gradient_difference(with_weights(case)) for case in cases_of(op_type)}
    judged = {name: each for name, each in found.items() if each is not None}
    assert judged
    assert {name: each for name, each in judged.items() if not each < CLOSE} == {}


@pytest.mark.parametrize("sizes", [(5, 12), (10, 12), (3, 4), (1, 1), (7, 15)])
@pytest.mark.parametrize("transformation", ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_sizes_are_reached_as_onnxruntime_does(mode: str, transformation: str, sizes: tuple[int, int]) -> None:
    said = {"mode": mode, "coordinate_transformation_mode": transformation}
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **said)
    _same(node, 19, sizes=np.array([2, 3, *sizes]))


@pytest.mark.parametrize("opset", [11, 13, 18, 19])
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("scale", [0.5, 0.7, 1.3, 2.0, 2.5])
def test_the_nearest_is_chosen_as_onnxruntime_does(scale: float, rounding: str, opset: int) -> None:
    node = helper.make_node("Resize", ["x", "roi", "scales"], ["y"], mode="nearest", nearest_mode=rounding)
    _same(node, opset, roi=np.zeros(0, np.float32), scales=np.array([1, 1, scale, scale], np.float32))


@pytest.mark.parametrize("outside", [0, 1])
@pytest.mark.parametrize("scale", [0.4, 0.6, 1.7])
@pytest.mark.parametrize("antialias", [0, 1])
def test_cubic_kernels_weigh_as_onnxruntime_does(antialias: int, scale: float, outside: int) -> None:
    said = {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": outside, "antialias": antialias}
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], **said)
    _same(node, 18, scales=np.array([1, 1, scale, scale], np.float32))


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_the_aspect_ratio_is_kept(policy: str) -> None:
    said = {"mode": "linear", "axes": [2, 3], "keep_aspect_ratio_policy": policy}
    _same(helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **said), 18, sizes=np.array([9, 8]))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_the_first_versions_divide_places_by_the_scale(mode: str) -> None:
    scales = np.array([1, 1, 2, 1.5], np.float32)
    _same(helper.make_node("Resize", ["x", "scales"], ["y"], mode=mode), 10, scales=scales)
    _same(helper.make_node("Upsample", ["x", "scales"], ["y"], mode=mode), 9, scales=scales)
    _same(helper.make_node("Upsample", ["x"], ["y"], mode=mode, scales=scales.tolist()), 7)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"mode": "area"}, "resizes by 'area', which we do not know"),
        ({"coordinate_transformation_mode": "tf_half_pixel_for_nn"}, "resizes by 'tf_half_pixel_for_nn'"),
        ({"antialias": 1}, "what it takes from the nearest"),
        ({"mode": "linear", "antialias": 1, "coordinate_transformation_mode": "asymmetric"}, "runtimes differ"),
        ({"keep_aspect_ratio_policy": "crop"}, "has keep_aspect_ratio_policy 'crop'"),
    ],
)
def test_what_cannot_be_computed_exactly_is_refused(said: dict[str, object], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        imported(helper.make_node("Resize", ["x", "", "s"], ["y"], **said), 19, (1, 1, 2, 2))


def test_the_first_version_says_nothing_of_smaller_pictures() -> None:
    with pytest.raises(Refused, match="makes an axis smaller, for which this version says no formula"):
        imported(helper.make_node("Resize", ["x", "s"], ["y"]), 10, (1, 1, 0.5, 0.5))


def test_a_new_order_of_blocks_is_refused() -> None:
    with pytest.raises(Refused, match="the mode 'DRC', which we do not know"):
        imported(helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=2, mode="DRC"), 13, (1,))


def test_a_picture_is_not_made_larger_than_memory() -> None:
    module = imported(helper.make_node("Resize", ["x", "", "s"], ["y"]), 19, (1, 1, 1e6, 1e6))
    with pytest.raises(Exception, match="would make a tensor"):
        module(torch.ones(1, 1, 4, 4))


def imported(node: object, opset: int, scales: tuple[float, ...]) -> torch.nn.Module:
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("s", TensorProto.FLOAT, (len(scales),), scales)],
    )
    return import_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString())


def _same(node: object, opset: int, **weights: np.ndarray) -> None:
    ours, theirs = run_both(node, opset, X, weights, TensorProto.FLOAT)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
