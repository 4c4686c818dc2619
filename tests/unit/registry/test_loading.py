import numpy as np
import pytest
from attributor.jobs.model import Readiness
from attributor.registry import foreign
from attributor.registry.catalog import open_bundle
from attributor.registry.loading import Place, load_first
from attributor.runtimes.torch_runtime import configure_threads
from bundles import tabular, write_file_model
from hostile_files import FEATURES, LABELS, WEIGHT, model
from onnx import helper

configure_threads()

PLACE = Place("cpu", 64)


def bundle_of(root, graph):
    folder = write_file_model(
        root,
        "named",
        made_of={"framework": "onnx", "file": "model.onnx"},
        files={"model.onnx": graph},
        inputs=[{**tabular(["a", "b", "c"][:FEATURES]), "tensor": "x"}],
        output={"name": "logits", "labels": ["no", "yes"][:LABELS]},
        baselines={"zero": {"features": 0.0}},
    )
    return open_bundle(folder)


def test_a_report_lists_layers_but_not_those_of_endless_names(tmp_path):
    long, short = "T" * 201, "t" * 200
    nodes = [
        helper.make_node("MatMul", ["x", "w"], [long]),
        helper.make_node("Tanh", [long], [short]),
        helper.make_node("Add", [short, "b"], ["y"]),
    ]
    graph = model(nodes, {"w": WEIGHT, "b": np.ones(LABELS, np.float32)})
    _, report = load_first(bundle_of(tmp_path, graph), PLACE)
    assert report.readiness is Readiness.READY, report.reason
    assert short in report.layers
    assert "y" in report.layers
    assert long not in report.layers
    assert len(report.layer_types) == len(report.layers)
    assert dict(zip(report.layers, report.layer_types, strict=True))[short] == "Tanh"


def test_a_report_gives_a_reason_of_some_pages_at_most(tmp_path):
    graph = model([helper.make_node("Foo", ["x"], ["y"], name="N" * 100_000)])
    _, report = load_first(bundle_of(tmp_path, graph), PLACE)
    assert report.readiness is Readiness.FAILED
    assert report.reason is not None
    assert len(report.reason) <= 4003


@pytest.mark.parametrize(("text", "kept"), [("a" * 10, "a" * 10), ("a" * 11, "a" * 10 + "...")])
def test_a_text_is_shortened_only_where_it_is_too_long(text, kept):
    assert foreign.shortened(text, 10) == kept
