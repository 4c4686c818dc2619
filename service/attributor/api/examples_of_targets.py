"""Examples of requests: how exact, and which score."""

from fastapi.openapi.models import Example

from attributor.api.example_requests import DIGIT, HOUSE, request

#: By name, in the order of the page.
TARGETS: dict[str, Example] = {
    "plain": request(
        "Integrated gradients",
        "Shares of the score's difference to the default baseline, for the predicted class, within 1 %. "
        "(Sundararajan, Taly and Yan 2017.)",
        DIGIT,
    ),
    "tolerances": request(
        "How exact",
        "Goes on until the attributions add up within 0.5 % and their own estimated error is at most 2 %. "
        '`"tolerance": null` leaves the second to decide alone.',
        DIGIT,
        tolerance=0.005,
        attribution_tolerance=0.02,
        max_evaluations=2000,
    ),
    "fixed_rule": request(
        "A fixed rule",
        "The sum over so many nodes, as in the papers (Sundararajan, Taly and Yan 2016, equation 6, is right_riemann). "
        "The tolerance only judges it.",
        DIGIT,
        rule="gauss_legendre",
        n_steps=50,
    ),
    "class": request(
        "A class by label, on logits",
        "Why the model leans to this class, predicted or not; logits do not see the other classes.",
        DIGIT,
        target={"class": "7", "scale": "logit"},
    ),
    "difference": request(
        "One class against another",
        "What speaks for the first class rather than the second: the score is their difference.",
        DIGIT,
        target={"class": "2", "minus": "7", "scale": "logit"},
    ),
    "weighted_sum": request(
        "A weighted sum of outputs",
        "Any linear score: here the probability of an even digit.",
        DIGIT,
        target={"outputs": [{"output": k, "weight": 1} for k in ("0", "2", "4", "6", "8")]},
    ),
    "top": request(
        "The best classes at once",
        "A result for each of the three best classes, the best first; they share all forward passes.",
        DIGIT,
        target={"top": 3},
    ),
    "several_targets": request(
        "Several targets in one job",
        "A result for each, in this order, on the same nodes.",
        DIGIT,
        target=[{"class": "2"}, {"class": "7", "scale": "log_probability"}],
    ),
    "regression": request(
        "A regression output",
        "Shares of the predicted value itself, in its own units.",
        HOUSE,
        target={"class": "price", "scale": "value"},
    ),
    "sequence": request(
        "A token of a sequence output",
        "Which tokens speak for this one at this position; without `position` the last is meant.",
        {"model": "words", "inputs": [{"tokens": [5, 9, 2, 7]}]},
        target={"class": "cat", "position": -1},
    ),
}
