"""FastAPI + Captum, `async def` endpoint: it computes in the event loop. Served by uvicorn."""

from typing import Any

from fastapi import FastAPI

from benchmarks.serving.peers.body import Body
from benchmarks.serving.peers.captum_part import Explainer

app = FastAPI()
explainer = Explainer()


@app.post("/v1/attributions")
async def attributions(body: Body) -> dict[str, Any]:
    return {"results": explainer.explain(body.inputs)}
