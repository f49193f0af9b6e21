from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from image_files import encode
from PIL import Image

from simo_cl.streams import DataBrokenError
from simo_cl.streams.image_decoding import EIGHT_BITS, decode_rgb, eight_bits

LEVELS = np.array([[0, 100], [200, 255]], np.uint8)
DEEP = LEVELS.astype(np.uint16) * 257


def decoded(encoded: bytes) -> np.ndarray:
    return decode_rgb(io.BytesIO(encoded), "it")


def saved(image: Image.Image, image_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def tiff(
    values: bytes, bits: int, *, photometric: int = 1, sample_format: int = 1, order: str = "<"
) -> bytes:
    """2 x 2 pixels of one channel, in one uncompressed strip."""
    shorts = {256: 2, 257: 2, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 2}
    shorts |= {279: len(values), 339: sample_format}
    entries = [struct.pack(f"{order}HHIHH", tag, 3, 1, v, 0) for tag, v in shorts.items()]
    start = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
    return start + struct.pack(f"{order}I", 8 + len(values)) + values + directory


def pgm(white: int) -> bytes:
    values = np.rint(LEVELS / 255 * white).astype(">u2" if white > 255 else np.uint8)
    return b"P5\n2 2\n%d\n" % white + values.tobytes()


WITHOUT_WIDTH = tiff(LEVELS.tobytes(), 8).replace(struct.pack("<H", 256), struct.pack("<H", 255))


class TestScaled:
    @pytest.mark.parametrize(
        "encoded",
        [
            pytest.param(encode(LEVELS), id="8 bits"),
            pytest.param(encode(np.repeat(LEVELS[..., None], 3, axis=-1)), id="colour"),
            pytest.param(encode(DEEP), id="png"),
            pytest.param(encode(DEEP, "TIFF"), id="tiff"),
            pytest.param(encode(DEEP, "JPEG2000"), id="jpeg 2000"),
            pytest.param(tiff(DEEP.astype(">u2").tobytes(), 16, order=">"), id="tiff big-endian"),
            pytest.param(
                tiff((65535 - DEEP).tobytes(), 16, photometric=0), id="tiff where 0 is white"
            ),
            pytest.param(
                tiff((255 - LEVELS).tobytes(), 8, photometric=0), id="8-bit tiff where 0 is white"
            ),
            pytest.param(tiff(bytes([0, 6, 0x46, 0xC8, 0xCF, 0xFF]), 12), id="12-bit tiff"),
            *(pytest.param(pgm(white), id=f"pgm up to {white}") for white in (255, 4095, 65535)),
        ],
    )
    def test_grey_of_any_depth_gives_the_same_pixels(self, encoded: bytes) -> None:
        pixels = decoded(encoded)
        assert pixels.dtype == np.uint8
        assert np.array_equal(pixels, np.repeat(LEVELS[..., None], 3, axis=-1))

    def test_each_16_bit_value_goes_to_the_nearest_level(self) -> None:
        values = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
        expected = np.rint(values.astype(np.float64) / 65535 * 255)
        assert np.array_equal(decoded(encode(values))[..., 0], expected)

    @pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
    def test_byte_orders_of_pictures_in_memory(self, mode: str) -> None:
        try:
            image = Image.new(mode, (2, 2), 51400)
        except ValueError:
            pytest.skip("this Pillow makes no such picture")
        assert np.asarray(eight_bits(image, "it")).tolist() == [[200, 200]] * 2

    def test_16_bit_png_of_older_pillow(self) -> None:
        """It has the mode of 32-bit integers there."""
        image = Image.fromarray(DEEP.astype(np.int32))
        image.format = "PNG"
        assert np.array_equal(np.asarray(eight_bits(image, "it")), LEVELS)

    def test_black_stays_black(self) -> None:
        assert not decoded(encode(np.zeros((2, 2), np.uint16))).any()

    @pytest.mark.parametrize("mode", sorted(EIGHT_BITS - {"La"}))
    def test_modes_of_8_bits_are_converted_as_pillow_does(self, mode: str) -> None:
        colour = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20)
        image = colour.convert("P").convert("PA") if mode == "PA" else colour.convert(mode)
        expected = np.asarray(image.convert("L" if mode == "1" else mode))
        assert np.array_equal(np.asarray(eight_bits(image, "it")), expected)

    @pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr", "LAB"])
    def test_files_of_such_modes(self, mode: str) -> None:
        colour = Image.fromarray(np.full((4, 4, 3), 255, np.uint8))
        encoded = saved(colour.convert(mode), "TIFF")
        assert decoded(encoded).min() >= 254


class TestRefused:
    @pytest.mark.parametrize(
        ("encoded", "message"),
        [
            pytest.param(encode(LEVELS.astype(np.float32), "TIFF"), "mode is 'F'", id="float"),
            pytest.param(encode(DEEP.astype(np.int32), "TIFF"), "'I' .signed.", id="32 bits"),
            pytest.param(tiff(DEEP.astype("<u4").tobytes(), 32), "mode is 'I',", id="unsigned"),
            pytest.param(
                tiff(DEEP.tobytes(), 16, sample_format=2), "'I' .signed.", id="16 bits signed"
            ),
            pytest.param(
                tiff(LEVELS.tobytes(), 8, sample_format=2), "'L' .signed.", id="8 bits signed"
            ),
        ],
    )
    def test_without_a_known_range(self, encoded: bytes, message: str) -> None:
        with pytest.raises(DataBrokenError, match=f"{message}.*Save it with 8 bits"):
            decoded(encoded)

    @pytest.mark.parametrize("white", [1, 255, 4095])
    def test_few_of_16_bits_in_use(self, white: int) -> None:
        with pytest.raises(DataBrokenError, match=f"no value is above {white}: .*full range"):
            decoded(encode(LEVELS // np.uint16(255) * np.uint16(white)))

    @pytest.mark.parametrize("image_format", ["GIF", "PNG", "TIFF", "WEBP"])
    def test_several_frames(self, image_format: str) -> None:
        frames = [Image.fromarray(LEVELS), Image.fromarray(255 - LEVELS)]
        encoded = saved(frames[0], image_format, save_all=True, append_images=frames[1:])
        with pytest.raises(DataBrokenError, match="2 frames or pages"):
            decoded(encoded)

    def test_but_a_photographs_preview_is_passed_over(self) -> None:
        frames = [Image.new("RGB", (8, 8), (level,) * 3) for level in (200, 10)]
        encoded = saved(frames[0], "MPO", save_all=True, append_images=frames[1:])
        assert abs(decoded(encoded).astype(int) - 200).max() <= 2

    @pytest.mark.parametrize("mode", ["LA", "RGBA"])
    def test_transparency_where_there_is_any(self, mode: str) -> None:
        image = Image.fromarray(LEVELS).convert(mode)
        assert np.array_equal(decoded(saved(image, "PNG"))[..., 0], LEVELS)
        image.putpixel((1, 0), (*image.getpixel((1, 0))[:-1], 254))
        with pytest.raises(DataBrokenError, match=f"'{mode}', and it has transparent pixels"):
            decoded(saved(image, "PNG"))

    @pytest.mark.parametrize(
        ("image", "unused", "used"),
        [
            (Image.fromarray(LEVELS), 1, 100),
            (Image.fromarray(DEEP), 1, 25700),
            (Image.fromarray(LEVELS).convert("P"), 1, 100),
        ],
    )
    def test_a_transparent_value(self, image: Image.Image, unused: int, used: int) -> None:
        pixels = decoded(saved(image, "PNG", transparency=unused))
        assert np.array_equal(pixels[..., 0], LEVELS)
        with pytest.raises(DataBrokenError, match="transparent pixels"):
            decoded(saved(image, "PNG", transparency=used))

    @pytest.mark.parametrize("encoded", [b"", b"\x89PNG", encode(LEVELS)[:45], WITHOUT_WIDTH])
    def test_what_is_no_picture(self, tmp_path: Path, encoded: bytes) -> None:
        (tmp_path / "x.png").write_bytes(encoded)
        with pytest.raises(DataBrokenError, match="x: not a readable image"):
            decode_rgb(tmp_path / "x.png", "x")
