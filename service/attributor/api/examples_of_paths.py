"""Examples of requests: compared with what, and along which path."""

from fastapi.openapi.models import Example

from attributor.api.example_requests import DIGIT, GREY, HOUSE, PATIENT, REVIEW, request

#: By name, in the order of the page.
PATHS: dict[str, Example] = {
    "baseline_by_kind": request(
        "A baseline by kind",
        "Compared with what the service makes: `zero`, `black`, `white`, `blur`, `mean`, `median`, `mode`, ... A name "
        "that the model declares comes first. (On the choice: Sturmfels, Lundberg and Lee 2020.)",
        DIGIT,
        baseline="white",
    ),
    "baseline_constant": request(
        "A constant, or a blurred copy",
        'Compared with the same number everywhere. `{"kind": "blur", "sigma": 2}` compares with the picture itself, '
        "blurred (Fong and Vedaldi 2017); sigma in pixels.",
        DIGIT,
        baseline={"kind": "constant", "value": 0.5},
    ),
    "baseline_sent": request(
        "A baseline of your own",
        "Compared with an input that you send, in the form of `inputs`.",
        DIGIT,
        baseline={"image": GREY},
    ),
    "baseline_several": request(
        "Several baselines",
        "The average over all, their standard deviation (`spread`), and every one's score and error.",
        DIGIT,
        baseline=["black", {"kind": "constant", "value": 0.5}, "white"],
    ),
    "baseline_noise": request(
        "Noise as baselines",
        "The average over eight draws, with `spread`. `gaussian` is noise around the input itself, `sigma` in the "
        "input's own units, clipped to the declared range; `uniform` draws from that range. The seed makes it "
        "repeatable.",
        DIGIT,
        baseline={"kind": "gaussian", "sigma": 0.2, "samples": 8},
        seed=7,
    ),
    "baseline_reference": request(
        "Samples of the reference set",
        "Compared with twenty inputs that the model's bundle holds, with the standard error of the average.",
        DIGIT,
        baseline={"kind": "reference", "samples": 20},
    ),
    "baseline_other_class": request(
        "The nearest other class",
        "Compared with the boundary to another class: the nearest input of the reference set that is "
        "classified otherwise, moved along the segment to where the decision turns (Wang, Fredrikson and Datta 2022).",
        DIGIT,
        baseline="other_class",
    ),
    "baseline_tokens": request(
        "Absence of tokens",
        "Compared with padding; `mask` takes the mask token, `zero_embedding` no token at all. One number per token.",
        REVIEW,
        baseline="pad",
    ),
    "baseline_by_input": request(
        "A baseline for each input",
        "Every input has its own baseline, and gets its own attributions; together they add up.",
        PATIENT,
        baseline={"photo": {"kind": "blur", "sigma": 1}, "record": {"age": 50, "weight": 75}},
    ),
    "polyline": request(
        "A path through points",
        "Path integrated gradients along straight pieces through the points given, completeness in each piece "
        "(Sundararajan, Taly and Yan 2017, section 4).",
        DIGIT,
        path={"kind": "polyline", "points": [{"image": GREY}]},
    ),
    "blur_path": request(
        "Blur integrated gradients",
        "From the blurred picture to the sharp one, through scale space; needs no baseline "
        "(Xu, Venugopalan and Sundararajan 2020).",
        DIGIT,
        path={"kind": "blur", "sigma": 2},
    ),
    "guided": request(
        "Guided integrated gradients",
        "A path that moves the features of small gradient first, then is held fixed and integrated exactly "
        "(Kapishnikov, Venugopalan, Avci, Wedin, Terry and Bolukbasi 2021). For models that explain one input of "
        'numbers. `"path": "guided"` is short for `{"kind": "guided"}`, as are "blur" and "straight".',
        DIGIT,
        path={"kind": "guided", "steps": 20, "fraction": 0.25},
    ),
    "registered_path": request(
        "A path of the model's own",
        "Along a curve that the model's bundle registers; see `paths` of the model.",
        HOUSE,
        path={"kind": "registered", "name": "spiral"},
    ),
    "path_by_input": request(
        "A path for each input",
        "Each input on its own path at the same time; those not named go straight.",
        PATIENT,
        path={"photo": {"kind": "blur", "sigma": 1}, "record": {"kind": "straight"}},
    ),
}
