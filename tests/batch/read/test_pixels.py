from contextlib import closing

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from app.batch.read.open import open_slide
from app.batch.read.openslide_slide import OpenSlideSlide
from app.batch.read.slide import Window
from app.batch.read.tiff_slide import TiffSlide
from app.pipeline.decode import read_picture
from app.pipeline.geometry import rescale
from tests.batch.read.dicom import write_dicom
from tests.batch.read.drawn_slides import drawn_pixels, halves, write_aperio, write_pyramid, write_striped
from tests.batch.read.mrxs import write_mrxs
from tests.drawing import encoded

PIXELS = drawn_pixels()
HEIGHT, WIDTH = PIXELS.shape[:2]
WHOLE = Window(0, 0, WIDTH, HEIGHT)
NOTHING_IS_A_TILE = 1
"""As `max_pixels`: whatever is opened is read window by window."""


def read(path, window=WHOLE, downsample=1, reader=None):
    """From a slide that is read window by window."""
    with closing(open_slide(path, NOTHING_IS_A_TILE)) as slide:
        assert reader is None or isinstance(slide, reader)
        return slide.read(window, downsample)


def cut(pixels, window):
    return pixels[window.y : window.y + window.height, window.x : window.x + window.width]


@st.composite
def windows(draw):
    x, y = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
    return Window(y, x, draw(st.integers(1, WIDTH - x)), draw(st.integers(1, HEIGHT - y)))


LOSSLESS = {
    "aperio": (write_aperio, {}),
    "aperio-tiles-of-64": (write_aperio, {"tile": 64}),
    "mrxs": (write_mrxs, {"tile": 50}),
    "dicom": (write_dicom, {}),
    "tiled": (write_pyramid, {"compression": "deflate"}),
    "tiled-plain": (write_pyramid, {"compression": None}),
    "tiled-zstd-with-predictor": (write_pyramid, {"compression": "zstd", "predictor": True}),
    "tiled-planes": (write_pyramid, {"compression": "lzw", "planarconfig": "separate", "levels": 1}),
    "striped": (write_striped, {}),
    "striped-lzw-one-row": (write_striped, {"compression": "lzw", "rows": 1}),
    "striped-packbits-uneven": (write_striped, {"compression": "packbits", "rows": 77}),
    "contiguous": (write_striped, {"compression": None}),
    "contiguous-planes": (write_striped, {"compression": None, "planarconfig": "separate"}),
    "big-endian": (write_striped, {"byteorder": ">"}),
    "classic-tiff": (write_striped, {"bigtiff": False}),
    "bigtiff": (write_striped, {"bigtiff": True}),
}


@pytest.fixture(scope="module", params=LOSSLESS)
def lossless(request, tmp_path_factory):
    write, options = LOSSLESS[request.param]
    pixels = np.ascontiguousarray(np.moveaxis(PIXELS, -1, 0)) if "planes" in request.param else PIXELS
    name = "slide.mrxs" if write is write_mrxs else "slide"
    slide = open_slide(write(tmp_path_factory.mktemp("slides") / name, pixels, **options), NOTHING_IS_A_TILE)
    assert isinstance(slide, OpenSlideSlide if write in (write_aperio, write_mrxs, write_dicom) else TiffSlide)
    yield slide
    slide.close()


@given(window=windows())
@settings(max_examples=40, deadline=None)
def test_every_window_of_a_lossless_slide_has_the_pixels_that_were_written(lossless, window):
    assert (lossless.width, lossless.height) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(lossless.read(window), cut(PIXELS, window))


@given(window=windows(), downsample=st.floats(0.6, 40))
@settings(max_examples=25, deadline=None)
def test_every_window_has_the_size_that_was_asked_for(lossless, window, downsample):
    pixels = lossless.read(window, downsample)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (max(1, round(window.height / downsample)), max(1, round(window.width / downsample)), 3)


def test_a_slide_of_whole_levels_gives_them_untouched(tmp_path):
    for write in (write_aperio, write_pyramid):
        path = write(tmp_path / "slide.tif", PIXELS, compression="deflate")
        np.testing.assert_array_equal(read(path, downsample=2), halves(PIXELS, 2)[1])


def test_a_level_is_used_though_its_size_is_not_an_exact_part(tmp_path):
    odd = drawn_pixels(597, 493)
    for write in (write_aperio, write_pyramid):
        path = write(tmp_path / "slide.tif", odd, compression="deflate")
        half = read(path, Window(0, 0, 597, 493), 2)
        assert half.shape == (246, 298, 3)
        np.testing.assert_array_equal(half, halves(odd, 2)[1])


def test_windows_of_a_smaller_level_meet_without_a_seam(tmp_path):
    for write in (write_aperio, write_pyramid):
        path = write(tmp_path / "slide.tif", PIXELS, compression="deflate")
        parts = [read(path, Window(100, x, 100, 200), 2) for x in range(0, WIDTH, 100)]
        np.testing.assert_array_equal(np.hstack(parts), read(path, Window(100, 0, WIDTH, 200), 2))


@pytest.mark.parametrize(
    ("write", "options", "n_blocks"), [(write_striped, {"rows": 8}, 32), (write_pyramid, {"tile": 64, "levels": 1}, 30)]
)
def test_a_slide_without_small_levels_is_shrunk_block_by_block_as_it_would_be_at_once(
    tmp_path, monkeypatch, write, options, n_blocks
):
    path = write(tmp_path / "slide.tif", PIXELS, compression="deflate", **options)
    at_once = {downsample: read(path, downsample=downsample).astype(int) for downsample in (4, 5.3)}
    held, whole = [], TiffSlide._decoded
    monkeypatch.setattr(TiffSlide, "_decoded", lambda *args: (held.append(args[-1]), whole(*args))[1])
    monkeypatch.setattr("app.batch.read.resampling.BLOCK_PX", 100)
    np.testing.assert_array_equal(read(path, downsample=4), at_once[4])
    assert len(held) == n_blocks
    assert np.abs(read(path, downsample=5.3) - at_once[5.3]).mean() < 2
    assert max((box.x1 - box.x0) * (box.y1 - box.y0) for box in held) <= 1.3 * 100**2


def test_a_tile_has_the_pixels_of_an_upload_at_every_scale(tmp_path):
    files = {
        "tile.png": encoded(PIXELS),
        "tile.jpg": encoded(PIXELS, "JPEG"),
        "grey.png": encoded(PIXELS[..., 0]),
        "tile.tif": encoded(PIXELS, "TIFF"),
        "jpeg.tif": encoded(PIXELS, "TIFF", compression="jpeg"),
        "tiled.tif": write_pyramid(tmp_path / "tiled.tif", PIXELS, levels=1).read_bytes(),
        "striped.tif": write_striped(tmp_path / "striped.tif", PIXELS).read_bytes(),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        slide = open_slide(tmp_path / name, 300_000)
        upload, metadata = read_picture(data, max_pixels=300_000)
        assert slide.metadata == metadata
        np.testing.assert_array_equal(slide.read(WHOLE), upload, name)
        for factor in (0.5, 0.7, 1.3):
            np.testing.assert_array_equal(slide.read(WHOLE, 1 / factor), rescale(upload, factor, max_pixels=10**7))


@pytest.mark.parametrize(
    ("compression", "options"),
    [("png", {}), ("jpegxl", {"lossless": True}), ("webp", {"lossless": True}), ("jpeg2000", {"reversible": True})],
)
def test_a_small_tiff_is_read_in_every_compression_that_a_large_one_is(tmp_path, compression, options):
    path = tmp_path / "tile.tif"
    tifffile.imwrite(path, PIXELS, photometric="rgb", compression=compression, compressionargs=options, tile=(64, 64))
    for max_pixels in (1, 300_000):
        with closing(open_slide(path, max_pixels)) as slide:
            np.testing.assert_array_equal(slide.read(WHOLE), PIXELS)


def test_grey_becomes_rgb_whichever_way_round_it_is_stored(tmp_path):
    grey = PIXELS[..., 1]
    for photometric, stored in (("minisblack", grey), ("miniswhite", 255 - grey)):
        path = write_striped(tmp_path / "slide.tif", stored, photometric=photometric)
        np.testing.assert_array_equal(read(path), np.dstack([grey] * 3))


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha", "unspecified"])
def test_what_is_transparent_is_white_as_glass(tmp_path, kind):
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:100], alpha[100:200] = 0, 128
    lit = np.rint(PIXELS * (alpha / 255)).astype(np.uint8) if kind == "assocalpha" else PIXELS
    path = write_striped(tmp_path / "slide.tif", np.dstack([lit, alpha]), extrasamples=[kind])
    found = read(path).astype(int)
    np.testing.assert_array_equal(found[200:], PIXELS[200:])
    if kind == "unspecified":  # no transparency, but a fourth channel of something
        np.testing.assert_array_equal(found, PIXELS)
    else:
        assert (found[:100] == 255).all()
        assert np.abs(found[100:200] - (PIXELS[100:200] + 254.0) / 2).max() <= 2


@pytest.mark.parametrize("description", ["", "Aperio Image Library v12\r\n512x512 (256x256)"])
def test_a_part_that_was_never_scanned_is_white(tmp_path, description):
    tiles = [np.ascontiguousarray(PIXELS[:256, :256]), None, None, None]
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as writer:
        options = {"photometric": "rgb", "tile": (256, 256), "compression": "deflate", "metadata": None}
        writer.write(iter(tiles), shape=(512, 512, 3), dtype=np.uint8, description=description, **options)
    found = read(path, Window(0, 0, 512, 512), reader=OpenSlideSlide if description else TiffSlide)
    np.testing.assert_array_equal(found[:256, :256], tiles[0])
    assert (found[256:] == 255).all()
    assert (found[:256, 256:] == 255).all()


def test_jpeg_tiles_look_the_same_in_both_readers(tmp_path):
    path = write_pyramid(tmp_path / "slide.tif", PIXELS)
    with closing(TiffSlide(path, tifffile.TiffFile(path))) as tiffs, closing(OpenSlideSlide(path)) as openslides:
        for downsample in (1, 1.7, 4):
            a, b = (slide.read(WHOLE, downsample).astype(int) for slide in (tiffs, openslides))
            assert np.abs(a - b).max() <= 2
        assert np.abs(tiffs.read(WHOLE).astype(int) - PIXELS).mean() < 8
