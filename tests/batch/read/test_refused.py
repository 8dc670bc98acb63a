import os
import struct
import zlib
from contextlib import closing

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.batch.read.open import open_slide
from app.batch.read.slide import SlideError, Window
from app.pipeline.errors import PipelineError
from tests.batch.read.dicom import write_dicom
from tests.batch.read.drawn_slides import drawn_pixels, write_aperio, write_pyramid, write_striped
from tests.drawing import encoded

PIXELS = drawn_pixels(300, 260)
WHOLE = Window(0, 0, 300, 260)
GREY16 = np.zeros((70, 80), np.uint16)
STACK = np.zeros((4, 70, 80), np.uint8)


def refusal(path, max_pixels=1) -> str:
    with pytest.raises(SlideError) as refused:
        open_slide(path, max_pixels).close()
    assert str(path.parent) not in str(refused.value)
    return str(refused.value)


def test_what_is_missing_empty_or_a_folder_is_refused(tmp_path):
    (tmp_path / "empty.svs").write_bytes(b"")
    assert "No such file" in refusal(tmp_path / "missing.svs")
    assert refusal(tmp_path / "empty.svs") == "The file is empty (0 bytes)."
    assert "folder without a DICOM slide" in refusal(tmp_path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="may read everything")
def test_what_may_not_be_read_is_refused(tmp_path):
    path = write_striped(tmp_path / "slide.tif", PIXELS)
    path.chmod(0)
    assert "Permission denied" in refusal(path)


@pytest.mark.parametrize("name", ["slide.svs", "slide.tif", "slide.png", "slide.dcm", "slide"])
def test_text_is_refused_whatever_it_is_called(tmp_path, name):
    (tmp_path / name).write_text("sample,label\n" * 100, encoding="utf-8")
    assert refusal(tmp_path / name) == "It is not a slide that OpenSlide can read, and not a TIFF, PNG or JPEG."


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture"),
        (encoded(PIXELS, "WEBP"), "a WebP picture"),
        (b"%PDF-1.7\n", "a PDF document"),
    ],
)
def test_another_format_is_named(tmp_path, data, name):
    (tmp_path / "slide.tif").write_bytes(data)
    assert refusal(tmp_path / "slide.tif") == f"It is {name}, which is not read; save it as TIFF, PNG or JPEG."


@pytest.mark.parametrize("max_pixels", [1, 10**7])
@pytest.mark.parametrize(
    ("pixels", "options", "found"),
    [
        (GREY16, {"photometric": "minisblack"}, "must have 8 bits per channel, found 16 (uint16)"),
        (np.zeros((70, 80, 3), np.uint16), {"photometric": "rgb"}, "must have 8 bits per channel, found 16 (uint16)"),
        (GREY16.astype(np.float32), {"photometric": "minisblack"}, "must have 8 bits per channel, found 32 (float32)"),
        (STACK, {"photometric": "minisblack"}, "stack or channels: 4 (I)"),
        (STACK, {"photometric": "minisblack", "metadata": {"axes": "CYX"}, "ome": True}, "stack or channels: 4 (C)"),
        (STACK, {"photometric": "minisblack", "metadata": {"axes": "ZYX"}, "imagej": True}, "stack or channels: 4 (Z)"),
        (
            np.zeros((70, 80, 5), np.uint8),
            {"photometric": "minisblack", "planarconfig": "contig"},
            "found MINISBLACK of 5 channels",
        ),
    ],
)
def test_a_tiff_that_is_no_single_8_bit_picture_is_refused_with_what_it_is(
    tmp_path, pixels, options, found, max_pixels
):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, pixels, **({"metadata": None} | options))
    assert found in refusal(path, max_pixels)


def test_two_dyes_in_one_page_are_refused(tmp_path):
    path = tmp_path / "slide.tif"
    options = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unspecified"]}
    tifffile.imwrite(path, PIXELS[..., :2], metadata=None, **options)
    assert "must be grey or RGB, found MINISBLACK of 2 channels" in refusal(path)


def test_palettes_and_cmyk_are_for_tiles_only(tmp_path):
    path = tmp_path / "slide.tif"
    colours = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(path, PIXELS[..., 0], photometric="palette", colormap=colours, metadata=None)
    assert "must be grey or RGB, found PALETTE of 1 channels" in refusal(path)
    with closing(open_slide(path, 10**6)) as slide:
        assert (slide.read(WHOLE) == 0).all()
    tifffile.imwrite(path, np.dstack([PIXELS, PIXELS[..., 0]]), photometric="separated", metadata=None)
    assert "must be grey or RGB, found SEPARATED of 4 channels" in refusal(path)


def test_one_huge_strip_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr("app.batch.read.tiff_slide.MAX_BLOCK_PIXELS", 50_000)
    assert "at most 50000 pixels, found 78000" in refusal(write_striped(tmp_path / "a.tif", PIXELS, rows=260))
    open_slide(write_striped(tmp_path / "b.tif", PIXELS, rows=260, compression=None), 1).close()
    open_slide(write_striped(tmp_path / "c.tif", PIXELS, rows=160), 1).close()


def test_a_damaged_slide_that_asks_for_endless_memory_is_refused(tmp_path):
    path = write_aperio(tmp_path / "slide.svs", PIXELS)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["TileLength"].overwrite(1_577_058_432)
    assert "at most 64000000 pixels, found 128 x 1577058432" in refusal(path)


def test_a_large_png_or_jpeg_is_refused_with_its_size_though_it_is_cut_off(tmp_path):
    header = struct.pack(">IIBBBBB", 60_000, 50_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT")
    assert "at most 25000000 pixels, found 60000 x 50000" in refusal(tmp_path / "large.png", 25_000_000)
    (tmp_path / "large.jpg").write_bytes(encoded(PIXELS, "JPEG"))
    assert "at most 77999 pixels, found 300 x 260" in refusal(tmp_path / "large.jpg", 77_999)
    open_slide(tmp_path / "large.jpg", 78_000).close()


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "TIFF"])
def test_a_cut_off_tile_is_refused(tmp_path, image_format):
    data = encoded(PIXELS, image_format)
    (tmp_path / "tile").write_bytes(data[: len(data) // 2])
    assert "damaged or truncated" in refusal(tmp_path / "tile", 10**6)


def read_all(path, max_pixels=1):
    with closing(open_slide(path, max_pixels)) as slide:
        return [slide.read(Window(y, x, 50, 52)) for y in range(0, 260, 52) for x in range(0, 300, 50)]


@pytest.mark.parametrize("compression", [None, "deflate", "jpeg"])
@pytest.mark.parametrize("write", [write_aperio, write_pyramid, write_striped])
def test_a_cut_off_slide_is_refused_when_it_is_opened_or_read(tmp_path, write, compression):
    path = write(tmp_path / "slide.tif", PIXELS, compression=compression)
    whole = path.read_bytes()
    for share in (0.02, 0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(SlideError, match=r"damaged|OpenSlide cannot open it|not a slide that OpenSlide can read"):
            read_all(path)


@pytest.mark.parametrize("write", [write_aperio, write_pyramid])
def test_a_damaged_part_is_named_and_the_others_stay_readable(tmp_path, write):
    path = write(tmp_path / "slide.tif", PIXELS, compression="deflate", tile=128, levels=1)
    with tifffile.TiffFile(path) as file:
        offset = file.pages.first.dataoffsets[4]  # of x 128 to 255, y 128 to 255
    data = bytearray(path.read_bytes())
    data[offset : offset + 40] = bytes(40)
    path.write_bytes(data)
    with closing(open_slide(path, 1)) as slide:
        for _ in range(2):
            np.testing.assert_array_equal(slide.read(Window(0, 0, 128, 128)), PIXELS[:128, :128])
            with pytest.raises(SlideError, match="damaged near x 130, y 140"):
                slide.read(Window(140, 130, 20, 20))


MAKERS = [write_aperio, write_pyramid, write_striped, write_dicom]


@given(data=st.data(), maker=st.sampled_from(MAKERS))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_slide_with_altered_bytes_gives_pixels_or_a_reason(tmp_path, data, maker):
    path = maker(tmp_path / "slide", PIXELS)
    whole = bytearray(path.read_bytes())
    ends = st.one_of(st.integers(0, 600), st.integers(len(whole) - 1200, len(whole) - 1))
    for place, value in data.draw(st.lists(st.tuples(ends, st.integers(0, 255)), min_size=1, max_size=6)):
        whole[place] = value
    path.write_bytes(whole)
    try:
        with closing(open_slide(path, 10_000)) as slide:
            slide.read(Window(0, 0, min(slide.width, 100), min(slide.height, 100)))
    except PipelineError as error:
        assert isinstance(error, SlideError)
        assert str(tmp_path) not in str(error)
