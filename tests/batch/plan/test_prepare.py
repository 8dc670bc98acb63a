import hashlib
import json

import numpy as np
import pytest
import shapely

from app.batch.plan.inputs import inputs_of
from app.batch.plan.prepare import prepare
from app.batch.read.image_slide import ImageSlide
from app.batch.read.slide import SlideError
from app.pipeline.errors import UnequalAxes
from app.pipeline.headers.declared_scale import scale_of_axes
from app.pipeline.headers.metadata import Metadata
from tests.batch.one_slide import MAX_PIXELS, small_tiles, source_and_batch
from tests.batch.read.drawn_slides import drawn_pixels


def scanned(pixels, mpp):
    """A picture that says its scale: one number, or one along x and one along y."""
    x, y = mpp if isinstance(mpp, tuple) else (mpp, mpp)
    return ImageSlide(pixels, Metadata(scale_of_axes(x, y, "tiff_resolution")))


@pytest.fixture(scope="module")
def pixels():
    """Tissue on the left, glass on the right."""
    drawn = np.full((640, 960, 3), 255, np.uint8)
    drawn[:, :320] = np.vstack([drawn_pixels(320, 320)] * 2)
    return drawn


@pytest.fixture
def prepared(tmp_path, bundle):
    def prepared(pixels, mpp_of_file=None, regions=None, mpp_of_command=None):
        path = tmp_path / "a.png"
        path.write_bytes(b"what the slide is")
        if regions is not None:
            (tmp_path / "r.json").write_text(
                json.dumps([{"type": "Feature", "geometry": shapely.geometry.mapping(area)} for area in regions])
            )
        source, batch = source_and_batch(path, bundle, mpp=mpp_of_command, regions=regions and tmp_path / "r.json")
        return prepare(scanned(pixels, mpp_of_file), inputs_of(source, batch), source, batch, bundle, tmp_path / "n")

    return prepared


def test_plan_says_what_the_slide_is_and_what_is_done_with_it(prepared, pixels, bundle, monkeypatch):
    small_tiles(monkeypatch)
    plan, overview = prepared(pixels, 0.25)
    assert (plan.slide, plan.file, plan.bytes) == ("a", "a.png", 17)
    assert plan.fingerprint == hashlib.sha256(b"what the slide is").hexdigest()
    assert (plan.width, plan.height, plan.mpp, plan.um_per_px) == (960, 640, 0.25, 0.25)
    assert (plan.downsample, plan.tile_px, plan.margin_px) == (bundle.manifest.mpp / 0.25, 304, 160)
    # The outline of the tissue, at x = 320, lies in the second column.
    assert plan.tiles == ((0, 0), (304, 0), (0, 304), (304, 304), (0, 608), (304, 608))
    assert plan.tissue_mm2 == pytest.approx(320 * 640 * 0.25**2 / 1e6)
    assert overview.tissue[:, :10].all()
    assert plan.stain is not None


@pytest.mark.parametrize(
    ("of_command", "of_file", "mpp", "source", "flag"),
    [
        (None, None, None, "bundle", "mpp_unknown"),
        (0.5, None, 0.5, "request", None),
        (None, 0.3, 0.3, "tiff_resolution", None),
        (0.5, 0.3, 0.5, "request", "scale_conflict"),
        (0.312, 0.3, 0.312, "request", None),
        (None, (0.3, 0.306), 0.303, "tiff_resolution", None),
        (0.5, (0.5, 0.25), 0.5, "request", "scale_conflict"),
    ],
)
def test_scale_is_the_commands_else_the_files_else_the_bundles(
    prepared, pixels, of_command, of_file, mpp, source, flag
):
    plan, _ = prepared(pixels, of_file, mpp_of_command=of_command)
    assert (plan.mpp, plan.mpp_source) == (mpp, source)
    assert plan.um_per_px == (0.25 if mpp is None else mpp)
    codes = {flag.code for flag in plan.quality.flags} & {"mpp_unknown", "scale_conflict"}
    assert codes == ({flag} if flag else set())


def test_pixels_that_are_not_square_are_refused_with_both_sides(prepared, pixels):
    with pytest.raises(UnequalAxes, match=r"0\.5 µm along x and 0\.25 µm along y"):
        prepared(pixels, (0.5, 0.25))


def test_large_slide_without_a_scale_is_refused(prepared):
    with pytest.raises(SlideError, match=r"does not say how many µm a pixel has; say so with --mpp\."):
        prepared(np.broadcast_to(np.uint8(255), (MAX_PIXELS // 1000, 1001, 3)))


def test_empty_slide_is_refused(prepared):
    with pytest.raises(SlideError, match=r"^No tissue was found\.$"):
        prepared(np.full((300, 300, 3), 255, np.uint8))


def test_regions_without_tissue_are_refused(prepared, pixels):
    with pytest.raises(SlideError, match=r"^No tissue was found in its regions\.$"):
        prepared(pixels, regions=[shapely.box(600, 0, 900, 600)])


def test_only_tiles_with_tissue_within_the_regions_are_analysed(prepared, pixels, monkeypatch):
    small_tiles(monkeypatch)
    plan, _ = prepared(pixels, 0.25, regions=[shapely.box(10, 10, 100, 100), shapely.box(700, 310, 800, 350)])
    assert plan.tiles == ((0, 0),)
    assert len(plan.regions) == 2


def test_tile_beside_a_region_is_analysed_for_cells_whose_middle_lies_in_the_next_tile(prepared, pixels, monkeypatch):
    small_tiles(monkeypatch)
    plan, _ = prepared(pixels, 0.25, regions=[shapely.box(304.5, 10, 320, 100)])
    assert plan.tiles == ((0, 0), (304, 0))
    plan, _ = prepared(pixels, 0.25, regions=[shapely.box(305.5, 10, 320, 100)])
    assert plan.tiles == ((304, 0),)


def test_slide_without_its_file_of_regions_is_refused(tmp_path, bundle):
    (tmp_path / "a.png").write_bytes(b"what the slide is")
    source, batch = source_and_batch(tmp_path / "a.png", bundle, regions=tmp_path / "a.geojson")
    with pytest.raises(SlideError, match=r"^The folder of regions has no a\.geojson for it\.$"):
        inputs_of(source, batch)
