"""Examples of requests: what can stand in `inputs` besides tensors, pictures of the model's size and plain numbers."""

from fastapi.openapi.models import Example

from attributor.api.example_requests import COMMENT, MOLECULE, PERSON, request

#: By name, in the order of the page.
INPUTS: dict[str, Example] = {
    "text": request(
        "A text",
        "In place of token ids, under the name of the model's source: `explained` has its words and tokens, with the "
        "characters that they stand for. A text that is longer than the model takes is refused, not cut.",
        COMMENT,
        target={"class": "good", "scale": "logit"},
    ),
    "text_pair": request(
        "A pair of texts, compared with another one",
        "Of a model that takes two; words of both have attributions. A baseline can be a text too, of as many tokens.",
        {"model": "comments", "inputs": [{"text": {"text": "good movie", "pair": "bad movie"}}]},
        baseline={"text": {"text": "hello world", "pair": "hello world"}},
    ),
    "similarity": request(
        "The similarity of two texts",
        "Of a sentence encoder, each number of whose embedding is an output: weigh them by the embedding of the other "
        "text, as `/v1/models/{name}:predict` answers it (three numbers here, for short). With embeddings of length 1 "
        "the score is the cosine, and words get their shares of it.",
        {"model": "encoder", "inputs": [{"text": "good movie"}]},
        target={"outputs": [{"output": k, "weight": weight} for k, weight in enumerate((0.36, -0.48, 0.8))]},
    ),
    "molecule": request(
        "A molecule",
        "As SMILES: `explained` has its atoms and bonds. Hydrogens are counted in their atoms.",
        MOLECULE,
        target={"class": "solubility"},
    ),
    "categories": request(
        "A table with categories and a missing value",
        "A category is given by its name. A value that is null or left out takes what the model declares for it "
        "(`missing`), and is refused where it declares nothing. `explained` has each column once, one-hot or not, and "
        "the sums of the groups that the model names.",
        PERSON,
        visualizations=[{"kind": "bars"}],
    ),
}
