"""A request for every feature, with what it answers: shown in the OpenAPI document, and made into docs/explaining.md.

`digits` and `breast-cancer` are served from this repository. The other models named here stand for any with such inputs
or outputs; tests hold the bodies to models of that kind.
"""

from typing import Any

from fastapi.openapi.models import Example

_DIGIT_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAQUlEQVR4nCXJQRGAIBAAwB0S0EAjEMEIF8VINqGCDaCBNDgf7Hdx52gUjvl2UMMXtgwF"
    "mrWvjwrRM0cttGs+6/wBQd4R21L3eLIAAAAASUVORK5CYII="
)
_DIGIT: dict[str, Any] = {"model": "digits", "inputs": [{"image": _DIGIT_PNG}]}
_REVIEW: dict[str, Any] = {"model": "reviews", "inputs": [{"tokens": [101, 2023, 3185, 2003, 2307, 102]}]}
_PATIENT: dict[str, Any] = {
    "model": "photo-and-record",
    "inputs": [{"photo": {"shape": [1, 2, 2], "data": [0.1, 0.9, 0.4, 0.3]}, "record": {"age": 61, "weight": 70.5}}],
}
_HOUSE: dict[str, Any] = {"model": "prices", "inputs": [{"house": {"rooms": 4, "area": 98.5}}]}
_GREY: dict[str, Any] = {"shape": [1, 8, 8], "data": [0.25] * 64}


def _of(name: str, answers: str, on: dict[str, Any], **fields: Any) -> Example:
    return {"summary": name, "description": answers, "value": on | fields}


#: By name, in the order of the page.
EXAMPLES: dict[str, Example] = {
    "plain": _of(
        "Integrated gradients",
        "Shares of the score's difference to the default baseline, for the predicted class, within 1 %. "
        "(Sundararajan, Taly and Yan 2017.)",
        _DIGIT,
    ),
    "tolerances": _of(
        "How exact",
        "Goes on until the attributions add up within 0.5 % and their own estimated error is at most 2 %. "
        '`"tolerance": null` leaves the second to decide alone.',
        _DIGIT,
        tolerance=0.005,
        attribution_tolerance=0.02,
        max_evaluations=2000,
    ),
    "fixed_rule": _of(
        "A fixed rule",
        "The sum over so many nodes, as in the papers (Sundararajan, Taly and Yan 2016, equation 6, is right_riemann). "
        "The tolerance only judges it.",
        _DIGIT,
        rule="gauss_legendre",
        n_steps=50,
    ),
    "class": _of(
        "A class by label, on logits",
        "Why the model leans to this class, predicted or not; logits do not see the other classes.",
        _DIGIT,
        target={"class": "7", "scale": "logit"},
    ),
    "difference": _of(
        "One class against another",
        "What speaks for the first class rather than the second: the score is their difference.",
        _DIGIT,
        target={"class": "2", "minus": "7", "scale": "logit"},
    ),
    "weighted_sum": _of(
        "A weighted sum of outputs",
        "Any linear score: here the probability of an even digit.",
        _DIGIT,
        target={"outputs": [{"output": k, "weight": 1} for k in ("0", "2", "4", "6", "8")]},
    ),
    "top": _of(
        "The best classes at once",
        "A result for each of the three best classes, the best first; they share all forward passes.",
        _DIGIT,
        target={"top": 3},
    ),
    "several_targets": _of(
        "Several targets in one job",
        "A result for each, in this order, on the same nodes.",
        _DIGIT,
        target=[{"class": "2"}, {"class": "7", "scale": "log_probability"}],
    ),
    "regression": _of(
        "A regression output",
        "Shares of the predicted value itself, in its own units.",
        _HOUSE,
        target={"class": "price", "scale": "value"},
    ),
    "sequence": _of(
        "A token of a sequence output",
        "Which tokens speak for this one at this position; without `position` the last is meant.",
        {"model": "words", "inputs": [{"tokens": [5, 9, 2, 7]}]},
        target={"class": "cat", "position": -1},
    ),
    "baseline_by_kind": _of(
        "A baseline by kind",
        "Compared with what the service makes: `zero`, `black`, `white`, `blur`, `mean`, `median`, `mode`, ... A name "
        "that the model declares comes first. (On the choice: Sturmfels, Lundberg and Lee 2020.)",
        _DIGIT,
        baseline="white",
    ),
    "baseline_constant": _of(
        "A constant, or a blurred copy",
        'Compared with the same number everywhere. `{"kind": "blur", "sigma": 2}` compares with the picture itself, '
        "blurred (Fong and Vedaldi 2017).",
        _DIGIT,
        baseline={"kind": "constant", "value": 0.5},
    ),
    "baseline_sent": _of(
        "A baseline of your own",
        "Compared with an input that you send, in the form of `inputs`.",
        _DIGIT,
        baseline={"image": _GREY},
    ),
    "baseline_several": _of(
        "Several baselines",
        "The average over all, their standard deviation (`spread`), and every one's score and error.",
        _DIGIT,
        baseline=["black", {"kind": "constant", "value": 0.5}, "white"],
    ),
    "baseline_noise": _of(
        "Noise as baselines",
        "The average over eight draws, with `spread`; `uniform` draws from the declared range. The seed makes it "
        "repeatable.",
        _DIGIT,
        baseline={"kind": "gaussian", "sigma": 0.2, "samples": 8},
        seed=7,
    ),
    "baseline_reference": _of(
        "Samples of the reference set",
        "Compared with twenty inputs that the model's bundle holds, with the standard error of the average.",
        _DIGIT,
        baseline={"kind": "reference", "samples": 20},
    ),
    "baseline_other_class": _of(
        "The nearest other class",
        "Compared with the boundary to another class: the nearest input of the reference set that is "
        "classified otherwise, moved along the segment to where the decision turns (Wang, Fredrikson and Datta 2022).",
        _DIGIT,
        baseline="other_class",
    ),
    "baseline_tokens": _of(
        "Absence of tokens",
        "Compared with padding; `mask` takes the mask token, `zero_embedding` no token at all. One number per token.",
        _REVIEW,
        baseline="pad",
    ),
    "baseline_by_input": _of(
        "A baseline for each input",
        "Every input has its own baseline, and gets its own attributions; together they add up.",
        _PATIENT,
        baseline={"photo": {"kind": "blur", "sigma": 1}, "record": {"age": 50, "weight": 75}},
    ),
    "polyline": _of(
        "A path through points",
        "Path integrated gradients along straight pieces through the points given, completeness in each piece "
        "(Sundararajan, Taly and Yan 2017, section 4).",
        _DIGIT,
        path={"kind": "polyline", "points": [{"image": _GREY}]},
    ),
    "blur_path": _of(
        "Blur integrated gradients",
        "From the blurred picture to the sharp one, through scale space; needs no baseline "
        "(Xu, Venugopalan and Sundararajan 2020).",
        _DIGIT,
        path={"kind": "blur", "sigma": 2},
    ),
    "guided": _of(
        "Guided integrated gradients",
        "A path that moves the features of small gradient first, then is held fixed and integrated exactly "
        "(Kapishnikov, Venugopalan, Avci, Wedin, Terry and Bolukbasi 2021).",
        _DIGIT,
        path={"kind": "guided", "steps": 20, "fraction": 0.25},
    ),
    "registered_path": _of(
        "A path of the model's own",
        "Along a curve that the model's bundle registers; see `paths` of the model.",
        _HOUSE,
        path={"kind": "registered", "name": "spiral"},
    ),
    "path_by_input": _of(
        "A path for each input",
        "Each input on its own path at the same time; those not named go straight.",
        _PATIENT,
        path={"photo": {"kind": "blur", "sigma": 1}, "record": {"kind": "straight"}},
    ),
    "layer": _of(
        "A layer in place of the input",
        "Integrated gradients of a module's output, straight from its value at the baseline to that at the input; "
        "`cut` says whether all of the score passes through it.",
        _DIGIT,
        layer={"name": "convolutions.2", "quantity": "layer_ig"},
    ),
    "conductance": _of(
        "Conductance of a layer",
        "How much of the inputs' attribution flows through each unit (Dhamdhere, Sundararajan and Yan 2018).",
        _DIGIT,
        layer={"name": "classifier.2", "quantity": "conductance"},
    ),
    "influence": _of(
        "Internal influence of a layer",
        "The mean gradient at each unit along the path; does not add up (Leino, Sen, Datta, Fredrikson and Li 2018).",
        _DIGIT,
        layer={"name": "classifier.2", "quantity": "influence"},
        target={"class": "2", "minus": "7", "scale": "logit"},
    ),
    "interior": _of(
        "Interior gradients",
        "The gradients at points of the path, not added up, their importance per pixel and mean magnitude: where the "
        "model is sensitive before it saturates (Sundararajan, Taly and Yan 2016, section 2.3).",
        _DIGIT,
        interior={"alphas": [0.02, 0.1, 0.5, 1.0]},
    ),
    "saturation": _of(
        "Saturation along the path",
        "The score as probability and logit, and how far layers are from their output at the input, at all nodes "
        "(Sundararajan, Taly and Yan 2016, section 2.2).",
        _DIGIT,
        saturation={"alphas": [0.2, 0.4, 0.6, 0.8], "layers": ["convolutions.4"]},
    ),
    "smoothing": _of(
        "SmoothGrad around a method",
        "The mean over noisy copies of the input (Smilkov, Thorat, Kim, Viégas and Wattenberg 2017); `squared` and "
        "`variance` average squares (Hooker, Erhan, Kindermans and Kim 2019) or take the variance (Adebayo, Gilmer, "
        "Goodfellow and Kim 2018).",
        _DIGIT,
        smoothing={"form": "plain", "samples": 10, "noise": 0.1},
        seed=1,
    ),
    "saliency": _of(
        "Saliency",
        "|gradient| at the input; with `absolute` false its sign too (Simonyan, Vedaldi and Zisserman 2014). It does "
        "not add up, and says so.",
        _DIGIT,
        method="saliency",
        absolute=False,
    ),
    "gradient_x_input": _of(
        "Gradient times input",
        "The first-order share of each feature (Shrikumar, Greenside, Shcherbina and Kundaje 2016).",
        _DIGIT,
        method="gradient_x_input",
    ),
    "expected_gradients": _of(
        "Expected gradients",
        "Random points on paths from random baselines, with a standard error; the baselines are samples of the model's "
        "reference set unless named (Erion, Janizek, Sturmfels, Lundberg and Lee 2021).",
        _DIGIT,
        method="expected_gradients",
        samples=200,
        seed=3,
    ),
    "shapley": _of(
        "Sampled Shapley values",
        "Average effect of switching a feature from the baseline to its value, over random orders; with a standard "
        "error (Castro, Gómez and Tejada 2009).",
        _DIGIT,
        method="shapley",
        samples=25,
    ),
    "deep_lift": _of(
        "DeepLIFT",
        "Differences to the baseline, carried back by rules (Shrikumar, Greenside and Kundaje 2017). This and the six "
        "below are computed with Captum, for comparison.",
        _DIGIT,
        method="deep_lift",
        baseline="black",
    ),
    "lrp": _of(
        "Layer-wise relevance propagation",
        "The score, carried back by rules (Bach, Binder, Montavon, Klauschen, Müller and Samek 2015).",
        _DIGIT,
        method="lrp",
        target={"scale": "logit"},
    ),
    "guided_backpropagation": _of(
        "Guided backpropagation",
        "Gradients without their negative parts at each ReLU (Springenberg, Dosovitskiy, Brox and Riedmiller 2015).",
        _DIGIT,
        method="guided_backpropagation",
    ),
    "deconvolution": _of(
        "Deconvolution",
        "Positive signals only, carried back (Zeiler and Fergus 2014).",
        _DIGIT,
        method="deconvolution",
    ),
    "occlusion": _of(
        "Occlusion",
        "How the score falls when a window of the input is replaced by the baseline (Zeiler and Fergus 2014).",
        _DIGIT,
        method="occlusion",
        baseline="black",
        options={"window": 2, "stride": 1},
    ),
    "kernel_shap": _of(
        "KernelSHAP",
        "Shapley values by weighted regression over random sets of features (Lundberg and Lee 2017).",
        _DIGIT,
        method="kernel_shap",
        options={"window": 2, "samples": 500},
    ),
    "lime": _of(
        "LIME",
        "A sparse linear model around the input (Ribeiro, Singh and Guestrin 2016).",
        _DIGIT,
        method="lime",
        options={"samples": 500},
        seed=5,
    ),
    "pictures": _of(
        "Pictures",
        "Drawn with the answer, as base64 PNG with a legend; more can be drawn later without a second run.",
        _DIGIT,
        visualizations=[{"kind": "overlay", "polarity": "positive"}, {"kind": "heatmap", "color_map": "green_red"}],
    ),
}
