"""Jobs of different clients beside each other: the fault of one is not the other's, and every answer is its own."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from e2e.live import created, ended, example, explained, pair

pytestmark = pytest.mark.e2e


def test_a_model_that_raises_fails_its_job_and_no_neighbour(client):
    paths = [created(client, pair("raises", a=value)) for value in (1.0, 101.0, 2.0, 3.0)]
    jobs = [ended(client, path) for path in paths]
    assert [job["state"] for job in jobs] == ["succeeded", "failed", "succeeded", "succeeded"]
    error = jobs[1]["error"]
    assert (error["code"], error["detail"]) == ("model_error", "the model raised RuntimeError: more than a hundred")
    text = client.get(paths[1]).text
    assert "Traceback" not in text
    assert "model.py" not in text


def test_a_score_that_is_no_number_fails_the_job(client):
    job = ended(client, created(client, pair("nan", a=-3.0)))
    assert (job["state"], job["error"]["code"]) == ("failed", "non_finite_score")
    assert ended(client, created(client, pair("nan", a=3.0)))["state"] == "succeeded"


def test_one_bad_input_of_several_fails_that_job_with_no_half_answer(client):
    body = pair("nan", a=3.0)
    job = explained(client, body | {"inputs": [*body["inputs"], *pair("nan", a=-3.0)["inputs"]]})
    assert (job["state"], job["results"]) == ("failed", None)


def test_a_client_with_many_large_pictures_does_not_hold_up_the_others(service, client):
    body = example("digit") | {"visualizations": [{"kind": "overlay", "scale_px": 2048}] * 16}
    path = created(client, body | {"inputs": example("digit")["inputs"] * 2})

    def draw() -> int:
        with httpx.Client(base_url=service.url, timeout=60) as own:
            return len(ended(own, path)["results"])

    ended(client, created(client, example("digit")))
    with ThreadPoolExecutor(1) as other:
        drawing, answered = other.submit(draw), 0
        while not drawing.done():
            answered += client.get("/health/live").status_code == 200
        assert drawing.result() == 2
    assert answered > 10


def test_clients_at_the_same_time_on_one_model_all_get_their_own_answer(service, client):
    """Each beside all others, held against its own answer alone; equal up to what sharing a batch may move."""
    features = example("tumour")["inputs"][0]["features"]
    bodies = [
        example("tumour") | {"inputs": [{"features": {name: (0.6 + 0.02 * i) * v for name, v in features.items()}}]}
        for i in range(24)
    ]
    alone = [explained(client, body)["results"][0] for body in bodies]

    def ask(body: dict) -> dict:
        with httpx.Client(base_url=service.url, timeout=40) as own:
            return explained(own, body)["results"][0]

    with ThreadPoolExecutor(12) as clients:
        together = list(clients.map(ask, bodies))
    assert len({result["score"] for result in alone}) == len(bodies)
    for one, other in zip(alone, together, strict=True):
        assert other["score"] == pytest.approx(one["score"], rel=1e-4)
        tolerance = 0.02 * sum(abs(value) for value in one["attributions"]["features"]["data"])
        differences = zip(
            one["attributions"]["features"]["data"], other["attributions"]["features"]["data"], strict=True
        )
        assert sum(abs(a - b) for a, b in differences) <= tolerance
