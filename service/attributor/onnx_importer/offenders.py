"""What of a graph cannot be computed, node by node, and the sentence that lists it all."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offender:
    """A node (or initializer, input, output) with its operator, the version of the operator's schema, and a clause."""

    name: str
    op_type: str
    domain: str
    version: int
    reason: str


class Refused(Exception):
    """The file is not imported; the text is for the operator of the service, and lists every node at fault."""

    def __init__(self, text: str, offenders: Sequence[Offender] = ()) -> None:
        super().__init__(text)
        self.offenders = tuple(offenders)


def refused(offenders: Sequence[Offender], opset: int) -> Refused:
    """One refusal of all offenders: each node with its operator, the opset, and why."""
    counts = Counter(o.op_type for o in offenders)
    kinds = ", ".join(f"{op} ({count})" if count > 1 else op for op, count in counts.items())
    lines = [
        f"node {o.name!r}: {f'{o.domain}.' if o.domain else ''}{o.op_type}"
        f"{f' version {o.version}' if o.version else ''} {o.reason}"
        for o in offenders
    ]
    text = f"The graph (opset {opset}) has what we cannot compute exactly: {kinds}. " + "; ".join(lines)
    return Refused(text, offenders)
