"""The memory of models by itself: who goes, and who may not."""

import pytest
from attributor.registry.residents import Resident, Residents
from doubles import RecordingModel, model_info
from problems import named

PROBLEM = named("product")


def resident(name: str, memory_bytes: int = 10) -> Resident:
    return Resident(RecordingModel(PROBLEM), model_info(PROBLEM, name), {}, memory_bytes)


@pytest.fixture
def residents() -> Residents:
    """Room for three; a, b and c are in."""
    full = Residents(30)
    for name in "abc":
        full.add(resident(name))
    return full


def names(gone: list[Resident]) -> list[str]:
    return [each.info.name for each in gone]


def test_what_was_used_the_longest_ago_goes_first(residents):
    assert residents.use("job", "a@1")
    residents.free("job")
    assert not residents.fits(10, evicting=False)
    assert names(residents.make_room(10)) == ["b"]
    assert residents.fits(10, evicting=False)
    assert names(residents.make_room(30)) == ["c", "a"]


def test_the_end_of_a_use_counts_as_a_use(residents):
    residents.use("long", "a@1")
    residents.use("short", "b@1")
    residents.free("short")
    residents.use("short", "c@1")
    residents.free("short")
    residents.free("long")
    assert names(residents.make_room(20)) == ["b", "c"]


def test_what_a_job_uses_is_never_evicted(residents):
    residents.use("one", "a@1")
    residents.use("other", "a@1")
    assert residents.fits(20, evicting=True)
    assert not residents.fits(21, evicting=True)
    assert residents.make_room(21) is None
    assert residents.get("b@1"), "nothing goes in vain"
    assert names(residents.make_room(20)) == ["b", "c"]
    residents.free("one")
    assert residents.in_use("a@1")
    assert names(residents.make_room(20)) == []
    residents.free("other")
    assert names(residents.make_room(30)) == ["a"]


def test_no_more_goes_than_has_to(residents):
    assert names(residents.make_room(0)) == []
    assert names(residents.make_room(15)) == ["a", "b"]


def test_what_is_not_there_cannot_be_used(residents):
    assert not residents.use("job", "d@1")
    assert not residents.in_use("d@1")
    residents.free("job")
    assert residents.drop("d@1") is None


def test_a_model_larger_than_all_memory_never_fits(residents):
    assert residents.fits_alone(30)
    assert not residents.fits_alone(31)
    assert Residents(None).fits_alone(10**15)


def test_without_a_bound_everything_stays():
    residents = Residents(None)
    for name in "abc":
        residents.add(resident(name, 10**15))
    assert residents.fits(10**15, evicting=False)
    assert residents.make_room(10**15) == []
