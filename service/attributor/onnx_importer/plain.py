"""Operators without attributes: a table of functions is all that there is to declare. Knows the node interface."""

from collections.abc import Mapping

from attributor.onnx_importer.node import Function, Node, operator


def declare(table: Mapping[str, tuple[tuple[int, ...], Function]]) -> None:
    """Declares operators; per operator the versions of its schema, which may differ in types only, and its function."""
    for op_type, (versions, function) in table.items():
        _declare(op_type, versions, function)


def _declare(op_type: str, versions: tuple[int, ...], function: Function) -> None:
    @operator(op_type, versions=versions)
    def build(node: Node) -> Function:
        return function
