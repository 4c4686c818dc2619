"""When a worker takes jobs from others, on a clock of its own."""

import pytest
from attributor.errors import StoreUnavailable
from attributor.worker.beating import Beats, Steps

LEASE_S = 5.0


class Store:
    """Says when it was asked to reap. `away`: refuses; `silent_s`: answers, so late."""

    def __init__(self) -> None:
        self.now_s, self.silent_s, self.away = 100.0, 0.0, False
        self.reaped_at_s: list[float] = []

    async def live(self) -> None:
        self.now_s += self.silent_s
        if self.away:
            raise StoreUnavailable("away")

    renew = live

    async def reap(self) -> None:
        await self.live()
        self.reaped_at_s.append(self.now_s)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def beat(store):
    beats = Beats(Steps(store.live, store.renew, store.reap), lambda: store.now_s, LEASE_S)

    async def beat(n: int) -> None:
        for _ in range(n):
            await beats.beat()
            store.now_s += 1

    return beat


async def test_jobs_of_silent_workers_are_looked_for_at_every_beat(store, beat):
    await beat(3)
    assert store.reaped_at_s == [100, 101, 102]


async def test_after_the_store_was_away_others_have_the_time_of_a_lease_to_come_back(store, beat):
    store.away = True
    await beat(20)
    store.away = False
    await beat(6)
    assert store.reaped_at_s == [124, 125]


async def test_after_the_store_was_silent_they_have_it_too(store, beat):
    store.silent_s = 1.5
    await beat(1)
    store.silent_s = 0.0
    await beat(6)
    assert store.reaped_at_s == [108, 109]


async def test_a_store_that_is_only_slow_keeps_nobody_from_looking(store, beat):
    store.silent_s = 0.5
    await beat(3)
    assert len(store.reaped_at_s) == 3


async def test_one_that_refuses_to_renew_does_not_either(store):
    async def refuse() -> None:
        raise StoreUnavailable("no room")

    await Beats(Steps(store.live, refuse, store.reap), lambda: store.now_s, LEASE_S).beat()
    assert store.reaped_at_s == [100]
