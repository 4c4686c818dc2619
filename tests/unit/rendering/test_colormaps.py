import numpy as np
import pytest
from attributor.jobs.job import ColorMap
from attributor.rendering.colormaps import PALETTES, ZERO_ENTRY, entries, rgb, table


@pytest.mark.parametrize("color_map", list(ColorMap))
def test_zero_and_both_ends_have_exactly_the_palettes_colours(color_map: ColorMap) -> None:
    colours, palette = table(color_map), PALETTES[color_map]
    at = entries(np.array([-1.0, 0.0, 1.0], dtype=np.float32))
    assert at[1] == ZERO_ENTRY
    stops = np.array([rgb(palette.ramp[0]), rgb(palette.neutral), rgb(palette.ramp[-1])])
    np.testing.assert_array_equal(colours[at], stops)


@pytest.mark.parametrize("color_map", list(ColorMap))
def test_every_stop_is_met_within_half_an_entry(color_map: ColorMap) -> None:
    colours, ramp = table(color_map).astype(int), PALETTES[color_map].ramp
    strengths = np.linspace(-1, 1, len(ramp), dtype=np.float32)
    distance = np.abs(colours[entries(strengths)] - np.array([rgb(stop) for stop in ramp])).max()
    assert distance <= 1


@pytest.mark.parametrize("color_map", list(ColorMap))
def test_neighbouring_entries_are_close_so_that_no_edge_is_invented(color_map: ColorMap) -> None:
    assert np.abs(np.diff(table(color_map).astype(int), axis=0)).max() <= 6


def test_both_signs_are_equally_light_in_our_palette() -> None:
    linear = (table(ColorMap.BLUE_ORANGE) / 255.0) ** 2.2
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    lowering, raising = luminance[1:ZERO_ENTRY][::-1], luminance[ZERO_ENTRY + 1 :]
    np.testing.assert_allclose(np.cbrt(lowering), np.cbrt(raising), atol=0.04)


def test_the_papers_palette_puts_the_signs_into_two_channels() -> None:
    colours = table(ColorMap.GREEN_RED)
    assert not colours[: ZERO_ENTRY + 1, 1].any()
    assert not colours[ZERO_ENTRY:, 0].any()
    assert not colours[:, 2].any()


def test_the_entries_of_opposite_strengths_mirror_each_other() -> None:
    strengths = np.linspace(0, 1, 333, dtype=np.float32)
    up, down = entries(strengths).astype(int), entries(-strengths).astype(int)
    np.testing.assert_array_equal(up - ZERO_ENTRY, ZERO_ENTRY - down)


def test_a_table_cannot_be_changed_by_who_gets_it() -> None:
    with pytest.raises(ValueError, match="read-only"):
        table(ColorMap.BLUE_ORANGE)[0] = 0
