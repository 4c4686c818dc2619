"""LitServe + Captum in batches of 8. Run as a module, with the port, the number of workers and the seconds a request
may take."""

import sys
from typing import Any

import litserve

from benchmarks.serving.peers.captum_part import Explainer, Item

MAX_BATCH = 8
#: LitServe's own default waits for nobody, and then hardly batches; its guide's examples wait 10 to 50 ms.
BATCH_TIMEOUT_S = 0.01


class Attributions(litserve.LitAPI):
    """Batches the requests; each may bring several inputs."""

    def setup(self, device: str) -> None:
        self.explainer = Explainer()

    def decode_request(self, request: dict[str, Any]) -> list[Item]:
        return request["inputs"]

    def batch(self, inputs: list[list[Item]]) -> list[list[Item]]:
        return inputs

    def predict(self, x: list[list[Item]]) -> list[list[dict[str, Any]]]:
        answers = iter(self.explainer.explain([item for request in x for item in request]))
        return [[next(answers) for _ in request] for request in x]

    def unbatch(self, output: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
        return output

    def encode_response(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {"results": output}


def main(port: int, workers: int, timeout_s: float) -> None:
    api = Attributions(max_batch_size=MAX_BATCH, batch_timeout=BATCH_TIMEOUT_S, api_path="/v1/attributions")
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=workers, timeout=timeout_s)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
