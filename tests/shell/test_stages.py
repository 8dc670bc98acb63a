from dataclasses import replace

import cv2
import numpy as np
import pytest

from app.pipeline.crops import crop_cells, crop_nuclei
from app.pipeline.nuclei.measure import measure
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import PAPER
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import Later
from app.shell.stages import (
    BORDER,
    DARK,
    GAP_PX,
    INNER,
    LIGHT,
    MARGIN_PX,
    PANEL_PX,
    WARNING,
    WIDTH_PX,
    Captions,
    colour_nuclei,
    draw_stages,
    drawable,
)
from tests.drawing import disc, draw_tile, grid_of_centres

CAPTIONS = Captions("tile.png · 1 nucleus", (), "Tile as uploaded", "Not for diagnosis.")


def stages_of(pixels):
    stains = unmix(pixels, PAPER.stain)
    nuclei = segment(stains, PAPER)
    return pixels, stains, nuclei, crop_nuclei(stains.normalised, nuclei)


def drawn_nuclei(shape, *masks):
    """Nuclei of known shape on a white tile, with everything `draw_stages` takes."""
    labels = np.zeros(shape, np.int32)
    for i, mask in enumerate(masks, start=1):
        labels[mask] = i
    pixels = np.full((*shape, 3), 255, np.uint8)
    nuclei = measure(labels)
    haematoxylin = np.where(labels, 50, 255).astype(np.uint8)
    stains = replace(unmix(pixels, PAPER.stain), normalised=pixels, separated=Later(lambda: (haematoxylin, None)))
    return pixels, stains, nuclei, crop_nuclei(pixels, nuclei)


def panels_of(figure):
    """The six panels, found by their frames, in order."""
    x = MARGIN_PX + PANEL_PX // 2
    # A frame is a line right across the panel; text and tiles are not.
    strip = figure[:, x - 300 : x + 300].reshape(len(figure), -1, 3)
    edges = np.flatnonzero((strip == (150, 150, 150)).all(axis=(1, 2)))
    assert len(edges) == 4
    return [
        figure[top + 1 : bottom, left : left + PANEL_PX]
        for top, bottom in (edges[:2], edges[2:])
        for left in range(MARGIN_PX, WIDTH_PX - MARGIN_PX, PANEL_PX + GAP_PX)
    ]


def is_near(panel, colour):
    return (np.abs(panel.astype(int) - colour) < 40).all(axis=2)


@pytest.mark.parametrize("shape", [(200, 240), (600, 80), (80, 900), (1, 1), (1, 900), (900, 1), (1500, 1700)])
@pytest.mark.parametrize("stained", [True, False], ids=["stained", "blank"])
def test_tile_of_any_shape_gives_six_equal_panels_within_the_figure(shape, stained):
    repeats = (-(-shape[0] // 200), -(-shape[1] // 240), 1)
    drawn = np.tile(draw_tile(grid_of_centres()), repeats)[: shape[0], : shape[1]]
    pixels = drawn if stained else np.full((*shape, 3), 255, np.uint8)
    figure = draw_stages(*stages_of(pixels), CAPTIONS)
    assert figure.dtype == np.uint8
    assert figure.shape[1:] == (WIDTH_PX, 3)
    panels = panels_of(figure)
    assert len({panel.shape for panel in panels}) == 1
    assert 300 <= panels[0].shape[0] <= 1000
    # Nothing runs over the margins.
    assert (figure[:, : MARGIN_PX - 1] == 255).all()
    assert (figure[:, 1 - MARGIN_PX :] == 255).all()


def test_inputs_stay_as_they_are_and_the_figure_is_always_the_same():
    pixels, stains, nuclei, crops = stages_of(draw_tile(grid_of_centres()))
    arrays = (pixels, stains.normalised, stains.haematoxylin, nuclei.label_image, nuclei.bboxes, crops)
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    first, second = (draw_stages(pixels, stains, nuclei, crops, CAPTIONS) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_panels_show_tile_normalised_tile_and_haematoxylin():
    # As large as a panel: nothing is scaled.
    pixels, stains, nuclei, crops = stages_of(draw_tile(grid_of_centres((800, 800)), shape=(800, 800)))
    panels = panels_of(draw_stages(pixels, stains, nuclei, crops, CAPTIONS))
    np.testing.assert_array_equal(panels[0], pixels)
    np.testing.assert_array_equal(panels[1], stains.normalised)
    np.testing.assert_array_equal(panels[2], stains.haematoxylin[..., None].repeat(3, axis=2))
    np.testing.assert_array_equal(panels[3], colour_nuclei(nuclei))
    crop = crops[0].repeat(3, axis=0).repeat(3, axis=1)
    assert cv2.matchTemplate(panels[5], crop, cv2.TM_SQDIFF).min() < 1


@pytest.mark.parametrize("side", [200, 400, 1600])
def test_outline_runs_along_the_nucleus_wherever_the_tile_is_scaled_to(side):
    shape = (side, side)
    nucleus = disc(shape, (side * 0.6, side * 0.3), side * 0.1)
    outlines = panels_of(draw_stages(*drawn_nuclei(shape, nucleus), CAPTIONS))[4]
    y, x = np.nonzero(is_near(outlines, INNER))
    scale = PANEL_PX / side
    middle_x, middle_y = ((side * at + 0.5) * scale - 0.5 for at in (0.6, 0.3))
    radius = np.hypot(x - middle_x, y - middle_y)
    assert len(x) > 2 * np.pi * PANEL_PX * 0.1
    # The line is up to four wide and runs through the middles of the outermost pixels.
    assert abs(radius - PANEL_PX * 0.1).max() < 3 + scale
    assert not is_near(outlines, BORDER).any()


@pytest.mark.parametrize("centre", [(0, 50), (99, 50), (50, 0), (50, 99)])
def test_nucleus_that_touches_the_border_has_an_outline_of_its_own_colour(centre):
    shape = (100, 100)
    stages = drawn_nuclei(shape, disc(shape, (50, 50), 10), disc(shape, centre, 10))
    assert stages[2].touches_border.tolist() == [False, True]
    outlines = panels_of(draw_stages(*stages, CAPTIONS))[4]
    for colour, middle in ((INNER, (50, 50)), (BORDER, centre)):
        y, x = np.nonzero(is_near(outlines, colour))
        assert len(x) > 100
        assert np.hypot(x / 8 - middle[0], y / 8 - middle[1]).max() < 12


def test_every_nucleus_has_a_colour_unlike_its_neighbours_and_the_background_is_black():
    shape = (200, 240)
    nuclei = drawn_nuclei(shape, *(disc(shape, centre, 8) for centre in grid_of_centres()))[2]
    coloured = colour_nuclei(nuclei)
    colours = np.array([coloured[nuclei.label_image == i][0] for i in range(1, len(nuclei) + 1)], int)
    assert (coloured[nuclei.label_image == 0] == 0).all()
    assert len({tuple(colour) for colour in colours}) == len(nuclei)
    assert (colours.max(axis=1) > 150).all()
    assert (np.abs(np.diff(colours, axis=0)).max(axis=1) > 60).all()


def test_tile_without_nuclei_says_so_where_the_crops_would_be():
    crops = panels_of(draw_stages(*drawn_nuclei((100, 100)), CAPTIONS))[5]
    y, x = np.nonzero(is_near(crops, DARK))
    assert abs(x.mean() - PANEL_PX / 2) < 10
    assert abs(y.mean() - PANEL_PX / 2) < 10
    assert (crops[:300] == LIGHT).all()


@pytest.mark.parametrize(("n", "shown"), [(1, 1), (5, 5), (64, 64), (65, 64), (400, 64)])
def test_crops_are_shown_as_far_as_there_is_room(n, shown):
    pixels, stains, nuclei, _ = drawn_nuclei((100, 100))
    crops = np.full((n, 32, 32, 3), (0, 0, 255), np.uint8)
    panel = panels_of(draw_stages(pixels, stains, nuclei, crops, CAPTIONS))[5]
    found, _ = cv2.connectedComponents((panel == (0, 0, 255)).all(axis=2).astype(np.uint8))
    assert found - 1 == shown


def test_warnings_are_wrapped_and_long_titles_cut_within_the_figure():
    stages = drawn_nuclei((100, 100))
    plain = draw_stages(*stages, CAPTIONS)
    figure = draw_stages(*stages, Captions("name" * 200, ("code: " + "many words " * 40,), "Tile", "notice"))
    panels_of(figure)
    assert figure.shape[0] > plain.shape[0]
    assert (figure[:, 1 - MARGIN_PX :] == 255).all()
    assert (figure == WARNING).all(axis=2).sum() > 100
    assert not (plain == WARNING).all(axis=2).any()


def test_text_is_drawn_in_characters_that_the_font_has():
    assert drawable("Präparat_é × 0.25 µm · 骨髓\n") == "Praparat_e x 0.25 um · ???"


def test_figure_shows_the_nucleus_alone_of_crops_with_surroundings():
    pixels, stains, nuclei, crops = drawn_nuclei((100, 100))
    seen = crop_cells(stains.normalised, nuclei, "surroundings")
    expected = draw_stages(pixels, stains, nuclei, crops, CAPTIONS)
    np.testing.assert_array_equal(draw_stages(pixels, stains, nuclei, seen, CAPTIONS), expected)
