"""One pass over a batch: forward over all rows, then backward once per target; vectors to routes, scalars back.

The slope of a node is always dF/dalpha along its own curve; its vector is gradient * gamma', or what the lane
attributes to a layer. Knows open routes and their space; knows no jobs and no rules.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from attributor.core.asks import Floats, Indices
from attributor.errors import UnsupportedByModel
from attributor.jobs.explanation import Precision, Quantity
from attributor.jobs.model import OutputKind, OutputSpec
from attributor.model_port import Evaluations
from attributor.runtimes.batch import Batch, Numbers, spans
from attributor.runtimes.directional import directional
from attributor.runtimes.layers import LAYER_FIELD
from attributor.runtimes.observing import observe
from attributor.runtimes.routes import OpenRoute
from attributor.runtimes.targets import target_scores, top_outputs
from attributor.runtimes.transforms.precision import bfloat16

#: By name: the point of each row, its derivative by alpha for each node, and what each row holds at its example.
Places = tuple[Mapping[str, Tensor], Mapping[str, Tensor], Mapping[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Forward:
    """What a forward pass leaves: `outputs` and observed layers' `caught`, per row.

    `along`: tensors (per row) through which all of the score passes, with their derivatives by alpha (per node).
    `attributed`: by name, the tensor that is attributed, with its derivative; None: its gradient alone is kept.
    """

    outputs: Tensor
    caught: Mapping[str, Tensor]
    along: tuple[tuple[Tensor, Tensor], ...] = ()
    attributed: Mapping[str, tuple[Tensor, Tensor | None]] = field(default_factory=dict)


def evaluate(batch: Batch, output: OutputSpec) -> list[Evaluations]:
    """Scores and slopes of each portion of points; the nodes' vectors are kept by the routes, once all is computed: a
    pass that fails leaves no vector behind.

    Rows do not see each other; a non-finite one is reported as it is. Raises whatever the model raises, and
    RuntimeError for a route whose first point is not at its example.
    """
    with torch.set_grad_enabled(batch.gradients_wanted):
        places = _places(batch)
        ends = _at_ends(batch, places)
        with _precision(batch):
            forward = _forward(batch, places)
        outputs = forward.outputs.detach().float()
        if ends is not None:
            outputs = outputs.index_copy(0, *ends)
        _resolve(batch, outputs, output)
        scores, slopes, vectors = _by_target(batch, forward, outputs, output.kind)
    kept = [own for key, of_nodes in vectors.items() for own in _copies(batch, key, of_nodes)]
    observe(batch, outputs, forward.caught, output.kind)
    firsts = [route.targets[0] for route in batch.routes]
    counts = [after - first for first, after in zip(batch.rows_by_portion, batch.rows_by_portion[1:], strict=False)]
    told = _by_portion(batch, scores, slopes, top_outputs(outputs, firsts, counts))
    for route, key, indexes, own in kept:  # the last thing, as a pass that fails is done again
        route.vectors.keep(key, indexes, own)
    return told


def _in_low_precision(batch: Batch) -> bool:
    """Of gradients alone."""
    return batch.precision is not Precision.FLOAT32 and batch.gradients_wanted


def _precision(batch: Batch) -> AbstractContextManager[None]:
    return bfloat16(batch.space.network.device) if _in_low_precision(batch) else nullcontext()


def _at_ends(batch: Batch, places: Places) -> tuple[Tensor, Tensor] | None:
    """Where a pass with gradients is in low precision, the numbers of its rows at the ends of curves and the outputs
    there in float32, without a gradient: what is explained, and by how much a score rises, must be the true ones."""
    if not _in_low_precision(batch):
        return None
    alphas = batch.alphas if batch.node_of_row is None else batch.alphas[batch.node_of_row]
    rows = np.flatnonzero((alphas == 0) | (alphas == 1))
    if not len(rows):
        return None
    at = torch.from_numpy(rows).to(batch.space.network.device)
    points, _, held = places
    with torch.no_grad():
        outputs, _ = batch.space.run(_rows_of(points, at), _rows_of(held, at))
    return at, outputs.float()


def _by_target(
    batch: Batch, forward: Forward, outputs: Tensor, kind: OutputKind
) -> tuple[Floats, Floats, dict[tuple[int, str], Tensor]]:
    """Scores by row, read off `outputs`; slopes by node; and the nodes' vectors by target and name."""
    scores = np.full((batch.n_rows, batch.n_targets), np.nan)
    slopes = np.full((batch.n_nodes, batch.n_targets), np.nan)
    vectors: dict[tuple[int, str], Tensor] = {}
    for target in range(batch.n_targets):
        portions = batch.portions_with(target)
        rows = spans(batch.rows_by_portion, portions)
        own = range(len(batch.routes)) if portions is None else portions
        asked = [batch.routes[n].targets[target] for n in own]
        counts = [batch.rows_by_portion[n + 1] - batch.rows_by_portion[n] for n in own]
        found = target_scores(_taken(forward.outputs, rows), asked, kind, counts)
        true = target_scores(_taken(outputs, rows), asked, kind, counts) if _in_low_precision(batch) else found
        scores[slice(None) if rows is None else rows, target] = true.detach().cpu().numpy()
        if batch.gradients_wanted:
            nodes = spans(batch.nodes_by_portion, portions)
            told, of_target = _backward(batch, forward, found.sum(), target)
            vectors |= {(target, name): of_name for name, of_name in of_target.items()}
            slopes[slice(None) if nodes is None else nodes, target] = told if nodes is None else told[nodes]
    return scores, slopes, vectors


def _by_portion(batch: Batch, scores: Floats, slopes: Floats, tops: np.ndarray) -> list[Evaluations]:
    if batch.row_per_node:
        first_nodes = batch.first_nodes
        scores, tops = scores[first_nodes], tops[first_nodes]
    found = []
    for n, route in enumerate(batch.routes):
        rows = slice(batch.points_by_portion[n], batch.points_by_portion[n + 1])
        nodes = slice(batch.nodes_by_portion[n], batch.nodes_by_portion[n + 1])
        own = len(route.spec.targets)
        found.append(Evaluations(scores[rows, :own], slopes[nodes, :own], tops[rows]))
    return found


def _places(batch: Batch) -> Places:
    space = batch.space
    found = (
        *space.points(batch.vertices, batch.alphas, batch.bent),
        space.held_at([route.held for route in batch.routes], batch.rows_by_portion),
    )
    points, derivatives, held = (space.trimmed(each, batch.positions) for each in found)
    # Where curves meet, all nodes are at the place of the first.
    return {name: _taken(point, batch.node_of_row) for name, point in points.items()}, derivatives, held


def _forward(batch: Batch, places: Places) -> Forward:
    space = batch.space
    points, derivatives, held = places
    if not batch.gradients_wanted:
        return Forward(*space.run(points, held, batch.observed))
    layer = None if space.layer is not None else batch.layer
    if layer is not None and layer.quantity is Quantity.CONDUCTANCE:
        return _conductance(batch, layer.name, points, derivatives, held)
    for point in points.values():
        point.requires_grad_()
    names = batch.observed if layer is None else tuple(dict.fromkeys([layer.name, *batch.observed]))
    outputs, caught = space.run(points, held, names)
    along = {name: (points[name], derivatives[name]) for name in points}
    if layer is None:
        pulled_back = {leaf.name for leaf in space.leaves if leaf.pulled_back}
        attributed = {name: (point, None if name in pulled_back else change) for name, (point, change) in along.items()}
        return Forward(outputs, caught, tuple(along.values()), attributed)
    return Forward(outputs, caught, tuple(along.values()), {layer.name: (_reached(caught, layer.name), None)})


def _conductance(
    batch: Batch,
    layer: str,
    points: Mapping[str, Tensor],
    derivatives: Mapping[str, Tensor],
    held: Mapping[str, Tensor],
) -> Forward:
    """Outputs and layer with their derivatives along each node's curve, by forward mode; every node has its own row."""
    names = tuple(dict.fromkeys([layer, *batch.observed]))

    def run(leaves: Sequence[Tensor]) -> tuple[Tensor, ...]:
        outputs, caught = batch.space.run(dict(zip(points, leaves, strict=True)), held, names)
        return outputs, *(caught[name] for name in names)

    values, along = directional(run, list(points.values()), list(derivatives.values()))
    caught = dict(zip(names, values[1:], strict=True))
    return Forward(values[0], caught, ((values[0], along[0]),), {layer: (_reached(caught, layer), along[1])})


def _reached(caught: Mapping[str, Tensor], layer: str) -> Tensor:
    if not caught[layer].requires_grad:
        raise UnsupportedByModel(
            f"Layer {layer!r} does not depend on the inputs that are explained.", field=LAYER_FIELD
        )
    return caught[layer]


def _resolve(batch: Batch, outputs: Tensor, output: OutputSpec) -> None:
    """Gives routes that are new their outputs at the example, in one transfer, as what their targets are hangs on it.

    They keep them where the pass then fails, as they would be the same.
    """
    new = {n: batch.rows_by_portion[n] for n, route in enumerate(batch.routes) if not route.is_resolved}
    if new:
        found = _taken(outputs, np.array(list(new.values()))).float().cpu().numpy()
        for n, row in zip(new, found, strict=True):
            route = batch.routes[n]
            if route.is_resolved:
                continue  # by an earlier portion
            if not batch.first_is_example(n):
                raise RuntimeError(f"Route {route.name!r} was not first evaluated at its example. This is a bug.")
            route.resolve(row, output)


def _backward(batch: Batch, forward: Forward, total: Tensor, target: int) -> tuple[Floats, dict[str, Tensor]]:
    """Differentiates the sum of a target's scores: the slopes of all nodes (those of routes without this target are
    zero), and their vectors by name."""
    pairs = [*forward.along, *forward.attributed.values()]
    sources = {id(source): source for source, _ in pairs}
    found = gradients_of(total, list(sources.values()), more_to_come=target + 1 < batch.n_targets)
    gradients = dict(zip(sources, found, strict=True))
    slopes: Tensor | None = None
    products: dict[int, Tensor] = {}
    for source, change in forward.along:
        product = _taken(gradients[id(source)], batch.row_of_node) * change
        slope = product.reshape(batch.n_nodes, -1).sum(1, dtype=torch.float64)
        slopes = slope if slopes is None else slopes + slope
        products[id(source)] = product
    plain = None if batch.plain is None else torch.from_numpy(batch.plain).to(total.device)
    kept: dict[str, Tensor] = {}
    for name, (source, derivative) in forward.attributed.items():
        vectors = _taken(gradients[id(source)], batch.row_of_node)
        if derivative is not None:
            known = products.get(id(source))
            product = vectors * derivative if known is None else known
            vectors = product if plain is None else torch.where(_like(plain, product), vectors, product)
        kept[name] = _summed(batch, name, vectors, plain).float()
    return np.zeros(batch.n_nodes) if slopes is None else slopes.cpu().numpy(), kept


def gradients_of(total: Tensor, sources: Sequence[Tensor], *, more_to_come: bool = False) -> Sequence[Tensor]:
    """d total / d source; zero where it does not depend on it."""
    if not total.requires_grad:
        return [torch.zeros_like(source) for source in sources]
    return torch.autograd.grad(total, sources, retain_graph=more_to_come, allow_unused=True, materialize_grads=True)


def _summed(batch: Batch, name: str, vectors: Tensor, plain: Tensor | None) -> Tensor:
    """Vectors of a token's embedding as one number per token; others as they are.

    Products with gamma' are added up, so that completeness is kept. Of a gradient alone the parts would cancel, so it
    is the Euclidean norm (Li, Chen, Hovy and Jurafsky 2016 take such a magnitude for words).
    """
    if batch.layer is not None or not any(leaf.name == name and leaf.summed for leaf in batch.space.leaves):
        return vectors
    wide = vectors.flatten(2).double()
    summed = wide.sum(2)
    return (summed if plain is None else torch.where(_like(plain, summed), wide.norm(dim=2), summed)).float()


def _copies(
    batch: Batch, key: tuple[int, str], vectors: Tensor
) -> Iterator[tuple[OpenRoute, tuple[int, str], Indices, Tensor]]:
    """Per route with the target, its own rows: copies, as a view would keep the whole batch until its last route
    closes."""
    target = key[0]
    for n, route in enumerate(batch.routes):
        if len(route.spec.targets) > target:
            own = vectors[batch.nodes_by_portion[n] : batch.nodes_by_portion[n + 1]]
            if batch.layer is None:
                own = batch.space.trimmed({key[1]: own}, route.positions)[key[1]]
            yield route, key, batch.indexes(n), own.clone()


def _rows_of(tensors: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    return {name: tensor.index_select(0, rows) for name, tensor in tensors.items()}


def _taken(tensor: Tensor, numbers: Numbers) -> Tensor:
    """Rows of a tensor; None stands for all of them."""
    if numbers is None:
        return tensor
    return tensor.index_select(0, torch.from_numpy(numbers).to(tensor.device))


def _like(mask: Tensor, tensor: Tensor) -> Tensor:
    return mask.view(-1, *[1] * (tensor.dim() - 1))
