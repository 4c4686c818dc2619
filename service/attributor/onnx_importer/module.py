"""An ONNX file as a torch module that can be differentiated: the importer's front door.

Knows bytes, tensors and names. Nothing of bundles, manifests or onnxruntime.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import torch
from onnx import GraphProto, TensorProto
from torch import Tensor, nn

import attributor.onnx_importer.all_operators  # noqa: F401 - declares them
from attributor.onnx_importer.arrays import ArrayReader
from attributor.onnx_importer.compiling import Compiled, compile_graph
from attributor.onnx_importer.constants import Constants
from attributor.onnx_importer.layer_names import layers_of
from attributor.onnx_importer.lines import Tap
from attributor.onnx_importer.node import dtype_name
from attributor.onnx_importer.offenders import Offender, Refused, refused
from attributor.onnx_importer.program import Program
from attributor.onnx_importer.reading import opsets, read_model
from attributor.onnx_importer.running import TooLarge, new_pass
from attributor.onnx_importer.step import Rows

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)


class OnnxModule(nn.Module):
    """A graph, called with its inputs in the order asked for: rows first, float32 or int64.

    `named_layers`: readable names from the exporter's metadata, then every tensor of the graph by its name.
    `row_by_row`: the file's batch is frozen at 1, so rows are mapped over it (see `settle`).
    """

    def __init__(self, program: Program, constants: Constants, dtypes: Sequence[int]) -> None:
        super().__init__()
        self.program = program
        self.constants = constants
        self.input_taps = nn.ModuleList(Tap() for _ in dtypes)
        self.row_by_row = False
        self._strict = False
        self._vmaps = True
        self._dtypes = tuple(dtypes)
        self._paths: dict[str, str] = {}

    @property
    def named_layers(self) -> Mapping[str, nn.Module]:
        """Modules whose output is a layer, by name."""
        modules = dict(self.named_modules(remove_duplicate=False))
        return {name: modules[path] for name, path in self._paths.items()}

    def name_layers(self, layers: Mapping[str, nn.Module]) -> None:
        """Sets the names; the modules are parts of this one. Kept as paths, so that a copy has its own."""
        path_of = {id(module): path for path, module in self.named_modules()}
        self._paths = {name: path_of[id(module)] for name, module in layers.items()}

    def forward(self, *inputs: Tensor) -> Tensor:
        """The output, rows first. Raises TooLarge, and NodeError with whatever torch says of shapes that do not fit."""
        with new_pass(rows=len(inputs[0]) if inputs and inputs[0].dim() else 1, strict=self._strict):
            return self._run(inputs)

    def _run(self, inputs: Sequence[Tensor]) -> Tensor:
        given = [
            tap(self._cast(value, dtype))
            for value, dtype, tap in zip(inputs, self._dtypes, self.input_taps, strict=True)
        ]
        if self.row_by_row:
            return self._by_rows(given)
        (found,) = self.program(given)
        return self._tensor(found)

    def _by_rows(self, given: Sequence[Tensor]) -> Tensor:
        """All rows in one go where torch has a rule for every node and nobody listens inside, else node by node."""
        if self._vmaps and not any(part._forward_hooks for part in self.program.modules()):
            one = torch.func.vmap(lambda *row: self._tensor(self.program(row)[0]))
            found: Tensor = one(*(value[:, None] for value in given))
            return found[:, 0] if found.dim() > 1 and found.shape[1] == 1 else found
        (last,) = self.program([Rows(value[:, None]) for value in given])
        if type(last) is not Rows:
            raise RuntimeError("the output does not depend on the inputs")
        rows = last.tensor
        return rows[:, 0] if rows.dim() > 1 and rows.shape[1] == 1 else rows

    def _forget_settled(self) -> None:
        """What follows from shapes alone is computed once, so nobody could listen to it: it is no layer."""
        alive = self.program.alive()
        if alive is not None:
            inputs = {id(tap) for tap in self.input_taps}
            layers = self.named_layers
            self._paths = {name: p for name, p in self._paths.items() if id(layers[name]) in alive | inputs}

    def _cast(self, value: Tensor, dtype: int) -> Tensor:
        if dtype in _FLOATS:
            floating = self.constants.floating()
            return value.to(floating if dtype == TensorProto.FLOAT or floating is torch.float64 else _WIDE[dtype])
        return value.to(_WHOLE[dtype])

    def _tensor(self, found: Any) -> Tensor:
        if not isinstance(found, Tensor):
            raise RuntimeError("the output is a size or a constant, and does not depend on the inputs' values")
        return found

    @torch.no_grad()
    def settle(self, rows: Sequence[Tensor]) -> None:
        """Finds out, on at least two rows of each input, whether the file's batch is free or frozen at 1, and which of
        its tensors are layers. From here on no size may follow from the inputs' values (see `running`).

        Raises Refused if rows together differ from the same rows alone, either way.
        """
        self._strict = True
        alone = torch.cat([self(*(value[[row]] for value in rows)) for row in range(len(rows[0]))])
        # Small outputs are no closer to each other than large ones; NaN is for the proof to complain about.
        allowed = _ROW_TOLERANCE * float(alone.nan_to_num(0, 0, 0).abs().max())
        reasons = []
        for row_by_row, vmaps in ((False, False), (True, True), (True, False)):
            self.row_by_row, self._vmaps = row_by_row, vmaps
            try:
                together = self(*rows)
            except TooLarge:
                raise
            except Exception as error:  # torch's words for a batch that a Reshape in the file does not know
                reasons.append(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
                continue
            same = together.shape == alone.shape
            if same and torch.allclose(together, alone, rtol=_ROW_TOLERANCE, atol=allowed, equal_nan=True):
                self._forget_settled()
                return
            reasons.append(f"shape {list(together.shape)}, not {list(alone.shape)}, or other values")
        raise Refused(
            f"A batch of {len(rows[0])} rows does not give what the rows give alone, neither as it is ({reasons[0]}) "
            f"nor mapped row by row ({reasons[2]}). Export the file with a dynamic batch axis."
        )


#: Of a row in a batch and alone, relative to the largest output. Ours, as the proof has it.
_ROW_TOLERANCE = 1e-4

_WIDE: Mapping[int, torch.dtype] = {
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.DOUBLE: torch.float64,
}
_WHOLE: Mapping[int, torch.dtype] = {
    TensorProto.INT64: torch.int64,
    TensorProto.INT32: torch.int32,
    TensorProto.INT16: torch.int16,
    TensorProto.INT8: torch.int8,
    TensorProto.UINT8: torch.uint8,
    TensorProto.BOOL: torch.bool,
}


def import_model(
    data: bytes,
    *,
    inputs: Sequence[str] | None = None,
    output: str | None = None,
    external: Mapping[str, bytes] | None = None,
) -> OnnxModule:
    """The module of an ONNX file, on the CPU, in eval mode.

    `inputs`: the graph's inputs in the order in which the module takes them; None: the file's. `output`: any tensor of
    the graph; None: its first output of floats. `external`: files in which weights may lie, by plain name. Raises
    Refused with the list of all nodes that cannot be computed.
    """
    model = read_model(data)
    graph = model.graph
    declared = graph_inputs(graph)
    order = list(declared) if inputs is None else list(inputs)
    _require_inputs(declared, order)
    name = output if output is not None else first_float_output(graph)
    said = opsets(model)
    made = Compiled(Constants(), said, ArrayReader(external or {}))
    program, _ = compile_graph(graph, made, order, [name])
    program.is_whole = True
    if made.offenders:
        raise refused(made.offenders, said.get("", 0))
    module = OnnxModule(program, made.constants, [declared[each].type.tensor_type.elem_type for each in order])
    taps = dict(zip(order, module.input_taps, strict=True))
    module.name_layers(layers_of(model, made, taps))
    return module.eval().requires_grad_(False)


def graph_inputs(graph: GraphProto) -> dict[str, onnx.ValueInfoProto]:
    """The inputs that a caller must give (an initializer of the same name is a default, which we keep)."""
    defaults = {tensor.name for tensor in graph.initializer}
    return {value.name: value for value in graph.input if value.name not in defaults}


def first_float_output(graph: GraphProto) -> str:
    """The name of the first output that can be differentiated. Raises Refused if there is none."""
    for value in graph.output:
        if value.type.HasField("tensor_type") and value.type.tensor_type.elem_type in _FLOATS:
            return str(value.name)
    raise Refused("The graph has no output of floating point numbers.")


def _require_inputs(declared: Mapping[str, onnx.ValueInfoProto], order: Sequence[str]) -> None:
    if unknown := [name for name in order if name not in declared]:
        raise Refused(f"The graph has no input {unknown[0]!r}; it takes {', '.join(map(repr, declared))}.")
    if missing := [name for name in declared if name not in order]:
        raise Refused(f"The graph takes the input {missing[0]!r} too, which has no default.")
    offenders = []
    for name in order:
        kind = declared[name].type.tensor_type.elem_type
        if kind not in _FLOATS and kind not in _WHOLE:
            text = f"has data type {dtype_name(kind)}, which no request can give"
            offenders.append(Offender(name, "input", "", 0, text))
    if offenders:
        raise refused(offenders, 0)
