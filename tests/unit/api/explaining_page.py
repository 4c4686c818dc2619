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

The models `digits` and `breast-cancer` are in this repository. The others stand for models of yours of that kind:
`reviews` and `words` (token ids), `comments` and `encoder` (texts), `molecules`, `people` (a table with categories),
`prices` (a regression), `photo-and-record` (two inputs). What a model can do is in `GET /v1/models/{name}`: `methods`,
`baselines`, `paths`, `layers`, `scales`, the `sources` that can be given in place of tensors, and for each of its
`inputs` its `baseline_kinds` and `path_kinds`. What it cannot do is refused with the field and the reason
([errors](errors.md)).

Fields can be combined where that makes sense: targets with everything; several baselines, path, rule, tolerances,
interior gradients and saturation with integrated gradients; smoothing with the five methods of the service's own
engine (and interior gradients, not saturation). The seven methods from DeepLIFT to LIME are Captum's: they need the
extra `comparators` where the worker runs, start a process for each request (2 to 10 seconds), and are left out of
`methods` where the extra is missing. What does not go together is refused. Random draws come from `seed`; without
one the service draws a seed for every request, and the result states it: sent with the same request it gives the same
answer.

The same body sent to `POST /v1/attributions:estimate` is answered with what the job would cost (evaluations, seconds,
bytes; what is to be expected and what it can be at most), or with the refusal that it would get.

An equal question is not computed again while its first answer is kept (up to 1 MB each, see
`ATTRIBUTOR_STORE__CACHE_BYTES` in the [settings](settings.md); not where chance has a part and no `seed` is sent): the
job then has `"cached": true` and is done at once. A request without `Prefer: wait` is answered with the job alone, also
then; the results are at its `Location`.

Results stand in `results`, input by input, for each input target by target; `input` and `target` say which is which. A
result has a `completeness_error` where the method promises that attributions add up to `score - baseline_score`; else
it is null, and `completeness_reason` says why.

Who wants less of each result names the fields in the query, of a `POST` that waits and of each `GET`: with
`?fields=input,attributions,completeness_error` answers of small models are a tenth as long, and many inputs in a
request are answered a fifth sooner.

## Many inputs

A request takes up to 4,096 inputs (`ATTRIBUTOR_API__MAX_INPUTS`) and is one job; inputs share passes, so many in one
request cost least. While it runs, `GET /v1/attributions/{id}/results` has the results of the inputs that are done and
estimates of those under way:

    curl -s "http://127.0.0.1:8080/v1/attributions/$ID/results?offset=0&limit=100"

Results are numbered through the whole list, input by input, and for each input target by target. A page is a stretch
of that list, the same one while the job runs and after it; `next` leads to the following one, and is null at the end.
`estimates` are what the answer would be if it ended now; they are made only while somebody asks, and come about a
second after the first time. A job that failed or was cancelled still shows what it had, if it had anything. The job
itself, `GET /v1/attributions/{id}`, holds its first 1,000 results; its `next` leads to the others, and is null where
there are none. Its events tell its progress at least every second, and at most ten times a second.

This page is made from the examples of the [OpenAPI document](../openapi/openapi.json).

## The words of an answer

Every field is described in the OpenAPI document (`ResultDocument`). Those that need a word:

| field of a result | what it is |
|---|---|
| `score`, `baseline_score` | F(x) and F(x'), on the `scale` of the target; of several baselines the mean |
| `attributions` | a number per feature, pixel and channel, or token, by input; or of a layer's output, under its name |
| `explained` | the same in the terms of what was given, with the same sum: words and tokens of a text with \
their characters, columns of a table (a one-hot column is one), atoms and bonds of a molecule. Of a picture it holds \
no numbers, but which part of it the model saw (`box`, in pixels of the picture as given); a plain tensor is left \
out, and with `layer` it is null |
| `explained.NAME.special` | of a text, the sum over tokens that belong to no word: a padding or mask baseline \
replaces special tokens ([CLS], [SEP]) too, and this is their share. A baseline that is a text of as many tokens \
keeps them |
| `attribution_sum` | all of them added up |
| `completeness_error` | how far `attribution_sum` misses `score - baseline_score` |
| `attribution_error` | how far single numbers may be off, relative: what a coarser rule on the same nodes changes |
| `converged` | whether the errors along the path, added up without cancelling, are within the `tolerance` |
| `stop_reason` | `tolerance`: within it; `fixed_rule`: all its nodes are used; `max_evaluations`: the budget is; \
`discontinuity`: the score jumps; `float_noise`: the rest is the model's rounding; `resolution`: nodes would coincide; \
`memory`: no more gradients may be kept at a time |
| `evaluations`, `forwards`, `backwards` | points with a gradient; points with a score, those included; gradients, \
one per point and target. All are of the input, for all of its targets together |
| `nodes` | the points of the rule. `slope` is dF/dalpha there, the sum of weight times slope is `attribution_sum`, \
`piece` counts the smooth pieces of path |
| `target.predicted` | whether it is the class with the highest score; null where the target is not one class |
| `precision`, `precision_error` | in what numbers the model computed, and about what that costs: relative, as \
`attribution_error` |
| `path`, `baselines_asked`, `smoothing`, `samples`, `absolute`, `options` | what was asked for, defaults \
filled in, options as they were sent |
| `spread`, `standard_error` | over several baselines, the standard deviation; of what was sampled, the error of the \
mean. `kernel_shap` and `lime` are random too and have none: try other seeds |
| `saturation` | `l2_distance` and `cosine_distance` (1 less the cosine) of a layer's output to that at the input |

Numbers have the units of the score, except: gradients (`saliency`, and those that `guided_backpropagation` and
`deconvolution` carry back) have score per unit of the input; `squared` and `variance` have the square of theirs.
|gradient|, squares and variances have no sign, and pictures of them have one colour.
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
