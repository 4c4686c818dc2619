"""Stretches of a job's list of results to documents. Results are numbered input by input, then target by target."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from attributor.api.answers import failure_document, queued_s
from attributor.api.form import USUAL, Form
from attributor.api.result_documents import estimate_document, result_documents
from attributor.api.schemas.queries import ResultsQuery
from attributor.jobs.job import JobRecord, JobSpec
from attributor.jobs.result import PartialResult, PathResult
from attributor.jobs.state import TERMINAL

#: Results that a job's own document holds; more are had by the page. Ours: a document of one takes 0.1 ms to make and
#: some kilobytes, so a poll stays below 0.2 s and a few megabytes for small inputs.
MOST_WITH_JOB = 1_000


@dataclass(frozen=True, slots=True)
class Found:
    """A job with all that there is of it now."""

    record: JobRecord
    spec: JobSpec
    parts: PartialResult


def page_document(found: Found, query: ResultsQuery) -> dict[str, Any]:
    """A stretch of the results (ResultsDocument)."""
    record, spec = found.record, found.spec
    n_targets = len(spec.explanation.targets)
    numbers = range(query.offset, query.offset + query.limit)
    results = dict(_numbered(found.parts.results, n_targets))
    done = {result.input for result in found.parts.results}
    waited_s = queued_s(record) or 0.0
    under_way = [] if record.state in TERMINAL else found.parts.estimates
    return {
        "id": record.id,
        "state": record.state,
        "inputs": record.n_inputs,
        "inputs_done": len(done),
        "results": result_documents([results[k] for k in numbers if k in results], spec, waited_s, query.form),
        "estimates": [
            estimate_document(each, spec, query.form)
            for each in under_way
            if each.input * n_targets in numbers and each.input not in done
        ],
        "next": next_link(record.id, numbers.stop, query.limit, record.n_inputs * n_targets, query.form),
        "error": failure_document(record.failure),
    }


def next_link(job_id: str, offset: int, limit: int, total: int, form: Form) -> str | None:
    """Where the results from `offset` on are; None where that is the end."""
    if offset >= total:
        return None
    asked: dict[str, Any] = {"offset": offset, "limit": limit}
    if form.encoding != USUAL.encoding:
        asked["encoding"] = form.encoding
    if form.fields is not None:
        asked["fields"] = ",".join(sorted(form.fields))
    return f"/v1/attributions/{job_id}/results?{urlencode(asked, safe=',')}"


def _numbered(results: tuple[PathResult, ...], n_targets: int) -> Iterator[tuple[int, PathResult]]:
    """Each result with its number; the results of an input stand together, in the order of its targets."""
    seen: dict[int, int] = {}
    for result in results:
        target = seen.get(result.input, 0)
        seen[result.input] = target + 1
        yield result.input * n_targets + target, result
