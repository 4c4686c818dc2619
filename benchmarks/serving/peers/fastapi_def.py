"""FastAPI + Captum, `def` endpoint: FastAPI runs it in its pool of threads. Served by uvicorn."""

from typing import Any

from fastapi import FastAPI

from benchmarks.serving.peers.body import Body
from benchmarks.serving.peers.captum_part import Explainer

app = FastAPI()
explainer = Explainer()


@app.post("/v1/attributions")
def attributions(body: Body) -> dict[str, Any]:
    return {"results": explainer.explain(body.inputs)}
