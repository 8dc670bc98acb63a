"""Nuclei of known shapes and densities, with the stains that show them."""

import numpy as np

from app.pipeline.measure.cells import measure_cells
from app.pipeline.measure.table import INDEX
from app.pipeline.nuclei.measure import measure
from app.pipeline.types import Later, Stain
from tests.drawing import EOSIN, HAEMATOXYLIN

MATRIX = np.column_stack([HAEMATOXYLIN, EOSIN])
MPP = 0.25


def nuclei_of(*masks):
    """The nuclei that these masks show, in this order."""
    labels = np.zeros(masks[0].shape, np.int32)
    for i, mask in enumerate(masks, start=1):
        labels[mask] = i
    return measure(labels)


def stained(haematoxylin, eosin, tissue=None) -> Stain:
    """A tile in which each pixel has these optical densities, base 10, as far as 8 bits can show them."""
    density = np.multiply.outer(haematoxylin, HAEMATOXYLIN) + np.multiply.outer(eosin, EOSIN)
    pixels = np.rint(np.clip(256 * 10.0**-density - 1, 0, 255)).astype(np.uint8)
    seen = np.ones(pixels.shape[:2], bool) if tissue is None else tissue
    return Stain(pixels, seen, MATRIX, Later(lambda: (pixels[..., 0], None)))


def plain(shape, density=0.6) -> Stain:
    """A tile of one density everywhere."""
    return stained(np.full(shape, density), np.full(shape, 0.2))


def measured(nuclei, stains=None, mpp=MPP, row=0) -> dict[str, float]:
    """The measurements of one nucleus, by name."""
    found = measure_cells(stains or plain(nuclei.label_image.shape), nuclei, mpp)
    return {name: found.values[row, i] for name, i in INDEX.items()}


def ellipse(shape, centre, half_axes, turn_deg=0.0):
    y, x = np.indices(shape)
    turn = np.deg2rad(turn_deg)
    along = (x - centre[0]) * np.cos(turn) + (y - centre[1]) * np.sin(turn)
    across = (y - centre[1]) * np.cos(turn) - (x - centre[0]) * np.sin(turn)
    return (along / half_axes[0]) ** 2 + (across / half_axes[1]) ** 2 <= 1


def blobs(seed, shape=(120, 150)):
    """Nuclei of irregular shapes, each in one piece and none at the border."""
    random = np.random.default_rng(seed)
    masks = []
    for row in range(2):
        for column in range(3):
            centre = np.array([25 + 50 * column, 30 + 60 * row]) + random.uniform(-4, 4, 2)
            mask = ellipse(shape, centre, random.uniform(5, 15, 2), random.uniform(0, 180))
            offset = random.uniform(-9, 9, 2)
            masks.append(mask | ellipse(shape, centre + offset, random.uniform(5, 9, 2), random.uniform(0, 180)))
    return masks
