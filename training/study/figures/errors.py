"""The picture of the errors of detection: nuclei that are not marked in the data, and marks without a nucleus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from app.pipeline.nuclei.outlines import contours
from app.pipeline.types import Nuclei, UInt8Array
from training.cells.tile_files import read_tile, tile_paths
from training.errors import DataError
from training.metrics.nuclei import matched_pairs
from training.study.protocols.segmentation import DETECTION_RADIUS_PX, KAINZ_TEST_TILES, Track, read_dots
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
        directory: directory that holds `tiles` and `cells.csv` (tile, x, y, code).
        system: system that finds the nuclei.
        track: wraps the tiles, to show progress.

    Raises:
        DataError: there is no cells.csv or no test tile, or a tile cannot be decoded.
    """
    dots = read_dots(directory / "cells.csv")
    paths = [path for path in tile_paths(directory / "tiles") if path.stem in KAINZ_TEST_TILES]
    if not paths:
        raise DataError(f"{directory} holds none of the test tiles {', '.join(sorted(KAINZ_TEST_TILES))}.")
    tiles = [(pixels := read_tile(path), system(pixels), dots[path.stem][:, :2]) for path in track(paths)]
    return error_figure(tiles, DETECTION_RADIUS_PX)


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
        [_panel(windows, text, random) for windows, text in zip((unmarked, missed), headings, strict=True)]
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


def _panel(windows: list[UInt8Array], heading: str, random: np.random.Generator) -> UInt8Array:
    size = WINDOW_PX * SCALE
    panel = Image.new("RGB", (COLUMNS * size, ROWS * size + HEADING_PX), "white")
    shown = random.permutation(len(windows))[: COLUMNS * ROWS].tolist()
    text = f"{heading}, {len(shown)} of them at random"
    ImageDraw.Draw(panel).text((10, 8), text, fill="black", font=ImageFont.load_default(size=24))
    for place, i in enumerate(shown):
        panel.paste(Image.fromarray(windows[i]), (place % COLUMNS * size, HEADING_PX + place // COLUMNS * size))
    return np.asarray(panel)
