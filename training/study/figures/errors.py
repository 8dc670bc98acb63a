"""Pictures of the errors of detection: nuclei that are not marked in the data, and marks without a nucleus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from app.pipeline.nuclei.outlines import contours
from app.pipeline.types import Nuclei, UInt8Array
from training.cells.tile_files import read_tile, tile_paths
from training.errors import DataError
from training.metrics.nuclei import matched_pairs
from training.study.protocols.missed import N_DARKNESS, density_round, relative_density
from training.study.protocols.segmentation import (
    COMPLETE_DOTS,
    DETECTION_RADIUS_PX,
    KAINZ_TEST_TILES,
    Track,
    read_dots,
)
from training.study.systems.segmentation_systems import System

WINDOW_PX = 64
SCALE = 2
COLUMNS, ROWS = 12, 4
HEADING_PX = 44
OUTLINE, MARK = (0, 160, 0), (200, 0, 0)
WHITE = 255


def draw_detection_errors(directory: Path, system: System, track: Track = iter) -> UInt8Array:
    """Draw the errors of detection on Kainz's test tiles with `error_figure`.

    Args:
        directory: directory that holds `tiles` and `cells_mbm.csv` (tile, x, y).
        system: system that finds the nuclei.
        track: wraps the tiles, to show progress.

    Raises:
        DataError: there is no cells_mbm.csv or no test tile, or a tile cannot be decoded.
    """
    return error_figure(list(_test_tiles(directory, system, track)), DETECTION_RADIUS_PX)


def draw_missed_nuclei(directory: Path, system: System, track: Track = iter) -> UInt8Array:
    """Draw marked nuclei of Kainz's test tiles that are not found, from pale to dark, with `missed_figure`.

    Args:
        directory: directory that holds `tiles` and `cells_mbm.csv` (tile, x, y).
        system: system that finds the nuclei.
        track: wraps the tiles, to show progress.

    Raises:
        DataError: there is no cells_mbm.csv or no test tile, or a tile cannot be decoded.
    """
    tiles = _test_tiles(directory, system, track)
    return missed_figure([(*tile, density_round(tile[2], relative_density(tile[0]))) for tile in tiles])


def _test_tiles(directory: Path, system: System, track: Track) -> Iterator[tuple[UInt8Array, Nuclei, np.ndarray]]:
    """Yield the pixels of each test tile, the nuclei that are found, and the complete dots, (M, 2) of x and y."""
    dots = read_dots(directory / COMPLETE_DOTS)
    paths = [path for path in tile_paths(directory / "tiles") if path.stem in KAINZ_TEST_TILES]
    if not paths:
        raise DataError(f"{directory} holds none of the test tiles {', '.join(sorted(KAINZ_TEST_TILES))}.")
    for path in track(paths):
        pixels = read_tile(path)
        yield pixels, system(pixels), dots[path.stem][:, :2]


def error_figure(tiles: Sequence[tuple[UInt8Array, Nuclei, np.ndarray]], radius: float, seed: int = 0) -> UInt8Array:
    """Draw a random sample of both kinds of error, each in the middle of a window.

    Args:
        tiles: for each tile, its pixels (H, W, 3) uint8, the nuclei that were found, and the dots, (M, 2) of x and y.
        radius: largest distance of a match, px.
        seed: seed of the random sample.

    Returns:
        (H, W, 3) uint8: at the top, nuclei that were found but not marked; below, dots that were marked but not found.
    """
    unmarked, missed = [], []
    for pixels, nuclei, dots in tiles:
        found, marked = matched_pairs(nuclei.centroids, dots, radius)
        drawn = _outlined(pixels, nuclei)
        unmarked += [_window(drawn, point) for point in np.delete(nuclei.centroids, found, axis=0)]
        missed += [_window(drawn, point, mark=True) for point in np.delete(dots, marked, axis=0)]
    random = np.random.default_rng(seed)
    headings = (f"found, not marked ({len(unmarked)})", f"marked, not found ({len(missed)})")
    return np.concatenate(
        [_panel(windows, text, random, ROWS) for windows, text in zip((unmarked, missed), headings, strict=True)]
    )


def missed_figure(
    tiles: Sequence[tuple[UInt8Array, Nuclei, np.ndarray, np.ndarray]],
    radius: float = DETECTION_RADIUS_PX,
    seed: int = 0,
) -> UInt8Array:
    """Draw a random sample of the dots that are not found, each in the middle of a window, by darkness.

    Args:
        tiles: for each tile, its pixels (H, W, 3) uint8, the nuclei that were found, the dots, (M, 2) of x and y, and
            their darkness, (M,) float.
        radius: largest distance of a match, px.
        seed: seed of the random sample.

    Returns:
        (H, W, 3) uint8: a panel for each fifth of all dots, from pale to dark.
    """
    bounds = np.quantile(np.concatenate([tile[3] for tile in tiles]), np.linspace(0, 1, N_DARKNESS + 1)[1:-1])
    windows: list[list[UInt8Array]] = [[] for _ in range(N_DARKNESS)]
    marked = np.zeros(N_DARKNESS, int)
    for pixels, nuclei, dots, darkness in tiles:
        drawn = _outlined(pixels, nuclei)
        fifths = np.searchsorted(bounds, darkness, side="right")
        marked += np.bincount(fifths, minlength=N_DARKNESS)
        missed = np.delete(np.arange(len(dots)), matched_pairs(nuclei.centroids, dots, radius)[1])
        for i in missed.tolist():
            windows[fifths[i]].append(_window(drawn, dots[i]))
    random = np.random.default_rng(seed)
    names = ("palest fifth", "second fifth", "middle fifth", "fourth fifth", "darkest fifth")
    return np.concatenate(
        [
            _panel(of_fifth, f"{name}: {len(of_fifth)} of {n} are not found", random, 1)
            for name, of_fifth, n in zip(names, windows, marked.tolist(), strict=True)
        ]
    )


def _outlined(pixels: UInt8Array, nuclei: Nuclei) -> Image.Image:
    """Enlarge the tile, outline each nucleus, and add a white margin as wide as a window."""
    image = Image.fromarray(
        np.pad(pixels, ((WINDOW_PX, WINDOW_PX), (WINDOW_PX, WINDOW_PX), (0, 0)), constant_values=WHITE)
    )
    image = image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for outline in contours(nuclei):
        points = [((x + 0.5 + WINDOW_PX) * SCALE, (y + 0.5 + WINDOW_PX) * SCALE) for x, y in outline.tolist()]
        draw.line([*points, points[0]], fill=OUTLINE, width=1)
    return image


def _window(image: Image.Image, point: np.ndarray, *, mark: bool = False) -> UInt8Array:
    x, y = ((point + 0.5 + WINDOW_PX) * SCALE).round().astype(int).tolist()
    half = WINDOW_PX * SCALE // 2
    window = image.crop((x - half, y - half, x + half, y + half))
    if mark:
        ImageDraw.Draw(window).ellipse((half - 4, half - 4, half + 4, half + 4), fill=MARK)
    return np.asarray(window)


def _panel(windows: list[UInt8Array], heading: str, random: np.random.Generator, rows: int) -> UInt8Array:
    size = WINDOW_PX * SCALE
    panel = Image.new("RGB", (COLUMNS * size, rows * size + HEADING_PX), "white")
    shown = random.permutation(len(windows))[: COLUMNS * rows].tolist()
    text = f"{heading}, {len(shown)} of them at random"
    ImageDraw.Draw(panel).text((10, 8), text, fill="black", font=ImageFont.load_default(size=24))
    for place, i in enumerate(shown):
        panel.paste(Image.fromarray(windows[i]), (place % COLUMNS * size, HEADING_PX + place // COLUMNS * size))
    return np.asarray(panel)
