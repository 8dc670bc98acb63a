import numpy as np

from app.pipeline.nuclei.measure import measure
from tests.drawing import discs
from training.study.figures.errors import COLUMNS, HEADING_PX, MARK, ROWS, SCALE, WINDOW_PX, error_figure, missed_figure

SIZE = WINDOW_PX * SCALE
PANEL = ROWS * SIZE + HEADING_PX


def tile_with(centres, shape=(200, 260)):
    labels = np.zeros(shape, np.int32)
    for i, centre in enumerate(centres, start=1):
        labels[discs(shape, [centre], 9)] = i
    return np.full((*shape, 3), 200, np.uint8), measure(labels)


def windows_of(figure, panel):
    """Which windows of a panel hold something of the tile."""
    top = panel * PANEL + HEADING_PX
    grid = figure[top : top + ROWS * SIZE].reshape(ROWS, SIZE, COLUMNS, SIZE, 3)
    return int((grid < 255).any(axis=(1, 3, 4)).sum())


def test_each_error_has_a_window_and_what_matches_has_none():
    pixels, nuclei = tile_with([(60, 60), (120, 100), (200, 150)])
    dots = np.array([[61.0, 60.0], [30.0, 170.0]])
    figure = error_figure([(pixels, nuclei, dots)], radius=10)
    assert figure.shape == (2 * PANEL, COLUMNS * SIZE, 3)
    assert windows_of(figure, 0) == 2
    assert windows_of(figure, 1) == 1
    # The missed dot is marked in the middle of its window.
    assert figure[PANEL + HEADING_PX + SIZE // 2, SIZE // 2].tolist() == list(MARK)


def test_without_errors_the_panels_are_empty():
    pixels, nuclei = tile_with([(60, 60)])
    figure = error_figure([(pixels, nuclei, np.array([[60.0, 60.0]]))], radius=10)
    assert windows_of(figure, 0) == windows_of(figure, 1) == 0


def test_more_errors_than_windows_are_sampled_and_the_sample_is_repeatable():
    pixels, nuclei = tile_with([])
    dots = np.random.default_rng(0).uniform(0, 200, (COLUMNS * ROWS + 30, 2))
    first, second = (error_figure([(pixels, nuclei, dots)], radius=10) for _ in range(2))
    assert windows_of(first, 1) == COLUMNS * ROWS
    np.testing.assert_array_equal(first, second)


def test_what_is_missed_is_shown_by_darkness():
    """Ten dots, of which the four darkest are found; each fifth has two."""
    dots = np.array([[20.0 + 24 * i, 60.0] for i in range(10)])
    darkness = np.arange(10) / 10
    pixels, nuclei = tile_with([tuple(dot) for dot in dots[6:].tolist()])
    figure = missed_figure([(pixels, nuclei, dots, darkness)])
    rows = figure.reshape(5, HEADING_PX + SIZE, COLUMNS * SIZE, 3)[:, HEADING_PX:]
    shown = (rows.reshape(5, SIZE, COLUMNS, SIZE, 3) < 255).any(axis=(1, 3, 4)).sum(axis=1)
    assert shown.tolist() == [2, 2, 2, 0, 0]
