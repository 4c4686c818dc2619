"""Pictures to float32 arrays of a declared shape: base64, PNG, JPEG, Pillow.

The size is read from the header and held against the bounds before any pixel is decoded. Colour profiles are not
applied: a model sees the stored numbers, as it did in training. Where the manifest says how, a picture of another size
is scaled: by Pillow's bicubic filter (Keys 1981, a = -0.5), widened by the scale where the picture shrinks, on 8-bit
pixels, in grey or RGB, before they are normalised. Knows nothing of attributions.
"""

import base64
import binascii
from io import BytesIO
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from attributor.errors import AttributorError, ImageTooLarge, InvalidBase64, InvalidImage
from attributor.jobs.domain import Bounds, pixel_values
from attributor.jobs.given import GivenPicture
from attributor.jobs.model import Fit, InputSpec

#: Ours: 4096 x 4096, far above what a classifier takes and 50 MB when decoded to RGB.
MAX_IMAGE_PIXELS = 4096 * 4096
#: Of a picture that is scaled. Ours: four times the side of the largest square one; scaling goes through a picture of
#: the given height and the model's width, which a needle of 16 million pixels would make a matter of gigabytes.
MAX_SIDE_PX = 4 * 4096

_FORMATS = ("PNG", "JPEG")
_OPAQUE_MODES = frozenset({"1", "L", "P", "RGB"})
_ALPHA_MODES = frozenset({"LA", "PA", "RGBA"})

#: PNG (ISO/IEC 15948), 11.2.2: signature 8, chunk length 4, "IHDR" 4, width 4, height 4, then the bit depth.
#: Pillow reads 16-bit colour as 8-bit without a word, so its mode does not tell.
_PNG_BIT_DEPTH_OFFSET = 24
_DEEP_BITS = 16


def decode_image(spec: InputSpec, text: str, *, field: str) -> tuple[NDArray[np.float32], GivenPicture | None]:
    """Base64 (plain, or a data URL) of a PNG or JPEG as an array of `spec.shape` (channels, height, width), and, if it
    had another size, what of it the array shows.

    Pixel 0..255 maps linearly to `spec.value_range`, or, channel by channel, as `spec.normalise` says. Raises
    InvalidBase64, InvalidImage, ImageTooLarge.
    """
    encoded = _decode_base64(text, field)
    try:
        with Image.open(BytesIO(encoded), formats=_FORMATS) as image:
            _require_readable(spec, image, encoded, field)
            upright = ImageOps.exif_transpose(image)
            _require_size(spec, upright.size, field)
            colours = _opaque(upright, field).convert("L" if spec.shape[0] == 1 else "RGB")
            fitted, given = _fitted(spec, colours)
            pixels = np.asarray(fitted)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(field) from None
    except AttributorError:
        raise
    except Exception as error:  # a decoder's word for a broken file may be anything: TypeError was seen, for EXIF
        raise InvalidImage(f"the picture cannot be read as PNG or JPEG ({_reason(error)})", field=field) from None
    return _values(spec, pixels), given


def _values(spec: InputSpec, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    channels, height, width = spec.shape
    black, white = cast("Bounds", pixel_values(spec))  # a manifest must give an image its values
    table = np.linspace(black.ravel(), white.ravel(), 256).astype(np.float32)
    values = table[pixels.reshape(height, width, channels), np.arange(channels)]
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def _fitted(spec: InputSpec, image: Image.Image) -> tuple[Image.Image, GivenPicture | None]:
    """The picture in the model's size; with what it shows of the given one, if that was another."""
    height, width = spec.shape[1:]
    if image.size == (width, height):
        return image, None
    box: tuple[float, float, float, float] = (0.0, 0.0, float(image.width), float(image.height))
    if spec.fit is Fit.CROP:
        scale = max(width / image.width, height / image.height)
        seen_width, seen_height = min(width / scale, image.width), min(height / scale, image.height)
        left, top = (image.width - seen_width) / 2, (image.height - seen_height) / 2
        box = (left, top, left + seen_width, top + seen_height)
    fitted = image.resize((width, height), Image.Resampling.BICUBIC, box=box)
    return fitted, GivenPicture(image.width, image.height, box)


def _decode_base64(text: str, field: str) -> bytes:
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not (comma and head.startswith("data:image/") and head.endswith(";base64")):
            raise InvalidBase64("a data URL must begin with data:image/png;base64, or the same with jpeg", field=field)
    try:
        encoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        detail = f"is not base64 of the standard alphabet, padded and without line breaks ({_reason(error)})"
        raise InvalidBase64(detail, field=field) from None
    if not encoded:
        raise InvalidImage("the picture is empty", field=field)
    return encoded


def _require_readable(spec: InputSpec, image: Image.Image, encoded: bytes, field: str) -> None:
    """Everything that the header tells, before pixels are decoded."""
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise _too_large(field)
    if spec.fit is not None and max(image.size) > MAX_SIDE_PX:
        raise ImageTooLarge(f"a side of the picture has more than {MAX_SIDE_PX} pixels", field=field)
    _require_size(spec, image.size, field)
    if image.format == "PNG" and encoded[_PNG_BIT_DEPTH_OFFSET] == _DEEP_BITS:
        raise InvalidImage("16 bits per channel are not taken; save the picture with 8", field=field)
    if image.mode not in _OPAQUE_MODES | _ALPHA_MODES:
        detail = f"pictures of mode {image.mode} are not taken; save it as grey or RGB with 8 bits per channel"
        raise InvalidImage(detail, field=field)


def _require_size(spec: InputSpec, size: tuple[int, int], field: str) -> None:
    height, width = spec.shape[1:]
    if spec.fit is None and size != (width, height):
        detail = f"the picture is {size[0]} wide and {size[1]} high; the model takes {width} wide and {height} high"
        raise InvalidImage(detail, field=field)


def _opaque(image: Image.Image, field: str) -> Image.Image:
    """The picture without its transparency, which must not hide anything."""
    if not image.has_transparency_data:
        return image
    colours = image.convert("RGBA")
    if colours.getchannel("A").getextrema() != (255, 255):
        raise InvalidImage("the picture has transparent pixels; flatten it onto a background", field=field)
    return colours.convert("RGB")


def _too_large(field: str) -> ImageTooLarge:
    return ImageTooLarge(f"the picture has more than {MAX_IMAGE_PIXELS} pixels", field=field)


def _reason(error: Exception) -> str:
    """Pillow's own words, without the memory address that it prints for a stream."""
    return "not identified" if isinstance(error, UnidentifiedImageError) else str(error)
