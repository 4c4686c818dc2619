"""One subscriber's wait: for a change, for its time, or until it is cancelled."""

import asyncio

import pytest
from attributor.storage.redis_events import _Subscription


@pytest.fixture
def changes():
    return _Subscription(None, "j", ends_only=False)


async def test_changes_before_a_wait_end_it_at_once_and_once(changes):
    changes.wake()
    changes.wake()
    assert await changes.wait(60)
    assert not await changes.wait(0)


@pytest.mark.parametrize(
    "message", [b"", b"j", b"j x 1 1 1 1 1 r", b"j 1 1 1e+14 1 1 1 r", b"j 1 1 1 1 1 1 no message"]
)
def test_an_answer_that_cannot_be_read_counts_as_not_sent(changes, message):
    changes.message = message
    assert changes.sent() is None


async def test_a_change_ends_a_wait(changes):
    asyncio.get_running_loop().call_later(0.01, changes.wake)
    async with asyncio.timeout(5):
        assert await changes.wait(60)


async def test_a_wait_without_a_change_ends_with_its_time(changes):
    async with asyncio.timeout(5):
        assert not await changes.wait(0.01)


async def test_a_change_at_the_moment_at_which_the_time_ends_is_told_once(changes):
    asyncio.get_running_loop().call_later(0, changes.wake)
    found = [await changes.wait(0) for _ in range(3)]
    assert sorted(found) == [False, False, True]


async def test_a_wait_that_is_cancelled_is_cancelled_and_leaves_changes_to_the_next(changes):
    waiting = asyncio.create_task(changes.wait(60))
    await asyncio.sleep(0)
    waiting.cancel()
    changes.wake()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await changes.wait(60)
