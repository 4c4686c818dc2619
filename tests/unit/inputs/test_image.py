import base64
import struct
import warnings
import zlib
from io import BytesIO
from random import Random

import numpy as np
import pytest
from attributor.errors import ImageTooLarge, InvalidBase64, InvalidImage
from attributor.inputs.image import MAX_IMAGE_PIXELS, MAX_SIDE_PX, decode_image
from attributor.jobs.given import GivenPicture
from attributor.jobs.model import Fit, InputKind, InputSpec
from numpy.typing import NDArray
from PIL import Image

HEIGHT, WIDTH = 5, 7
RGB = InputSpec("image", InputKind.IMAGE, (3, HEIGHT, WIDTH), value_range=(-1.0, 1.0))
GREY = InputSpec("image", InputKind.IMAGE, (1, HEIGHT, WIDTH), value_range=(0.0, 16.0))
COLOURS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
PLAIN = COLOURS[..., 0].copy()


def encoded(picture: Image.Image, file_format: str = "PNG", **options: object) -> str:
    file = BytesIO()
    picture.save(file, file_format, **options)
    return base64.b64encode(file.getvalue()).decode()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_by_hand(width: int, height: int, *, bits: int = 8, colour: int = 2, rows: bytes = b"") -> str:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).decode()


def expected(spec: InputSpec, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    low, high = spec.value_range or (0.0, 1.0)
    planes = pixels.reshape(HEIGHT, WIDTH, -1).transpose(2, 0, 1)
    return (low + planes / 255.0 * (high - low)).astype(np.float32)


def test_a_colour_png_becomes_channels_first_in_the_models_range() -> None:
    array, _ = decode_image(RGB, encoded(Image.fromarray(COLOURS)), field="image")
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    np.testing.assert_allclose(array, expected(RGB, COLOURS), atol=1e-7)


@pytest.mark.parametrize("prefix", ["data:image/png;base64,", "data:image/jpeg;base64,"])
def test_a_data_url_is_read_by_its_content(prefix: str) -> None:
    array, _ = decode_image(GREY, prefix + encoded(Image.fromarray(PLAIN)), field="image")
    np.testing.assert_allclose(array, expected(GREY, PLAIN), atol=1e-6)


def test_black_and_white_pixels_are_the_very_ends_of_the_range() -> None:
    spec = InputSpec("image", InputKind.IMAGE, (1, 1, 2), value_range=(-0.1, 0.7))
    array, _ = decode_image(spec, encoded(Image.fromarray(np.array([[0, 255]], dtype=np.uint8))), field="image")
    np.testing.assert_array_equal(array, np.array([[[-0.1, 0.7]]], dtype=np.float32))


def test_a_jpeg_is_read() -> None:
    picture = Image.new("RGB", (WIDTH, HEIGHT), (200, 40, 90))
    array, _ = decode_image(RGB, encoded(picture, "JPEG", quality=95), field="image")
    np.testing.assert_allclose(array, expected(RGB, np.asarray(picture)), atol=0.05)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "RGBA"])
@pytest.mark.parametrize("spec", [RGB, GREY])
def test_opaque_pictures_of_every_common_mode_are_converted(mode: str, spec: InputSpec) -> None:
    picture = Image.fromarray(COLOURS).convert(mode)
    seen = np.asarray(picture.convert("RGB").convert("L" if spec is GREY else "RGB"))
    array, _ = decode_image(spec, encoded(picture), field="image")
    np.testing.assert_allclose(array, expected(spec, seen), atol=1e-6)


def translucent(mode: str) -> Image.Image:
    picture = Image.fromarray(COLOURS).convert("RGBA")
    picture.putpixel((3, 2), (10, 20, 30, 254))
    return picture.convert(mode)


def palette_with_a_hole() -> str:
    picture = Image.fromarray(COLOURS).convert("P")
    return encoded(picture, transparency=picture.getpixel((0, 0)))


@pytest.mark.parametrize("text", [encoded(translucent("RGBA")), encoded(translucent("LA")), palette_with_a_hole()])
def test_transparency_that_shows_is_refused(text: str) -> None:
    with pytest.raises(InvalidImage, match="transparent"):
        decode_image(RGB, text, field="image")


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (6, 4)])
def test_sixteen_bits_per_channel_are_refused(colour: int, channels: int) -> None:
    rows = (b"\x00" + b"\xff\xff" * channels * WIDTH) * HEIGHT
    with pytest.raises(InvalidImage, match="16 bits"):
        decode_image(RGB, png_by_hand(WIDTH, HEIGHT, bits=16, colour=colour, rows=rows), field="image")


def test_print_colours_are_refused() -> None:
    with pytest.raises(InvalidImage, match="CMYK"):
        decode_image(RGB, encoded(Image.new("CMYK", (WIDTH, HEIGHT)), "JPEG"), field="image")


@pytest.mark.parametrize("file_format", ["BMP", "GIF", "WEBP", "TIFF"])
def test_other_formats_are_refused(file_format: str) -> None:
    with pytest.raises(InvalidImage, match="PNG or JPEG"):
        decode_image(RGB, encoded(Image.fromarray(COLOURS), file_format), field="image")


def test_a_wrong_size_is_seen_in_the_header_and_names_both() -> None:
    # There are no pixels in it: had they been read, the complaint would be another.
    with pytest.raises(InvalidImage, match="9 wide and 4 high; the model takes 7 wide and 5 high") as caught:
        decode_image(RGB, png_by_hand(9, 4), field="inputs.0.image")
    assert caught.value.field == "inputs.0.image"


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (MAX_IMAGE_PIXELS + 1, 1),  # ours
        (10_000, 9_500),  # Pillow warns, which is an error here
        (20_000, 20_000),  # Pillow raises
    ],
)
def test_a_decompression_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    with pytest.raises(ImageTooLarge):
        decode_image(RGB, png_by_hand(width, height), field="image")


def test_a_bomb_is_refused_where_pillow_only_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ImageTooLarge):
            decode_image(RGB, png_by_hand(10_000, 9_500), field="image")


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_truncated_files_are_refused_wherever_they_end(file_format: str) -> None:
    whole = base64.b64decode(encoded(Image.fromarray(COLOURS), file_format))
    for end in range(1, len(whole) - 20, 7):
        with pytest.raises(InvalidImage):
            decode_image(RGB, base64.b64encode(whole[:end]).decode(), field="image")


def test_no_corruption_raises_anything_but_stated_errors() -> None:
    random = Random(0)
    exif = Image.Exif()
    exif[0x0112] = 3
    files = [
        base64.b64decode(encoded(Image.fromarray(COLOURS).convert(mode), file_format, exif=exif))
        for mode, file_format in [("RGB", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("RGB", "JPEG"), ("L", "JPEG")]
    ]
    for _ in range(600):
        broken = bytearray(random.choice(files))
        for _ in range(random.choice([1, 3])):
            broken[random.randrange(len(broken))] = random.randrange(256)
        try:
            array, _ = decode_image(RGB, base64.b64encode(broken).decode(), field="image")
        except (InvalidImage, ImageTooLarge):
            continue
        assert array.shape == RGB.shape


def test_a_photo_that_asks_to_be_turned_is_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    array, _ = decode_image(RGB, encoded(Image.fromarray(COLOURS), exif=exif), field="image")
    np.testing.assert_allclose(array, expected(RGB, COLOURS[::-1, ::-1]), atol=1e-7)


def test_a_photo_that_has_another_size_when_turned_is_refused() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    with pytest.raises(InvalidImage, match="5 wide and 7 high"):
        decode_image(RGB, encoded(Image.fromarray(COLOURS), exif=exif), field="image")


GOOD = encoded(Image.fromarray(COLOURS))


@pytest.mark.parametrize(
    "text",
    [
        "not base64!",
        GOOD[:-1],
        GOOD + "=",
        GOOD[:40] + "\n" + GOOD[40:],
        " " + GOOD,
        GOOD[:40] + "-_" + GOOD[42:],
        "é" + GOOD[1:],
        "data:image/png," + GOOD,
        "data:text/plain;base64," + GOOD,
        "data:image/png;base64",
    ],
)
def test_what_is_not_standard_base64_is_refused(text: str) -> None:
    with pytest.raises(InvalidBase64) as caught:
        decode_image(RGB, text, field="inputs.0.image")
    assert caught.value.field == "inputs.0.image"


@pytest.mark.parametrize("text", ["", "data:image/png;base64,"])
def test_an_empty_picture_is_refused(text: str) -> None:
    with pytest.raises(InvalidImage, match="empty"):
        decode_image(RGB, text, field="image")


def test_a_file_that_is_no_picture_is_refused_without_an_address_in_the_words() -> None:
    with pytest.raises(InvalidImage) as caught:
        decode_image(RGB, base64.b64encode(b"hello, world").decode(), field="image")
    assert "0x" not in caught.value.detail


def test_whatever_stands_in_the_exif_block_only_stated_errors_come_out():
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x011A] = 6, "upright", 72.0
    file = BytesIO()
    Image.fromarray(COLOURS.transpose(1, 0, 2)).save(file, "JPEG", exif=exif)
    whole = file.getvalue()
    start = whole.index(b"Exif")
    draw = Random(0)
    refused = 0
    for _ in range(3000):
        broken = bytearray(whole)
        for _ in range(draw.randint(1, 6)):
            broken[draw.randrange(start, start + 90)] = draw.randrange(256)
        try:
            decode_image(RGB, base64.b64encode(broken).decode(), field="f")
        except (InvalidImage, ImageTooLarge):
            refused += 1
    assert refused > 100


NORMALISE = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
FITTED = InputSpec("image", InputKind.IMAGE, (3, 4, 6), normalise=NORMALISE)


def test_pixels_are_normalised_channel_by_channel() -> None:
    pixels = COLOURS[:4, :6]
    array, given = decode_image(FITTED, encoded(Image.fromarray(pixels)), field="image")
    mean, std = np.array(NORMALISE).T
    np.testing.assert_allclose(array, ((pixels / 255 - mean) / std).transpose(2, 0, 1), atol=1e-6)
    assert given is None


def halves(width: int, height: int) -> Image.Image:
    """Black on the left, white on the right."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, width // 2 :] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("fit", "size", "box"),
    [
        (Fit.STRETCH, (60, 20), (0, 0, 60, 20)),
        (Fit.CROP, (60, 20), (15, 0, 45, 20)),
        (Fit.CROP, (30, 80), (0, 30, 30, 50)),
        (Fit.STRETCH, (3, 2), (0, 0, 3, 2)),
    ],
)
def test_a_picture_of_another_size_is_fitted_and_said_to_be(
    fit: Fit, size: tuple[int, int], box: tuple[float, ...]
) -> None:
    spec = InputSpec("image", InputKind.IMAGE, (3, 4, 6), value_range=(0.0, 1.0), fit=fit)
    array, given = decode_image(spec, encoded(halves(*size)), field="image")
    assert given == GivenPicture(*size, tuple(map(float, box)))
    assert array.shape == spec.shape
    assert (array[:, :, 0] < 0.1).all()
    assert (array[:, :, -1] > 0.9).all()


def test_a_picture_that_shrinks_is_averaged_and_not_sampled() -> None:
    board = np.indices((80, 120)).sum(0) % 2 * 255
    spec = InputSpec("image", InputKind.IMAGE, (1, 4, 6), value_range=(0.0, 1.0), fit=Fit.STRETCH)
    array, _ = decode_image(spec, encoded(Image.fromarray(board.astype(np.uint8))), field="image")
    np.testing.assert_allclose(array, 0.5, atol=0.02)


def test_a_picture_of_the_models_size_is_left_as_it_is_where_others_are_fitted() -> None:
    spec = InputSpec("image", InputKind.IMAGE, (3, HEIGHT, WIDTH), value_range=(-1.0, 1.0), fit=Fit.CROP)
    array, given = decode_image(spec, encoded(Image.fromarray(COLOURS)), field="image")
    np.testing.assert_allclose(array, expected(RGB, COLOURS), atol=1e-7)
    assert given is None


def test_a_turned_photo_is_fitted_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    spec = InputSpec("image", InputKind.IMAGE, (3, 4, 6), value_range=(0.0, 1.0), fit=Fit.STRETCH)
    _, given = decode_image(spec, encoded(Image.new("RGB", (9, 40)), exif=exif), field="image")
    assert given == GivenPicture(40, 9, (0.0, 0.0, 40.0, 9.0))


@pytest.mark.parametrize(("width", "height"), [(MAX_IMAGE_PIXELS + 1, 1), (20_000, 20_000), (1, MAX_SIDE_PX + 1)])
@pytest.mark.parametrize("fit", list(Fit))
def test_bombs_and_needles_are_refused_by_their_header_where_pictures_are_fitted(
    width: int, height: int, fit: Fit
) -> None:
    spec = InputSpec("image", InputKind.IMAGE, (3, 4, 6), value_range=(0.0, 1.0), fit=fit)
    with pytest.raises(ImageTooLarge):
        decode_image(spec, png_by_hand(width, height), field="image")
