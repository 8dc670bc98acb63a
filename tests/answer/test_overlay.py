import io
from itertools import pairwise

import numpy as np
from PIL import Image
from scipy import ndimage

from tests.answer.rendering import as_json, as_pixels, named, render


def text_of(result):
    with Image.open(io.BytesIO(render(result, "overlay"))) as image:
        image.load()
        return image.text


def test_tile_changes_at_the_outlines_only(result):
    tile, drawn = result.analysis.tile.pixels, as_pixels(result, "overlay")
    assert drawn.shape == tile.shape
    outline = np.zeros(tile.shape[:2], bool)
    for contour in result.analysis.cells.contours:
        closed = np.concatenate([contour, contour[:1]])
        for a, b in pairwise(closed):
            x, y = np.linspace(a, b, int(np.abs(b - a).max()) + 1).T
            outline[np.rint(y).astype(int), np.rint(x).astype(int)] = True
    changed = (drawn != tile).any(axis=2)
    assert not changed[ndimage.distance_transform_edt(~outline) > 4].any()
    assert changed[outline].mean() > 0.99


def test_tile_itself_is_left_as_it_is(result):
    before = result.analysis.tile.pixels.copy()
    render(result, "overlay")
    np.testing.assert_array_equal(result.analysis.tile.pixels, before)


def test_outlines_have_the_colours_of_the_answer(result):
    """A cell far from others shows its own colour, and none of another's."""
    answer, drawn = as_json(result), as_pixels(result, "overlay")
    own = {cluster["cluster"]: cluster["color"] for cluster in answer["clusters"]}
    outlier_color = text_of(result)["Description"].splitlines()[-1].split()[0]
    pixels = [tuple(int(color[i : i + 2], 16) for i in (1, 3, 5)) for color in (*own.values(), outlier_color)]
    seen = 0
    for cell in answer["cells"]:
        x0, y0, x1, y1 = cell["bbox"]
        others = [c["bbox"] for c in answer["cells"] if c is not cell]
        if any(a < x1 + 4 and c > x0 - 4 and b < y1 + 4 and d > y0 - 4 for a, b, c, d in others):
            continue
        part = drawn[y0:y1, x0:x1].reshape(-1, 3)
        # Lines are smoothed, so few pixels of a winding outline have exactly its colour.
        counts = [int((np.abs(part.astype(int) - pixel).max(axis=1) <= 16).sum()) for pixel in pixels]
        assert np.argmax(counts) == (len(own) if cell["outlier"] else cell["cluster"])
        seen += 1
    assert seen >= 10


def test_legend_and_notice_go_with_the_picture(result):
    answer = as_json(result)
    text = text_of(named(result, {1: "klein „rund“"}))
    assert text["Disclaimer"] == answer["notice"]
    legend = text["Description"].splitlines()
    assert legend[0] == "Bundle marrow, version " + answer["bundle"]["version"]
    for line, cluster in zip(legend[1:-1], answer["clusters"], strict=True):
        name = " (klein „rund“)" if cluster["cluster"] == 1 else ""
        assert line == f"{cluster['color']} cluster {cluster['cluster']}{name}: {cluster['count']} cells"
    assert legend[-1].endswith(f" outliers: {answer['outliers']['count']} cells")


def test_tile_without_cells_is_the_tile(empty_result):
    np.testing.assert_array_equal(as_pixels(empty_result, "overlay"), empty_result.analysis.tile.pixels)
