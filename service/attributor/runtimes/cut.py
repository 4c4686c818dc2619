"""Whether a layer cuts the graph: whether all of the score passes through it, so that completeness can hold there.

Found by trying: the layer is held at its output for the baseline, everything else at the example. Knows no gradients.
"""

from attributor.jobs.model import OutputSpec, Tensors
from attributor.runtimes.placing import Placer
from attributor.runtimes.routes import OpenRoute
from attributor.runtimes.targets import target_scores

#: Rounding allowed, relative to the larger of the scores: some hundred float32 roundings (6e-8 each).
_ROUNDING = 1e-5

#: What may pass beside the layer, relative to the gap between the scores: a tenth of the default tolerance, 1 %.
_BESIDE = 1e-3


def layer_is_cut(placer: Placer, route: OpenRoute, baseline: Tensors, output: OutputSpec) -> bool:
    """|F(z(x'), x) - F(x')| <= 1e-5 max(|F(x)|, |F(x')|) + 1e-3 |F(x) - F(x')|, F the route's first target.

    Two passes: one at x and x' for z and the scores, one with z held. Not finite is False. Raises RuntimeError for a
    route without a layer.
    """
    layer = route.spec.layer
    if layer is None:
        raise RuntimeError(f"Route {route.name!r} has no layer. This is a bug.")
    outputs, z = placer.layer_outputs([(route, route.spec.example), (route, baseline)], layer.name)
    if not route.is_resolved:
        route.resolve(outputs[0].cpu().numpy(), output)
    held = placer.outputs_with(route, layer.name, z[1])
    at_example, at_baseline = target_scores(outputs, [route.targets[0]] * 2, output.kind).tolist()
    (with_layer_held,) = target_scores(held, [route.targets[0]], output.kind).tolist()
    size, gap = max(abs(at_example), abs(at_baseline)), abs(at_example - at_baseline)
    return bool(abs(with_layer_held - at_baseline) <= _ROUNDING * size + _BESIDE * gap)
