"""Workers that have had their time are replaced, several work side by side, and no job notices."""

import httpx
import psutil
import pytest
from e2e.live import created, ended, eventually, gone, slow, strange_tracebacks

pytestmark = pytest.mark.e2e


def workers(service) -> list[psutil.Process]:
    return [child for child in psutil.Process(service.process.pid).children() if "--one" in child.cmdline()]


def test_a_worker_that_has_done_its_number_of_jobs_is_replaced_and_none_is_lost(launch):
    service = launch(ATTRIBUTOR_WORKER__RECYCLE_JOBS="4", ATTRIBUTOR_WORKER__MAX_ACTIVE_JOBS="2")
    (first,) = workers(service)
    with httpx.Client(base_url=service.url, timeout=20) as client:
        paths = [created(client, slow(3, a=float(n))) for n in range(10)]
        jobs = [ended(client, path, within_s=60) for path in paths]
    assert {(job["state"], job["attempts"]) for job in jobs} == {("succeeded", 1)}
    assert service.pid("worker") != first.pid
    assert "has had its time; starting another" in service.log()
    assert "ended with status" not in service.log()
    assert service.stop() == 0
    assert not strange_tracebacks(service.log())


def test_several_workers_share_the_jobs_and_end_with_their_supervisor(launch):
    service = launch(ATTRIBUTOR_WORKER__PROCESSES="2", ATTRIBUTOR_WORKER__MAX_ACTIVE_JOBS="1")
    service.await_ready(workers=2)
    found = workers(service)
    assert len(found) == 2
    with httpx.Client(base_url=service.url, timeout=20) as client:
        paths = [created(client, slow(40, a=float(n))) for n in range(2)]
        eventually(lambda: [client.get(path).json()["state"] for path in paths] == ["running"] * 2, 20)
        assert [ended(client, path)["state"] for path in paths] == ["succeeded"] * 2
    assert all(each.environ()["OMP_NUM_THREADS"] == "1" for each in found)
    service.process.kill()
    service.process.wait()
    eventually(lambda: gone([each.pid for each in found]), 20)
