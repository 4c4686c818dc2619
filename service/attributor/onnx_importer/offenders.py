"""What of a graph cannot be computed, node by node, and the sentence that lists it all."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

#: Nodes of one reason, and reasons, that are listed by name: enough to mend a file by, short enough to be read.
_MOST_LISTED = 50


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
    """One refusal of all offenders: each node with its operator, the opset, and why; those of one reason together."""
    counts = Counter(o.op_type for o in offenders)
    kinds = ", ".join(f"{op} ({count})" if count > 1 else op for op, count in counts.most_common(_MOST_LISTED))
    groups: dict[str, list[str]] = {}
    for o in offenders:
        version = f" version {o.version}" if o.version else ""
        domain = f"{o.domain}." if o.domain else ""
        groups.setdefault(f"{domain}{o.op_type}{version} {o.reason}", []).append(repr(o.name))
    lines = [f"{_nodes(names)}: {what}" for what, names in list(groups.items())[:_MOST_LISTED]]
    if len(groups) > _MOST_LISTED:
        lines.append(f"and {len(groups) - _MOST_LISTED} other reasons")
    text = f"The graph (opset {opset}) has what we cannot compute exactly: {kinds}. " + "; ".join(lines)
    return Refused(text, offenders)


def _nodes(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return f"node{'s' if len(names) > 1 else ''} {', '.join(names[:_MOST_LISTED])}{rest}"
