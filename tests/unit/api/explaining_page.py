"""Makes docs/explaining.md from the examples of the OpenAPI document: `python tests/unit/api/explaining_page.py`."""

import json
from pathlib import Path

from attributor.api.examples import EXAMPLES

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "explaining.md"

HEAD = """\
# What a request can ask for

Every body below is for `POST /v1/attributions`. Save one as `body.json`, then

    curl -s http://127.0.0.1:8080/v1/attributions \\
      -H 'Content-Type: application/json' -H 'Prefer: wait=30' -d @body.json

The models `digits` and `breast-cancer` are in this repository. `reviews` and `words` (token ids), `prices` (a
regression) and `photo-and-record` (two inputs) stand for models of yours of that kind. What a
model can do is in `GET /v1/models/{name}`: `methods`, `baselines`, `baseline_kinds`, `path_kinds`, `paths`, `layers`,
`scales`. What it cannot do is refused with the field and the reason ([errors](errors.md)).

Fields can be combined where that makes sense: targets with everything; several baselines, path, rule, tolerances,
interior gradients and saturation with integrated gradients; smoothing with the five methods of the service's own
engine. What does not go together is refused. Random draws come from `seed` (0 unless given), which the result
repeats.

Results stand in `results`, input by input, for each input target by target; `input` and `target` say which is which. A
result has a `completeness_error` where the method promises that attributions add up to `score - baseline_score`; else
it is null, and `completeness_reason` says why.

This page is made from the examples of the [OpenAPI document](../openapi/openapi.json).
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for example in EXAMPLES.values():
        fields = ",\n".join(
            f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in example["value"].items()
        )
        parts.append(f"## {example['summary']}\n\n{example['description']}\n\n```json\n{{\n{fields}\n}}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
