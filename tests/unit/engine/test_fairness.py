"""Whose turn it is, and how many points each gets."""

import pytest
from attributor.engine import fairness as module
from attributor.engine.fairness import HEAD_START, STAGE, Claimant, Fairness


def entered(*claimants: Claimant, **weights) -> Fairness:
    fairness = Fairness(**weights)
    for claimant in claimants:
        fairness.enter(claimant, now_s=0.0)
    return fairness


def claimant(id: str, *, tenant="t", priority=1, deadline_at_s=None, model="m") -> Claimant:
    return Claimant(id, tenant, priority, deadline_at_s, model)


def passed(fairness: Fairness, waiting: dict[str, int], room: int, *, point_s=0.001, now_s=0.0) -> dict[str, int]:
    shares = dict(fairness.shares(waiting, room, now_s))
    fairness.charge({id: n * point_s for id, n in shares.items()})
    return shares


def test_all_get_everything_if_it_fits():
    fairness = entered(claimant("a"), claimant("b", priority=2))
    assert fairness.shares({"a": 5, "b": 9}, 14, 0.0) == {"a": 5, "b": 9}


def test_a_pass_without_room_gives_nothing():
    assert entered(claimant("a")).shares({"a": 5}, 0, 0.0) == {"a": 0}


def test_whoever_waits_for_nothing_is_in_the_answer():
    fairness = entered(claimant("a"), claimant("b"))
    assert fairness.shares({"a": 0, "b": 9}, 4, 0.0) == {"a": 0, "b": 4}


def test_ties_are_broken_by_the_order_of_entry_and_not_by_that_of_the_question():
    fairness = entered(claimant("z"), claimant("a"), claimant("k"))
    assert fairness.next_model(["a", "k", "z"], 0.0) == "z"
    assert fairness.shares({"a": 9, "k": 9, "z": 9}, 12, 0.0) == {"z": 9, "a": 3, "k": 0}
    tenants = entered(claimant("z", tenant="2"), claimant("a", tenant="1"))
    assert tenants.shares({"a": 9, "z": 9}, 9, 0.0) == {"z": 5, "a": 4}


def test_the_same_story_has_the_same_end():
    def story():
        fairness = entered(*(claimant(str(i), tenant=str(i % 3), priority=i % 2) for i in range(9)))
        return [passed(fairness, {str(i): 5 + 7 * i for i in range(9)}, 40 + n) for n in range(20)]

    assert story() == story()


def test_only_the_first_points_of_a_job_come_first():
    fairness = entered(claimant("old"))
    passed(fairness, {"old": 1000}, 1000)
    fairness.enter(claimant("many"), 0.0)
    fairness.enter(claimant("few"), 0.0)
    shares = fairness.shares({"old": 1000, "many": 1000, "few": 9}, 160, 0.0)
    assert shares["few"] == 9
    assert shares["many"] == HEAD_START
    assert fairness.shares({"many": 1000, "few": 9}, 160, 0.0) == {"many": 151, "few": 9}


@pytest.mark.parametrize("point_s", [0.0, 0.001])
def test_fresh_jobs_take_turns_stage_by_stage(point_s):
    fairness = entered(*(claimant(str(i)) for i in range(10)))
    served = {str(i): 0 for i in range(10)}
    for n in range(1, 121):
        for id, got in passed(fairness, {id: 500 - n for id, n in served.items()}, 4, point_s=point_s).items():
            served[id] += got
        assert max(served.values()) - min(served.values()) <= STAGE
        assert sum(served.values()) == 4 * n


def test_a_job_of_many_small_rounds_steps_back_behind_a_fresh_one():
    fairness = entered(claimant("walker"), claimant("late"))
    for _ in range(STAGE - 1):
        passed(fairness, {"walker": 1}, 8)
    assert fairness.next_model(["walker", "late"], 0.0) == "walker"
    passed(fairness, {"walker": 1}, 8)
    assert fairness.next_model(["walker", "late"], 0.0) == "late"


def test_among_fresh_jobs_the_earliest_deadline_goes_first():
    fairness = entered(claimant("none"), claimant("late", deadline_at_s=9.0), claimant("soon", deadline_at_s=5.0))
    assert fairness.next_model(["none", "late", "soon"], 0.0) == "soon"
    assert fairness.shares({"none": 9, "late": 9, "soon": 9}, 12, 0.0) == {"none": 0, "late": 3, "soon": 9}


def test_a_deadline_that_has_passed_gives_no_right_of_way():
    jobs = [claimant("late", deadline_at_s=9.0), claimant("none")]
    fairness = entered(*jobs)
    passed(fairness, {"late": HEAD_START, "none": HEAD_START}, 2 * HEAD_START)
    in_time, too_late = (fairness.shares({"late": 100, "none": 100}, 64, now_s) for now_s in (8.0, 9.0))
    assert (in_time["late"], too_late["late"]) == (60, 32)


def test_a_job_is_expired_from_its_deadline_until_it_leaves():
    fairness = entered(claimant("a", deadline_at_s=5.0), claimant("b", deadline_at_s=4.0), claimant("c"))
    assert fairness.expired(3.9) == []
    assert fairness.expired(4.0) == ["b"]
    assert fairness.expired(5.0) == ["a", "b"]
    fairness.leave("b")
    assert fairness.expired(6.0) == ["a"]


def test_what_a_job_took_in_its_last_pass_is_charged_to_its_tenant():
    fairness = entered(claimant("a", tenant="a"), claimant("b", tenant="b"))
    fairness.shares({"a": 100}, 100, 0.0)
    fairness.leave("a")
    fairness.charge({"a": 1.0})
    fairness.enter(claimant("a again", tenant="a"), 0.0)
    assert fairness.next_model(["a again", "b"], 0.0) == "b"


def test_who_leaves_and_comes_back_is_not_taken_for_new():
    fairness = entered(claimant("stays", tenant="b", model="n"))
    served = {"a": 0, "stays": 0}
    for i in range(200):
        fairness.enter(claimant(f"a{i}", tenant="a"), 0.0)
        while (id := fairness.next_model([f"a{i}", "stays"], 0.0)) == "stays":
            passed(fairness, {id: 5}, 5)
            served["stays"] += 1
        passed(fairness, {id: 5}, 5)
        fairness.leave(id)
        served["a"] += 1
    assert served["stays"] >= 198


def test_a_job_claimed_again_starts_afresh():
    fairness = entered(claimant("a", deadline_at_s=1.0))
    fairness.enter(claimant("a"), 0.0)
    assert fairness.expired(2.0) == []
    fairness.leave("a")
    fairness.leave("a")


def test_strangers_are_not_charged():
    fairness = entered(claimant("a"))
    fairness.charge({"nobody": 3.0})
    assert passed(fairness, {"a": 4}, 3) == {"a": 3}


@pytest.mark.parametrize("weight", [0.0, float("nan")])
def test_weights_must_be_positive(weight):
    with pytest.raises(ValueError, match="positive"):
        Fairness(model_weights={"m": weight})


def test_tenants_and_models_that_are_gone_are_forgotten(monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 10)
    fairness = Fairness()
    for i in range(100):
        fairness.enter(claimant("a", tenant=str(i), model=i), 0.0)
        passed(fairness, {"a": 3}, 3)
    fairness.leave("a")
    assert max(len(kept) for kept in (fairness._lines, fairness._models, fairness._prices)) <= 13
