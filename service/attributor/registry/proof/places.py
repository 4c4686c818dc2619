"""The float tensors of a model in which gradients are taken: its attributed inputs, for token ids their embeddings.

Knows torch and one module. Apart from the runtime that serves requests, whose answers it helps to check.
"""

from collections.abc import Mapping
from contextlib import ExitStack

from torch import Tensor, nn

from attributor.errors import UnsupportedByModel
from attributor.jobs.model import InputSpec, ModelInfo
from attributor.runtimes.layers import captured, replaced

#: By input name, each with the batch axis in front.
Batch = Mapping[str, Tensor]


def places_of(module: nn.Module, info: ModelInfo, inputs: Batch) -> dict[str, Tensor]:
    """Per attributed input the tensor at `inputs`, detached: (rows, *shape), of tokens (rows, positions, ...).

    The embedding of NO_TOKEN is zero. Raises UnknownLayer, UnsupportedByModel for an embedding that is not there, is
    not called once, or whose output has other axes.
    """
    tokens = [spec for spec in info.inputs if spec.attributed and spec.embedding]
    found = {spec.name: inputs[spec.name].detach() for spec in info.inputs if spec.attributed and not spec.embedding}
    if tokens:
        with captured(module, [_embedding(spec) for spec in tokens]) as outputs:
            module(*_arguments(info, inputs))
        for spec in tokens:
            found[spec.name] = _embedded(spec, inputs[spec.name], outputs[_embedding(spec)].detach())
    return found


def forward(module: nn.Module, info: ModelInfo, inputs: Batch, places: Batch) -> object:
    """What the module returns for `inputs`, with `places` where `places_of` found them."""
    with ExitStack() as stack:
        for spec in info.inputs:
            if spec.attributed and spec.embedding:
                stack.enter_context(replaced(module, spec.embedding, places[spec.name]))
        return module(
            *_arguments(info, {**inputs, **{name: places[name] for name in places if not _is_tokens(info, name)}})
        )


def _arguments(info: ModelInfo, inputs: Batch) -> list[Tensor]:
    """In the manifest's order. An id below 0 has no embedding to look up; any other serves, as it is replaced."""
    return [inputs[spec.name].clamp(min=0) if spec.embedding else inputs[spec.name] for spec in info.inputs]


def _embedding(spec: InputSpec) -> str:
    return spec.embedding or ""


def _is_tokens(info: ModelInfo, name: str) -> bool:
    return any(spec.name == name and spec.embedding for spec in info.inputs)


def _embedded(spec: InputSpec, ids: Tensor, output: Tensor) -> Tensor:
    if output.dim() <= ids.dim() or output.shape[: ids.dim()] != ids.shape:
        raise UnsupportedByModel(
            f"The embedding {spec.embedding!r} returns shape {list(output.shape)} for ids of shape {list(ids.shape)}; "
            "these axes have to come first, and one more after them.",
            field=f"inputs.{spec.name}",
        )
    known = (ids >= 0).view(*ids.shape, *[1] * (output.dim() - ids.dim()))
    return output * known
