import pytest
from attributor.api.mapping.seeds import is_random
from unit.api.models import spec

RANDOM = [
    {"method": "expected_gradients", "baseline": "black"},
    {"method": "shapley"},
    {"method": "kernel_shap"},
    {"method": "lime"},
    {"smoothing": {}},
    {"baseline": ["black", {"kind": "uniform"}]},
    {"baseline": {"kind": "gaussian", "sigma": 0.1}},
]


@pytest.mark.parametrize("fields", RANDOM)
def test_where_chance_has_a_part_every_request_without_a_seed_gets_one_of_its_own(fields):
    one, other = (spec(**fields) for _ in range(2))
    assert is_random(one.explanation)
    assert one.explanation.seed != other.explanation.seed


@pytest.mark.parametrize("fields", RANDOM)
def test_a_seed_that_is_given_is_the_seed(fields):
    assert spec(**fields, seed=0).explanation.seed == 0


@pytest.mark.parametrize(
    "fields", [{}, {"method": "occlusion"}, {"baseline": {"kind": "blur"}}, {"target": {"top": 3}}]
)
def test_where_nothing_is_drawn_equal_requests_are_equal_jobs(fields):
    one, other = (spec(**fields).explanation for _ in range(2))
    assert not is_random(one)
    assert one.seed == other.seed == 0
