"""A checked graph to a program: builders are called, what is known at import is computed, bodies are compiled.

Knows protobuf messages, builders and steps. Gathers all that cannot be computed before it gives up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, NodeProto, numpy_helper

from attributor.onnx_importer.constants import Constants
from attributor.onnx_importer.node import OPERATORS, Node, Operator, TooLarge, Unsupported
from attributor.onnx_importer.offenders import Offender
from attributor.onnx_importer.program import Line, Program, Tap
from attributor.onnx_importer.step import Step, SubgraphOfStep, floating, kept

#: ai.onnx under both of its names.
_STANDARD = ("", "ai.onnx")


@dataclass(slots=True)
class Compiled:
    """The programs made so far: `layers`: per tensor name the module whose output it is."""

    constants: Constants
    opsets: Mapping[str, int]
    arrays: "ArrayReader"
    offenders: list[Offender] = field(default_factory=list)
    layers: dict[str, torch.nn.Module] = field(default_factory=dict)
    nodes: dict[str, NodeProto] = field(default_factory=dict)


class ArrayReader:
    """Initializers as arrays; `external`: the bytes of the files that they may lie in, by plain name."""

    def __init__(self, external: Mapping[str, bytes]) -> None:
        self._external = external

    def read(self, tensor: onnx.TensorProto) -> NDArray[Any]:
        """Raises Unsupported for a type, a file or a size that is not as it says."""
        if tensor.data_type == onnx.TensorProto.STRING:
            raise Unsupported("holds text")
        try:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                tensor = self._with_data(tensor)
            return np.array(numpy_helper.to_array(tensor))
        except (Unsupported, MemoryError):
            raise
        except Exception as error:  # numpy's and onnx's words for data that do not fit their shape
            raise Unsupported(f"cannot be read ({type(error).__name__}: {error})") from None

    def _with_data(self, tensor: onnx.TensorProto) -> onnx.TensorProto:
        said = {entry.key: entry.value for entry in tensor.external_data}
        name = said.get("location", "")
        if name not in self._external:
            raise Unsupported(f"lies in the file {name!r}, which is none of the bundle's files")
        data = self._external[name]
        first = int(said.get("offset", 0))
        length = int(said.get("length", len(data) - first))
        if not 0 <= first <= first + length <= len(data):
            raise Unsupported(f"lies beyond the end of {name!r}")
        whole = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        whole.raw_data = data[first : first + length]
        return whole


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
        _add_input(scope, made, name)
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


def _add_input(scope: _Scope, made: Compiled, name: str) -> None:
    scope.new_place(name)


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

    def offends(reason: str) -> None:
        made.offenders.append(Offender(node.name or first_output(node), node.op_type, domain, version, reason))
        for name in node.output:  # so that those who use it are not blamed
            if name:
                scope.new_place(name)

    if problem := _problem(scope, node, declared, version):
        offends(problem)
        return
    assert declared is not None  # noqa: S101 - _problem has refused it
    before = len(made.offenders)
    bodies, subgraphs, outer = _bodies(scope, made, node)
    if len(made.offenders) > before:
        for name in node.output:
            scope.new_place(name) if name else None
        return
    known = [_known(scope, name) for name in (*node.input, *outer)]
    try:
        function = declared.build(_described(node, domain, version, known[: len(node.input)], made, subgraphs, used))
    except Unsupported as error:
        offends(str(error))
        return
    step = Step(function, known, declared.host, made.constants, bodies)
    step.layer_type = node.op_type
    step.label = f"node {node.name or first_output(node)!r} ({node.op_type})"
    if all(number is not None for number in known):
        try:
            _fold(scope, made, node, step)
        except MemoryError:
            raise
        except Exception as error:  # whatever torch says of operands that do not fit
            offends(f"cannot be computed ({error})")
        return
    _append(scope, made, node, step, [n for n, k in zip((*node.input, *outer), known, strict=True) if k is None])


def _problem(scope: _Scope, node: NodeProto, declared: Operator | None, version: int) -> str | None:
    if declared is None:
        return "is not an operator that we compute"
    if version not in declared.versions:
        known = ", ".join(map(str, sorted(declared.versions)))
        return f"has version {version} of its schema, which we have not proven (proven: {known})"
    if unknown := [a.name for a in node.attribute if a.name not in declared.attributes]:
        return f"has the attribute {unknown[0]}, which we do not know"
    if again := [name for name in node.output if name in scope.places or name in scope.known]:
        return f"gives {again[0]!r}, which the graph has twice"
    if missing := [name for name in node.input if name and not scope.has(name)]:
        return f"takes {missing[0]!r}, which nothing before it gives"
    return None


def schema_version(node: NodeProto, opsets: Mapping[str, int]) -> int:
    """The since_version of the operator's schema in the model's opset; 0 if there is none."""
    domain = "" if node.domain in _STANDARD else node.domain
    try:
        return int(onnx.defs.get_schema(node.op_type, opsets.get(domain, 0), domain).since_version)
    except onnx.defs.SchemaError:
        return 0


def first_output(node: NodeProto) -> str:
    """What a node without a name is called by."""
    return next((name for name in node.output if name), "")


def _known(scope: _Scope, name: str) -> int | None:
    """As Step takes it: -1 for an input that is left out."""
    return -1 if not name else scope.constant(name)


def _described(
    node: NodeProto,
    domain: str,
    version: int,
    known: Sequence[int | None],
    made: Compiled,
    rest: Any,
    used: set[str],
) -> Node:
    return Node(
        op_type=node.op_type,
        domain=domain,
        version=version,
        name=node.name or first_output(node),
        attributes={attribute.name: attribute for attribute in node.attribute},
        present=tuple(number != -1 for number in known),
        wanted=tuple(name in used for name in node.output),
        constants=tuple(None if number is None or number < 0 else made.constants.array(number) for number in known),
        floating=floating,
        keep=lambda array: kept(made.constants.add(array)),
        subgraphs=rest,
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
    """Computes a node whose arguments are all known."""
    found = step()
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


__all__ = ["ArrayReader", "Compiled", "TooLarge", "compile_graph", "schema_version"]
