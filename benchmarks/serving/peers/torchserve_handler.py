"""TorchServe + Captum at `/explanations`: its base handler with `get_insights`, which is where it asks for Captum."""

from typing import Any

import torch
from captum_part import Explainer  # TorchServe puts the archive's files side by side on the import path
from ts.torch_handler.base_handler import BaseHandler


class Handler(BaseHandler):
    """Explains all requests of a batch at once; each may bring several inputs."""

    def initialize(self, context: Any) -> None:
        self.explainer = Explainer()
        self.initialized = True

    def preprocess(self, data: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        return [row["body"]["inputs"] for row in data]

    def explain_handle(self, data_preprocess: list[list[dict[str, Any]]], raw_data: Any) -> list[dict[str, Any]]:
        """The base handler's own looks at the first request of a batch only."""
        return self.get_insights(data_preprocess, raw_data, None)

    def get_insights(self, tensor_data: Any, _: Any, target: Any = None) -> list[dict[str, Any]]:
        with torch.enable_grad():
            answers = iter(self.explainer.explain([item for request in tensor_data for item in request]))
        return [{"results": [next(answers) for _ in request]} for request in tensor_data]
