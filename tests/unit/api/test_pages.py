"""Stretches of results, held strictly to what OpenAPI says of them."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from attributor.api.documented_pages import ResultsDocument
from attributor.api.form import Form
from attributor.api.pages import Found, next_link, page_document
from attributor.api.schemas.queries import ResultsQuery
from attributor.jobs.job import Failure, JobKind, JobRecord
from attributor.jobs.result import Estimate, PartialResult
from attributor.jobs.state import JobState
from unit.api.models import spec
from unit.api.results import SHARES, result

RUNNING = JobRecord(
    "j", JobKind.ATTRIBUTION, JobState.RUNNING, "t", "photo-and-record", "1", "d", 6, 2, 1, 1.0, started_at=1.5
)


def page(
    done: list[int], under_way: tuple[int, ...] = (), record: JobRecord = RUNNING, n_targets: int = 1, **query: Any
) -> dict[str, Any]:
    """As a client reads it, after the strictest look at its form. Results come target by target."""
    job = spec("photo-and-record", 6, target={"top": n_targets})
    results = tuple(result(input=i, score=float(k)) for i in done for k in range(n_targets))
    estimates = tuple(Estimate(i, 4, 0.2, None if i % 2 else SHARES) for i in under_way)
    made = page_document(Found(record, job, PartialResult(results, estimates)), ResultsQuery.model_validate(query))
    content = orjson.dumps(made, option=orjson.OPT_SERIALIZE_NUMPY)
    if "fields" not in query:
        ResultsDocument.model_validate_json(content, strict=True)
    return orjson.loads(content)


def test_results_stand_in_order_whatever_was_done_first():
    found = page([4, 0, 2])
    assert [each["input"] for each in found["results"]] == [0, 2, 4]
    assert (found["state"], found["inputs"], found["inputs_done"], found["next"]) == ("running", 6, 3, None)


def test_a_page_is_the_same_stretch_of_the_list_while_the_job_runs_and_after():
    some, everything = page([4, 0, 2], offset=2, limit=2), page([*range(6)], offset=2, limit=2)
    assert [each["input"] for each in some["results"]] == [2]
    assert [each["input"] for each in everything["results"]] == [2, 3]
    assert some["next"] == everything["next"] == "/v1/attributions/j/results?offset=4&limit=2"
    assert page([*range(6)], offset=4, limit=2)["next"] is None
    assert page([*range(6)], offset=9)["results"] == []


def test_results_are_counted_by_target():
    found = page([1, 0], n_targets=2, offset=1, limit=2)
    assert [(each["input"], each["score"]) for each in found["results"]] == [(0, 1.0), (1, 0.0)]
    assert found["inputs_done"] == 2
    assert found["next"].endswith("offset=3&limit=2")


def test_inputs_under_way_have_estimates_on_their_page():
    found = page([0], (1, 2, 5), limit=3)
    assert [each["input"] for each in found["estimates"]] == [1, 2]
    first, second = found["estimates"]
    assert (first["evaluations"], first["completeness_error"], first["attributions"]) == (4, 0.2, None)
    assert second["attributions"]["record"]["data"] == pytest.approx([0.1, 0.2])


def test_an_input_that_is_done_has_no_estimate_any_more():
    assert page([1], (1,))["estimates"] == []


def test_a_failed_job_shows_what_it_had_and_why_it_failed():
    failed = replace(RUNNING, state=JobState.FAILED, failure=Failure("deadline_exceeded", "too late"))
    found = page([0, 3], (1,), failed)
    assert [each["input"] for each in found["results"]] == [0, 3]
    assert (found["estimates"], found["error"]["code"]) == ([], "deadline_exceeded")


def test_the_next_page_has_the_encoding_of_this_one():
    assert next_link("j", 10, 10, 11, Form("numbers")).endswith("?offset=10&limit=10&encoding=numbers")


def test_the_next_page_has_the_fields_of_this_one():
    found = page([*range(6)], fields="score,input", limit=2)
    assert found["results"] == [{"input": 0, "score": 0.0}, {"input": 1, "score": 0.0}]
    assert found["next"] == "/v1/attributions/j/results?offset=2&limit=2&fields=input,score"


def test_estimates_have_attributions_where_results_do():
    assert "attributions" not in page([0], (1,), fields="input")["estimates"][0]
    assert "attributions" in page([0], (1,), fields="attributions")["estimates"][0]
