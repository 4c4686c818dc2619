"""The child's work, in this process: what ends a job becomes its failure. `test_captum_process` runs it for real."""

from dataclasses import replace

import numpy as np
import pytest
from attributor.comparators.answering import answer
from attributor.comparators.request import Request
from attributor.jobs.explanation import BaselineKind, BaselinePart, BaselineSpec, Explanation, Method
from attributor.jobs.job import Failure, JobKind, JobSpec
from attributor.registry.catalog import open_bundle
from bundles import write_bundle
from format_bundles import export_bundle, tree_bundle

RAISES = """
from torch import nn

class Raises(nn.Module):
    def forward(self, x):
        raise RuntimeError("more than a hundred")

def build():
    return Raises()
"""


def request(folder, **asked) -> Request:
    info = open_bundle(folder).info
    inputs = ({"features": np.array([3.0, 4.0], np.float32)},)
    explanation = Explanation(**{"method": Method.OCCLUSION, **asked})
    spec = JobSpec(JobKind.ATTRIBUTION, info.name, "1", info.digest, info.inputs, inputs, "", explanation)
    return Request(folder, spec, "cpu", 1)


def test_another_manifest_is_not_what_was_asked_for(tmp_path):
    wanted = request(write_bundle(tmp_path, "square"))
    outcome = answer(replace(wanted, spec=replace(wanted.spec, digest="another")))
    assert isinstance(outcome, Failure)
    assert outcome.code == "model_not_ready"


def test_a_model_that_raises_fails_its_job(tmp_path):
    outcome = answer(request(write_bundle(tmp_path, "raises", code=RAISES)))
    assert outcome == Failure("model_error", "the model raised RuntimeError: more than a hundred")


@pytest.mark.parametrize("method", [Method.OCCLUSION, Method.DEEP_LIFT])
def test_a_baseline_that_the_model_does_not_have_is_refused(tmp_path, method):
    mean = BaselineSpec("mean", {"features": BaselinePart(BaselineKind.MEAN)})
    outcome = answer(request(write_bundle(tmp_path, "square"), method=method, baselines=(mean,)))
    assert isinstance(outcome, Failure)
    assert outcome.code == "unsupported_by_model"


def image_request(folder, **more) -> Request:
    info = open_bundle(folder).info
    inputs = ({"image": np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)},)
    asked = Explanation(method=Method.OCCLUSION, options={"window": 4})
    spec = JobSpec(JobKind.ATTRIBUTION, info.name, "1", info.digest, info.inputs, inputs, "", asked)
    return Request(folder, spec, "cpu", 1, **more)


def test_a_program_is_loaded_only_where_the_worker_may_load_it(tmp_path):
    folder = export_bundle(tmp_path)
    refused = answer(image_request(folder))
    assert isinstance(refused, Failure)
    assert "worker.allow_torch_export" in refused.detail
    (result,) = answer(image_request(folder, allow_torch_export=True)).results
    assert np.abs(result.attributions["image"]).max() > 0


def person_request(folder, method: Method) -> Request:
    info = open_bundle(folder).info
    inputs = ({"features": np.array([1.1, -1.2, -0.8], np.float32)},)
    spec = JobSpec(JobKind.ATTRIBUTION, info.name, "1", info.digest, info.inputs, inputs, "", Explanation(method))
    return Request(folder, spec, "cpu", 1)


@pytest.mark.parametrize("method", [Method.OCCLUSION, Method.KERNEL_SHAP, Method.LIME])
def test_a_model_without_gradients_is_explained_by_what_only_runs_it(tmp_path, method):
    (result,) = answer(person_request(tree_bundle(tmp_path), method)).results
    # By hand from the trees: the third feature decides, the first does nothing.
    shares = np.abs(result.attributions["features"])
    assert shares.argmax() == 2
    assert shares[2] > 0.2 > 0.05 > shares[0]


@pytest.mark.parametrize("method", [Method.DEEP_LIFT, Method.LRP])
def test_a_model_without_gradients_is_not_explained_by_what_hands_them_back(tmp_path, method):
    refused = answer(person_request(tree_bundle(tmp_path), method))
    assert isinstance(refused, Failure)
    assert (refused.code, "has none" in refused.detail) == ("unsupported_by_model", True)
