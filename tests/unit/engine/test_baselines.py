import numpy as np
import pytest
from attributor.core.scale_space import blurred
from attributor.engine.baselines import BLUR_SHARE, resolve_baselines
from attributor.errors import UnsupportedByModel
from attributor.jobs.explanation import BaselineKind, BaselinePart, BaselineSpec
from attributor.jobs.model import NO_TOKEN, Feature, InputKind, InputSpec
from baseline_cases import BARE_TEXT, BOUNDED, EXAMPLE, HELD, PICTURE, REFERENCE, SIGNAL, TABLE, TEXT, info, part, spec


def resolve(*specs, inputs, reference=REFERENCE, seed=0, example=EXAMPLE):
    own = {declared.name: example[declared.name] for declared in inputs}
    model = info(*inputs, reference=bool(reference))
    return resolve_baselines(specs, own, model, reference, lambda: np.random.default_rng(seed))


def one(kind, declared, **changes):
    (found,) = resolve(spec(kind, declared, **changes), inputs=[declared])
    values = found.tensors[declared.name]
    assert values.shape == declared.shape
    assert values.dtype == EXAMPLE[declared.name].dtype
    return values


@pytest.mark.parametrize(
    ("kind", "declared", "expected"),
    [
        (BaselineKind.ZERO, SIGNAL, [0, 0, 0]),
        (BaselineKind.CONSTANT, SIGNAL, [0.5, 0.5, 0.5]),
        (BaselineKind.TENSOR, SIGNAL, [0, 0, 0]),
        (BaselineKind.NAMED, TEXT, [0, 0, 0, 0, 0]),
        (BaselineKind.MEAN, TABLE, [25, 2.5]),
        (BaselineKind.MEDIAN, TABLE, [15, 2.5]),
        (BaselineKind.MODE, TABLE, [10, 1]),
        (BaselineKind.MODE, TEXT, [1, 3, 0, 0, 0]),
        (BaselineKind.PAD, TEXT, [0, 0, 0, 0, 0]),
        (BaselineKind.MASK, TEXT, [19, 19, 19, 0, 0]),
        (BaselineKind.ZERO_EMBEDDING, TEXT, [NO_TOKEN] * 3 + [0, 0]),
        (BaselineKind.ZERO_EMBEDDING, BARE_TEXT, [NO_TOKEN] * 5),
        (BaselineKind.BLACK, PICTURE, np.full((3, 4, 5), -1)),
        (BaselineKind.WHITE, PICTURE, np.full((3, 4, 5), 3)),
    ],
)
def test_what_each_kind_stands_for(kind, declared, expected):
    np.testing.assert_array_equal(one(kind, declared), expected)


def test_of_values_that_all_differ_the_mode_is_the_smallest_and_ties_go_to_it():
    rows = {"signal": np.float32([[3, 9, 5], [1, 9, 5], [2, 4, 7], [4, 4, 7]])}
    (found,) = resolve(spec(BaselineKind.MODE, SIGNAL), inputs=[SIGNAL], reference=rows)
    np.testing.assert_array_equal(found.tensors["signal"], [1, 4, 5])


def test_a_blur_is_of_the_example_and_by_default_a_tenth_of_the_longer_side():
    picture = EXAMPLE["picture"]
    np.testing.assert_allclose(one(BaselineKind.BLUR, PICTURE, sigma=1.5), blurred(picture, 1.5), rtol=1e-6)
    np.testing.assert_allclose(one(BaselineKind.BLUR, PICTURE), blurred(picture, 5 * BLUR_SHARE), rtol=1e-6)
    assert np.ptp(one(BaselineKind.BLUR, PICTURE, sigma=50.0)[0]) < 0.01


def draws(kind, declared, n, reference=REFERENCE, **changes):
    found = resolve(spec(kind, declared, samples=n, **changes), inputs=[declared], reference=reference)
    assert all(each.random for each in found)
    return np.stack([each.tensors[declared.name] for each in found]), [each.name for each in found]


def test_uniform_noise_fills_the_declared_range():
    pictures, names = draws(BaselineKind.UNIFORM, PICTURE, 200, {})
    assert names[:2] == ["uniform 1", "uniform 2"]
    assert pictures.min() >= -1
    assert pictures.max() <= 3
    np.testing.assert_allclose(pictures.mean(), 1, atol=0.05)
    np.testing.assert_allclose(pictures.std(), 4 / np.sqrt(12), atol=0.05)


def test_uniform_noise_takes_undeclared_bounds_from_the_reference_set():
    tables, _ = draws(BaselineKind.UNIFORM, TABLE, 500)
    assert 95 < tables[:, 0].max() <= 100
    assert -1 <= tables[:, 1].min() < -0.9
    assert 3.9 < tables[:, 1].max() <= 4
    signals, _ = draws(BaselineKind.UNIFORM, SIGNAL, 500)
    assert (signals.min(axis=0) >= [-2, 0, 0]).all()
    assert (signals.max(axis=0) <= [5, 8, 5]).all()


def test_gaussian_noise_lies_around_the_example_within_what_is_declared():
    signals, _ = draws(BaselineKind.GAUSSIAN, SIGNAL, 2000, {})
    np.testing.assert_allclose(signals.mean(axis=0), EXAMPLE["signal"], atol=0.06)
    np.testing.assert_allclose(signals.std(axis=0), 0.5, atol=0.04)
    tables, _ = draws(BaselineKind.GAUSSIAN, TABLE, 200, {}, sigma=40.0)
    assert (tables[:, 0].min(), tables[:, 0].max(), tables[:, 1].min()) == (0, 100, -1)
    assert tables[:, 1].max() > 40


def test_rows_are_drawn_without_replacement_and_named_by_number():
    rows, names = draws(BaselineKind.REFERENCE, TABLE, 4)
    assert sorted(names) == [f"reference {n}" for n in range(4)]
    np.testing.assert_array_equal(rows, REFERENCE["table"][[int(name.split()[1]) for name in names]])
    _, more = draws(BaselineKind.REFERENCE, TABLE, 9)
    assert len(more) == 9


def test_all_inputs_take_the_same_row():
    for found in resolve(spec(BaselineKind.REFERENCE, TABLE, SIGNAL, samples=9), inputs=[TABLE, SIGNAL]):
        row = int(found.name.split()[1])
        for declared in (TABLE, SIGNAL):
            np.testing.assert_array_equal(found.tensors[declared.name], REFERENCE[declared.name][row])


def test_a_fixed_part_goes_with_every_draw():
    mixed = BaselineSpec(
        "mixed", {"signal": part(BaselineKind.GAUSSIAN, SIGNAL, samples=3), "table": part(BaselineKind.ZERO, TABLE)}
    )
    found = resolve(mixed, inputs=[SIGNAL, TABLE])
    assert [each.name for each in found] == ["mixed 1", "mixed 2", "mixed 3"]
    assert all(not each.tensors["table"].any() for each in found)
    assert len({each.tensors["signal"].tobytes() for each in found}) == 3


def test_several_specs_come_in_order_and_one_draw_keeps_its_name():
    kinds = (BaselineKind.ZERO, BaselineKind.GAUSSIAN, BaselineKind.MEAN)
    found = resolve(*(spec(kind, SIGNAL) for kind in kinds), inputs=[SIGNAL])
    assert [(each.name, each.random) for each in found] == [("zero", False), ("gaussian", True), ("mean", False)]


def test_a_seed_gives_the_same_draws_again():
    asked = spec(BaselineKind.GAUSSIAN, SIGNAL, samples=2)
    first, again, other = (
        [each.tensors["signal"].tolist() for each in resolve(asked, inputs=[SIGNAL], seed=seed)] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_inputs_that_are_not_attributed_take_the_example_s_values():
    for kind in (BaselineKind.ZERO, BaselineKind.REFERENCE):
        (found,) = resolve(spec(kind, SIGNAL, HELD), inputs=[SIGNAL, HELD])
        assert found.tensors["held"] is EXAMPLE["held"]


def test_another_class_is_not_found_here():
    with pytest.raises(ValueError, match="boundary"):
        resolve(spec(BaselineKind.OTHER_CLASS, SIGNAL), inputs=[SIGNAL])


def test_a_baseline_within_every_declared_bound_needs_no_reference_set():
    values, _ = draws(BaselineKind.UNIFORM, BOUNDED, 50, {})
    assert values.min() >= 0
    with pytest.raises(UnsupportedByModel, match="'size'"):
        draws(BaselineKind.UNIFORM, TABLE, 1, {})


def test_the_example_is_never_written_to():
    for declared in (SIGNAL, TEXT, PICTURE):
        before = EXAMPLE[declared.name].copy()
        given = BaselinePart(BaselineKind.TENSOR, before.copy())
        resolve(BaselineSpec("given", {declared.name: given}), inputs=[declared])
        np.testing.assert_array_equal(EXAMPLE[declared.name], before)


SHORT = {"words": np.array([7, 8, 9])}
WORDS = InputSpec("words", InputKind.TOKENS, (5,), vocabulary=20, embedding="e", pad_id=0, mask_id=19, variable=True)


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        (BaselineKind.NAMED, {"values": np.array([1, 2, 3, 4, 5])}, [1, 2, 3]),
        (BaselineKind.TENSOR, {"values": np.array([4, 5, 6])}, [4, 5, 6]),
        (BaselineKind.PAD, {}, [0, 0, 0]),
        (BaselineKind.MASK, {}, [19, 19, 19]),
        (BaselineKind.ZERO_EMBEDDING, {}, [NO_TOKEN] * 3),
    ],
)
def test_where_the_length_varies_a_baseline_is_as_long_as_its_example(kind, changes, expected):
    asked = BaselineSpec("b", {"words": BaselinePart(kind, **changes)})
    (found,) = resolve(asked, inputs=[WORDS], example=SHORT)
    assert found.tensors["words"].tolist() == expected


@pytest.mark.parametrize("kind", [BaselineKind.MODE, BaselineKind.REFERENCE, BaselineKind.TENSOR])
def test_what_has_another_length_is_refused(kind):
    asked = BaselineSpec("b", {"words": BaselinePart(kind, np.array([1, 2, 3, 4, 5]))})
    with pytest.raises(UnsupportedByModel, match="'words'"):
        resolve(asked, inputs=[WORDS], example=SHORT, reference={"words": np.zeros((4, 5), np.int64)})


def test_black_and_white_of_a_normalised_picture_differ_by_channel():
    photo = InputSpec("photo", InputKind.IMAGE, (2, 1, 1), normalise=((0.5, 0.25), (0.0, 0.5)))
    for kind, expected in {BaselineKind.BLACK: [-2, 0], BaselineKind.WHITE: [2, 2]}.items():
        asked = BaselineSpec("b", {"photo": BaselinePart(kind)})
        (found,) = resolve(asked, inputs=[photo], example={"photo": np.zeros((2, 1, 1), np.float32)})
        assert found.tensors["photo"].ravel().tolist() == expected
        assert found.tensors["photo"].dtype == np.float32


def test_uniform_noise_of_one_hot_elements_lies_between_0_and_1():
    table = InputSpec("t", InputKind.TABULAR, (2,), (Feature("colour", categories=("red", "green"), one_hot=True),))
    asked = BaselineSpec("b", {"t": BaselinePart(BaselineKind.UNIFORM, samples=100)})
    drawn = resolve(asked, inputs=[table], example={"t": np.float32([1, 0])}, reference={})
    values = np.stack([each.tensors["t"] for each in drawn])
    assert 0 <= values.min() < 0.1
    assert 0.9 < values.max() <= 1
