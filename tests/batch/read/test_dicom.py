from contextlib import closing

import numpy as np
import pytest

from app.batch.read.open import open_slide
from app.batch.read.slide import SlideError, Window
from tests.batch.read.dicom import write_dicom
from tests.batch.read.drawn_slides import drawn_pixels, halves

PIXELS = drawn_pixels(300, 260)
WHOLE = Window(0, 0, 300, 260)


@pytest.fixture
def series(tmp_path):
    """A folder with the two levels of one slide."""
    for i, level in enumerate(halves(PIXELS, 2)):
        write_dicom(tmp_path / f"level-{i}.dcm", level, mpp=0.25 * 2**i, instance=i + 1)
    return tmp_path


@pytest.mark.parametrize("name", ["", "level-0.dcm", "level-1.dcm"])
def test_a_folder_and_each_of_its_files_are_the_whole_slide(series, name):
    (series / "notes.txt").write_text("not of the slide", encoding="utf-8")
    (series / "._level-0.dcm").write_bytes(b"of macOS")
    with closing(open_slide(series / name, max_pixels=10**7)) as slide:
        assert (slide.width, slide.height) == (300, 260)
        np.testing.assert_array_equal(slide.read(WHOLE), PIXELS)
        np.testing.assert_array_equal(slide.read(WHOLE, 2), halves(PIXELS, 2)[1])


def test_a_folder_of_two_slides_is_refused_rather_than_half_analysed(series):
    write_dicom(series / "another.dcm", PIXELS, series="1.2.3.9")
    with pytest.raises(SlideError, match="one DICOM slide, found 2"):
        open_slide(series, max_pixels=10**7)


def test_a_folder_without_dicom_is_refused(tmp_path):
    (tmp_path / "tile.dcm").write_bytes(b"not DICOM")
    with pytest.raises(SlideError, match="folder without a DICOM slide"):
        open_slide(tmp_path, max_pixels=10**7)
