"""A request of known words is the job that it would have been."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from attributor.api.known_asks import KnownAsks, words_of
from attributor.api.mapping.specs import attribution_spec
from attributor.api.schemas.bodies import AttributionBody
from attributor.jobs.job import JobSpec
from attributor.registry.catalog import FolderCatalog

CATALOG = FolderCatalog(Path(__file__).parents[3] / "models")
INFO = CATALOG.get("breast-cancer")
NAME = INFO.inputs[0].name


def document(*rows, **words):
    tensors = [{NAME: {"shape": [30], "datatype": "FP32", "data": row}} for row in rows]
    return {"model": "breast-cancer", "inputs": tensors} | words


def row(seed):
    return np.random.default_rng(seed).uniform(1, 20, 30).round(2).tolist()


def spec_of(asked, tenant="t"):
    return attribution_spec(AttributionBody.model_validate(asked), INFO, tenant=tenant)


def known(asked, tenant="t"):
    asks = KnownAsks()
    asks.keep(words_of(asked, tenant), spec_of(asked, tenant), INFO)
    return asks


def found(asks, asked, tenant="t", info=INFO):
    words = words_of(asked, tenant)
    return asks.job(words, info) if words is not None and asks.knows(words) else None


def assert_same(one, other):
    assert replace(one, inputs=()) == replace(other, inputs=())
    for a, b in zip(one.inputs, other.inputs, strict=True):
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a)


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"tolerance": 0.05, "baseline": "mean", "priority": "high"},
        {"target": {"class": "malignant", "scale": "logit"}, "visualizations": [{"kind": "bars"}]},
        {"method": "expected_gradients", "samples": 9, "seed": 3},
    ],
    ids=str,
)
def test_other_inputs_of_the_same_words_are_the_job_that_they_would_be(words):
    asks = known(document(row(1), row(2), **words))
    asked = document(row(3), row(4), **words)
    assert_same(found(asks, asked), spec_of(asked))


@pytest.mark.parametrize(
    "other",
    [
        document(row(1), row(2), tolerance=0.02),
        document(row(1), tolerance=0.05),
        document(row(1), row(2), tolerance=0.05, seed=1),
        document(row(1), row(2), row(3), tolerance=0.05),
        document(row(1), row(2), tolerance=0.05) | {"model": "breast-cancer@1"},
        document(row(1), row(2), tolerance=0.05, unknown=1),
        document(row(1), row(2), tolerance="0.05"),
    ],
    ids=lambda asked: json.dumps({name: value for name, value in asked.items() if name != "inputs"}),
)
def test_other_words_are_not_known(other):
    assert found(known(document(row(1), row(2), tolerance=0.05)), other) is None


def test_what_json_writes_alike_is_told_apart():
    asks = known(document(row(1), tolerance=None, attribution_tolerance=0.01))
    assert found(asks, document(row(1), tolerance=None, attribution_tolerance=0.01)) is not None
    assert found(asks, document(row(1), tolerance=float("nan"), attribution_tolerance=0.01)) is None


def test_another_tenants_words_are_not_known():
    asks = known(document(row(1)))
    assert found(asks, document(row(1)), tenant="other") is None
    assert found(asks, document(row(1))).tenant == "t"


def test_a_newer_description_of_the_model_is_looked_at_anew():
    assert found(known(document(row(1))), document(row(1)), info=replace(INFO)) is None


@pytest.mark.parametrize(
    "item",
    [
        {NAME: {"shape": [29], "data": row(1)[:-1]}},
        {NAME: {"shape": [30], "data": [*row(1)[:-1], float("nan")]}},
        {NAME: {"shape": [30], "data": [*row(1)[:-1], "1"]}},
        {"other": {"shape": [30], "data": row(1)}},
        {},
        [],
        None,
    ],
    ids=str,
)
def test_inputs_that_are_wrong_in_any_respect_are_looked_at_as_a_whole(item):
    assert found(known(document(row(1), row(2))), document(row(1)) | {"inputs": [{NAME: row(1)}, item]}) is None


@pytest.mark.parametrize(
    "asked",
    [
        document(row(1), layer={"name": "net.0"}),
        document(row(1), method="lrp"),
        document(row(1), method="occlusion"),
        document(row(1), saturation={"layers": ["net.0"]}),
        document(*[row(n) for n in range(257)]),
    ],
    ids=["layer", "lrp", "occlusion", "saturation", "many"],
)
def test_what_hangs_on_more_than_the_words_is_not_kept(asked):
    asks = KnownAsks()
    try:
        spec = spec_of(asked)
    except Exception as error:
        pytest.fail(repr(error))
    asks.keep(words_of(asked, "t"), spec, INFO)
    assert found(asks, asked) is None


@pytest.mark.parametrize(
    "asked", [None, [], {}, {"model": "m"}, {"model": 1, "inputs": [1]}, {"model": "m", "inputs": []}]
)
def test_what_is_no_request_has_no_words(asked):
    assert words_of(asked, "t") is None


def test_long_words_are_not_kept():
    assert words_of(document(row(1), baseline={NAME: {"shape": [300], "data": [0.123456] * 300}}), "t") is None


def test_no_more_are_kept_than_there_is_room_for():
    asks, spec = KnownAsks(), spec_of(document(row(1)))
    for n in range(1000):
        asks.keep(words_of(document(row(1), deadline_s=n + 1), "t"), spec, INFO)
    assert len(asks._known) == 256
    assert found(asks, document(row(1), deadline_s=1000)) is not None
    assert found(asks, document(row(1), deadline_s=1)) is None


def test_the_inputs_themselves_are_not_kept():
    asks = known(document(row(1), row(2)))
    assert [list(each.job.keywords) for each in asks._known.values()] == [
        [each.name for each in fields(JobSpec) if each.name != "inputs"]
    ]


def test_words_are_not_walked_through_for_longer_than_may_be_kept():
    class Counted(list):
        walked = 0

        def __iter__(self):
            for each in super().__iter__():
                Counted.walked += 1
                yield each

    nested = Counted([Counted([0.5] * 200) for _ in range(200)])
    assert words_of(document(row(1)) | {"baseline": nested}, "t") is None
    assert Counted.walked < 300
