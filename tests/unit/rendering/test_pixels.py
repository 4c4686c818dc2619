import base64
from io import BytesIO

import numpy as np
import pytest
from attributor.inputs.image import decode_image
from attributor.jobs.job import ColorMap, OverlayStyle, Visualization, VisualizationKind
from attributor.jobs.model import InputKind, InputSpec
from attributor.rendering.colormaps import PALETTES, rgb
from attributor.rendering.pixels import encode_image, enlargement, legend_colours, paint, png
from PIL import Image

HEATMAP = Visualization(VisualizationKind.HEATMAP)
TINT = Visualization(VisualizationKind.OVERLAY)
INTENSITY = Visualization(VisualizationKind.OVERLAY, style=OverlayStyle.INTENSITY)
STRENGTHS = np.array([[-1.0, -0.5, 0.0, 0.5, 1.0]], dtype=np.float32)
GREY = np.array([[0, 50, 100, 200, 255]], dtype=np.uint8)
COLOUR = np.stack([GREY, GREY[:, ::-1], GREY // 2], axis=-1)


def shown(view: Visualization, photo: np.ndarray) -> np.ndarray:
    return np.asarray(paint(view, STRENGTHS, photo).convert("RGB"))[0].astype(int)


@pytest.mark.parametrize("color_map", list(ColorMap))
def test_a_heat_map_has_the_palettes_ends_and_its_neutral(color_map: ColorMap) -> None:
    palette = PALETTES[color_map]
    colours = shown(Visualization(VisualizationKind.HEATMAP, color_map=color_map), GREY)
    np.testing.assert_array_equal(colours[0], rgb(palette.ramp[0]))
    np.testing.assert_array_equal(colours[2], rgb(palette.neutral))
    np.testing.assert_array_equal(colours[4], rgb(palette.ramp[-1]))


def test_a_tint_is_the_grey_picture_where_nothing_is_attributed_and_the_colour_at_full_strength() -> None:
    colours = shown(TINT, GREY)
    np.testing.assert_array_equal(colours[2], [100, 100, 100])
    np.testing.assert_array_equal(colours[0], rgb("#267AEB"))
    np.testing.assert_array_equal(colours[4], rgb("#F06A0A"))
    np.testing.assert_allclose(colours[3], (rgb("#F06A0A") + np.array([200.0] * 3)) / 2, atol=0.5)


def test_the_papers_tint_raises_green_and_lowers_red() -> None:
    colours = shown(Visualization(VisualizationKind.OVERLAY, color_map=ColorMap.GREEN_RED), GREY)
    np.testing.assert_array_equal(colours[0], [255, 0, 0])
    np.testing.assert_array_equal(colours[4], [0, 255, 0])
    assert colours[3][1] > colours[3][0] == colours[3][2]


def test_a_tint_over_colours_is_over_their_grey() -> None:
    grey = np.asarray(Image.fromarray(COLOUR).convert("L"))
    np.testing.assert_array_equal(shown(TINT, COLOUR), shown(TINT, grey))


def test_intensity_scales_the_pictures_own_pixels() -> None:
    np.testing.assert_array_equal(shown(INTENSITY, GREY)[:, 0], [0, 25, 0, 100, 255])
    weight = np.abs(STRENGTHS)[0, :, None]
    np.testing.assert_array_equal(shown(INTENSITY, COLOUR), np.rint(COLOUR[0] * weight))


@pytest.mark.parametrize("view", [HEATMAP, TINT, INTENSITY])
def test_a_legend_has_the_colours_of_the_picture(view: Visualization) -> None:
    colours = legend_colours(view, STRENGTHS[0])
    middle = {HEATMAP: "#f7f7f5", TINT: "#8a8a8a", INTENSITY: "#000000"}[view]
    end = {HEATMAP: "#873d02", TINT: "#f06a0a", INTENSITY: "#ffffff"}[view]
    assert (colours[2], colours[4]) == (middle, end)


@pytest.mark.parametrize(
    ("width", "scale_px", "times"), [(8, 256, 32), (224, 256, 2), (300, 256, 1), (8, 1, 1), (7, 22, 4)]
)
def test_the_enlargement_is_the_least_whole_number_that_reaches_the_size(width: int, scale_px: int, times: int) -> None:
    assert enlargement(Image.new("L", (width, 3)), scale_px) == times


def test_each_pixel_becomes_a_square_of_its_colour() -> None:
    encoded = png(paint(TINT, STRENGTHS, GREY), 3)
    with Image.open(BytesIO(encoded)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape == (3, 15, 3)
    np.testing.assert_array_equal(pixels, np.repeat(np.repeat(shown(TINT, GREY)[None], 3, 0), 3, 1))


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 16.0), (-2.1179, 2.64)])
@pytest.mark.parametrize("photo", [GREY, COLOUR])
def test_an_input_is_drawn_as_the_picture_that_was_sent(photo: np.ndarray, value_range: tuple[float, float]) -> None:
    spec = InputSpec("image", InputKind.IMAGE, (photo.size // 5, 1, 5), value_range=value_range)
    sent = base64.b64encode(png(Image.fromarray(photo), 1)).decode()
    pixels = encode_image(spec, decode_image(spec, sent, field="image")[0])
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, photo)


def test_a_picture_normalised_by_channel_is_drawn_as_it_was_sent() -> None:
    normalise = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
    spec = InputSpec("image", InputKind.IMAGE, (3, 16, 16), normalise=normalise)
    photo = np.arange(3 * 256, dtype=np.uint8).reshape(16, 16, 3)
    sent = base64.b64encode(png(Image.fromarray(photo), 1)).decode()
    np.testing.assert_array_equal(encode_image(spec, decode_image(spec, sent, field="image")[0]), photo)


def test_values_beyond_the_range_are_clipped_when_drawn() -> None:
    spec = InputSpec("image", InputKind.IMAGE, (1, 1, 2), value_range=(0.0, 1.0))
    array = np.array([[[-3e38, 3e38]]], dtype=np.float32)
    np.testing.assert_array_equal(encode_image(spec, array), [[0, 255]])
