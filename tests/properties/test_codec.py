"""Whatever is encoded comes back equal, and nothing else is read."""

import contextlib
import dataclasses
import json
import struct
from collections.abc import Mapping
from enum import Enum

import numpy as np
import pytest
from attributor.jobs.codec import VERSION, OtherRelease, decode, decode_result, encode
from attributor.jobs.explanation import (
    BaselineKind,
    BaselinePart,
    BaselineSpec,
    Explanation,
    Gamma,
    GammaKind,
    Layer,
    Method,
    Precision,
    Quantity,
    Saturation,
    SmoothForm,
    Smoothing,
    Target,
    Term,
)
from attributor.jobs.given import Atom, Bond, Given, GivenMolecule, GivenPicture, GivenText, Token
from attributor.jobs.job import Failure, JobKind, JobSpec, Quadrature, Visualization
from attributor.jobs.model import Feature, InputKind, InputSpec, ModelReport, OutputScale, Readiness
from attributor.jobs.result import (
    AttributionResult,
    BaselineResult,
    InteriorGradients,
    LayerResult,
    Nodes,
    PathResult,
    PredictionResult,
    ResolvedTarget,
    SaturationResult,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

# The types say what a field holds, so Hypothesis can build the small ones itself; floats must be finite.
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))

_shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
_arrays = hnp.arrays(np.float32, _shapes, elements=st.floats(width=32)) | hnp.arrays(np.int64, _shapes)
_tensors = st.dictionaries(st.text(max_size=8), _arrays, max_size=3)
_integers = st.integers(-(2**63), 2**63 - 1)
st.register_type_strategy(int, _integers)


def _few(strategy):
    return st.lists(strategy, max_size=2).map(tuple)


def _by_name(strategy):
    return st.dictionaries(st.text(max_size=8), strategy, max_size=2)


_parts = st.builds(BaselinePart, values=st.none() | _arrays)
_explanations = st.builds(
    Explanation,
    baselines=_few(st.builds(BaselineSpec, parts=_by_name(_parts))),
    gamma=_by_name(st.builds(Gamma, points=_few(_arrays))),
    targets=_few(st.builds(Target, terms=_few(st.builds(Term)))),
    layer=st.none() | st.builds(Layer),
    smoothing=st.none() | st.builds(Smoothing),
    saturation=st.none() | st.builds(Saturation),
    options=_by_name(st.from_type(float)),
)
_given = st.builds(
    Given,
    texts=_by_name(st.builds(GivenText, tokens=_few(st.builds(Token)))),
    molecules=_by_name(st.builds(GivenMolecule, atoms=_few(st.builds(Atom)), bonds=_few(st.builds(Bond)))),
    pictures=_by_name(st.builds(GivenPicture)),
)
_specs = st.builds(
    JobSpec,
    kind=st.sampled_from(JobKind),
    declared=_few(st.builds(InputSpec)),
    inputs=_few(_tensors),
    explanation=_explanations,
    quadrature=st.builds(Quadrature),
    visualizations=_few(st.builds(Visualization)),
    given=_few(_given),
)
_path_results = st.builds(
    PathResult,
    nodes=st.none() | st.builds(Nodes),
    attributions=_tensors,
    baseline=st.none() | _tensors,
    baselines=_few(st.builds(BaselineResult)),
    spread=st.none() | _tensors,
    standard_error=st.none() | _tensors,
    interior=st.none() | st.builds(InteriorGradients, vectors=_tensors, importance=_tensors),
    saturation=st.none() | st.builds(SaturationResult),
    layer=st.none() | st.builds(LayerResult),
    seed=st.none() | _integers,
)
_results = st.builds(AttributionResult, _few(_path_results)) | st.builds(PredictionResult, _tensors)
_values = _specs | _results | st.builds(ModelReport) | st.builds(Failure)


def _plain(value):
    """Comparable: arrays by type, shape and bytes, so that NaN equals NaN and -0.0 is not 0.0."""
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    if dataclasses.is_dataclass(value):
        fields = [(field.name, _plain(getattr(value, field.name))) for field in dataclasses.fields(value)]
        return type(value), fields
    if isinstance(value, Mapping):
        return [(name, _plain(item)) for name, item in value.items()]
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return type(value), value.value if isinstance(value, Enum) else value


def _decode_same(value, data):
    is_result = isinstance(value, AttributionResult | PredictionResult)
    return decode_result(data) if is_result else decode(data, type(value))


@settings(max_examples=150, deadline=None)
@given(_values)
def test_what_is_encoded_comes_back_equal(value):
    assert _plain(_decode_same(value, encode(value))) == _plain(value)


@settings(max_examples=100, deadline=None)
@given(_values, st.data())
def test_a_message_cut_anywhere_or_with_bytes_after_it_is_refused(value, data):
    message = encode(value)
    cut = data.draw(st.integers(0, len(message) - 1))
    with pytest.raises(ValueError):  # noqa: PT011 - the words differ with the place of the cut
        _decode_same(value, message[:cut])
    with pytest.raises(ValueError, match="after its last tensor"):
        _decode_same(value, message + b"\0")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=64))
def test_other_bytes_are_refused_and_never_crash_otherwise(data):
    for message in (data, b"ATB\x01" + data):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong with them first
            decode(message, Failure)


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
def test_another_version_is_told_from_other_defects_and_says_what_to_do(version):
    message = bytearray(encode(Failure("a", "b")))
    message[3] = version
    with pytest.raises(OtherRelease, match=rf"format version {version}, this release reads {VERSION}: run the same"):
        decode(bytes(message), Failure)
    with pytest.raises(OtherRelease):
        decode_result(bytes(message))


#: One of each type that an explanation may hold, with none of its fields left at its default.
FULL = Explanation(
    method=Method.EXPECTED_GRADIENTS,
    baselines=(
        BaselineSpec("a", {"ids": BaselinePart(BaselineKind.TENSOR, np.array([-1, 2**40]))}),
        BaselineSpec("b", {"ids": BaselinePart(BaselineKind.GAUSSIAN, None, 0.5, 2.0, 7)}),
    ),
    gamma={
        "x": Gamma(GammaKind.POLYLINE, (np.zeros(2, np.float32), np.ones(2, np.float32)), 1.5, "arc", 3, 0.5),
    },
    targets=(Target((Term(1, -1.0), Term(2)), 0, -1, OutputScale.LOGIT), Target(rank=3)),
    layer=Layer("body.0", Quantity.INFLUENCE),
    smoothing=Smoothing(SmoothForm.VARIANCE, 4, 0.2),
    interior_alphas=(0.0, 0.5),
    saturation=Saturation((0.1,), ("body",)),
    samples=9,
    absolute=False,
    seed=5,
    options={"window": 3.0},
    layer_names={"body.0": "first"},
    precision=Precision.BFLOAT16,
)


def test_every_field_of_an_explanation_comes_back():
    assert all(getattr(FULL, field.name) != field.default for field in dataclasses.fields(FULL))
    declared = (InputSpec("ids", InputKind.TOKENS, (2,), (), None, True, 9, "embedding", 0, 1),)
    spec = JobSpec(JobKind.ATTRIBUTION, "m", "1", "d", declared, ({"ids": np.array([3, 4])},), "f", explanation=FULL)
    read = decode(encode(spec), JobSpec)
    assert _plain(read) == _plain(spec)
    assert read.inputs[0]["ids"].dtype == np.int64


def test_a_message_of_another_kind_is_refused():
    message = encode(Failure("a", "b"))
    with pytest.raises(ValueError, match="holds a Failure, not a JobSpec"):
        decode(message, JobSpec)
    with pytest.raises(ValueError, match="holds a Failure, not a result"):
        decode_result(message)


def test_numbers_that_json_lacks_are_refused_outside_tensors():
    report = ModelReport("a@1", "d", Readiness.READY, None, (), {}, float("nan"))
    with pytest.raises(ValueError, match="nan cannot be stored"):
        encode(report)


def _message(header, tail=b""):
    text = json.dumps(header).encode()
    return struct.pack("<3sBI", b"ATB", VERSION, len(text)) + text + tail


def _split(message):
    _, _, length = struct.unpack_from("<3sBI", message)
    return json.loads(message[8 : 8 + length]), message[8 + length :]


RESULT = PathResult(
    0,
    Method.INTEGRATED_GRADIENTS,
    ResolvedTarget((Term(1),), ("ill",), "ill", None, OutputScale.PROBABILITY, True),
    *(0.9, 0.4, 0.5, 0.001, 0.002, None, 0.01, 1e-5, None, True, "tolerance", 0.03, "adaptive", 9, 9, 9),
    nodes=None,
    attributions={"x": np.ones(1, np.float32)},
    baseline=None,
    baselines=(),
    warnings=(),
    computing_s=0.1,
)

#: By name: two of one shape, two without dimensions, an empty one.
SHAPES = {"a": (2,), "b": (2,), "c": (), "d": (), "e": (0, 3), "f": (2,)}
_FAILURE = ["failure", ["a", "b"], [], [], []]


def _prediction(*entries):
    return ["prediction", [{"y": 0}], [], [], list(entries)]


def _failure(body):
    return ["failure", body, [], [], []]


def test_the_documented_header_is_read():
    assert decode(_message(_FAILURE), Failure) == Failure("a", "b")
    prediction = decode_result(_message(_prediction(["<f4", [1], 1]), b"\0\0\x80\x3f"))
    assert prediction.outputs["y"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (["record", *_FAILURE[1:]], "not as documented"),
        (_failure(["a"]), r"lacks the fields \['detail'\]"),
        (_failure(["a", 3]), "3 where a str belongs"),
        (_failure(["a", "b", 1]), "3 fields in place of 2"),
        (_failure(None), "None where the fields of a Failure belong"),
        (_failure("ab"), "'ab' where the fields of a Failure belong"),
        (_failure({"code": "a", "detail": "b"}), "where the fields of a Failure belong"),
        ({}, "not a JSON list"),
        (_FAILURE[:4], "not a JSON list of five"),
        (["failure", ["a", "b"], [1], [], []], "cut off in part 0"),
        (["failure", ["a", "b"], [-1], [], []], "cut off in part 0"),
        (["failure", ["a", "b"], [], [1], []], "cut off in its numbers"),
        (["failure", ["a", "b"], [], [2, -1], []], "cut off in its numbers"),
        (["failure", ["a", "b"], ["1"], [], []], "not as documented"),
        (["failure", ["a", "b"], [], ["1"], []], "not as documented"),
        (["failure", ["a", "b"], [], [0.5, 0.5], []], "cut off in its numbers"),
        (_prediction(), "not as documented"),
        (_prediction(["|O", [0], 1]), "which it cannot hold"),
        (_prediction(["<f4", [-1], 1]), "which it cannot hold"),
        (_prediction(["<f4", [2], 1]), "cut off in tensor 0"),
    ],
)
def test_any_other_header_is_refused_with_its_defect(header, message):
    with pytest.raises(ValueError, match=message):
        decode(_message(header), object)


def test_a_field_added_later_takes_its_default():
    spec = JobSpec(JobKind.PREDICTION, "m", "1", "d", (), (), "f", tenant="t")
    header, tail = _split(encode(spec))
    header[1] = header[1][:-2]  # without priority and given; the deadline, None, is left out anyway
    for _ in range(2):
        assert decode(_message(header, tail), JobSpec) == spec


def test_what_a_model_takes_is_written_and_read_once():
    declared = (InputSpec("x", InputKind.TABULAR, (1,), (Feature("age", None, 0.0, 99.0),)),)
    specs = [JobSpec(JobKind.PREDICTION, "m", "1", "d", declared, ({"x": np.ones(1)},), "f") for _ in range(2)]
    first, second = (decode(encode(spec), JobSpec) for spec in specs)
    assert first.declared == declared
    assert first.declared[0] is second.declared[0]


def test_models_that_declare_other_inputs_are_told_apart():
    shapes = [(n,) for n in range(600)]  # more than are kept
    specs = [
        JobSpec(JobKind.PREDICTION, "m", "1", "d", (InputSpec("x", InputKind.TENSOR, s),), (), "f") for s in shapes
    ]
    messages = [encode(spec) for spec in specs]
    assert [decode(message, JobSpec).declared[0].shape for message in messages] == shapes


def test_a_whole_number_where_a_float_belongs_is_read_as_one():
    spec = JobSpec(JobKind.PREDICTION, "m", "1", "d", (), (), "f", Explanation(), Quadrature(tolerance=1))
    for _ in range(2):  # not only the first time
        read = decode(encode(spec), JobSpec).quadrature.tolerance
        assert (read, type(read)) == (1.0, float)


@pytest.mark.parametrize("value", [None, "1", True, [1.0]])
def test_a_field_of_another_type_is_refused_also_after_good_ones(value):
    assert decode(_message(_FAILURE), Failure)
    with pytest.raises(ValueError, match="where a str belongs"):
        decode(_message(_failure(["a", 3])), Failure)
    nodes = Nodes((0.5,), (1.0,), (0.25,), (None,), (0,))
    header, tail = _split(encode(AttributionResult((dataclasses.replace(RESULT, nodes=nodes),))))
    assert decode_result(_message(header, tail)).results[0].nodes == nodes
    [[result], []] = header[1]
    [nodes] = [each for each in result if isinstance(each, list) and len(each) == len(dataclasses.fields(Nodes))]
    nodes[0] = [value]
    with pytest.raises(ValueError, match="float belongs"):
        decode_result(_message(header, tail))


def test_neighbours_of_one_shape_share_an_entry_of_the_header():
    arrays = {name: np.full(shape, i, np.float32) for i, (name, shape) in enumerate(SHAPES.items())}
    message = encode(PredictionResult(arrays))
    header, _ = _split(message)
    assert [(shape, count) for _, shape, count in header[4]] == [
        ([2], 2),
        ([], 2),
        ([0, 3], 1),
        ([2], 1),
    ]
    read = decode_result(message)
    assert isinstance(read, PredictionResult)
    assert _plain(dict(read.outputs)) == _plain(arrays)


@pytest.mark.parametrize("count", [-1, 2, "1"])
def test_a_count_of_tensors_that_are_not_there_is_refused(count):
    entry = ["<f4", [1], count]
    with pytest.raises(ValueError):  # noqa: PT011 - cut off, cannot be held, or not as documented
        decode(_message(_prediction(entry), bytes(4)), PredictionResult)


@pytest.mark.parametrize("shape", [[0], [0, 10**30], [10**30, 0]])
def test_empty_tensors_are_no_more_than_a_message_can_name(shape):
    entry = ["<f4", shape, 10**9 if shape == [0] else 1]
    with pytest.raises(ValueError):  # noqa: PT011 - too many, or not as documented
        decode(_message(_prediction(entry), b""), PredictionResult)


@pytest.mark.parametrize(
    "dtype", ["<f4,", "<,", ",f", "f4)", "<V4", "(", "O", "f", "<f3", "4", "i8,<f4", 4, None, ["<f4"]]
)
def test_a_tensor_of_no_known_type_is_refused(dtype):
    entry = [dtype, [1], 1]
    with pytest.raises(ValueError):  # noqa: PT011 - cannot be held, or not as documented
        decode(_message(_prediction(entry), bytes(4)), PredictionResult)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_message_with_changed_bytes_is_read_or_refused_and_never_fails_otherwise(data):
    message = bytearray(encode(PredictionResult({"a": np.ones((2, 3), np.float32), "b": np.ones(2, np.int64)})))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(8, len(message) - 41))
        message[place] = data.draw(st.sampled_from(b'0123456789[]{}",:-.eEntf()\x80'))
    with contextlib.suppress(ValueError):
        decode(bytes(message), PredictionResult)


@pytest.mark.parametrize("value", [PredictionResult({"\ud800": np.ones(1, np.float32)}), Failure("a", "\ud800")])
def test_a_text_without_a_form_in_utf_8_is_refused(value):
    with pytest.raises(ValueError, match="cannot be stored"):
        encode(value)


def test_such_a_text_is_refused_in_what_repeats_too():
    declared = (InputSpec("\ud800", InputKind.TENSOR, (1,)),)
    spec = JobSpec(JobKind.PREDICTION, "m", "1", "d", declared, (), "f")
    with pytest.raises(ValueError, match="cannot be stored"):
        encode(spec)


def _asking(values):
    baseline = BaselineSpec("b", {"a": BaselinePart(BaselineKind.TENSOR, values)})
    declared = (InputSpec("a", InputKind.TENSOR, values.shape),)
    return JobSpec(
        JobKind.ATTRIBUTION, "m", "1", "d", declared, ({"a": values},), "f", Explanation(baselines=(baseline,))
    )


@pytest.mark.parametrize("size", [64, 100_000])
def test_a_baseline_comes_back_whatever_its_size(size):
    values = np.random.default_rng(0).random(size, np.float32)
    found = decode(encode(_asking(values)), JobSpec)
    np.testing.assert_array_equal(found.explanation.baselines[0].parts["a"].values, values)


@pytest.mark.parametrize(("terms", "kept"), [(10, True), (10_000, False)])
def test_a_long_question_comes_back_and_is_not_kept(terms, kept):
    target = Target(tuple(Term(i, i / 2) for i in range(terms)))
    spec = dataclasses.replace(_asking(np.zeros(2, np.float32)), explanation=Explanation(targets=(target,)))
    first, second = (decode(encode(spec), JobSpec) for _ in range(2))
    assert first.explanation == second.explanation == spec.explanation
    assert (first.explanation is second.explanation) == kept


def test_a_question_asked_again_is_written_and_read_once():
    spec = _asking(np.zeros(64, np.float32))
    first, second = (decode(encode(dataclasses.replace(spec, tenant=tenant)), JobSpec) for tenant in ("a", "b"))
    assert first.explanation is second.explanation


@pytest.mark.parametrize("part", [b"no stream", b""])
def test_what_repeats_and_cannot_be_read_is_refused(part):
    header, tail = _split(encode(_asking(np.zeros(2, np.float32))))
    before, sizes = header[2][0], sum(header[2])
    header[2][1] = len(part)
    with pytest.raises(ValueError, match="what repeats"):
        decode(_message(header, tail[:before] + part + tail[sizes:]), JobSpec)


@pytest.mark.parametrize("part", [2, -3, None, "0", {}])
def test_a_part_that_is_not_there_is_refused(part):
    header, tail = _split(encode(_asking(np.zeros(2, np.float32))))
    header[1][1] = part
    with pytest.raises(ValueError):  # noqa: PT011 - not as documented, or no fields
        decode(_message(header, tail), JobSpec)


def test_parts_are_told_apart_by_what_is_in_them_not_by_equality():
    """1 == 1.0 == True, and 0.0 == -0.0."""
    quadratures = [Quadrature(tolerance=value) for value in (0.0, -0.0, 1.0)]
    spec = _asking(np.zeros(2, np.float32))
    found = [decode(encode(dataclasses.replace(spec, quadrature=each)), JobSpec).quadrature for each in quadratures]
    assert [str(each.tolerance) for each in found] == ["0.0", "-0.0", "1.0"]


def test_more_questions_than_are_kept_come_back_each_its_own():
    spec = _asking(np.zeros(2, np.float32))
    for seed in [*range(700), *range(700)]:
        asked = dataclasses.replace(spec, explanation=Explanation(seed=seed))
        assert decode(encode(asked), JobSpec).explanation.seed == seed


def test_results_of_one_job_hold_what_they_share_once():
    nodes = Nodes((0.5, 1.0), (1.0, 2.0), (0.25, 0.5), (None, 3.0), (0, 0))
    shared, alpha = {"x": np.ones(1000, np.float32)}, (0.25,) * 1000
    results = [
        dataclasses.replace(RESULT, input=n, baseline=shared, nodes=dataclasses.replace(nodes, alpha=alpha))
        for n in range(9)
    ]
    message = encode(AttributionResult(tuple(results)))
    assert len(message) < 2 * (4000 + 8000)
    assert _plain(decode_result(message)) == _plain(AttributionResult(tuple(results)))


class _MadeOnDemand(Mapping):
    """Arrays that nobody else holds, and that cannot be written as they stand."""

    def __len__(self):
        return 50

    def __iter__(self):
        return map(str, range(50))

    def __getitem__(self, name):
        return np.full((4, 3), float(name)).T


def test_arrays_that_live_only_while_they_are_written_are_told_apart():
    outputs = decode_result(encode(PredictionResult(_MadeOnDemand()))).outputs
    assert [array[0, 0] for array in outputs.values()] == list(range(50))


def test_what_is_made_without_its_own_init_needs_none():
    """The reader sets the fields of these itself."""
    for kind in (JobSpec, PathResult):
        assert not hasattr(kind, "__post_init__")
        assert all(field.init for field in dataclasses.fields(kind))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_runs_of_numbers_are_finite_when_they_are_written_and_when_they_are_read(value):
    def message(number):
        nodes = Nodes((0.5, number), (1.0, 2.0), (0.25, 0.5), (None, 3.0), (0, 0))
        return encode(AttributionResult((dataclasses.replace(RESULT, nodes=nodes),)))

    with pytest.raises(ValueError, match="cannot be stored"):
        message(value)
    changed = message(1234.5).replace(struct.pack("<d", 1234.5), struct.pack("<d", value))
    with pytest.raises(ValueError, match="only tensors may hold"):
        decode_result(changed)


@pytest.mark.parametrize("slope", [(None, None), (), (None, 1.0, None, 2.0), (1.0,), (1.0, None)])
def test_gaps_in_numbers_come_back_in_their_places(slope):
    result = AttributionResult((dataclasses.replace(RESULT, nodes=Nodes((), (), (), slope, ())),))
    assert decode_result(encode(result)).results[0].nodes.slope == slope


@pytest.mark.parametrize("value", ["a", None, object()])
def test_a_tuple_of_numbers_that_holds_something_else_is_refused(value):
    nodes = Nodes((0.5, value), (), (), (), ())
    with pytest.raises(ValueError, match="cannot be stored"):
        encode(AttributionResult((dataclasses.replace(RESULT, nodes=nodes),)))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_result_with_changed_bytes_is_read_or_refused_and_never_fails_otherwise(data):
    nodes = Nodes((0.5, 1.0), (1.0, 2.0), (0.25, 0.5), (None, 3.0), (0, 0))
    message = bytearray(encode(AttributionResult((dataclasses.replace(RESULT, nodes=nodes),))))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(8, len(message) - 1))
        message[place] = data.draw(st.sampled_from(b'0123456789[]{}",:-.eEntf()\x80'))
    with contextlib.suppress(ValueError):
        decode_result(bytes(message))


def test_tensors_come_back_writable_and_in_their_own_memory():
    message = encode(PredictionResult({"a": np.arange(6, dtype=np.float32).reshape(2, 3).T}))
    result = decode_result(message)
    assert isinstance(result, PredictionResult)
    np.testing.assert_array_equal(result.outputs["a"], [[0, 3], [1, 4], [2, 5]])
    result.outputs["a"][0, 0] = 7
    assert result.outputs["a"].flags.aligned


def test_a_tensor_of_objects_is_refused():
    with pytest.raises(ValueError, match="tensor of object"):
        encode(PredictionResult({"a": np.array([None])}))
