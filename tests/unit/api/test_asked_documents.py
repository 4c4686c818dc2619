"""What was asked is written once for requests that share it, and for no others."""

from dataclasses import replace

import numpy as np
import pytest
from attributor.api.asked_documents import asked_document
from attributor.jobs.explanation import (
    BaselineKind,
    BaselinePart,
    BaselineSpec,
    Explanation,
    Target,
    Term,
    fixed_baseline,
)
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


@pytest.mark.parametrize(("size", "baselines", "terms", "kept"), [
    (3, 2, 5, True), (1_001, 1, 0, False), (10, 120, 0, False), (3, 1, 1_001, False)
])  # fmt: skip
def test_a_large_explanation_is_not_kept(size, baselines, terms, kept):
    given = fixed_baseline("given", {"record": np.zeros(size, np.float32)})
    target = Target(tuple(map(Term, range(terms))))
    explanation = Explanation(baselines=(given,) * baselines, targets=(target,))
    job = replace(spec("photo-and-record"), explanation=explanation)
    assert asked_document(job) == asked_document(job)
    assert (asked_document(job) is asked_document(job)) == kept
