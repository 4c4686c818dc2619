"""What makes two questions the same."""

from dataclasses import replace

import numpy as np
from attributor.jobs.content import content_key
from attributor.jobs.explanation import Explanation, Method
from attributor.jobs.job import JobKind, JobSpec, Visualization, VisualizationKind
from attributor.jobs.model import InputKind, InputSpec

SPEC = JobSpec(
    kind=JobKind.ATTRIBUTION,
    model="tumour",
    version="1",
    digest="d" * 64,
    declared=(InputSpec("features", InputKind.TENSOR, (3,)),),
    inputs=({"features": np.arange(3, dtype=np.float32)},),
    fingerprint="f" * 64,
)


def test_how_a_job_is_treated_and_shown_makes_no_other_question():
    pictures = (Visualization(VisualizationKind.BARS),)
    shown = replace(SPEC, fingerprint="0" * 64, priority=2, deadline_s=3.0, visualizations=pictures)
    assert content_key(replace(shown, traceparent="00-a-b-01")) == content_key(shown)
    assert content_key(shown) == content_key(SPEC)


def test_whatever_the_answer_depends_on_makes_another_question_and_so_does_who_asks():
    values = SPEC.inputs[0]["features"]
    others = [
        replace(SPEC, tenant="other"),
        replace(SPEC, digest="e" * 64),
        replace(SPEC, inputs=({"features": values + 1},)),
        replace(SPEC, inputs=({"features": values.astype(np.float64)},)),
        replace(SPEC, inputs=({"features": values.reshape(3, 1)},)),
        replace(SPEC, explanation=Explanation(seed=1)),
        replace(SPEC, explanation=Explanation(method=Method.SALIENCY)),
        replace(SPEC, quadrature=replace(SPEC.quadrature, tolerance=0.5)),
    ]
    assert len({content_key(each) for each in [SPEC, *others]}) == 1 + len(others)


def test_a_key_fits_the_compact_form_of_a_small_record():
    assert len(content_key(SPEC)) <= 64, "hash-max-listpack-value"
