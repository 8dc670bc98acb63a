from contextlib import closing

import numpy as np
import pytest
import tifffile

from app.batch.read.open import open_slide
from app.batch.read.slide import Window
from app.pipeline.headers.declared_scale import chosen_mpp
from tests.batch.read.dicom import write_dicom
from tests.batch.read.drawn_slides import drawn_pixels, halves, write_aperio, write_pyramid, write_striped

PIXELS = drawn_pixels(300, 260)
INCH = {"resolutionunit": "INCH"}
CM = {"resolutionunit": "CENTIMETER"}


def write_scanned(path, pixels, mpp):
    """A slide of Aperio whose objective is not known."""
    return write_aperio(path, pixels, mpp, power=0)


def mpp_of(path):
    with closing(open_slide(path, max_pixels=1)) as slide:
        return chosen_mpp(None, slide.metadata.scale)[0]


@pytest.mark.parametrize("write", [write_scanned, write_pyramid, write_striped])
@pytest.mark.parametrize("mpp", [0.2425, 0.5, None])
def test_the_scale_that_was_written_is_read(tmp_path, write, mpp):
    assert mpp_of(write(tmp_path / "slide.tif", PIXELS, mpp=mpp)) == (pytest.approx(mpp, rel=1e-3) if mpp else None)


@pytest.mark.parametrize(
    ("tags", "mpp"),
    [
        ({"resolution": (25_400 / 0.3, 25_400 / 0.3), **INCH}, 0.3),
        ({"resolution": (10_000 / 0.248, 10_000 / 0.252), **CM}, 0.25),
        ({"resolution": (10_000 / 0.2, 1), **CM}, 0.2),
        ({"resolution": (72, 72), **INCH}, None),
        ({"resolution": (300, 300), **INCH}, None),
        ({"resolution": (1, 1), **CM}, None),
        ({"resolution": (0, 0), **CM}, None),
        ({"resolution": (40_000, 40_000), "resolutionunit": "NONE"}, None),
    ],
)
def test_a_scale_that_no_microscope_has_counts_as_none(tmp_path, tags, mpp):
    found = mpp_of(write_striped(tmp_path / "slide.tif", PIXELS, mpp=None, **tags))
    assert found == (None if mpp is None else pytest.approx(mpp, rel=1e-6))


def test_a_scanners_scale_out_of_range_counts_as_none(tmp_path):
    assert mpp_of(write_scanned(tmp_path / "slide.svs", PIXELS, mpp=353)) is None


def write_ome(path, levels, **metadata):
    """An OME-TIFF as Bio-Formats writes it: the smaller levels hang on the page of the largest."""
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as writer:
        options = {"photometric": "rgb", "tile": (128, 128), "compression": "deflate"}
        writer.write(levels[0], subifds=len(levels) - 1, metadata={"axes": "YXS", **metadata}, **options)
        for level in levels[1:]:
            writer.write(level, subfiletype=1, **options)
    return path


@pytest.mark.parametrize(
    ("sizes", "mpp"),
    [
        ({"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}, 0.25),
        ({"PhysicalSizeX": 0.248, "PhysicalSizeY": 0.252, "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}, 0.25),
        (
            {"PhysicalSizeX": 242.5, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 242.5, "PhysicalSizeYUnit": "nm"},
            0.2425,
        ),
        (
            {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "pixel", "PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "pixel"},
            None,
        ),
        ({}, None),
    ],
)
def test_ome_scale_and_levels_are_read(tmp_path, sizes, mpp):
    path = write_ome(tmp_path / "slide.ome.tif", halves(PIXELS, 3), **sizes)
    assert mpp_of(path) == (None if mpp is None else pytest.approx(mpp))
    with closing(open_slide(path, max_pixels=1)) as slide:
        whole = Window(0, 0, slide.width, slide.height)
        np.testing.assert_array_equal(slide.read(whole), PIXELS)
        np.testing.assert_array_equal(slide.read(whole, 4), halves(PIXELS, 3)[2])


@pytest.mark.parametrize(("unit", "mpp"), [("micron", 0.25), ("um", 0.25), ("pixel", None)])
def test_imagej_scale_is_read(tmp_path, unit, mpp):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, PIXELS, imagej=True, resolution=(4, 4), metadata={"unit": unit, "axes": "YXS"})
    assert mpp_of(path) == mpp


def test_dicom_scale_is_read(tmp_path):
    assert mpp_of(write_dicom(tmp_path / "slide.dcm", PIXELS, mpp=0.252)) == pytest.approx(0.252)
