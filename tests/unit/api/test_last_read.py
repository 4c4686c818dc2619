import asyncio

from attributor.api import last_read
from attributor.api.last_read import LastRead
from unit.api.models import spec
from unit.api.results import result

ANSWER = (result(),), spec("photo-and-record")


async def test_the_answer_of_one_job_is_kept_and_of_no_other():
    kept = LastRead()
    assert kept.get("a") is None
    kept.keep("a", ANSWER)
    assert kept.get("a") is ANSWER
    assert kept.get("b") is None
    kept.keep("b", ANSWER)
    assert kept.get("a") is None
    kept.forget()
    assert kept.get("b") is None


async def test_it_is_kept_for_a_while_after_the_last_page_and_then_let_go(monkeypatch):
    monkeypatch.setattr(last_read, "KEPT_S", 0.1)
    kept = LastRead()
    kept.keep("a", ANSWER)
    for _ in range(3):
        await asyncio.sleep(0.06)
        assert kept.get("a") is ANSWER
    await asyncio.sleep(0.15)
    assert kept.answer is None
