"""The named palettes: a table of 256 colours for maps, and two colours for tints over a grey picture.

Blue lowers, orange raises, zero is the page; equal lightness left and right, so that neither sign shouts, and told
apart by colour-blind readers. Green and red are the papers' (AA figure 3). Knows nothing of attributions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from attributor.jobs.job import ColorMap

#: The entry of strength 0; strength s has entry ZERO_ENTRY + round(s * SPAN), so the ends are entries 1 and 255.
ZERO_ENTRY = 128
SPAN = 127


@dataclass(frozen=True, slots=True)
class Palette:
    """`ramp`: colours at even strengths from -1 to 1. `lowers`, `raises`: the tints of full strength on a picture.

    `words`: what people call the two.
    """

    ramp: tuple[str, ...]
    lowers: str
    raises: str
    words: tuple[str, str]

    @property
    def neutral(self) -> str:
        """The colour of strength 0 on a map."""
        return self.ramp[len(self.ramp) // 2]


#: Ours: even steps in OKLab, for a light page. Tints that keep their hue on any grey.
_BLUE_ORANGE = Palette(
    ramp=("#0053A4", "#367BCF", "#78A5DF", "#B7CEEC", "#F7F7F5", "#E7C3B0", "#D4906A", "#BD5B12", "#873D02"),
    lowers="#267AEB",
    raises="#F06A0A",
    words=("blue", "orange"),
)
#: The papers': the attribution in the red or the green channel, black where there is none.
_GREEN_RED = Palette(ramp=("#FF0000", "#000000", "#00FF00"), lowers="#FF0000", raises="#00FF00", words=("red", "green"))

PALETTES: Mapping[ColorMap, Palette] = {ColorMap.BLUE_ORANGE: _BLUE_ORANGE, ColorMap.GREEN_RED: _GREEN_RED}

#: OKLab (Ottosson 2020): linear sRGB to cone responses, and their cube roots to lightness, green-red, blue-yellow.
_RGB_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LMS_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)

#: sRGB (IEC 61966-2-1): where its transfer curve turns from a line into a power.
_LINEAR_LIMIT = 0.0031308
_ENCODED_LIMIT = 0.04045


def rgb(colour: str) -> NDArray[np.uint8]:
    """`#RRGGBB` as an array of shape (3,)."""
    return np.frombuffer(bytes.fromhex(colour[1:]), dtype=np.uint8)


@cache
def table(color_map: ColorMap) -> NDArray[np.uint8]:
    """The 256 colours of a map, shape (256, 3): interpolated in OKLab, exact at both ends and at zero. Read-only."""
    ramp = np.array([rgb(stop) for stop in PALETTES[color_map].ramp])
    strengths = np.clip((np.arange(256) - ZERO_ENTRY) / SPAN, -1, 1)
    stops = np.linspace(-1, 1, len(ramp))
    lab = _to_oklab(ramp)
    mixed = np.stack([np.interp(strengths, stops, lab[:, axis]) for axis in range(3)], axis=1)
    colours = _from_oklab(mixed)
    colours.flags.writeable = False
    return colours


def entries(strengths: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Strengths in [-1, 1] to entries of a table."""
    return np.asarray(np.rint(strengths * SPAN) + ZERO_ENTRY, dtype=np.uint8)


def _to_oklab(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    encoded = colours / 255.0
    linear = np.where(encoded <= _ENCODED_LIMIT, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    lab: NDArray[np.float64] = np.cbrt(linear @ _RGB_TO_LMS.T) @ _LMS_TO_LAB.T
    return lab


def _from_oklab(lab: NDArray[np.float64]) -> NDArray[np.uint8]:
    linear = (lab @ np.linalg.inv(_LMS_TO_LAB).T) ** 3 @ np.linalg.inv(_RGB_TO_LMS).T
    linear = np.clip(linear, 0, 1)
    encoded = np.where(linear <= _LINEAR_LIMIT, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(encoded * 255), dtype=np.uint8)
