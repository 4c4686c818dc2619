"""Watching a job: server-sent events as a browser reads them, and the place in the queue."""

import httpx
import pytest
from e2e.live import created, ended, events, example, pair, problem, running, slow

pytestmark = pytest.mark.e2e


def test_a_stream_tells_state_progress_and_end(client):
    path = created(client, pair("slow", a=5.0, b=3.0, tolerance=1e-6, absolute_tolerance=1e-9, max_evaluations=200))
    told = list(events(client, path))
    names = [event.name for event in told]
    assert names[0] == "state"
    assert told[0].data["state"] in ("queued", "running")
    assert names.count("end") == 1
    assert names[-1] == "end"
    assert (told[-1].data["state"], told[-1].data["error"]) == ("succeeded", None)
    progress = [event.data for event in told if event.name == "progress"]
    evaluations = [data["evaluations"] for data in progress]
    assert len(set(evaluations)) >= 4
    assert evaluations == sorted(evaluations), "rising; the same again after a second without news"
    errors = {data["completeness_error"] for data in progress} - {None}
    assert len(errors) >= 2
    assert all(error >= 0 for error in errors)
    revisions = [int(event.id) for event in told]
    assert revisions == sorted(revisions)


def test_the_stream_of_a_finished_job_ends_at_once(client):
    path = created(client, example("tumour"))
    ended(client, path)
    (only,) = events(client, path)
    assert (only.name, only.data["state"]) == ("end", "succeeded")
    assert only.data["links"]["self"] == path


def test_the_stream_of_a_failed_job_says_why(client):
    path = created(client, pair("raises", a=101.0))
    *_, last = events(client, path)
    assert (last.data["state"], last.data["error"]["code"]) == ("failed", "model_error")


def test_there_is_no_stream_of_an_unknown_job(client):
    problem(client.get("/v1/attributions/job_unknown/events"), 404, "job_not_found")


def test_two_may_watch_and_a_cancelled_job_ends_both_streams(client, service):
    path = created(client, slow(200))
    running(client, path)
    with httpx.Client(base_url=service.url, timeout=20) as other:
        streams = [events(watcher, path) for watcher in (client, other)]
        assert [next(stream).name for stream in streams] == ["state", "state"]
        assert httpx.delete(service.url + path).status_code == 202
        for stream in streams:
            *_, last = stream
            assert last.data["state"] == "cancelled"


def test_a_waiting_job_knows_its_place(launch):
    service = launch(ATTRIBUTOR_WORKER__MAX_ACTIVE_JOBS="1")
    with httpx.Client(base_url=service.url, timeout=20) as client:
        first = created(client, slow(40))
        running(client, first)
        second, third = created(client, pair("raises")), created(client, pair("raises", a=2.0))
        assert [client.get(path).json()["position"] for path in (first, second, third)] == [None, 0, 1]
        assert client.delete(second).status_code == 200
        told = list(events(client, third))
        states = [(event.data["state"], event.data.get("position")) for event in told if event.name != "progress"]
        assert states[0] == ("queued", 0)
        assert states[-1][0] == "succeeded"
