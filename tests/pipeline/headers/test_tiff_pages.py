import io
import re
import struct
import time

import numpy as np
import pytest
import tifffile

from app.pipeline.decode import decode
from app.pipeline.errors import PipelineError, UnreadableTile, UnsupportedTile
from app.pipeline.headers.tiff_directories import directories
from bench.process import peak_rss_mb

LIMIT = 1_000_000
SMOOTH = np.stack(np.broadcast_arrays(np.arange(64) * 4, np.arange(48)[:, None] * 5, 128), axis=-1).astype(np.uint8)
GREY = np.ascontiguousarray(SMOOTH[..., 0])
PLANES = np.ascontiguousarray(np.moveaxis(SMOOTH, -1, 0))
APERIO = "Aperio Image Library v12.0.15\r\n64x48 [0,0 64x48] (16x16) JPEG/RGB Q=88"


def tiff(*pages, bigtiff=False, **common) -> bytes:
    """A TIFF of pages, each a pair of pixels and options."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=bigtiff) as writer:
        for pixels, options in pages:
            writer.write(pixels, **{"photometric": "rgb", "metadata": None, **common, **options})
    return buffer.getvalue()


def read(data) -> np.ndarray:
    return decode(data, max_pixels=LIMIT).pixels


def small(factor) -> np.ndarray:
    return np.ascontiguousarray(SMOOTH[::factor, ::factor])


@pytest.mark.parametrize(
    "further",
    [
        pytest.param([(small(2), {"subfiletype": 1}), (small(4), {"subfiletype": 1})], id="pyramid"),
        pytest.param(
            [
                (small(2), {"description": f"{APERIO}\r\n64x48 -> 32x24"}),
                (small(4), {"description": f"{APERIO}\r\n64x48 -> 16x12"}),
                (SMOOTH, {"description": f"{APERIO}\r\nlabel 64x48", "subfiletype": 1}),
                (np.zeros((90, 200, 3), np.uint8), {"description": f"{APERIO}\r\nmacro 200x90", "subfiletype": 9}),
            ],
            id="Aperio",
        ),
    ],
)
@pytest.mark.parametrize("bigtiff", [False, True])
def test_the_first_level_is_read_where_the_other_pages_are_smaller_copies(further, bigtiff):
    np.testing.assert_array_equal(read(tiff((SMOOTH, {"description": APERIO}), *further, bigtiff=bigtiff)), SMOOTH)


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([(SMOOTH, {}), (SMOOTH, {})], id="stack"),
        pytest.param([(SMOOTH, {}), (SMOOTH, {"subfiletype": 1})], id="stack marked as a pyramid"),
        pytest.param([(SMOOTH, {"description": APERIO}), (SMOOTH, {"description": APERIO})], id="focal planes"),
        pytest.param([(SMOOTH, {}), (small(2), {})], id="another picture"),
        pytest.param([(small(2), {"subfiletype": 1}), (SMOOTH, {})], id="thumbnail first"),
        pytest.param([(SMOOTH, {}), *[(small(16), {"subfiletype": 1})] * 120], id="more levels than there can be"),
        pytest.param([(GREY, {"photometric": "minisblack"})] * 3, id="channels"),
    ],
)
def test_several_pictures_stay_refused(pages):
    with pytest.raises(UnsupportedTile, match=r"several frames or pages: page \d+ has \d+ x \d+ pixels"):
        read(tiff(*pages))


def test_a_stack_of_imagej_in_one_page_stays_refused():
    description = "ImageJ=1.54f\nimages=4\nslices=4\nhyperstack=true\n"
    with pytest.raises(UnsupportedTile, match="several frames or pages: an ImageJ stack of 4"):
        read(tiff((SMOOTH, {"description": description})))
    np.testing.assert_array_equal(read(tiff((SMOOTH, {"description": "ImageJ=1.54f\nimages=1\nunit=pixel\n"}))), SMOOTH)


def test_ndpi_is_named():
    with pytest.raises(UnsupportedTile, match=r"NDPI slide, which only `marrowscope batch` reads"):
        read(tiff((SMOOTH, {"extratags": [(65420, "I", 1, 1, True)]})))


@pytest.mark.parametrize(
    ("compression", "name"),
    [
        ("jpeg2000", "JPEG 2000 (method 34712)"),
        ("aperio_jp2000_rgb", "JPEG 2000 (method 33005)"),
        ("jpegxl", "JPEG XL (method 50002)"),
        ("webp", "WebP (method 50001)"),
        ("png", "PNG (method 34933)"),
        ("jpegxr", "JPEG XR (method 34934)"),
        ("lerc", "LERC (method 34887)"),
    ],
)
def test_a_compression_that_is_not_read_is_named(compression, name):
    with pytest.raises(UnsupportedTile, match=re.escape(f"compressed with {name}, which is not read; save")):
        read(tiff((SMOOTH, {"compression": compression})))


@pytest.mark.parametrize("compression", ["lzma", "zstd", "zlib", "lzw", "packbits", None])
def test_every_other_compression_keeps_the_pixels(compression):
    np.testing.assert_array_equal(read(tiff((SMOOTH, {"compression": compression}))), SMOOTH)


@pytest.mark.parametrize(
    ("pixels", "options", "named"),
    [
        pytest.param(SMOOTH.astype(np.float32), {}, "found 32 bits, floating-point numbers", id="float"),
        pytest.param(SMOOTH.astype(np.float16), {}, "found 16 bits, floating-point numbers", id="half"),
        pytest.param(SMOOTH.astype(np.uint16), {}, "found 16 bits, whole numbers", id="16 bits"),
        pytest.param(SMOOTH.astype(np.int8), {}, "found 8 bits, signed whole numbers", id="signed"),
        pytest.param(PLANES, {"photometric": "minisblack", "planarconfig": "separate"}, "3 grey planes", id="planes"),
        pytest.param(SMOOTH, {"photometric": "cielab"}, "colours of this TIFF are CIELAB", id="CIELAB"),
        pytest.param(SMOOTH, {"photometric": "icclab"}, "colours of this TIFF are ICCLAB", id="ICCLAB"),
        pytest.param(GREY, {"photometric": "cfa"}, "raw pixels of a camera", id="CFA"),
        pytest.param(
            np.concatenate([SMOOTH, SMOOTH, SMOOTH], axis=-1),
            {"extrasamples": ["unspecified"] * 6},
            "this TIFF has other channels",
            id="nine channels",
        ),
    ],
)
def test_pixels_that_are_not_read_are_named(pixels, options, named):
    with pytest.raises(UnsupportedTile, match=named):
        read(tiff((pixels, options)))


def test_pages_that_follow_each_other_in_a_circle_end():
    data = bytearray(tiff((SMOOTH, {})))
    at = struct.unpack("<I", data[4:8])[0]
    end = at + 2 + 12 * struct.unpack("<H", data[at : at + 2])[0]
    data[end : end + 4] = struct.pack("<I", at)
    assert len(list(directories(bytes(data), frozenset()))) == 1


def test_hostile_directories_cost_little_time_and_memory():
    # 100 directories, each of 1,000 fields, each of which claims the same megabyte.
    fields = b"".join(struct.pack("<HHQQ", 270 if i % 2 else 258, 2 if i % 2 else 3, 2**19, 16) for i in range(1_000))
    size = 8 + len(fields) + 8
    places = [2**20 + i * size for i in range(101)]
    chain = b"".join(struct.pack("<Q", 1_000) + fields + struct.pack("<Q", place) for place in places[1:])
    data = struct.pack("<2sHHHQ", b"II", 43, 8, 0, places[0]).ljust(2**20, b"A") + chain
    before, start = peak_rss_mb(), time.thread_time()
    with pytest.raises(PipelineError):
        read(data)
    assert time.thread_time() - start < 10
    assert before is None or peak_rss_mb() < before + 200


def test_a_directory_of_too_many_fields_is_damaged():
    data = struct.pack("<2sHIH", b"II", 42, 8, 1_001) + struct.pack("<HHII", 256, 3, 1, 8) * 1_001 + bytes(4)
    with pytest.raises(UnreadableTile, match="damaged"):
        read(data)
