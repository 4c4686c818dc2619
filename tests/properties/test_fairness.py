"""Who waits how long, on a device with a fake clock: what is promised of fairness, simulated."""

import random
from collections import deque
from itertools import count

import pytest
from attributor.engine.fairness import Claimant, Fairness
from fair_device import Device, Net, SimulatedJob
from hypothesis import given, settings
from hypothesis import strategies as st

LONG = 10_000


def short_jobs(rng: random.Random, n: int, per_s: float, **given) -> list[SimulatedJob]:
    """Jobs of about 12 evaluations as clients send them: five scores, nine gradients, perhaps more."""
    now_s, jobs = 0.0, []
    for i in range(n):
        now_s += rng.expovariate(per_s)
        more = rng.choices([(), (6,), (10,)], [0.7, 0.2, 0.1])[0]
        jobs.append(SimulatedJob(f"short {i}", deque((5, 9, *more)), arrives_s=now_s, **given))
    return jobs


def long_rounds(rng: random.Random, width: int) -> deque[int]:
    rounds = deque([5])
    while sum(rounds) < LONG:
        rounds.append(rng.randint(1, width))
    return rounds


def quantile(values, q: float):
    return sorted(values)[int(q * (len(values) - 1))]


def keep_long_jobs(device: Device, arrivals: list[SimulatedJob], long_job) -> list[SimulatedJob]:
    """Serve short jobs while a long one is there all the time; returns those that came."""
    numbers = count()
    waiting = deque(arrivals)
    while waiting:
        if not any(job.id.startswith("long") for job in device.active.values()):
            device.admit(long_job(f"long {next(numbers)}"))
        while waiting and waiting[0].arrives_s <= device.now_s:
            device.admit(waiting.popleft())
        began = device.steps
        device.step()
        for job in waiting:
            if job.arrives_s >= device.now_s:
                break
            job.came_at = began if job.came_at is None else job.came_at
    device.run([])
    return arrivals


@pytest.mark.parametrize("room", [32, 64, 512])
@pytest.mark.parametrize(
    "company",
    [{}, {"tenant": "another"}, {"lane": "another"}, {"deadline_at_s": 1e9}, {"lane": "another", "width": 3}],
    ids=str,
)
def test_a_job_of_10_000_evaluations_delays_one_of_12_by_three_steps_at_most(room, company):
    rng = random.Random(5)
    width, given = company.get("width", LONG), {key: value for key, value in company.items() if key != "width"}
    device = Device({"net": Net(room)})
    full_pass_s = 0.001 + 0.0001 * room
    arrivals = short_jobs(rng, 600, per_s=0.1 * room / 16 / full_pass_s)
    keep_long_jobs(device, arrivals, lambda id: SimulatedJob(id, long_rounds(rng, width), **given))
    delays = [device.delay(job) for job in arrivals]
    assert quantile(delays, 0.99) <= 3, (quantile(delays, 0.99), max(delays))


def test_backlogged_tenants_get_the_same_whatever_their_number_of_jobs():
    rng = random.Random(1)
    device = Device({"net": Net()})
    for tenant in range(20):
        for i in range(rng.choice([1, 2, 40])):
            rounds = deque([rng.choice([40, 60, 500])] * 100)
            device.admit(SimulatedJob(f"{tenant} {i}", rounds, tenant=str(tenant)))
    for _ in range(400):
        device.step()
    assert min(device.points.values()) >= 0.95 * max(device.points.values()), device.points


def test_backlogged_tenants_get_by_weight():
    weights = {"a": 1.0, "b": 2.0, "c": 5.5}
    device = Device({"net": Net(room=50)}, tenant_weights=weights)
    for tenant, n in (("a", 30), ("b", 1), ("c", 3)):
        for i in range(n):
            device.admit(SimulatedJob(f"{tenant} {i}", deque([LONG] * 3), tenant=tenant))
    for _ in range(500):
        device.step()
    total = sum(device.points.values())
    for tenant, weight in weights.items():
        assert device.points[tenant] / total == pytest.approx(weight / sum(weights.values()), rel=0.05)


def test_a_tenant_that_asks_for_little_saves_nothing_up():
    device = Device({"net": Net()})
    device.admit(SimulatedJob("much", deque([100 * LONG]), tenant="much"))
    device.admit(SimulatedJob("little", deque([2] * 2000), tenant="little"))
    device.run([], until_s=2000 * 0.0074)
    device.points.clear()
    device.admit(SimulatedJob("burst", deque([LONG]), tenant="little"))
    for _ in range(20):
        device.step()
    assert device.points["little"] <= 0.56 * sum(device.points.values())


def test_a_tenant_pays_nothing_for_what_others_left_lying():
    device = Device({"net": Net()})
    device.admit(SimulatedJob("early", deque([10 * LONG]), tenant="early"))
    for _ in range(1000):
        device.step()
    device.points.clear()
    device.admit(SimulatedJob("late", deque([LONG]), tenant="late"))
    for _ in range(20):
        device.step()
    assert device.points["early"] >= 0.44 * sum(device.points.values())


@pytest.mark.parametrize("room", [1, 4, 64])
def test_higher_priorities_go_first_and_lower_ones_do_not_starve(room):
    device = Device({"net": Net(room)})
    for priority in (2, 1, 0):
        device.admit(SimulatedJob(f"{priority}", deque([100 * LONG]), tenant=str(priority), priority=priority))
    n = 12_800 // room
    for _ in range(n):
        device.step()
    parts = [device.points[str(priority)] / (n * room) for priority in range(3)]
    assert parts == pytest.approx([15 / 16, 15 / 256, 1 / 256], rel=0.1)


def test_an_urgent_job_waits_for_no_more_than_the_pass_that_runs():
    rng = random.Random(3)
    device = Device({"net": Net()})
    for i in range(60):
        device.admit(SimulatedJob(f"low {i}", deque([LONG]), tenant=f"{i}", priority=1 + i % 2))
    arrivals = short_jobs(rng, 100, per_s=30, priority=0)
    device.run(arrivals, until_s=arrivals[-1].arrives_s + 1)
    assert quantile([device.delay(job) for job in arrivals], 0.99) <= 2


def test_a_low_priority_ends_though_higher_ones_never_pause():
    device = Device({"net": Net(room=4)})
    device.admit(SimulatedJob("high", deque([100 * LONG]), priority=0))
    low = device.admit(SimulatedJob("low", deque([5, 9]), tenant="low", priority=2))
    for _ in range(100):
        device.step()
    assert low.ended


def test_the_earliest_deadline_of_a_tenant_goes_first_and_others_tenants_do_not_pay():
    device = Device({"net": Net()})
    device.admit(SimulatedJob("other", deque([LONG] * 20), tenant="other"))
    device.admit(SimulatedJob("none", deque([LONG] * 20), tenant="t"))
    device.admit(SimulatedJob("late", deque([LONG]), tenant="t", deadline_at_s=100.0))
    device.admit(SimulatedJob("soon", deque([LONG]), tenant="t", deadline_at_s=50.0))
    points = {}
    for _ in range(200):
        device.step()
    for job in device.active.values():
        points[job.id] = job.points
    assert points["soon"] > 0.85 * 32 * 200
    assert points["late"] < 0.02 * 32 * 200
    assert points["none"] == pytest.approx(64 + (32 * 200 - 3 * 64) / 16, rel=0.02)
    assert points["other"] == pytest.approx(32 * 200, rel=0.05)


def test_a_job_is_reported_when_its_deadline_has_passed():
    device = Device({"net": Net()})
    device.admit(SimulatedJob("due", deque([LONG]), deadline_at_s=0.1))
    device.admit(SimulatedJob("free", deque([LONG])))
    device.run([])
    assert [job.id for job in device.failed] == ["due"]
    assert 0.05 * LONG / 2 < device.failed[0].points < LONG / 2


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_models_share_time_and_not_passes(weight):
    device = Device({"small": Net(64, 0.004, 0.0), "large": Net(8, 0.4, 0.0)}, model_weights={"small": weight})
    device.admit(SimulatedJob("small", deque([1000 * LONG]), model="small"))
    device.admit(SimulatedJob("large", deque([LONG]), model="large"))
    while device.now_s < 40:
        device.step()
    assert device.busy_s["small"] / device.busy_s["large"] == pytest.approx(weight, rel=0.05)


def test_small_jobs_wait_for_about_one_pass_of_a_large_model():
    rng = random.Random(8)
    device = Device({"small": Net(64, 0.001, 0.0), "large": Net(8, 0.4, 0.0)})
    arrivals = short_jobs(rng, 1000, per_s=50, model="small")
    keep_long_jobs(device, arrivals, lambda id: SimulatedJob(id, deque([LONG]), model="large"))
    waits_s = [job.ended_s - job.arrives_s for job in arrivals]
    assert quantile(waits_s, 0.99) <= 0.41, quantile(waits_s, 0.99)
    assert device.busy_s["large"] > 0.5 * device.now_s


def test_a_small_model_comes_next_after_a_pass_of_a_large_one_that_had_the_device_to_itself():
    device = Device({"small": Net(64, 0.001, 0.0), "large": Net(8, 0.4, 0.0)})
    device.admit(SimulatedJob("large", deque([8] * 20), model="large"))
    device.step()
    small = device.admit(SimulatedJob("small", deque([5, 9, 6]), model="small"))
    for _ in range(3):
        device.step()
    assert small.ended


def test_thousands_of_inputs_of_one_tenant_do_not_delay_another():
    rng = random.Random(2)
    device = Device({"net": Net(room=128)})
    device.admit(SimulatedJob("many", deque([5 * 4096, 9 * 4096]), tenant="a"))
    arrivals = short_jobs(rng, 150, per_s=70, tenant="b")
    device.run(arrivals)
    assert max(job.arrives_s for job in arrivals) < device.now_s
    assert quantile([device.delay(job) for job in arrivals], 0.99) <= 1


jobs = st.tuples(
    st.sampled_from("abc"),
    st.integers(0, 2),
    st.one_of(st.none(), st.floats(0, 100)),
    st.integers(0, 300),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(jobs, min_size=1, max_size=30), st.lists(st.integers(1, 400), min_size=1, max_size=8), st.data())
def test_a_pass_is_as_full_as_it_can_be(given_jobs, rooms, data):
    fairness, weights = Fairness(), {"a": 0.3, "b": 7.0, "c": 1.0}
    for i, (tenant, priority, deadline_at_s, _) in enumerate(given_jobs):
        fairness.enter(Claimant(str(i), tenant, priority, deadline_at_s, "net", weights[tenant]), now_s=0.0)
    waiting = {str(i): want for i, (*_, want) in enumerate(given_jobs)}
    for now_s, room in enumerate(rooms):
        if not (some := [id for id, want in waiting.items() if want]):
            return
        assert fairness.next_model(some, float(now_s)) in some
        shares = fairness.shares(waiting, room, float(now_s))
        assert shares.keys() == waiting.keys()
        assert all(0 <= shares[id] <= want for id, want in waiting.items())
        assert sum(shares.values()) == min(room, sum(waiting.values()))
        point_s = data.draw(st.floats(0, 1))
        fairness.charge({id: n * point_s for id, n in shares.items()})
        waiting = {id: want - shares[id] for id, want in waiting.items()}
