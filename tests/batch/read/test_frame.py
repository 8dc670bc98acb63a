"""Slides whose file states the part of its canvas that was scanned: by default, that part is the slide."""

from contextlib import closing

import numpy as np
import pytest

from app.batch.read.open import open_slide
from app.batch.read.slide import Window
from app.batch.summary import Frame
from tests.batch.read.drawn_slides import drawn_pixels, halves, write_aperio, write_leica
from tests.batch.read.mrxs import write_mrxs

PIXELS = drawn_pixels(400, 320)
WHOLE = Window(0, 0, 400, 320)
AT = ((96, 64), (385, 258), (191, 333))
"""Corners of the frame on the canvas; the downsamples 2 and 4 of the levels divide only the first."""


def opened(path, frame="bounds"):
    return closing(open_slide(path, max_pixels=1, frame=frame))


@pytest.mark.parametrize("at", AT)
def test_a_slide_is_its_bounds_at_every_level(tmp_path, at):
    path = write_leica(tmp_path / "slide.scn", PIXELS, at=at, levels=3)
    with opened(path) as slide:
        assert (slide.width, slide.height) == (400, 320)
        assert slide.frame == Frame(name="bounds", x=at[0], y=at[1], canvas_width=1024, canvas_height=1024)
        for level, pixels in enumerate(halves(PIXELS, 3)):
            np.testing.assert_array_equal(slide.read(WHOLE, 2**level), pixels)


@pytest.mark.parametrize("at", AT)
@pytest.mark.parametrize("downsample", [1, 2, 4, 8])
def test_parts_of_the_frame_meet_without_a_seam(tmp_path, at, downsample):
    with opened(write_leica(tmp_path / "slide.scn", PIXELS, at=at, levels=3)) as slide:
        rows = [
            np.hstack([slide.read(Window(y, x, 80, 80), downsample) for x in range(0, 400, 80)])
            for y in range(0, 320, 80)
        ]
        np.testing.assert_array_equal(np.vstack(rows), slide.read(WHOLE, downsample))


@pytest.mark.parametrize("at", AT)
def test_the_canvas_holds_the_same_pixels_at_the_offset(tmp_path, at):
    path = write_leica(tmp_path / "slide.scn", PIXELS, at=at)
    with opened(path, "canvas") as slide:
        assert (slide.width, slide.height) == (1024, 1024)
        assert slide.frame == Frame(name="canvas", x=0, y=0, canvas_width=1024, canvas_height=1024)
        np.testing.assert_array_equal(slide.read(Window(at[1], at[0], 400, 320)), PIXELS)
        assert (slide.read(Window(0, 0, *at)) == 255).all()


def test_a_mirax_slide_begins_where_the_scan_does(tmp_path):
    pixels = drawn_pixels(400, 400)
    missing = [(row, column) for row in range(8) for column in range(8) if min(row, column) < 2]
    with opened(write_mrxs(tmp_path / "slide.mrxs", pixels, tile=50, missing=missing)) as slide:
        assert slide.frame == Frame(name="bounds", x=100, y=100, canvas_width=400, canvas_height=400)
        whole = Window(0, 0, 300, 300)
        np.testing.assert_array_equal(slide.read(whole), pixels[100:, 100:])
        np.testing.assert_array_equal(slide.read(whole, 2), halves(pixels, 2)[1][50:, 50:])


@pytest.mark.parametrize("frame", ["bounds", "canvas"])
def test_a_slide_without_bounds_is_its_canvas(tmp_path, frame):
    with opened(write_aperio(tmp_path / "slide.svs", PIXELS), frame) as slide:
        assert slide.frame == Frame(name="canvas", x=0, y=0, canvas_width=400, canvas_height=320)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"x": "-10", "y": "5", "width": "100", "height": "90"}, ("bounds", -10, 5, 100, 90)),
        ({"x": "10", "y": "5", "width": "100"}, ("canvas", 0, 0, 400, 320)),
        ({"x": "1.5", "y": "5", "width": "100", "height": "90"}, ("canvas", 0, 0, 400, 320)),
        ({"x": "0", "y": "0", "width": "0", "height": "90"}, ("canvas", 0, 0, 400, 320)),
    ],
    ids=["beyond-the-canvas", "incomplete", "not-whole", "empty"],
)
def test_bounds_are_taken_as_qupath_takes_them(tmp_path, monkeypatch, named, expected):
    properties = {f"openslide.bounds-{name}": value for name, value in named.items()}
    monkeypatch.setattr("app.batch.read.openslide_slide.OpenSlide.properties", properties)
    with opened(write_aperio(tmp_path / "slide.svs", PIXELS)) as slide:
        frame = slide.frame
        assert (frame.name, frame.x, frame.y, slide.width, slide.height) == expected
        if frame.x < 0:
            pixels = slide.read(Window(0, 0, 100, 90))
            assert (pixels[:, :10] == 255).all()
            np.testing.assert_array_equal(pixels[:, 10:], PIXELS[5:95, :90])
