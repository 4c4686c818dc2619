"""The bundles and example requests that come with the service."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from attributor.core.asks import one_node_each
from attributor.inputs.decode import decode_inputs
from attributor.jobs.explanation import Target
from attributor.jobs.model import Readiness
from attributor.model_port import CurveSpec, Points, RouteSpec
from attributor.registry.catalog import FolderCatalog
from attributor.registry.loader import load_bundle
from attributor.registry.registry import Registry
from attributor.runtimes.torch_runtime import configure_threads

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"

#: Bytes of all of models/: it lies in the repository and in images.
SMALL_BYTES = 300_000


@pytest.fixture(scope="module")
def catalog():
    return FolderCatalog(ROOT / "models")


@pytest.fixture(scope="module")
def served(catalog):
    configure_threads()
    registry = Registry()
    return registry, {report.ref: report for report in registry.load_all(catalog)}


def test_every_bundle_is_whole(catalog):
    assert [info.ref for info in catalog.all()] == ["breast-cancer@1", "digits@1"]
    assert catalog.problems == {}


@pytest.mark.parametrize("ref", ["breast-cancer@1", "digits@1"])
def test_every_bundle_passes_its_proof_and_its_golden_example(served, ref):
    report = served[1][ref]
    assert (report.readiness, report.reason) == (Readiness.READY, None)
    assert report.checks["golden"] == "passed"
    assert report.layers


def test_the_bundles_are_small():
    assert sum(path.stat().st_size for path in (ROOT / "models").rglob("*") if path.is_file()) < SMALL_BYTES


def test_the_tabular_model_names_its_features_and_their_domain(catalog):
    (spec,) = catalog.get("breast-cancer").inputs
    assert len(spec.features) == 30
    assert all(f.minimum is not None and f.maximum is not None and f.minimum < f.maximum for f in spec.features)
    assert spec.features[0].name == "mean radius"


@pytest.mark.parametrize(
    ("file", "label", "least_score"), [("tumour.json", "malignant", 0.9), ("digit.json", "2", 0.9)]
)
def test_an_example_is_a_request_that_the_model_gets_right(catalog, served, file, label, least_score):
    body = json.loads((EXAMPLES / file).read_text())
    info = catalog.get(body["model"])
    example, _ = decode_inputs(info.inputs, catalog.sources(info), body["inputs"][0], field="inputs.0")
    model = served[0].get(info.ref, info.digest)
    baseline = info.baselines[info.default_baseline].tensors
    model.open("p", RouteSpec(example, (Target(),)))
    try:
        curve = model.add_curve("p", CurveSpec(baseline, example))
        (told,) = model.evaluate([Points("p", one_node_each(curve, (1.0, 0.0), 0, gradient=False))])
        (score,), (baseline_score,) = told.scores.tolist()
        (target,) = model.targets("p")
        assert [info.output.labels[term.index] for term in target.terms] == [label]
    finally:
        model.close("p")
    assert score > least_score
    assert score - baseline_score > 0.4


def test_the_example_picture_is_the_one_in_the_request():
    body = json.loads((EXAMPLES / "digit.json").read_text())
    assert base64.b64decode(body["inputs"][0]["image"]) == (EXAMPLES / "digit.png").read_bytes()
    assert [picture["kind"] for picture in body["visualizations"]] == ["overlay", "heatmap"]


def test_every_named_baseline_has_the_shape_of_its_input(catalog):
    for info in catalog.all():
        for baseline in info.baselines.values():
            for spec in info.inputs:
                assert baseline.tensors[spec.name].shape == spec.shape
                assert np.isfinite(baseline.tensors[spec.name]).all()


@pytest.mark.parametrize(("ref", "classes"), [("breast-cancer@1", 2), ("digits@1", 10)])
def test_every_bundle_has_references_within_the_domain_and_of_all_classes(catalog, served, ref, classes):
    info = catalog.get(ref)
    (spec,) = info.inputs
    rows = served[0].reference_set(ref)[spec.name]
    assert rows.shape == (info.reference_count, *spec.shape)
    assert 100 <= info.reference_count <= 200
    assert len(np.unique(rows, axis=0)) == len(rows)
    low, high = spec.value_range or np.array([(f.minimum, f.maximum) for f in spec.features], np.float32).T
    assert np.all((rows >= low) & (rows <= high))
    module = load_bundle(catalog.bundle(ref)).module
    assert len(module(torch.from_numpy(np.array(rows))).argmax(1).unique()) == classes
