"""Strengths to pictures: heat maps, and overlays on the input. Arrays in, Pillow pictures out; no words, no SVG."""

from io import BytesIO
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attributor.jobs.domain import Bounds, pixel_values
from attributor.jobs.job import ColorMap, OverlayStyle, Visualization, VisualizationKind
from attributor.jobs.model import InputSpec
from attributor.rendering.colormaps import PALETTES, entries, rgb, table

#: The grey that stands for the picture below a tint in a legend.
_LEGEND_GREY = 138


def encode_image(spec: InputSpec, array: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An image input as pixels again: (channels, height, width) to (height, width) or (height, width, 3).

    The inverse of how a picture of the model's size is read; values beyond those of black and white are clipped.
    """
    low, high = cast("Bounds", pixel_values(spec))  # a manifest must give an image its values
    pixels = np.rint((np.clip(array, low, high) - low) * (255.0 / (high - low))).astype(np.uint8)
    return pixels[0] if spec.shape[0] == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))


def paint(view: Visualization, strengths: NDArray[np.float32], photo: NDArray[np.uint8]) -> Image.Image:
    """The picture at the input's own size. `strengths` (height, width); `photo` the same, or with 3 colours behind."""
    if view.kind is VisualizationKind.HEATMAP:
        picture = Image.fromarray(entries(strengths))
        picture.putpalette(table(view.color_map).tobytes())
        return picture
    if view.style is OverlayStyle.INTENSITY:
        return Image.fromarray(_dimmed(photo, strengths))
    grey = photo if photo.ndim == strengths.ndim else np.asarray(Image.fromarray(photo).convert("L"))
    return Image.fromarray(_tinted(grey, strengths, view.color_map))


def legend_colours(view: Visualization, strengths: NDArray[np.float32]) -> list[str]:
    """The colours, as `#rrggbb`, that these strengths (shape (n,)) have in the picture; on a middle grey, on white."""
    intensity = view.kind is VisualizationKind.OVERLAY and view.style is OverlayStyle.INTENSITY
    photo = np.full((1, len(strengths)), 255 if intensity else _LEGEND_GREY, dtype=np.uint8)
    colours = np.asarray(paint(view, strengths[None], photo).convert("RGB"))[0]
    return [f"#{colour.tobytes().hex()}" for colour in colours]


def enlargement(picture: Image.Image, scale_px: int) -> int:
    """The least whole number that makes the longer side `scale_px` or more."""
    return max(1, -(-scale_px // max(picture.size)))


def png(picture: Image.Image, times: int) -> bytes:
    """Encoded, each pixel enlarged to a square of `times` by `times`."""
    if times > 1:
        picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    encoded = BytesIO()
    picture.save(encoded, "PNG")
    return encoded.getvalue()


def _dimmed(photo: NDArray[np.uint8], strengths: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pixel intensities scaled by |attribution| (GC, AA figure 2): black where there is none."""
    weight = np.abs(strengths)
    return np.rint(photo * (weight if photo.ndim == weight.ndim else weight[..., None])).astype(np.uint8)


def _tinted(grey: NDArray[np.uint8], strengths: NDArray[np.float32], color_map: ColorMap) -> NDArray[np.uint8]:
    """A signed colour over a grey picture, its opacity the strength: at zero the picture itself."""
    palette = PALETTES[color_map]
    raising = np.maximum(strengths, 0)
    lowering = raising - strengths
    below = grey * (1 - raising - lowering) + np.float32(0.5)  # the half rounds where the sum is cut to whole numbers
    tinted = np.empty((*grey.shape, 3), dtype=np.uint8)
    for channel, (low, high) in enumerate(zip(rgb(palette.lowers), rgb(palette.raises), strict=True)):
        tinted[..., channel] = below + np.float32(low) * lowering + np.float32(high) * raising
    return tinted
