"""A job's answer to documents, where inputs were computed together all at once: what is the same in all is written
once, around each one's own numbers, for a third of the time of one by one.

What a document looks like is `result_documents`' to say: the first of them is made there, and numbers replaced.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from attributor.api.explained_documents import explained_texts
from attributor.api.result_documents import result_documents, target_document, warning_documents
from attributor.jobs.job import JobSpec
from attributor.jobs.result import AttributionResult, ResultColumns

Document = dict[str, Any] | orjson.Fragment
#: Where in a document, key by key, and what each row has there, as JSON.
_Own = Mapping[tuple[str | int, ...], Sequence[bytes]]
#: Stands for it. No JSON holds this byte: in texts it is escaped.
_MARK = re.compile(rb"\x00(\d+)\x00")


def answer_documents(
    result: AttributionResult, most: int, spec: JobSpec, encoding: str, queued_s: float
) -> list[Document]:
    """The first of the results, in their order (ResultDocument)."""
    if not result.columns or spec.visualizations or encoding not in {"auto", "numbers"}:
        return [*result_documents(result.results[:most], spec, encoding, queued_s)]
    found: dict[int, Document] = {each.input: made for each, made in _apart(result, spec, encoding, queued_s)}
    for columns in result.columns:
        if columns.inputs.min() < most:
            (first,) = result_documents([columns.result(0)], spec, encoding, queued_s)
            found.update(zip(columns.inputs.tolist(), _all_like(first, columns, spec), strict=True))
    return [found[number] for number in sorted(found)][:most]


def _apart(result: AttributionResult, spec: JobSpec, encoding: str, queued_s: float) -> Iterable[tuple[Any, Document]]:
    return zip(result.apart, result_documents(result.apart, spec, encoding, queued_s), strict=True)


def _all_like(first: dict[str, Any], columns: ResultColumns, spec: JobSpec) -> list[Document]:
    """One per row. `first`: that of the first row, which is changed."""
    own = _own(columns, spec)
    for number, path in enumerate(own):
        place: Any = first
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = orjson.Fragment(b"\x00%d\x00" % number)
    whole = orjson.dumps(first, option=orjson.OPT_SERIALIZE_NUMPY).replace(b"%", b"%%")
    texts = list(own.values())
    ordered = [texts[int(number)] for number in _MARK.findall(whole)]
    around = _MARK.sub(b"%b", whole)
    return [orjson.Fragment(around % each) for each in zip(*ordered, strict=True)]


def _own(columns: ResultColumns, spec: JobSpec) -> _Own:
    scores, baseline_scores = columns.scores[:, -1], columns.scores[:, 0]
    targets = [orjson.dumps(target_document(each)) for each in columns.targets]
    warnings = [orjson.dumps(warning_documents(each)) for each in columns.warnings]
    return {
        ("input",): _texts(columns.inputs),
        ("target",): [targets[place] for place in columns.target.tolist()],
        ("score",): _texts(scores),
        ("baseline_score",): _texts(baseline_scores),
        ("baselines", 0, "score"): _texts(baseline_scores),
        ("baselines", 0, "completeness_error"): _texts(columns.baseline_errors),
        ("attribution_sum",): _texts(columns.sums),
        ("completeness_error", "absolute"): _texts(columns.errors),
        ("completeness_error", "relative"): _texts(columns.relative_errors),
        ("tolerance", "absolute"): _texts(columns.absolute_tolerances),
        ("attribution_error",): _texts(columns.attribution_errors),
        ("nodes", "weight"): _texts(columns.weights),
        ("nodes", "score"): _texts(columns.scores),
        ("nodes", "slope"): [b"[null,%b,null]" % each[1:-1] for each in _texts(columns.slopes)],
        **{("attributions", name, "data"): _texts(values) for name, values in columns.attributions.items()},
        ("explained",): explained_texts(columns.attributions, columns.inputs.tolist(), spec),
        ("warnings",): [warnings[place] for place in columns.warned.tolist()],
        ("timings", "computing_s"): _texts(np.round(columns.computing_s, 6)),
    }


def _texts(values: NDArray[Any]) -> list[bytes]:
    """Each row as JSON; what is not a number, as null."""
    whole = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    depth = values.ndim - 1
    ends, begins = b"]" * depth, b"[" * depth  # within a row there are fewer at a time
    rows = whole[1 + depth : len(whole) - 1 - depth].split(ends + b"," + begins)
    return [begins + row + ends for row in rows] if depth else rows
