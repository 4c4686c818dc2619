"""Documents made many at once are what each is by itself."""

from dataclasses import replace

import numpy as np
import orjson
import pytest
from attributor.api.column_documents import answer_documents
from attributor.api.form import Form
from attributor.api.result_documents import FIELDS, result_documents
from attributor.jobs.explanation import Explanation
from attributor.jobs.job import JobKind, JobSpec, Visualization, VisualizationKind
from attributor.jobs.model import Feature, InputKind, InputSpec
from attributor.jobs.result import AttributionResult
from unit.api.models import spec
from unit.api.results import columns, result

NAMES = ("100 % sure", "%b", 'a "quoted" name', "é\x00")
NUMBERS = InputSpec("a %d table", InputKind.TABULAR, (4,), features=tuple(Feature(name, unit="%") for name in NAMES))
GROUPED = replace(NUMBERS, groups={"both": NAMES[:2]})
CATEGORY = InputSpec("x", InputKind.TABULAR, (2,), features=(Feature("n"), Feature("c", categories=("low", "high"))))
TENSOR = InputSpec("t", InputKind.TENSOR, (2, 1, 3))


def job(*declared, n=7):
    rng = np.random.default_rng(5)
    rows = [{each.name: rng.integers(0, 2, each.shape).astype(np.float32) for each in declared} for _ in range(n)]
    return JobSpec(JobKind.ATTRIBUTION, "m", "1", "d", declared, tuple(rows), "f", Explanation())


JOBS = {
    "numbers": job(NUMBERS),
    "groups": job(GROUPED),
    "categories": job(CATEGORY),
    "tensor": job(TENSOR),
    "several": job(NUMBERS, TENSOR, CATEGORY),
    "tables": job(NUMBERS, replace(NUMBERS, name="another")),
    "photo and record": spec("photo-and-record", 7),
    "pictures": replace(spec("photo-and-record", 7), visualizations=(Visualization(VisualizationKind.HEATMAP),)),
}


def answered(asked, *groups, apart=()):
    shapes = {each.name: each.shape for each in asked.declared if each.attributed}
    like = result(baseline={name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    blocks = tuple(columns(like, shapes, list(numbers), seed) for seed, numbers in enumerate(groups))
    others = [replace(next(iter(columns(like, shapes, [number], 9))), evaluations=27) for number in apart]
    return AttributionResult(tuple(others), blocks)


def read(documents):
    return orjson.loads(orjson.dumps(documents, option=orjson.OPT_SERIALIZE_NUMPY))


@pytest.mark.parametrize("encoding", ["auto", "numbers", "base64-npy"])
@pytest.mark.parametrize("asked", JOBS.values(), ids=list(JOBS))
def test_they_are_those_made_one_by_one_in_the_order_of_the_inputs(asked, encoding):
    found = answered(asked, (0, 4, 6), (5, 1), apart=(2, 3))
    made = read(answer_documents(found, 1000, asked, 0.25, Form(encoding)))
    assert [each["input"] for each in made] == list(range(7))
    assert made == read(result_documents(found.results, asked, 0.25, Form(encoding)))


@pytest.mark.parametrize("most", [1, 3, 6])
def test_only_the_first_ones_are_given(most):
    asked = JOBS["numbers"]
    found = answered(asked, (0, 4, 6), (5, 1), apart=(2, 3))
    assert read(answer_documents(found, most, asked, 0.0)) == read(result_documents(found.results[:most], asked, 0.0))


def test_those_of_one_row_are_too():
    asked = job(TENSOR, n=1)
    found = answered(asked, (0,))
    assert read(answer_documents(found, 1000, asked, 0.0)) == read(result_documents(found.results, asked, 0.0))


@pytest.mark.parametrize("names", [*FIELDS, "attributions,nodes,input"])
@pytest.mark.parametrize("asked", [JOBS["several"], JOBS["pictures"]], ids=["several", "pictures"])
def test_with_some_of_the_fields_they_are_too(asked, names):
    form = Form(fields=frozenset(names.split(",")))
    found = answered(asked, (0, 4, 6), (5, 1), apart=(2, 3))
    made = read(answer_documents(found, 1000, asked, 0.25, form))
    assert made == read(result_documents(found.results, asked, 0.25, form))
    assert [set(each) for each in made] == [form.fields] * 7
