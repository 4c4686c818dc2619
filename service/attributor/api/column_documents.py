"""A job's answer to documents, where inputs were computed together all at once: what is the same in all is written
once, around each one's own numbers, for a third of the time of one by one.

What a document looks like is `result_documents`' to say: the first of them is made there, and numbers replaced.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from attributor.api.explained_documents import explained_texts
from attributor.api.form import USUAL, Form
from attributor.api.result_documents import result_documents, target_document, warning_documents
from attributor.jobs.job import JobSpec
from attributor.jobs.result import AttributionResult, ResultColumns

Document = dict[str, Any] | orjson.Fragment
#: Where in a document, key by key, and what each row has there, as JSON.
_Own = Mapping[tuple[str | int, ...], Sequence[bytes]]
#: Stands for it. No JSON holds this byte: in texts it is escaped.
_MARK = re.compile(rb"\x00(\d+)\x00")


def answer_documents(
    result: AttributionResult, most: int, spec: JobSpec, queued_s: float, form: Form = USUAL
) -> list[Document]:
    """The first of the results, in their order (ResultDocument)."""
    drawn = spec.visualizations and form.has("visualizations")
    if not result.columns or drawn or form.encoding not in {"auto", "numbers"}:
        return [*result_documents(result.results[:most], spec, queued_s, form)]
    apart = zip(result.apart, result_documents(result.apart, spec, queued_s, form), strict=True)
    found: dict[int, Document] = {each.input: made for each, made in apart}
    for columns in result.columns:
        if columns.inputs.min() < most:
            (first,) = result_documents([columns.result(0)], spec, queued_s, form)
            found.update(zip(columns.inputs.tolist(), _all_like(first, columns, spec), strict=True))
    return [found[number] for number in sorted(found)][:most]


def _all_like(first: dict[str, Any], columns: ResultColumns, spec: JobSpec) -> list[Document]:
    """One per row. `first`: that of the first row, which is changed."""
    own = {place: made for name in first if name in _OWN for place, made in _OWN[name](columns, spec).items()}
    for number, path in enumerate(own):
        place: Any = first
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = orjson.Fragment(b"\x00%d\x00" % number)
    whole = orjson.dumps(first, option=orjson.OPT_SERIALIZE_NUMPY).replace(b"%", b"%%")
    texts = list(own.values())
    ordered = [texts[int(number)] for number in _MARK.findall(whole)]
    around = _MARK.sub(b"%b", whole)
    if not ordered:
        return [orjson.Fragment(whole.replace(b"%%", b"%"))] * len(columns.inputs)
    return [orjson.Fragment(around % each) for each in zip(*ordered, strict=True)]


def _targets(columns: ResultColumns) -> list[bytes]:
    each = [orjson.dumps(target_document(target)) for target in columns.targets]
    return [each[place] for place in columns.target.tolist()]


def _warnings(columns: ResultColumns) -> list[bytes]:
    each = [orjson.dumps(warning_documents(warnings)) for warnings in columns.warnings]
    return [each[place] for place in columns.warned.tolist()]


#: What rows have of their own, by field of a result.
_OWN: Mapping[str, Callable[[ResultColumns, JobSpec], _Own]] = {
    "input": lambda of, _: {("input",): _texts(of.inputs)},
    "target": lambda of, _: {("target",): _targets(of)},
    "score": lambda of, _: {("score",): _texts(of.scores[:, -1])},
    "baseline_score": lambda of, _: {("baseline_score",): _texts(of.scores[:, 0])},
    "baselines": lambda of, _: {
        ("baselines", 0, "score"): _texts(of.scores[:, 0]),
        ("baselines", 0, "completeness_error"): _texts(of.baseline_errors),
    },
    "attribution_sum": lambda of, _: {("attribution_sum",): _texts(of.sums)},
    "completeness_error": lambda of, _: {
        ("completeness_error", "absolute"): _texts(of.errors),
        ("completeness_error", "relative"): _texts(of.relative_errors),
    },
    "tolerance": lambda of, _: {("tolerance", "absolute"): _texts(of.absolute_tolerances)},
    "attribution_error": lambda of, _: {("attribution_error",): _texts(of.attribution_errors)},
    "nodes": lambda of, _: {
        ("nodes", "weight"): _texts(of.weights),
        ("nodes", "score"): _texts(of.scores),
        ("nodes", "slope"): [b"[null,%b,null]" % each[1:-1] for each in _texts(of.slopes)],
    },
    "attributions": lambda of, _: {
        ("attributions", name, "data"): _texts(values) for name, values in of.attributions.items()
    },
    "explained": lambda of, spec: {("explained",): explained_texts(of.attributions, of.inputs.tolist(), spec)},
    "warnings": lambda of, _: {("warnings",): _warnings(of)},
    "timings": lambda of, _: {("timings", "computing_s"): _texts(np.round(of.computing_s, 6))},
}


def _texts(values: NDArray[Any]) -> list[bytes]:
    """Each row as JSON; what is not a number, as null."""
    whole = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    depth = values.ndim - 1
    ends, begins = b"]" * depth, b"[" * depth  # within a row there are fewer at a time
    rows = whole[1 + depth : len(whole) - 1 - depth].split(ends + b"," + begins)
    return [begins + row + ends for row in rows] if depth else rows
