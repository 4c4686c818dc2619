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
