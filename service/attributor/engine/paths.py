"""From a request to curves: which baselines, through which vertices, on which route. Raises UnsupportedByModel."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from attributor.core.asks import EXAMPLE, Curve
from attributor.engine.baselines import RANDOM_KINDS, NamedBaseline, resolve_baselines
from attributor.engine.boundary import other_class_baseline
from attributor.engine.guided import guided_vertices
from attributor.engine.outcome import Copy
from attributor.engine.polyline import vertices
from attributor.engine.route import Route
from attributor.engine.steps import Steps, together
from attributor.engine.work import Work
from attributor.jobs.explanation import BaselineKind, BaselinePart, BaselineSpec, GammaKind
from attributor.jobs.model import Tensors
from attributor.model_port import Blur, Registered

BLUR_PATH = "blurred"
OTHER_CLASS = "other_class"


@dataclass(frozen=True, slots=True)
class Placed:
    """Paths on a route: `curves` in the route's order, and per baseline the inputs at its path's vertices, ends
    included (a blurred input's start is found by the model). `bends`: the inputs that do not move straight."""

    curves: tuple[Curve, ...]
    vertices: tuple[tuple[Tensors, ...], ...]
    baselines: tuple[NamedBaseline, ...]
    bends: Mapping[str, Blur | Registered]


def baselines_of(work: Work, copy: Copy, draws: int | None = None) -> Steps[list[NamedBaseline]]:
    """All baselines of an example, drawn, computed or searched for, in the request's order. Raises NoOtherClass.

    `draws`: of each random one, in place of the number asked for.
    """
    found: list[NamedBaseline] = []
    for n, spec in enumerate(_completed(work, copy)):
        if any(part.kind is BaselineKind.OTHER_CLASS for part in spec.parts.values()):
            route = work.open(f"{copy.word}search{n}", copy.example, copy.targets)
            attributed = {spec.name for spec in work.info.inputs if spec.attributed}
            rows = {name: values for name, values in work.reference.items() if name in attributed}
            tensors = yield from other_class_baseline(route, copy.example, rows)
            route.close()
            found.append(NamedBaseline(OTHER_CLASS, tensors, random=False, place=n))
        else:
            # Random numbers of its own: the draws of one baseline do not depend on its neighbours in the list.
            generator = partial(work.question.generator, "baselines", copy.number, n)
            asked = spec if draws is None else _with_draws(spec, draws)
            drawn = resolve_baselines([asked], copy.example, work.info, work.reference, generator)
            found += [replace(baseline, place=n) for baseline in drawn] if n else drawn
    return found


def _with_draws(spec: BaselineSpec, draws: int) -> BaselineSpec:
    """Its random parts drawn so many times."""
    parts = {
        name: replace(part, samples=draws) if part.kind in RANDOM_KINDS else part for name, part in spec.parts.items()
    }
    return BaselineSpec(spec.name, parts)


def walked(work: Work, n_baselines: int) -> int:
    """Evaluations that the walks of Guided IG take, at most."""
    steps = [gamma.steps for gamma in work.explanation.gamma.values() if gamma.kind is GammaKind.GUIDED]
    return n_baselines * (steps[0] - 1) if steps else 0


def _completed(work: Work, copy: Copy) -> list[BaselineSpec]:
    """The baselines asked for; inputs on a blur path need none, so they take the example's values here."""
    if not work.explanation.gamma and work.explanation.baselines:
        return list(work.explanation.baselines)
    blurred = {name for name, gamma in work.explanation.gamma.items() if gamma.kind is GammaKind.BLUR}
    filled = {name: BaselinePart(BaselineKind.TENSOR, copy.example[name]) for name in blurred}
    specs = work.explanation.baselines or (BaselineSpec("", {}),)
    blurs = ", ".join(f"{name} {BLUR_PATH}" for name in blurred) if work.explanation.baselines else BLUR_PATH
    return [
        BaselineSpec(", ".join(filter(None, (spec.name, blurs))) if blurred else spec.name, {**spec.parts, **filled})
        for spec in specs
    ]


def place(work: Work, copy: Copy, route: Route, baselines: list[NamedBaseline]) -> Steps[Placed]:
    """Put the paths from all baselines to the example on a route, as its first curves."""
    paths = yield from together([_vertices(work, copy, each.tensors, n) for n, each in enumerate(baselines)])
    bends = _bends(work)
    curves: list[Curve] = []
    n_vertices = EXAMPLE + 1
    starts: dict[int, int] = {}  # by identity: a baseline that was drawn more than once is one vertex
    for line, path in enumerate(paths):
        start = starts.setdefault(id(path[0]), n_vertices)
        numbers = [start, *range(n_vertices + 1, n_vertices + len(path) - 1), EXAMPLE]
        n_vertices += len(path) - 1
        for k in range(len(path) - 1):
            number = route.add_curve(path[k], path[k + 1], bends)
            curves.append(Curve(numbers[k], numbers[k + 1], line, 1 / len(baselines)))
            if bends and k == 0:
                path[0] = route.model.start(route.id, number)
    named = (replace(b, tensors=path[0]) for b, path in zip(baselines, paths, strict=True))
    return Placed(tuple(curves), tuple(tuple(path) for path in paths), tuple(named), bends)


def _vertices(work: Work, copy: Copy, baseline: Tensors, n: int) -> Steps[list[Tensors]]:
    """The inputs that the path passes through, ends included."""
    gamma = work.explanation.gamma
    if not gamma:
        return [baseline, copy.example]
    guided = next((g for g in gamma.values() if g.kind is GammaKind.GUIDED), None)
    if guided:
        route = work.open(f"{copy.word}walk{n}", copy.example, copy.targets[:1])  # the walk follows one
        inner = yield from guided_vertices(route, baseline, copy.example, guided)
        route.close()
    else:
        inner = vertices(gamma, baseline, copy.example)
    return [baseline, *inner, copy.example]


def _bends(work: Work) -> Mapping[str, Blur | Registered]:
    bends: dict[str, Blur | Registered] = {}
    for name, gamma in work.explanation.gamma.items():
        if gamma.kind is GammaKind.BLUR:
            bends[name] = Blur(gamma.sigma or 0.0)
        elif gamma.kind is GammaKind.REGISTERED:
            bends[name] = Registered(gamma.name or "")
    return bends
