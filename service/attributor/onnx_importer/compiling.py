"""A checked graph to a program: builders are called, what is known at import is computed, bodies are compiled.

Knows protobuf messages, builders and steps. Gathers all that cannot be computed before it gives up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx
import torch
from onnx import AttributeProto, GraphProto, NodeProto

from attributor.onnx_importer.arrays import ArrayReader
from attributor.onnx_importer.constants import Constants
from attributor.onnx_importer.lines import Line, Tap
from attributor.onnx_importer.node import OPERATORS, Node, Operator, Unsupported
from attributor.onnx_importer.offenders import Offender
from attributor.onnx_importer.program import Program
from attributor.onnx_importer.step import Step, SubgraphOfStep, floating, kept

#: ai.onnx under both of its names.
_STANDARD = ("", "ai.onnx")


@dataclass(slots=True)
class Compiled:
    """The programs made so far: `layers`: per tensor name the module whose output it is."""

    constants: Constants
    opsets: Mapping[str, int]
    arrays: ArrayReader
    offenders: list[Offender] = field(default_factory=list)
    layers: dict[str, torch.nn.Module] = field(default_factory=dict)
    nodes: dict[str, NodeProto] = field(default_factory=dict)


@dataclass(slots=True)
class _Scope:
    """Where names of one graph are: a place in the program, or the number of a constant."""

    program: Program
    outer: "_Scope | None"
    places: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    taken_from_outer: dict[str, int] = field(default_factory=dict)

    def new_place(self, name: str) -> int:
        place = self.program.n_places
        self.program.n_places += 1
        self.places[name] = place
        return place

    def constant(self, name: str) -> int | None:
        """The number of a known value, here or further out."""
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.places:
                return None
            if name in scope.known:
                return scope.known[name]
            scope = scope.outer
        return None

    def has(self, name: str) -> bool:
        return name in self.places or name in self.known or (self.outer is not None and self.outer.has(name))

    def place(self, name: str) -> int:
        """The place of a value that comes in the pass; one of an outer graph gets a place here."""
        if name in self.places:
            return self.places[name]
        if name not in self.taken_from_outer:
            self.taken_from_outer[name] = self.program.n_places
            self.program.n_places += 1
        return self.taken_from_outer[name]


def compile_graph(
    graph: GraphProto, made: Compiled, inputs: Sequence[str], outputs: Sequence[str], outer: _Scope | None = None
) -> tuple[Program, tuple[str, ...]]:
    """The program of what `outputs` need, and the names of the outer values that it takes, in order.

    What cannot be computed is added to `made.offenders`; the program is then of no use.
    """
    scope = _Scope(Program(made.constants, 0), outer)
    for name in inputs:
        scope.new_place(name)
    nodes = _needed(graph, outputs)
    used = {name for node in nodes for name in _names_used(node)} | set(outputs)
    for tensor in graph.initializer:
        if tensor.name in used and tensor.name not in scope.places:
            try:
                scope.known[tensor.name] = made.constants.add(made.arrays.read(tensor))
            except Unsupported as error:
                made.offenders.append(Offender(tensor.name, "initializer", "", 0, str(error)))
    for node in nodes:
        _add_node(scope, made, node, used)
    program = scope.program
    program.inputs = tuple(scope.places[name] for name in inputs)
    found = []
    for name in outputs:
        number = scope.constant(name)
        if number is None and not scope.has(name):
            made.offenders.append(Offender(name, "output", "", 0, "is no value of the graph"))
            continue
        found.append(scope.place(name) if number is None else -1 - number)
    program.outputs = tuple(found)
    program.outer = tuple(scope.taken_from_outer.values())
    program.finish()
    return program, tuple(scope.taken_from_outer)


def _needed(graph: GraphProto, outputs: Sequence[str]) -> list[NodeProto]:
    """The nodes that outputs depend on, in the file's order, which is that of computing."""
    wanted, found = set(outputs), []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            found.append(node)
            wanted.update(_names_used(node))
    return found[::-1]


def _names_used(node: NodeProto) -> set[str]:
    """The values that a node takes; those that its bodies take from outside too."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            own = {value.name for value in attribute.g.input} | {t.name for t in attribute.g.initializer}
            for inner in attribute.g.node:
                names |= _names_used(inner) - own
                own.update(inner.output)
            names |= {value.name for value in attribute.g.output} - own
    return names


def _add_node(scope: _Scope, made: Compiled, node: NodeProto, used: set[str]) -> None:
    domain = "" if node.domain in _STANDARD else node.domain
    version = schema_version(node, made.opsets)
    declared = OPERATORS.get((domain, node.op_type))
    before = len(made.offenders)
    try:
        if declared is None:
            raise Unsupported("is not an operator that we compute")
        _require_known(scope, node, declared, version)
        bodies, subgraphs, outer = _bodies(scope, made, node)
        takes = [*node.input, *outer]
        known = [_known(scope, name) for name in takes]
        described = _described(node, version, known[: len(node.input)], made, used)
        function = declared.build(replace(described, subgraphs=subgraphs))
        step = Step(function, known, declared.host, made.constants, bodies)
        step.layer_type, step.label = node.op_type, f"node {name_of(node)!r} ({node.op_type})"
        if any(number is None for number in known):
            coming = [name for name, number in zip(takes, known, strict=True) if number is None]
            _append(scope, made, node, step, coming)
        elif len(made.offenders) == before:
            _fold(scope, made, node, step)
    except Unsupported as error:
        made.offenders.append(Offender(name_of(node), node.op_type, domain, version, str(error)))
    if len(made.offenders) > before:
        for name in node.output:  # so that those who use it are not blamed
            if name and not scope.has(name):
                scope.new_place(name)


def _require_known(scope: _Scope, node: NodeProto, declared: Operator, version: int) -> None:
    """Raises Unsupported for what the operator's builder was not made for."""
    if version not in declared.versions:
        known = ", ".join(map(str, sorted(declared.versions)))
        raise Unsupported(f"has version {version} of its schema, which we have not proven (proven: {known})")
    if unknown := [a.name for a in node.attribute if a.name not in declared.attributes]:
        raise Unsupported(f"has the attribute {unknown[0]}, which we do not know")
    if again := [name for name in node.output if name in scope.places or name in scope.known]:
        raise Unsupported(f"gives {again[0]!r}, which the graph has twice")
    if missing := [name for name in node.input if name and not scope.has(name)]:
        raise Unsupported(f"takes {missing[0]!r}, which nothing before it gives")


def schema_version(node: NodeProto, opsets: Mapping[str, int]) -> int:
    """The since_version of the operator's schema in the model's opset; 0 if there is none."""
    domain = "" if node.domain in _STANDARD else node.domain
    try:
        return int(onnx.defs.get_schema(node.op_type, opsets.get(domain, 0), domain).since_version)
    except onnx.defs.SchemaError:
        return 0


def name_of(node: NodeProto) -> str:
    """What a node is called in sentences: some have no name, but all that matter have an output."""
    return node.name or next((name for name in node.output if name), "")


def _known(scope: _Scope, name: str) -> int | None:
    """As Step takes it: -1 for an input that is left out."""
    return -1 if not name else scope.constant(name)


def _described(node: NodeProto, version: int, known: Sequence[int | None], made: Compiled, used: set[str]) -> Node:
    """All but its bodies."""
    return Node(
        op_type=node.op_type,
        domain="" if node.domain in _STANDARD else node.domain,
        version=version,
        name=name_of(node),
        attributes={attribute.name: attribute for attribute in node.attribute},
        present=tuple(number != -1 for number in known),
        wanted=tuple(name in used for name in node.output),
        constants=tuple(None if number is None or number < 0 else made.constants.array(number) for number in known),
        floating=floating,
        keep=lambda array: kept(made.constants.add(array)),
    )


def _bodies(
    scope: _Scope, made: Compiled, node: NodeProto
) -> tuple[dict[str, Program], dict[str, SubgraphOfStep], list[str]]:
    bodies: dict[str, Program] = {}
    handles: dict[str, SubgraphOfStep] = {}
    outer: list[str] = []
    for attribute in node.attribute:
        if attribute.type != AttributeProto.GRAPH:
            continue
        graph = attribute.g
        inputs, outputs = [value.name for value in graph.input], [value.name for value in graph.output]
        program, taken = compile_graph(graph, made, inputs, outputs, scope)
        bodies[attribute.name] = program
        handles[attribute.name] = SubgraphOfStep(attribute.name, len(inputs), len(outputs))
        outer.extend(taken)
    return bodies, handles, outer


@torch.no_grad()
def _fold(scope: _Scope, made: Compiled, node: NodeProto, step: Step) -> None:
    """Computes a node whose arguments are all known. Raises Unsupported with whatever torch says of them."""
    try:
        found = step()
    except MemoryError:
        raise
    except Exception as error:  # operands that do not fit, a size beyond all bounds
        raise Unsupported(f"cannot be computed ({error})") from None
    values = found if isinstance(found, tuple) else (found,)
    for name, value in zip(node.output, values, strict=False):
        if name and value is not None:
            scope.known[name] = made.constants.add(value)


def _append(scope: _Scope, made: Compiled, node: NodeProto, step: Step, takes: Sequence[str]) -> None:
    taken = tuple(scope.place(name) if name else -1 for name in takes)
    gives = tuple(scope.new_place(name) if name else -1 for name in node.output)
    taps = tuple(Tap() if name and len(node.output) > 1 else None for name in node.output)
    scope.program.append(Line(step, taken, gives, taps))
    for name, tap in zip(node.output, taps, strict=True):
        if name:
            made.layers[name] = tap or step
            made.nodes[name] = node
