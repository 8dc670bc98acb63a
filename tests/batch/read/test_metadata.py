"""What the file of a slide says about itself, whatever its container: scale, orientation and colour profile."""

from contextlib import closing

import numpy as np
import pytest
from PIL import Image, ImageCms

from app.batch.read.open import open_slide
from app.batch.read.slide import SlideError, Window
from app.pipeline.headers.declared_scale import chosen_mpp
from tests.batch.read.drawn_slides import drawn_pixels, write_aperio, write_leica, write_pyramid, write_striped
from tests.batch.read.mrxs import write_mrxs
from tests.batch.read.test_mpp import write_ome

PIXELS = drawn_pixels(400, 300)
WHOLE = Window(0, 0, 400, 300)
TURNED = {"extratags": [(274, "H", 1, 6, True)]}
"""The tag Orientation with the value that turns a picture by a quarter."""
CM_TAGS = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
SCREEN_TAGS = {"resolution": (72, 72), "resolutionunit": "INCH"}
UPLOAD = 10**6
"""As `max_pixels`: files of one level are decoded as a whole, as an upload is."""


def png(path, pixels, **options):
    Image.fromarray(pixels).save(path, "PNG", **options)
    return path


WRITTEN = {
    "svs": (lambda path: write_aperio(path, PIXELS, 0.5), "aperio"),
    "svs-tags": (lambda path: write_aperio(path, PIXELS, None, power=40, **CM_TAGS), "tiff_resolution"),
    "svs-objective": (lambda path: write_aperio(path, PIXELS, None, power=20), "objective"),
    "svs-objective-and-screen": (lambda path: write_aperio(path, PIXELS, None, power=20, **SCREEN_TAGS), "objective"),
    "scn": (lambda path: write_leica(path, PIXELS, 0.5), "slide_metadata"),
    "mrxs": (lambda path: write_mrxs(path, PIXELS[:200], 0.5), "slide_metadata"),
    "pyramid": (lambda path: write_pyramid(path, PIXELS, 0.5), "tiff_resolution"),
    "one-level": (lambda path: write_striped(path, PIXELS, 0.5), "tiff_resolution"),
    "one-level-ome": (lambda path: write_ome(path, [PIXELS], PhysicalSizeX=0.5, PhysicalSizeY=0.5), "ome_xml"),
    "png": (lambda path: png(path, PIXELS, dpi=(50_800, 50_800)), "png_phys"),
    "nothing": (lambda path: write_aperio(path, PIXELS, None, power=0), "bundle"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_scale_is_read_from_whatever_says_it(tmp_path, name):
    write, expected = WRITTEN[name]
    with closing(open_slide(write(tmp_path / "slide.mrxs" if name == "mrxs" else tmp_path / "slide"), UPLOAD)) as slide:
        mpp, source = chosen_mpp(None, slide.metadata.scale)
    assert source == expected
    assert mpp == (None if expected == "bundle" else pytest.approx(0.5, rel=1e-3))


STORED = {
    "svs": lambda path, **tags: write_aperio(path, PIXELS, compression="jpeg", **tags),
    "pyramid": lambda path, **tags: write_pyramid(path, PIXELS, compression="deflate", **tags),
    "one-level": lambda path, **tags: write_striped(path, PIXELS, **tags),
}


@pytest.mark.parametrize("name", STORED)
def test_pixels_are_those_that_are_stored_and_the_orientation_is_known(tmp_path, name):
    plain, turned = STORED[name](tmp_path / "plain"), STORED[name](tmp_path / "turned", **TURNED)
    with closing(open_slide(plain, UPLOAD)) as slide, closing(open_slide(turned, UPLOAD)) as other:
        np.testing.assert_array_equal(other.read(WHOLE), slide.read(WHOLE))
        assert (slide.metadata.orientation, other.metadata.orientation) == (1, 6)


def test_slide_of_which_each_block_would_be_mirrored_is_refused(tmp_path):
    with pytest.raises(SlideError, match="orientation tag 6"):
        open_slide(write_aperio(tmp_path / "turned.svs", PIXELS, compression="deflate", **TURNED), UPLOAD)


@pytest.mark.parametrize("name", STORED)
def test_an_icc_profile_is_known_by_its_name_unless_it_is_srgb(tmp_path, name):
    profiles = {"XYZ": True, "sRGB": False}
    for kind, is_named in profiles.items():
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes()
        with closing(open_slide(STORED[name](tmp_path / kind, iccprofile=profile), UPLOAD)) as slide:
            assert (slide.metadata.color_profile is not None) == is_named


def test_a_damaged_icc_profile_of_a_scanner_is_no_reason_to_refuse_the_slide(tmp_path):
    with closing(open_slide(write_aperio(tmp_path / "slide", PIXELS, iccprofile=b"no profile" * 20), UPLOAD)) as slide:
        assert slide.metadata.color_profile == "without a name"


def test_a_slide_that_says_nothing_of_these_has_none(tmp_path):
    with closing(open_slide(write_aperio(tmp_path / "slide", PIXELS), UPLOAD)) as slide:
        assert (slide.metadata.orientation, slide.metadata.color_profile) == (1, None)
