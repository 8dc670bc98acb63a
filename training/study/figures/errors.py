"""What detection gets wrong, as a picture: nuclei that nobody marked, and marks where no nucleus was found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from app.pipeline.nuclei.outlines import contours
from app.pipeline.types import Nuclei, UInt8Array
from training.study.metrics.points import matched_pairs

WINDOW_PX = 64
SCALE = 2
COLUMNS, ROWS = 12, 4
HEADING_PX = 44
OUTLINE, MARK = (0, 160, 0), (200, 0, 0)
WHITE = 255


def error_figure(tiles: Sequence[tuple[UInt8Array, Nuclei, np.ndarray]], radius: float, seed: int = 0) -> UInt8Array:
    """A random sample of either error, each in the middle of its window.

    Args:
        tiles: pixels (H, W, 3) uint8, nuclei found, dots (M, 2) as x, y.
        radius: largest distance of a match, px.
        seed: of the sample.

    Returns:
        (H, W, 3) uint8: above, what was found and not marked; below, what was marked and not found.
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
    """The tile, enlarged and with an outline round each nucleus, on a white margin of half a window."""
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
