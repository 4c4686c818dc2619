"""The targets of a request, held against the model's outputs."""

from collections.abc import Sequence
from difflib import get_close_matches

from attributor.api.schemas.explanation import MOST_TARGETS, TargetBody, TermBody
from attributor.errors import InvalidRequest, UnknownClass, UnsupportedByModel
from attributor.jobs.explanation import Target, Term
from attributor.jobs.fitting import SCALES
from attributor.jobs.lengths import output_at
from attributor.jobs.model import ModelInfo, OutputKind, OutputScale, OutputSpec, Tensors

#: Labels named in an error; ours, so that the sentence stays readable with thousands of them.
_LISTED_LABELS = 20
#: Of a sequence, if the request does not say: what a language model says next.
LAST_POSITION = -1


def targets(body: TargetBody | list[TargetBody], output: OutputSpec) -> tuple[Target, ...]:
    """All targets, in order; those of `top` from the best class on.

    Raises InvalidRequest for contradictions, UnknownClass, and UnsupportedByModel for what this kind of output has not.
    """
    if isinstance(body, TargetBody):
        return tuple(_targets(body, output, "target"))
    found = [target for i, one in enumerate(body) for target in _targets(one, output, f"target.{i}")]
    if len(found) > MOST_TARGETS:
        raise InvalidRequest(
            f"at most {MOST_TARGETS} targets, each of `top` counted; these are {len(found)}", field="target"
        )
    return tuple(found)


def require_positions(found: Sequence[Target], info: ModelInfo, inputs: Sequence[Tensors]) -> None:
    """Whether all inputs of a request, whose lengths may vary, are as long as its targets need.

    Raises InvalidRequest, field `target.position`.
    """
    for i, example in enumerate(inputs if any(target.position is not None for target in found) else ()):
        n = output_at(info.output, info.inputs, example).positions
        for target in found:
            if n is not None and target.position is not None and not -n <= target.position < n:
                raise InvalidRequest(
                    f"position {target.position} is beyond inputs.{i}, whose output has positions 0 to {n - 1}, or "
                    f"-{n} to -1 from the end",
                    field="target.position",
                )


def scales(output: OutputSpec) -> tuple[OutputScale, ...]:
    """The scales on which an output can be read, the default first."""
    return SCALES[output.kind]


def _targets(body: TargetBody, output: OutputSpec, field: str) -> list[Target]:
    forms = [
        name
        for name, value in (("class", body.class_), ("outputs", body.outputs), ("top", body.top))
        if value is not None
    ]
    if len(forms) > 1:
        raise InvalidRequest("class, outputs and top exclude each other", field=f"{field}.{forms[1]}")
    if body.minus is not None and body.class_ is None:
        raise InvalidRequest("goes with class: the class that it is taken from", field=f"{field}.minus")
    scale, position = _scale(body, output, field), _position(body, output, field)
    if body.top is not None:
        _require_classes(output, f"{field}.top")
        if body.top > len(output.labels):
            raise InvalidRequest(f"the model has {len(output.labels)} classes", field=f"{field}.top")
        return [Target(rank=rank, position=position, scale=scale) for rank in range(body.top)]
    return [Target(_terms(body, output, field), position=position, scale=scale)]


def _terms(body: TargetBody, output: OutputSpec, field: str) -> tuple[Term, ...]:
    if body.outputs is not None:
        return _weighted(body.outputs, output, f"{field}.outputs")
    if body.class_ is None:
        if output.kind is OutputKind.VALUES and len(output.labels) > 1:
            raise InvalidRequest(
                f"no value is predicted before others: name one of {_listed(output)}, or weigh several", field=field
            )
        return (Term(0),) if output.kind is OutputKind.VALUES else ()
    index = output_index(body.class_, output, f"{field}.class")
    if body.minus is None:
        return (Term(index),)
    other = output_index(body.minus, output, f"{field}.minus")
    if other == index:
        raise InvalidRequest("is the same as class: the difference is zero everywhere", field=f"{field}.minus")
    return (Term(index), Term(other, -1.0))


def _weighted(bodies: list[TermBody], output: OutputSpec, field: str) -> tuple[Term, ...]:
    terms: list[Term] = []
    for i, body in enumerate(bodies):
        index = output_index(body.output, output, f"{field}.{i}.output")
        if any(term.index == index for term in terms):
            raise InvalidRequest("is there already; give every output one weight", field=f"{field}.{i}.output")
        if body.weight == 0:
            raise InvalidRequest("must not be 0; leave the output out", field=f"{field}.{i}.weight")
        terms.append(Term(index, body.weight))
    return tuple(terms)


def output_index(wanted: int | str, output: OutputSpec, field: str) -> int:
    """The index of an output named by index or label. Raises UnknownClass with a hint."""
    labels = output.labels
    if isinstance(wanted, int):
        if not 0 <= wanted < len(labels):
            raise UnknownClass(
                f"class {wanted} does not exist: the model has classes 0 to {len(labels) - 1}", field=field
            )
        return wanted
    if wanted not in labels:
        close = get_close_matches(wanted, labels, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"it has {_listed(output)}"
        raise UnknownClass(f"the model has no class '{wanted}'; {hint}", field=field)
    return labels.index(wanted)


def _scale(body: TargetBody, output: OutputSpec, field: str) -> OutputScale:
    known = scales(output)
    if body.scale is None:
        return known[0]
    if body.scale not in known:
        raise UnsupportedByModel(
            f"'{body.scale}' is no scale of this model's output, which is {output.kind}; it has {', '.join(known)}",
            field=f"{field}.scale",
        )
    return body.scale


def _position(body: TargetBody, output: OutputSpec, field: str) -> int | None:
    if output.positions is None:
        if body.position is not None:
            raise UnsupportedByModel(
                "only a sequence output has positions; this model has one output for the whole input",
                field=f"{field}.position",
            )
        return None
    position = LAST_POSITION if body.position is None else body.position
    if not -output.positions <= position < output.positions:
        raise InvalidRequest(
            f"the output has positions 0 to {output.positions - 1}, or -{output.positions} to -1 from the end",
            field=f"{field}.position",
        )
    return position


def _require_classes(output: OutputSpec, field: str) -> None:
    if output.kind is OutputKind.VALUES:
        raise UnsupportedByModel("values of a regression are not ranked; name them by class or outputs", field=field)


def _listed(output: OutputSpec) -> str:
    more = len(output.labels) - _LISTED_LABELS
    return ", ".join(output.labels[:_LISTED_LABELS]) + (f" and {more} more" if more > 0 else "")
