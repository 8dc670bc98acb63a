import hashlib
import io
import struct
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from app.pipeline.decode import decode
from app.pipeline.errors import (
    InvalidParameter,
    PipelineError,
    TileTooLarge,
    UnequalAxes,
    UnreadableTile,
    UnsupportedTile,
)
from app.pipeline.types import Tile
from tests.drawing import encoded

LIMIT = 25_000_000
NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
SMOOTH = np.stack(np.broadcast_arrays(np.arange(60) * 4, np.arange(40)[:, None] * 6, 128), axis=-1).astype(np.uint8)


def png_by_hand(width, height, depth, colour_type, body) -> bytes:
    """A PNG that Pillow cannot write: any depth, any body."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def deep_png(channels, colour_type) -> bytes:
    rows = b"".join(b"\0" + np.full((7, channels), 40_000, ">u2").tobytes() for _ in range(5))
    return png_by_hand(7, 5, 16, colour_type, rows)


def tiff(pixels, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def pixels_of(data) -> np.ndarray:
    return decode(data, max_pixels=LIMIT).pixels


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_lossless_upload_keeps_every_pixel(image_format):
    data = encoded(NOISE, image_format)
    tile = decode(data, max_pixels=LIMIT, mpp=0.25)
    np.testing.assert_array_equal(tile.pixels, NOISE)
    assert (tile.width, tile.height, tile.mpp) == (60, 40, 0.25)
    assert tile.sha256 == hashlib.sha256(data).hexdigest()
    assert tile.pixels.dtype == np.uint8


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff_keeps_every_pixel(compression):
    np.testing.assert_array_equal(pixels_of(encoded(NOISE, "TIFF", compression=compression)), NOISE)


def test_planar_tiff_keeps_every_pixel():
    data = tiff(np.ascontiguousarray(NOISE.transpose(2, 0, 1)), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(pixels_of(data), NOISE)


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_jpeg_keeps_colours(mode):
    data = encoded(Image.fromarray(SMOOTH).convert(mode), "JPEG", quality=98)
    assert np.abs(pixels_of(data).astype(int) - SMOOTH).mean() < 3


def test_grey_becomes_three_equal_channels():
    np.testing.assert_array_equal(pixels_of(encoded(NOISE[..., 0])), np.repeat(NOISE[..., :1], 3, axis=2))


def test_one_bit_becomes_black_and_white():
    bits = NOISE[..., 0] > 127
    expected = np.repeat(np.where(bits, 255, 0)[..., None], 3, axis=2)
    np.testing.assert_array_equal(pixels_of(encoded(Image.fromarray(bits))), expected)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_shallow_grey_png_fills_the_whole_range(depth):
    data = png_by_hand(2, 1, depth, 0, bytes([0, (2**depth - 1) << (8 - depth)]))
    np.testing.assert_array_equal(pixels_of(data)[0, :, 0], [255, 0])


def test_palette_gives_its_colours():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    np.testing.assert_array_equal(pixels_of(encoded(palette)), [[[10, 20, 30], [200, 100, 50]]])


def transparent_palette() -> bytes:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    return encoded(image, transparency=bytes([0, 255]))


def transparent(mode, values) -> bytes:
    image = Image.new(mode, (2, 1))
    for x, value in enumerate(values):
        image.putpixel((x, 0), value)
    return encoded(image)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(transparent_palette(), [[255] * 3, [200, 100, 50]], id="palette"),
        pytest.param(transparent("RGBA", [(9, 9, 9, 0), (200, 100, 50, 255)]), [[255] * 3, [200, 100, 50]], id="RGBA"),
        pytest.param(transparent("RGBA", [(0, 0, 0, 51), (1, 2, 3, 255)]), [[204] * 3, [1, 2, 3]], id="half RGBA"),
        pytest.param(transparent("LA", [(0, 0), (70, 255)]), [[255] * 3, [70] * 3], id="LA"),
        pytest.param(
            encoded(Image.fromarray(np.array([[5, 70]], np.uint8)), transparency=5),
            [[255] * 3, [70] * 3],
            id="grey key",
        ),
        pytest.param(
            encoded(Image.fromarray(np.array([[[5, 6, 7], [7, 6, 5]]], np.uint8)), transparency=(5, 6, 7)),
            [[255] * 3, [7, 6, 5]],
            id="RGB key",
        ),
    ],
)
def test_transparency_shows_the_white_of_an_empty_slide(data, expected):
    assert np.abs(pixels_of(data)[0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("orientation", [1, 2, 3, 6, 8])
@pytest.mark.parametrize(
    ("image_format", "options"),
    [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("JPEG", {"quality": 95})],
)
def test_pixels_stay_where_they_are_stored(image_format, options, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    tile = decode(encoded(NOISE, image_format, exif=exif, **options), max_pixels=LIMIT)
    np.testing.assert_array_equal(tile.pixels, pixels_of(encoded(NOISE, image_format, **options)))
    assert tile.metadata.orientation == orientation


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_tiff_is_not_turned_by_either_kind_of_orientation(byteorder):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    tag = [(274, "H", 1, 8, True)]
    for tags in (tag, [(700, "B", len(xmp), xmp, True)], [*tag, (700, "B", len(xmp), xmp, True)]):
        np.testing.assert_array_equal(pixels_of(tiff(NOISE, extratags=tags, byteorder=byteorder)), NOISE)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="0 bytes"),
        pytest.param(b"not an image at all\n" * 20, id="text named .png"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="PNG signature only"),
        pytest.param(b"\xff\xd8\xff", id="JPEG signature only"),
        pytest.param(b"II*\0", id="TIFF signature only"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="SVG"),
        *(pytest.param(encoded(SMOOTH, other), id=other) for other in ("GIF", "BMP", "WEBP", "ICO", "PPM")),
    ],
)
def test_what_is_not_png_jpeg_or_tiff_is_unreadable(data):
    with pytest.raises(UnreadableTile):
        decode(data, max_pixels=LIMIT)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        *(
            (encoded(SMOOTH, other), f"a {name} picture")
            for other, name in [("GIF", "GIF"), ("BMP", "BMP"), ("WEBP", "WebP")]
        ),
        (encoded(SMOOTH, "JPEG2000"), "a JPEG 2000 picture"),
        (encoded(SMOOTH, "AVIF"), "an AVIF picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture"),
        (b"%PDF-1.7\n", "a PDF document"),
        (bytes(128) + b"DICM" + bytes(20), "a DICOM file"),
    ],
)
def test_another_format_is_named(data, name):
    with pytest.raises(UnreadableTile, match=f"The upload is {name}, which is not read; save the tile as PNG"):
        decode(data, max_pixels=LIMIT)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "TIFF"])
def test_truncated_file_is_unreadable(image_format, share):
    data = encoded(NOISE, image_format)
    with pytest.raises(UnreadableTile):
        decode(data[: int(len(data) * share)], max_pixels=LIMIT)


def test_png_with_a_damaged_body_is_unreadable():
    with pytest.raises(UnreadableTile):
        decode(png_by_hand(60, 40, 8, 2, b"too short"), max_pixels=LIMIT)


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_image_without_pixels_is_unreadable(size):
    with pytest.raises(UnreadableTile):
        decode(png_by_hand(*size, 8, 2, b""), max_pixels=LIMIT)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(deep_png(1, 0), id="grey PNG"),
        pytest.param(deep_png(3, 2), id="RGB PNG"),
        pytest.param(deep_png(2, 4), id="grey and alpha PNG"),
        pytest.param(deep_png(4, 6), id="RGBA PNG"),
        pytest.param(encoded(SMOOTH, "JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), id="JPEG"),
        pytest.param(tiff(np.full((5, 7), 40_000, np.uint16)), id="grey TIFF"),
        pytest.param(tiff(np.full((5, 7, 3), 40_000, np.uint16), photometric="rgb"), id="RGB TIFF"),
        pytest.param(tiff(np.full((5, 7), 70_000, np.int32)), id="32-bit TIFF"),
        pytest.param(tiff(np.full((5, 7), 0.5, np.float32)), id="float TIFF"),
    ],
)
def test_more_than_eight_bits_are_unsupported(data):
    with pytest.raises(UnsupportedTile, match="8 bits"):
        decode(data, max_pixels=LIMIT)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            encoded(Image.fromarray(NOISE), save_all=True, append_images=[Image.fromarray(SMOOTH)]), id="animated PNG"
        ),
        pytest.param(
            encoded(Image.fromarray(NOISE), "TIFF", save_all=True, append_images=[Image.fromarray(SMOOTH)]),
            id="multi-page TIFF",
        ),
    ],
)
def test_several_frames_or_pages_are_unsupported(data):
    with pytest.raises(UnsupportedTile, match="several frames"):
        decode(data, max_pixels=LIMIT)


def test_the_first_picture_of_a_jpeg_is_read_as_phones_write_further_ones_behind_it():
    alone = encoded(SMOOTH, "JPEG", quality=90)
    several = encoded(
        Image.fromarray(SMOOTH), "MPO", save_all=True, append_images=[Image.fromarray(NOISE[:20])], quality=90
    )
    np.testing.assert_array_equal(pixels_of(several), pixels_of(alone))


CASES_OF_SCALE = {
    "png_phys": (encoded(NOISE, dpi=(50_800, 50_800)), 0.5),
    "jfif": (encoded(NOISE, "JPEG", dpi=(50_800, 50_800)), 0.5),
    "tiff_resolution": (tiff(NOISE, resolution=(20_000, 20_000), resolutionunit="CENTIMETER"), 0.5),
    "imagej": (tiff(NOISE, imagej=True, resolution=(2, 2), metadata={"unit": "um", "axes": "YXS"}), 0.5),
    "ome_xml": (tiff(NOISE, ome=True, metadata={"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}), 0.5),
    "aperio": (tiff(NOISE, description="Aperio Image Library v12\r\n60x40|AppMag = 20|MPP = 0.5", metadata=None), 0.5),
    "objective": (tiff(NOISE, description="Aperio Image Library v12\r\n60x40|AppMag = 20", metadata=None), 0.5),
}


@pytest.mark.parametrize("source", CASES_OF_SCALE)
def test_the_scale_is_what_the_file_says_unless_the_request_says_another(source):
    data, mpp = CASES_OF_SCALE[source]
    tile = decode(data, max_pixels=LIMIT)
    assert (tile.mpp, tile.mpp_source) == (pytest.approx(mpp, rel=1e-4), source)
    asked = decode(data, max_pixels=LIMIT, mpp=0.25)
    assert (asked.mpp, asked.mpp_source, asked.metadata) == (0.25, "request", tile.metadata)


def test_exif_gives_the_scale_of_a_jpeg_without_density():
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = 20_000, 20_000, 3
    tile = decode(encoded(NOISE, "JPEG", exif=exif), max_pixels=LIMIT)
    assert (tile.mpp, tile.mpp_source) == (0.5, "jfif")


@pytest.mark.parametrize("dpi", [72, 96, 300, 1200])
@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "TIFF"])
def test_the_resolution_of_a_screen_or_printer_is_no_scale(image_format, dpi):
    tile = decode(encoded(NOISE, image_format, dpi=(dpi, dpi)), max_pixels=LIMIT)
    assert (tile.mpp, tile.mpp_source, tile.metadata.scale) == (None, "bundle", None)


def test_pixels_that_are_not_square_are_refused_unless_the_request_says_otherwise():
    data = tiff(NOISE, resolution=(20_000, 40_000), resolutionunit="CENTIMETER")
    with pytest.raises(UnequalAxes, match=r"0\.5 µm along x and 0\.25 µm along y.*give mpp"):
        decode(data, max_pixels=LIMIT)
    assert decode(data, max_pixels=LIMIT, mpp=0.4).mpp == 0.4


def profile(name) -> bytes:
    """An ICC profile of version 2 that has no more than a description."""
    text = b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name.encode() + b"\0"
    return bytes(128) + struct.pack(">I4sII", 1, b"desc", 144, len(text)) + text


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize(
    ("icc", "name"),
    [
        (profile("sRGB IEC61966-2.1"), None),
        (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), None),
        (profile("Aperio Lab Scanner"), "Aperio Lab Scanner"),
        (ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes(), "XYZ identity built-in"),
        (bytes(200), "without a name"),
    ],
)
def test_a_colour_profile_is_named_and_not_applied(image_format, icc, name):
    data = encoded(SMOOTH, image_format, icc_profile=icc)
    tile = decode(data, max_pixels=LIMIT)
    assert tile.metadata.color_profile == name
    np.testing.assert_array_equal(tile.pixels, pixels_of(encoded(SMOOTH, image_format)))


@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
def test_hostile_metadata_cost_next_to_nothing(image_format):
    # 5,000 fields, each of which claims to be the whole of the EXIF data.
    entries = b"".join(struct.pack("<HHII", 282 + i % 2, 2, 60_000, 8) for i in range(5_000))
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5_000) + entries
    data = encoded(NOISE, image_format, exif=exif)
    start = time.thread_time()
    assert decode(data, max_pixels=LIMIT).metadata.scale is None
    assert time.thread_time() - start < 1


def huge_jpeg() -> bytes:
    data = encoded(SMOOTH, "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", 12_000, 12_000) + data[at + 4 :]


# None of these bodies holds the pixels that its header promises: whoever tried to decode one would call it damaged.
@pytest.mark.parametrize(
    "data",
    [
        *(
            pytest.param(png_by_hand(*size, 8, 2, b"\0"), id=f"PNG {size[0]} x {size[1]}")
            for size in [(12_000, 12_000), (5_001, 5_000), (60_000, 60_000), (1, 25_000_001)]
        ),
        pytest.param(huge_jpeg(), id="JPEG"),
    ],
)
def test_too_many_pixels_are_refused_from_the_header(data):
    with pytest.raises(TileTooLarge, match=str(LIMIT)):
        decode(data, max_pixels=LIMIT)


def test_small_file_of_a_huge_tiff_is_refused():
    data = encoded(Image.new("1", (12_000, 12_000)), "TIFF", compression="group4")
    assert len(data) < 500_000
    with pytest.raises(TileTooLarge):
        decode(data, max_pixels=LIMIT)


def test_limit_itself_is_allowed():
    assert decode(encoded(NOISE), max_pixels=2400).pixels.shape == NOISE.shape
    with pytest.raises(TileTooLarge, match="60 x 40"):
        decode(encoded(NOISE), max_pixels=2399)


def test_our_limit_decides_where_it_is_above_the_image_librarys():
    # More pixels than Pillow warns of, fewer than allowed: what is wrong with this file is its body alone.
    with pytest.raises(UnreadableTile):
        decode(png_by_hand(9_460, 9_460, 1, 0, b"\0"), max_pixels=100_000_000)


def test_decoding_in_several_threads_leaves_the_process_as_it_was():
    data = encoded(NOISE)
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: decode(data, max_pixels=LIMIT), range(400)))
    assert list(warnings.filters) == before


@pytest.mark.parametrize("mpp", [-1.0, 0.0, float("nan"), float("inf"), float("-inf"), 0.049, 4.01])
def test_impossible_mpp_is_refused_before_the_image_is_read(mpp):
    with pytest.raises(InvalidParameter, match="mpp"):
        decode(b"no image", max_pixels=LIMIT, mpp=mpp)


@pytest.mark.filterwarnings("ignore:::PIL")
@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    image_format=st.sampled_from(["PNG", "JPEG", "TIFF"]),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8),
    in_header=st.booleans(),
)
def test_damaged_file_gives_a_tile_or_one_of_our_errors(image_format, changes, in_header):
    data = bytearray(encoded(SMOOTH, image_format))
    end = min(len(data), 300) if in_header else len(data)
    for position, value in changes:
        data[position % end] = value
    try:
        tile = decode(bytes(data), max_pixels=100_000)
    except PipelineError:
        return
    assert isinstance(tile, Tile)
    assert tile.pixels.ndim == 3
    assert tile.pixels.shape[2] == 3


def test_too_little_memory_is_no_fault_of_the_file(monkeypatch):
    def run_out(*_):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", run_out)
    with pytest.raises(MemoryError):
        decode(encoded(NOISE), max_pixels=LIMIT)
