import numpy as np
import orjson
import pytest
from attributor.core.asks import one_node_each
from attributor.errors import BundleError, ModelNotReady
from attributor.jobs.explanation import Target
from attributor.jobs.model import Readiness
from attributor.model_port import CurveSpec, Points, RouteSpec
from attributor.registry.catalog import FolderCatalog, open_bundle
from attributor.registry.proof.golden import GOLDEN, write_golden
from attributor.registry.registry import Registry, check_bundles
from attributor.registry.seal import seal
from attributor.runtimes.torch_runtime import configure_threads
from bundles import LINEAR, npy, path_bundle, reference_bundle, token_bundle, two_input_bundle, write_bundle
from format_bundles import IMAGE_SHAPE, graph_bundle

configure_threads()

MIXES_ROWS = """
from torch import nn

class Net(nn.Module):
    def forward(self, x):
        return x - x.mean(0)

def build():
    return Net()
"""


def test_a_loaded_model_evaluates(tmp_path):
    write_bundle(tmp_path, "linear")
    catalog, registry = FolderCatalog(tmp_path), Registry(max_points=7)
    (report,) = registry.load_all(catalog)
    assert (report.ref, report.readiness, report.reason) == ("linear@1", Readiness.READY, None)
    info = catalog.get("linear")
    assert registry.info("linear@1") is info
    model = registry.get("linear@1", info.digest)
    assert model.max_points == 7
    example = {"features": np.array([1.0, 0.0], np.float32)}
    model.open("p", RouteSpec(example, (Target(),)))
    curve = model.add_curve("p", CurveSpec(example, example))
    model.evaluate([Points("p", one_node_each(curve, (1.0,), 0, gradient=False))])
    np.testing.assert_array_equal(model.outputs("p"), np.array([2.5, 0.0], np.float32))


def test_a_model_that_fails_keeps_its_reason_and_harms_no_other(tmp_path):
    write_bundle(tmp_path, "linear")
    write_bundle(tmp_path, "mixes", code=MIXES_ROWS)
    write_bundle(tmp_path, "raises", code="raise ValueError('no luck')")
    (write_bundle(tmp_path, "changed") / "model.py").write_text("")
    catalog, registry = FolderCatalog(tmp_path), Registry()
    reports = {report.ref: report for report in registry.load_all(catalog)}
    assert {ref: report.readiness for ref, report in reports.items()} == {
        "linear@1": Readiness.READY,
        "mixes@1": Readiness.FAILED,
        "raises@1": Readiness.FAILED,
        "changed@1": Readiness.FAILED,
    }
    assert reports["mixes@1"].checks["deterministic"] == "passed"
    for ref, words in (("mixes@1", "influence each other"), ("raises@1", "no luck"), ("changed@1", "0 bytes")):
        assert words in (reports[ref].reason or "")
        with pytest.raises(ModelNotReady, match=words):
            registry.get(ref, reports[ref].digest)
    registry.get("linear@1", catalog.get("linear").digest)


def test_another_digest_is_not_served(tmp_path):
    write_bundle(tmp_path, "linear")
    registry = Registry()
    registry.load_all(FolderCatalog(tmp_path))
    with pytest.raises(ModelNotReady, match="the bundle changed"):
        registry.get("linear@1", "0" * 64)


def test_a_model_that_was_never_loaded_is_not_ready():
    with pytest.raises(ModelNotReady, match="nothing@1 is not loaded"):
        Registry().get("nothing@1", "")


def test_loading_again_replaces_what_was_loaded_before(tmp_path):
    folder = write_bundle(tmp_path, "linear")
    catalog, registry = FolderCatalog(tmp_path), Registry()
    bundle = catalog.bundle("linear")
    assert registry.load(bundle).readiness is Readiness.READY
    (folder / "model.py").write_text("")
    assert registry.load(bundle).readiness is Readiness.FAILED
    with pytest.raises(ModelNotReady):
        registry.get("linear@1", bundle.info.digest)
    seal(folder)
    assert registry.load(open_bundle(folder)).readiness is Readiness.FAILED
    (folder / "model.py").write_text(LINEAR)
    seal(folder)
    mended = open_bundle(folder)
    assert registry.load(mended).readiness is Readiness.READY
    registry.get("linear@1", mended.info.digest)


def test_a_golden_example_that_does_not_hold_fails_the_model(tmp_path):
    folder = write_bundle(tmp_path, "linear")
    write_golden(folder, {"features": {"a": 1.0, "b": 2.0}})
    (report,) = check_bundles(tmp_path)
    assert (report.readiness, report.checks["golden"]) == (Readiness.READY, "passed")
    golden = orjson.loads((folder / GOLDEN).read_bytes())
    (folder / GOLDEN).write_bytes(orjson.dumps(golden | {"score": 0.5}))
    seal(folder)
    (report,) = check_bundles(tmp_path)
    assert report.readiness is Readiness.FAILED
    assert report.checks["golden"] == report.reason
    assert "has score 0.5" in (report.reason or "")


def test_checking_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(BundleError):
        check_bundles(tmp_path / "nowhere")


def test_the_reference_set_of_a_loaded_model_is_handed_out(tmp_path):
    two_input_bundle(tmp_path)
    write_bundle(tmp_path, "linear")
    registry = Registry()
    reports = {report.ref: report for report in registry.load_all(FolderCatalog(tmp_path))}
    references = registry.reference_set("pair@1")
    assert {name: array.shape for name, array in references.items()} == {"measurements": (8, 2), "signal": (8, 3)}
    assert not references["signal"].flags.writeable
    assert registry.reference_set("pair@1") is references
    assert registry.reference_set("linear@1") == {}
    assert reports["pair@1"].checks["reference_set"] == "passed"
    assert "reference_set" not in reports["linear@1"].checks
    with pytest.raises(ModelNotReady):
        registry.reference_set("nothing@1")


def test_a_reference_set_with_impossible_values_fails_the_model_at_load(tmp_path):
    folder = reference_bundle(tmp_path)
    (folder / "reference.npy").write_bytes(npy(np.full((3, 4), np.nan, np.float32)))
    seal(folder)
    (report,) = check_bundles(tmp_path)
    assert report.readiness is Readiness.FAILED
    assert "reference_set.features: reference.npy holds NaN" in (report.reason or "")


def test_models_of_tokens_and_registered_paths_are_served(tmp_path):
    token_bundle(tmp_path)
    path_bundle(tmp_path)
    reports = {report.ref: report for report in check_bundles(tmp_path)}
    assert {report.reason for report in reports.values()} == {None}
    assert reports["curved@1"].checks["paths"] == "passed"
    assert reports["words@1"].checks["embeddings"] == "passed"
    assert reports["words@1"].layers == ("embedding", "mixer", "head")


def test_of_a_graph_nothing_is_read_here_before_its_trial(tmp_path):
    folder = graph_bundle(tmp_path)
    (folder / "seen.npy").write_bytes(npy(np.full((2, *IMAGE_SHAPE), np.nan, np.float32)))
    manifest = folder / "manifest.toml"
    named = 'reference_set = { image = "seen.npy" }\n[[inputs]]'
    manifest.write_text(manifest.read_text().replace("[[inputs]]", named, 1))
    seal(folder)
    report = Registry().load(open_bundle(folder))
    assert report.checks == {"imported": "passed"}, "the trial ended at the reference set, and so did all else"
    assert "seen.npy holds NaN or infinity" in report.reason
