"""The inputs that examples of requests are about, and how an example is made of them."""

from typing import Any

from fastapi.openapi.models import Example

_DIGIT_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAQUlEQVR4nCXJQRGAIBAAwB0S0EAjEMEIF8VINqGCDaCBNDgf7Hdx52gUjvl2UMMXtgwF"
    "mrWvjwrRM0cttGs+6/wBQd4R21L3eLIAAAAASUVORK5CYII="
)
DIGIT: dict[str, Any] = {"model": "digits", "inputs": [{"image": _DIGIT_PNG}]}
REVIEW: dict[str, Any] = {"model": "reviews", "inputs": [{"tokens": [101, 2023, 3185, 2003, 2307, 102]}]}
PATIENT: dict[str, Any] = {
    "model": "photo-and-record",
    "inputs": [{"photo": {"shape": [1, 2, 2], "data": [0.1, 0.9, 0.4, 0.3]}, "record": {"age": 61, "weight": 70.5}}],
}
HOUSE: dict[str, Any] = {"model": "prices", "inputs": [{"house": {"rooms": 4, "area": 98.5}}]}
COMMENT: dict[str, Any] = {"model": "comments", "inputs": [{"text": "Hello world, good movie!"}]}
MOLECULE: dict[str, Any] = {"model": "molecules", "inputs": [{"molecule": "CC(=O)Oc1ccccc1C(=O)O"}]}
PERSON: dict[str, Any] = {
    "model": "people",
    "inputs": [{"person": {"age": None, "colour": "blue", "size": "L", "income": 1.25}}],
}
GREY: dict[str, Any] = {"shape": [1, 8, 8], "data": [0.25] * 64}


#: Whose models are in this repository.
SHIPPED = frozenset({"digits", "breast-cancer"})


def request(name: str, answers: str, on: dict[str, Any], **fields: Any) -> Example:
    """An example named after its feature, with what it answers. One whose model is not shipped says so."""
    summary = name if on["model"] in SHIPPED else f"{name} (for a model of yours)"
    return {"summary": summary, "description": answers, "value": on | fields}
