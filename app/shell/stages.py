"""The way from tile to crops as one figure (paper Fig. 6)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from app.pipeline.crops import CROP_PX
from app.pipeline.geometry import PixelMap
from app.pipeline.nuclei.outlines import contours
from app.pipeline.types import Nuclei, Stain, UInt8Array
from app.shell.figure import PANEL_PX, Panel, blank, compose, fit, place, with_text

PANEL_HEIGHTS_PX = (300, 1000)
"""Limits of the panels' height, which follows the tile's shape."""
INNER, BORDER = (0, 205, 60), (255, 120, 0)
"""Colours of the outlines."""
CROP_SCALES = range(8, 2, -1)
"""By how much crops are enlarged: as far as all of them can be shown, the least where not all can."""
CROP_GAP_PX = 4
GOLDEN_RATIO = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Captions:
    """What the figure says that its pixels do not.

    Attributes:
        title: the tile, the bundle, the number of nuclei.
        warnings: what is wrong with the tile.
        tile: what the first panel shows.
        notice: small print.
    """

    title: str
    warnings: tuple[str, ...]
    tile: str
    notice: str


def draw_stages(pixels: UInt8Array, stains: Stain, nuclei: Nuclei, crops: UInt8Array, captions: Captions) -> UInt8Array:
    """Draw the stages of one tile as 2 × 3 panels.

    Args:
        pixels: (H, W, 3) uint8 RGB, the tile at the analysed scale.
        stains: its normalisation and unmixing.
        nuclei: its nuclei.
        crops: (N, 32, 32, 3) uint8, in the order of `nuclei`.
        captions: the words.

    Returns:
        (height, WIDTH_PX, 3) uint8 RGB, of one width whatever the tile's size.
    """
    height = int(np.clip(round(PANEL_PX * pixels.shape[0] / pixels.shape[1]), *PANEL_HEIGHTS_PX))
    n, n_border = len(nuclei), int(nuclei.touches_border.sum())
    haematoxylin = np.repeat(stains.haematoxylin[..., None], 3, axis=2)
    grid, n_shown = _crop_panel(crops, height)
    of_all = f"first {n_shown} of {n}" if n_shown < n else f"all {n}"
    outline_key = ((f"{n - n_border} inside", INNER), (f"{n_border} touching the border", BORDER))
    panels = [
        Panel(fit(pixels, height), f"1 · {captions.tile}"),
        Panel(fit(stains.normalised, height), "2 · Reinhard-normalised"),
        Panel(fit(haematoxylin, height), "3 · Haematoxylin intensity, dark = stained"),
        Panel(fit(colour_nuclei(nuclei), height), "4 · Nuclear pixels, a colour for each nucleus"),
        Panel(_outline_panel(pixels, nuclei, height), "5 · Kept nuclei:", outline_key),
        Panel(grid, f"6 · Crops of {CROP_PX} × {CROP_PX} px" + (f", {of_all}" if n else "")),
    ]
    return compose(panels, captions.title, captions.warnings, captions.notice)


def colour_nuclei(nuclei: Nuclei) -> UInt8Array:
    """Every nucleus in a colour unlike its neighbours', on black: (H, W, 3) uint8, always the same for one tile."""
    i = np.arange(len(nuclei))
    # Steps of the golden ratio keep the hues of successive nuclei apart, however many there are.
    hsv = np.stack([i * GOLDEN_RATIO % 1 * 180, 110 + i % 3 * 55, 255 - i % 2 * 50], axis=1).astype(np.uint8)
    colours = np.zeros((len(nuclei) + 1, 3), np.uint8)
    if len(nuclei):
        colours[1:] = cv2.cvtColor(hsv[:, None], cv2.COLOR_HSV2RGB)[:, 0]
    return np.asarray(colours[nuclei.label_image])


def _outline_panel(pixels: UInt8Array, nuclei: Nuclei, panel_height: int) -> UInt8Array:
    """The tile with the outline of every nucleus, drawn after scaling, so that the lines stay sharp."""
    panel = fit(pixels, panel_height)
    left, top, width, height = place(pixels.shape[1], pixels.shape[0], panel_height)
    to_panel = PixelMap.onto((width, height), pixels.shape, (left, top))
    outlines = [np.rint(to_panel.points(contour)).astype(np.int32) for contour in contours(nuclei)]
    at_border = nuclei.touches_border
    thickness = 4 if width > 2 * pixels.shape[1] else 2
    # Those at the border come last: where two nuclei touch, theirs is the line to see.
    for colour, chosen in ((INNER, ~at_border), (BORDER, at_border)):
        lines = [outlines[i] for i in np.flatnonzero(chosen)]
        cv2.polylines(panel, lines, isClosed=True, color=colour, thickness=thickness, lineType=cv2.LINE_AA)
    return panel


def _crop_panel(crops: UInt8Array, panel_height: int) -> tuple[UInt8Array, int]:
    """The first crops in a grid, and how many they are."""
    panel = blank(panel_height)
    if not len(crops):
        return with_text(panel, "No nucleus was found."), 0
    for scale in CROP_SCALES:
        pitch = CROP_PX * scale + CROP_GAP_PX
        columns, rows = PANEL_PX // pitch, panel_height // pitch
        if columns * rows >= len(crops):
            break
    shown = crops[: columns * rows]
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    left, top = (PANEL_PX - columns * pitch + CROP_GAP_PX) // 2, (panel_height - rows * pitch + CROP_GAP_PX) // 2
    for i, crop in enumerate(shown):
        x, y = left + i % columns * pitch, top + i // columns * pitch
        panel[y : y + CROP_PX * scale, x : x + CROP_PX * scale] = crop.repeat(scale, axis=0).repeat(scale, axis=1)
    return panel, len(shown)
