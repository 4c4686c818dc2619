"""One pass over a batch: forward over all rows, then backward once per target; vectors to routes, scalars back.

The slope of a node is always dF/dalpha along its own curve; its vector is gradient * gamma', or what the lane
attributes to a layer. Knows open routes and their space; knows no jobs and no rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from attributor.errors import UnsupportedByModel
from attributor.jobs.explanation import Quantity
from attributor.jobs.model import OutputSpec
from attributor.ports import Evaluation
from attributor.runtimes.batch import Batch, Numbers
from attributor.runtimes.directional import directional
from attributor.runtimes.layers import LAYER_FIELD
from attributor.runtimes.observing import observe
from attributor.runtimes.routes import OpenRoute
from attributor.runtimes.targets import target_scores, top_outputs


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


def evaluate(batch: Batch, output: OutputSpec) -> list[Evaluation]:
    """Scores per point and target; slopes per node and target, their vectors kept by the routes.

    Rows do not see each other; a non-finite one is reported as it is. Raises whatever the model raises, and
    RuntimeError for a route whose first point is not at its example.
    """
    n_points = len(batch.points)
    scores: list[list[float]] = [[] for _ in batch.nodes]
    slopes: list[list[float]] = [[] for _ in batch.nodes]
    with torch.set_grad_enabled(batch.gradients_wanted):
        forward = _forward(batch)
        at_example = _resolve(batch, forward.outputs.detach(), output)
        for target in range(batch.n_targets):
            rows = batch.rows_with(target)
            asked = [batch.routes[row].targets[target] for row in rows]
            found = target_scores(_taken(forward.outputs, rows), asked, output.kind)
            for row, score in zip(rows, found.tolist(), strict=True):
                scores[row].append(score)
            nodes = batch.nodes_with(target)
            if nodes:
                total = _taken(found, batch.places(nodes, rows)).sum()
                for node, slope in zip(nodes, _backward(batch, forward, total, nodes, target), strict=True):
                    slopes[node].append(slope)
    outputs = forward.outputs[:n_points].detach()
    observe(batch, outputs, forward.caught, at_example, output.kind)
    tops = top_outputs(outputs, [route.targets[0] for route in batch.routes[:n_points]])
    return [
        Evaluation(tuple(scores[number]), own, top)
        for number, (own, top) in enumerate(zip(_slopes_by_point(batch, slopes), tops, strict=True))
    ]


def _forward(batch: Batch) -> Forward:
    space = batch.space
    points, derivatives = space.points(batch.curves, [node.alpha for node in batch.nodes])
    # Where curves meet, all nodes are at the place of the first.
    rows = batch.point_of[: batch.n_rows]
    points = {name: _taken(point, rows) for name, point in points.items()}
    held = space.held_at([route.held for route in batch.routes[: batch.n_rows]])
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
        return Forward(outputs, caught, tuple(along.values()), along)
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


def _resolve(batch: Batch, outputs: Tensor, output: OutputSpec) -> dict[OpenRoute, int]:
    """Gives routes that are new their outputs at the example; returns those with the number of their first point.

    In one transfer, as what their targets are hangs on it.
    """
    new: dict[OpenRoute, int] = {}
    for number, route in enumerate(batch.routes[: len(batch.points)]):
        if not route.is_resolved:
            new.setdefault(route, number)
    if new:
        found = _taken(outputs, list(new.values())).cpu().numpy()
        for (route, number), row in zip(new.items(), found, strict=True):
            if not batch.curves[number].is_example(batch.nodes[number].alpha):
                raise RuntimeError(f"Route {route.name!r} was not first evaluated at its example. This is a bug.")
            route.resolve(row.astype("float32"), output)
    return new


def _backward(batch: Batch, forward: Forward, total: Tensor, nodes: Numbers, target: int) -> list[float]:
    """Differentiates the sum of a target's scores; keeps the nodes' vectors, returns their slopes."""
    pairs = [*forward.along, *forward.attributed.values()]
    sources = {id(source): source for source, _ in pairs}
    found = _gradients(total, list(sources.values()), more_to_come=target + 1 < batch.n_targets)
    gradients = dict(zip(sources, found, strict=True))
    rows = batch.rows_of(nodes)
    slopes = torch.zeros(len(nodes), dtype=torch.float64, device=total.device)
    products: dict[int, Tensor] = {}
    for source, change in forward.along:
        product = _taken(gradients[id(source)], rows) * _taken(change, nodes)
        slopes += product.reshape(len(nodes), -1).sum(1, dtype=torch.float64)
        products[id(source)] = product
    plain = [batch.curves[node].spec.plain for node in nodes]
    for name, (source, derivative) in forward.attributed.items():
        vectors = _taken(gradients[id(source)], rows)
        if derivative is not None and not all(plain):
            known = products.get(id(source))
            product = vectors * _taken(derivative, nodes) if known is None else known
            vectors = torch.where(_like(plain, product), vectors, product) if any(plain) else product
        _keep(batch, nodes, (target, name), _summed(batch, name, vectors, plain))
    of_nodes: list[float] = slopes.tolist()
    return of_nodes


def _gradients(total: Tensor, sources: Sequence[Tensor], *, more_to_come: bool) -> Sequence[Tensor]:
    """d total / d source; zero where it does not depend on it."""
    if not total.requires_grad:
        return [torch.zeros_like(source) for source in sources]
    return torch.autograd.grad(total, sources, retain_graph=more_to_come, allow_unused=True, materialize_grads=True)


def _summed(batch: Batch, name: str, vectors: Tensor, plain: Sequence[bool]) -> Tensor:
    """Vectors of a token's embedding as one number per token; others as they are.

    Products with gamma' are added up, so that completeness is kept. Of a gradient alone the parts would cancel, so it
    is the Euclidean norm (Li, Chen, Hovy and Jurafsky 2016 take such a magnitude for words).
    """
    if batch.layer is not None or not any(leaf.name == name and leaf.summed for leaf in batch.space.leaves):
        return vectors
    wide = vectors.flatten(2).double()
    summed = wide.sum(2)
    return (torch.where(_like(plain, summed), wide.norm(dim=2), summed) if any(plain) else summed).float()


def _keep(batch: Batch, nodes: Numbers, key: tuple[int, str], vectors: Tensor) -> None:
    """Hands each route a copy of its own rows: a view would keep the whole batch until its last route closes."""
    places: dict[OpenRoute, list[int]] = {}
    for place, node in enumerate(nodes):
        places.setdefault(batch.routes[node], []).append(place)
    for route, own in places.items():
        # A route's points mostly stand together, and a slice is cheaper than picking.
        together = own[-1] - own[0] + 1 == len(own)
        kept = vectors[own[0] : own[-1] + 1].clone() if together else _taken(vectors, own)
        route.keep(key, [batch.nodes[nodes[place]].index for place in own], kept)


def _slopes_by_point(batch: Batch, slopes: Sequence[Sequence[float]]) -> list[tuple[tuple[float, ...], ...] | None]:
    found: list[tuple[tuple[float, ...], ...] | None] = [
        (tuple(own),) if point.ask.gradient else None for point, own in zip(batch.points, slopes, strict=False)
    ]
    for node in range(len(batch.points), len(batch.nodes)):
        number = batch.point_of[node]
        found[number] = (*(found[number] or ()), tuple(slopes[node]))
    return found


def _taken(tensor: Tensor, numbers: Numbers) -> Tensor:
    """Rows of a tensor; a range stands for all of them."""
    if isinstance(numbers, range):
        return tensor
    return tensor.index_select(0, torch.tensor(numbers, device=tensor.device))


def _like(mask: Sequence[bool], tensor: Tensor) -> Tensor:
    return torch.tensor(mask, device=tensor.device).view(-1, *[1] * (tensor.dim() - 1))
