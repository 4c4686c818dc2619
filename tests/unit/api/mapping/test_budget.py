import pytest
from attributor.api.schemas.bodies import FEWEST_EVALUATIONS, MOST_EVALUATIONS
from attributor.errors import InvalidRequest
from unit.api.models import INPUTS, spec


@pytest.mark.parametrize(
    ("fields", "fewest"),
    [
        ({}, 9),
        ({"path": {"kind": "guided", "steps": 20}}, 40),
        ({"baseline": ["black", "white"], "path": {"kind": "polyline", "points": [INPUTS["digits"]]}}, 9),
        ({"baseline": {"kind": "uniform", "samples": 256}}, 512),
        ({"path": {"kind": "guided", "steps": 500}, "baseline": {"kind": "uniform", "samples": 9}}, 9000),
    ],
)
def test_a_budget_has_room_for_the_first_nodes_of_every_piece(fields, fewest):
    assert spec(**fields, max_evaluations=fewest).quadrature.max_evaluations == fewest
    if fewest > FEWEST_EVALUATIONS:
        with pytest.raises(InvalidRequest, match=f"at least {fewest}") as refused:
            spec(**fields, max_evaluations=fewest - 1)
        assert refused.value.field == "max_evaluations"


def test_a_budget_that_nobody_has_is_refused_before_it_is_drawn_up():
    with pytest.raises(InvalidRequest, match="256000") as refused:
        spec(path={"kind": "guided", "steps": 500}, baseline={"kind": "uniform", "samples": 256})
    assert refused.value.field == "max_evaluations"


def test_a_fixed_rule_has_so_many_nodes_on_every_piece():
    ten = {"baseline": {"kind": "uniform", "samples": 10}, "rule": "midpoint"}
    assert spec(**ten, n_steps=MOST_EVALUATIONS // 10).quadrature.n_steps == 1_000
    with pytest.raises(InvalidRequest, match="10010 nodes") as refused:
        spec(**ten, n_steps=1_001)
    assert refused.value.field == "n_steps"


def test_orders_cost_a_pass_for_every_feature():
    assert spec(method="shapley", samples=10_000).explanation.samples == 10_000
    with pytest.raises(InvalidRequest, match="1280000 forward passes") as refused:
        spec(method="shapley", samples=2_000, baseline={"kind": "uniform", "samples": 10})
    assert refused.value.field == "samples"
