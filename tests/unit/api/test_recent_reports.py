"""How often the store is asked what the workers say."""

import asyncio

import pytest
from attributor.api.recent_reports import FRESH_S, RecentReports
from attributor.errors import StoreUnavailable
from attributor.jobs.model import ModelReport


class Fleet:
    """Counts its answers; the next is an error, if there is one in `failing`."""

    def __init__(self) -> None:
        self.asked = 0
        self.failing: list[Exception] = []

    async def model_reports(self) -> dict[str, ModelReport]:
        self.asked += 1
        number = self.asked
        await asyncio.sleep(0.01)
        if self.failing:
            raise self.failing.pop()
        return {str(number): None}  # type: ignore[dict-item]

    async def workers_alive(self) -> int:
        self.asked += 1
        return 2


@pytest.fixture
def fleet():
    return Fleet()


async def test_reports_are_read_again_once_they_are_stale(fleet):
    now = [0.0]
    reports = RecentReports(fleet, lambda: now[0])
    seen = []
    for now[0] in (0.0, FRESH_S * 0.9, FRESH_S, FRESH_S * 1.9):
        seen += await reports.model_reports()
    assert seen == ["1", "1", "2", "2"]


async def test_those_who_ask_at_the_same_time_wait_for_one_answer(fleet):
    reports = RecentReports(fleet)
    async with asyncio.timeout(5):
        assert await asyncio.gather(*[reports.model_reports() for _ in range(5)]) == [{"1": None}] * 5
    assert fleet.asked == 1


async def test_who_goes_away_takes_the_answer_from_nobody(fleet):
    reports = RecentReports(fleet)
    leaving, staying = [asyncio.create_task(reports.model_reports()) for _ in range(2)]
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == {"1": None}


async def test_a_failure_is_told_and_not_kept(fleet):
    reports = RecentReports(fleet)
    fleet.failing = [StoreUnavailable("away")]
    with pytest.raises(StoreUnavailable):
        await reports.model_reports()
    assert await reports.model_reports() == {"2": None}


async def test_whether_workers_live_is_asked_each_time(fleet):
    reports = RecentReports(fleet)
    assert [await reports.workers_alive() for _ in range(2)] == [2, 2]
    assert fleet.asked == 2
