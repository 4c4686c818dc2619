"""What was asked is written once for requests that share it, and for no others."""

from dataclasses import replace

import numpy as np
import pytest
from attributor.api.asked_documents import asked_document
from attributor.jobs.explanation import BaselineKind, BaselinePart, BaselineSpec, Explanation, fixed_baseline
from unit.api.models import spec


def asking(kind: BaselineKind, value: float | None = None) -> Explanation:
    return Explanation(baselines=(BaselineSpec("b", {"record": BaselinePart(kind, value=value)}),))


def test_jobs_of_one_explanation_share_what_they_asked():
    one = replace(spec("photo-and-record"), explanation=asking(BaselineKind.ZERO))
    assert asked_document(one) is asked_document(replace(one, inputs=()))


def test_another_explanation_or_other_inputs_are_written_anew():
    one = replace(spec("photo-and-record"), explanation=asking(BaselineKind.CONSTANT, 1.0))
    assert asked_document(one)["baselines_asked"][0]["inputs"]["record"]["value"] == 1.0
    other = replace(one, explanation=asking(BaselineKind.CONSTANT, 2.0))
    assert asked_document(other)["baselines_asked"][0]["inputs"]["record"]["value"] == 2.0
    fewer = replace(one, declared=one.declared[:1])
    assert list(asked_document(fewer)["path"]) == [one.declared[0].name]
    assert len(asked_document(one)["path"]) == len(one.declared)


def test_explanations_come_and_go_and_none_has_anothers_document():
    for n in range(1_000):
        job = replace(spec("photo-and-record"), explanation=asking(BaselineKind.CONSTANT, float(n)))
        assert asked_document(job)["baselines_asked"][0]["inputs"]["record"]["value"] == n


@pytest.mark.parametrize(("size", "kept"), [(3, True), (1_001, False)])
def test_an_explanation_with_large_arrays_is_not_kept(size, kept):
    given = fixed_baseline("given", {"record": np.zeros(size, np.float32)})
    job = replace(spec("photo-and-record"), explanation=Explanation(baselines=(given,)))
    assert asked_document(job) == asked_document(job)
    assert (asked_document(job) is asked_document(job)) == kept
