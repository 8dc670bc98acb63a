"""The colours of clusters and types, which are the same in the answer, on the page, in QuPath and in pictures."""

from __future__ import annotations

from app.pipeline.manifest import Manifest

Color = tuple[int, int, int]

_CLUSTERS: tuple[Color, ...] = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (213, 94, 0),  # vermillion
    (0, 114, 178),  # blue
    (204, 121, 167),  # reddish purple
    (0, 0, 0),  # black
)
"""Okabe and Ito's colours, which the colour-blind can tell apart. The colours that stand out from H&E come first."""

OUTLIER: Color = (153, 153, 153)
"""The colour of cells that no cluster counts."""

NO_TYPE: Color = (255, 255, 255)
"""The colour of cells that the cell classifier gave no type."""


def cluster_color(cluster: int) -> Color:
    """Return an RGB colour, 0–255. From the ninth cluster on, the colours repeat."""
    return _CLUSTERS[cluster % len(_CLUSTERS)]


def type_colors(manifest: Manifest) -> dict[str, Color]:
    """Return the RGB colour of each type by its name; none where the bundle has no cell classifier."""
    classifier = manifest.cell_classifier
    return {one.name: rgb_color(one.color) for one in classifier.types} if classifier else {}


def hex_color(color: Color) -> str:
    """Return a colour as #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def rgb_color(color: str) -> Color:
    """Return a colour that is written as #rrggbb."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue
