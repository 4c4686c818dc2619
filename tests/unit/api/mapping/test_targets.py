import numpy as np
import pytest
from attributor.api.mapping.targets import require_positions, scales
from attributor.errors import InvalidRequest, UnknownClass, UnsupportedByModel
from attributor.jobs.explanation import Target, Term
from attributor.jobs.model import InputKind, InputSpec, OutputKind, OutputScale, OutputSpec
from unit.api.models import model, spec

PROBABILITY, LOGIT, VALUE = OutputScale.PROBABILITY, OutputScale.LOGIT, OutputScale.VALUE

#: (model, target asked for, targets of the job)
TAKEN = {
    "absent": ("digits", {}, [Target()]),
    "index": ("digits", {"class": 1}, [Target((Term(1),))]),
    "label": ("digits", {"class": "7", "scale": "logit"}, [Target((Term(7),), scale=LOGIT)]),
    "null": ("digits", {"class": None}, [Target()]),
    "difference": ("digits", {"class": "3", "minus": 4}, [Target((Term(3), Term(4, -1.0)))]),
    "weighted sum": (
        "digits",
        {"outputs": [{"output": "0", "weight": 0.5}, {"output": 1}]},
        [Target((Term(0, 0.5), Term(1)))],
    ),
    "top": ("digits", {"top": 3}, [Target(rank=rank) for rank in range(3)]),
    "list": ("digits", [{"class": 1}, {"top": 2, "scale": "logit"}],
             [Target((Term(1),)), Target(scale=LOGIT), Target(rank=1, scale=LOGIT)]),
    "only value": ("prices", {}, [Target((Term(0),), scale=VALUE)]),
    "value": ("rates", {"class": "price"}, [Target((Term(1),), scale=VALUE)]),
    "value less value": ("rates", {"class": 1, "minus": 0, "scale": "value"},
                         [Target((Term(1), Term(0, -1.0)), scale=VALUE)]),
    "last position": ("words", {}, [Target(position=-1)]),
    "position": ("words", {"class": "cat", "position": 2}, [Target((Term(1),), position=2)]),
    "ranked at a position": ("words", {"top": 2, "position": -4},
                             [Target(position=-4), Target(rank=1, position=-4)]),
}  # fmt: skip

#: (model, target, error, field, in the detail)
REFUSED = {
    "index too large": ("digits", {"class": 10}, UnknownClass, "target.class", "0 to 9"),
    "negative index": ("digits", {"class": -1}, UnknownClass, "target.class", "0 to 9"),
    "misspelt label": ("reviews", {"class": "goot"}, UnknownClass, "target.class", "'good'"),
    "unknown label": ("reviews", {"class": "xyz"}, UnknownClass, "target.class", "bad, good"),
    "unknown minus": ("digits", {"class": 1, "minus": "x"}, UnknownClass, "target.minus", "0, 1"),
    "unknown output": ("digits", {"outputs": [{"output": 1}, {"output": 10}]}, UnknownClass,
                       "target.outputs.1.output", "0 to 9"),
    "in a list": ("digits", [{"class": 1}, {"class": 99}], UnknownClass, "target.1.class", "0 to 9"),
    "unknown value": ("rates", {"class": "rents"}, UnknownClass, "target.class", "rent"),
    "minus alone": ("digits", {"minus": 1}, InvalidRequest, "target.minus", "class"),
    "minus itself": ("digits", {"class": 1, "minus": "1"}, InvalidRequest, "target.minus", "zero"),
    "two forms": ("digits", {"class": 1, "top": 2}, InvalidRequest, "target.top", "exclude"),
    "two forms more": ("digits", {"outputs": [{"output": 1}], "top": 2}, InvalidRequest, "target.top", "exclude"),
    "twice": ("digits", {"outputs": [{"output": 1}, {"output": "1"}]}, InvalidRequest,
              "target.outputs.1.output", "one weight"),
    "weight 0": ("digits", {"outputs": [{"output": 1, "weight": 0}]}, InvalidRequest,
                 "target.outputs.0.weight", "not be 0"),
    "top beyond": ("words", {"top": 4}, InvalidRequest, "target.top", "3 classes"),
    "too many": ("digits", [{"top": 9}, {"top": 8}], InvalidRequest, "target", "at most 16"),
    "no best value": ("prices", {"top": 1}, UnsupportedByModel, "target.top", "regression"),
    "which value": ("rates", {}, InvalidRequest, "target", "rent, price"),
    "probability of a value": ("prices", {"scale": "probability"}, UnsupportedByModel, "target.scale", "value"),
    "value of a class": ("digits", {"scale": "value"}, UnsupportedByModel, "target.scale", "logit"),
    "position of a class": ("digits", {"position": 0}, UnsupportedByModel, "target.position", "sequence"),
    "position beyond": ("words", {"position": 4}, InvalidRequest, "target.position", "0 to 3"),
    "position before": ("words", {"position": -5}, InvalidRequest, "target.position", "0 to 3"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "target", "made"), TAKEN.values(), ids=TAKEN.keys())
def test_a_target_becomes_terms(name, target, made):
    assert list(spec(name, target=target).explanation.targets) == made


@pytest.mark.parametrize(("name", "target", "error", "field", "detail"), REFUSED.values(), ids=REFUSED.keys())
def test_a_target_that_the_model_has_not_is_refused(name, target, error, field, detail):
    with pytest.raises(error) as refused:
        spec(name, target=target)
    assert type(refused.value) is error
    assert (refused.value.field, detail in refused.value.detail) == (field, True), refused.value.detail


def test_probabilities_have_no_logit():
    votes = OutputSpec("out", ("no", "yes"), OutputKind.PROBABILITIES)
    assert scales(votes) == (PROBABILITY, OutputScale.LOG_PROBABILITY)


IDS = InputSpec("ids", InputKind.TOKENS, (8,), vocabulary=12, embedding="words", variable=True)
LINES = model("lines", (IDS,), OutputSpec("logits", ("a", "b"), OutputKind.SEQUENCE, 8))


def test_a_position_has_to_be_within_every_example_of_a_request():
    inputs = [{"ids": np.zeros(n, np.int64)} for n in (5, 3)]
    require_positions([Target(position=2), Target(position=-3), Target()], LINES, inputs)
    for position in (3, -4):
        with pytest.raises(InvalidRequest, match=r"inputs\.1, whose output has positions 0 to 2") as refused:
            require_positions([Target(), Target(position=position)], LINES, inputs)
        assert refused.value.field == "target.position"
