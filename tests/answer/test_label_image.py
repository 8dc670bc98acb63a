import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from app.answer.label_image import label_png
from app.pipeline.errors import InvalidParameter
from app.pipeline.nuclei.measure import measure
from tests.answer.rendering import analysed, as_json, as_pixels, render
from tests.drawing import encoded


def counts_of(result):
    """Pixels of each cell."""
    labels = as_pixels(result, "labels")
    return np.bincount(labels.ravel(), minlength=len(result.analysis.cells.nuclei) + 1)[1:]


def with_nuclei(result, labels):
    """The result as if these were its nuclei, ten times finer than the tile."""
    analysis = result.analysis
    return replace(result, analysis=replace(analysis, cells=replace(analysis.cells, nuclei=measure(labels))))


def test_picture_is_16_bit_and_as_large_as_the_upload(result):
    with Image.open(io.BytesIO(render(result, "labels"))) as image:
        assert image.mode == "I;16"
        assert image.size == (result.analysis.tile.width, result.analysis.tile.height)


def test_label_i_plus_1_is_cell_i(result):
    labels, cells = as_pixels(result, "labels"), as_json(result)["cells"]
    assert counts_of(result).tolist() == [cell["area_px"] for cell in cells]
    assert labels.max() == len(cells)
    for cell in cells:
        y, x = np.nonzero(labels == cell["id"] + 1)
        assert [x.min(), y.min(), x.max() + 1, y.max() + 1] == cell["bbox"]
        np.testing.assert_allclose([x.mean(), y.mean()], cell["centroid"], atol=0.006)


@pytest.mark.parametrize("mpp", [0.125, 0.15, 0.5, 1.0, 4.0])
def test_pixel_has_the_cell_at_its_middle_whatever_the_scale(sample_pixels, bundle, mpp):
    size = [round(side * bundle.manifest.mpp / mpp) for side in (512, 300)]
    tile = Image.fromarray(sample_pixels[:300]).resize(size, Image.Resampling.BOX)
    result = analysed(encoded(tile), bundle, mpp=mpp)
    analysed_labels = result.analysis.cells.nuclei.label_image
    rows, columns = (
        ((np.arange(n) + 0.5) * finer / n).astype(int)
        for n, finer in zip(reversed(size), analysed_labels.shape, strict=True)
    )
    np.testing.assert_array_equal(as_pixels(result, "labels"), analysed_labels[np.ix_(rows, columns)])
    assert len(result.analysis.cells.nuclei) > 20
    assert counts_of(result).all()


def test_cell_smaller_than_a_pixel_of_the_upload_has_the_pixel_of_its_centre(empty_result):
    labels = np.zeros((500, 600), np.int32)
    labels[20:40, 20:40] = 1
    labels[101:104, 211:214] = 2
    labels[499, 599] = 3
    with Image.open(io.BytesIO(label_png(with_nuclei(empty_result, labels)))) as image:
        shown = np.asarray(image)
    expected = np.zeros((50, 60))
    expected[2:4, 2:4] = 1
    expected[10, 21] = 2
    expected[49, 59] = 3
    np.testing.assert_array_equal(shown, expected)


def test_more_cells_than_16_bits_can_number_are_refused(empty_result):
    labels = np.zeros((500, 600), np.int32)
    labels.ravel()[::4][: 2**16] = np.arange(1, 2**16 + 1)
    with pytest.raises(InvalidParameter, match="65535 cells, found 65536"):
        label_png(with_nuclei(empty_result, labels))


def test_tile_without_cells_is_background(empty_result):
    labels = as_pixels(empty_result, "labels")
    assert labels.shape == (50, 60)
    assert not labels.any()
