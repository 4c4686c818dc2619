import pytest
import torch
from attributor.jobs.explanation import Layer, Quantity, Target
from attributor.model_port import RouteSpec
from attributor.runtimes.network import Network
from attributor.runtimes.routes import OpenRoute, lane_of
from attributor.runtimes.space import input_space
from modules import LOGIT, TwoClasses, row, vector_info

INFO = vector_info()


def opened(*targets: Target) -> OpenRoute:
    example = {"x": row(1, 1)}
    space = input_space(Network(TwoClasses(), INFO, torch.device("cpu")), example)
    return OpenRoute("p", RouteSpec(example, targets or (LOGIT,)), space)


def test_what_the_example_decides_is_a_bug_to_ask_before():
    route = opened(Target())
    assert not route.is_resolved
    for use in (lambda: route.targets, lambda: route.outputs):
        with pytest.raises(RuntimeError, match=r"'p' was not evaluated at its example\. This is a bug\."):
            use()
    route.resolve(row(0, 1e-7), INFO.output)
    assert route.is_resolved
    assert route.targets[0].terms[0].index == 1


def test_lanes_are_told_apart_by_layer_quantity_and_observed_layers():
    example = {"x": row(1, 1)}
    specs = [
        RouteSpec(example, (LOGIT,)),
        RouteSpec(example, (LOGIT,), layer=Layer("linear")),
        RouteSpec(example, (LOGIT,), layer=Layer("linear", Quantity.INFLUENCE)),
        RouteSpec(example, (LOGIT,), layer=Layer("head")),
        RouteSpec(example, (LOGIT,), observed=("linear",)),
    ]
    assert len({lane_of(spec, ()) for spec in specs}) == len(specs)
    assert lane_of(specs[0], ()) == lane_of(RouteSpec({"x": row(2, 2)}, (Target(), LOGIT), observed=()), ())
    assert lane_of(specs[0], (3,)) != lane_of(specs[0], (4,))
