import cv2
import numpy as np

from app.batch.plan.plan import Region
from app.batch.write.overview_picture import REGION, TISSUE, overview_jpg

# Level 0 is 2000 x 1600 px; the right half is one region, with a hole.
RIGHT = Region(
    name="right",
    wkt="POLYGON((1000 0, 1960 0, 1960 1560, 1000 1560, 1000 0), (1400 400, 1400 800, 1700 800, 1400 400))",
)


def drawn(regions=()) -> np.ndarray:
    tissue = np.zeros((8, 10), bool)
    tissue[2:6, 1:3] = True
    jpg = overview_jpg(np.full((400, 500, 3), 240, np.uint8), tissue, regions, 4.0)
    return cv2.imdecode(np.frombuffer(jpg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def box_of(shown, color) -> tuple[int, ...]:
    """x0, y0, x1, y1 of all px of about a colour."""
    y, x = np.nonzero(np.abs(shown - color).max(axis=2) < 60)
    return tuple(map(int, (x.min(), y.min(), x.max(), y.max())))


def test_outline_of_tissue_lies_round_it():
    # An eighth of the picture's height and a tenth of its width each.
    np.testing.assert_allclose(box_of(drawn(), TISSUE), (50, 100, 150, 300), atol=3)


def test_region_and_its_hole_are_outlined_where_they_are():
    shown = drawn([RIGHT])
    np.testing.assert_allclose(box_of(shown, REGION), (250, 0, 490, 390), atol=4)
    assert np.abs(shown[150, 350] - REGION).max() < 60
    assert (drawn()[150, 350] > 200).all()


def test_the_given_pixels_stay_as_they_are():
    pixels = np.full((400, 500, 3), 240, np.uint8)
    overview_jpg(pixels, np.ones((8, 10), bool), [RIGHT], 4.0)
    assert (pixels == 240).all()


def test_region_of_several_parts_is_drawn():
    two = "MULTIPOLYGON(((0 0, 400 0, 400 400, 0 400, 0 0)), ((1000 800, 1400 800, 1400 1200, 1000 1200, 1000 800)))"
    np.testing.assert_allclose(box_of(drawn([Region(name="two", wkt=two)]), REGION), (0, 0, 350, 300), atol=4)
