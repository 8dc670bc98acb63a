from contextlib import closing

import numpy as np
import pytest

from app.batch.read.open import open_slide
from app.batch.read.slide import SlideError, Window
from tests.batch.read.drawn_slides import drawn_pixels, halves
from tests.batch.read.mrxs import write_mrxs

PIXELS = drawn_pixels(400, 400)
WHOLE = Window(0, 0, 400, 400)


def test_a_slide_is_read_at_all_levels_and_is_white_where_nothing_was_scanned(tmp_path):
    path = write_mrxs(tmp_path / "slide.mrxs", PIXELS, mpp=0.242, missing=[(0, 0), (2, 3)])
    expected = PIXELS.copy()
    expected[:100, :100] = expected[200:300, 300:400] = 255
    with closing(open_slide(path, max_pixels=10**7)) as slide:
        assert (slide.width, slide.height, slide.metadata.scale.mpp_x) == (400, 400, pytest.approx(0.242))
        np.testing.assert_array_equal(slide.read(WHOLE), expected)
        np.testing.assert_array_equal(slide.read(Window(0, 200, 200, 400), 2), halves(PIXELS, 2)[1][:, 100:])


def test_a_slide_without_its_folder_is_refused(tmp_path):
    path = write_mrxs(tmp_path / "slide.mrxs", PIXELS)
    path.with_suffix("").rename(tmp_path / "elsewhere")
    with pytest.raises(SlideError, match="folder of the same name"):
        open_slide(path, max_pixels=10**7)


def test_a_slide_whose_data_are_missing_is_refused_and_names_no_folder(tmp_path):
    path = write_mrxs(tmp_path / "slide.mrxs", PIXELS)
    (path.with_suffix("") / "Data0000.dat").unlink()
    with pytest.raises(SlideError) as refused, closing(open_slide(path, max_pixels=10**7)) as slide:
        slide.read(WHOLE)
    assert "Data0000.dat" in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
