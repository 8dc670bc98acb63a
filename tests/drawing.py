"""Draw test tiles from known stains and shapes, so that the right answer is known too."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

HAEMATOXYLIN = np.array([0.65, 0.70, 0.29]) / np.linalg.norm([0.65, 0.70, 0.29])
EOSIN = np.array([0.07, 0.99, 0.11]) / np.linalg.norm([0.07, 0.99, 0.11])


def mix(haematoxylin, eosin, vectors=(HAEMATOXYLIN, EOSIN)) -> NDArray[np.uint8]:
    """Pixels whose optical density is a sum of two stains: (…) amounts → (…, 3)."""
    density = np.multiply.outer(haematoxylin, vectors[0]) + np.multiply.outer(eosin, vectors[1])
    return np.rint(np.clip(256 ** (1 - density / 255) - 1, 0, 255)).astype(np.uint8)


def disc(shape, centre, radius) -> NDArray[np.bool_]:
    """Pixels within `radius` of `centre` = (x, y)."""
    y, x = np.indices(shape)
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2


def discs(shape, centres, radius) -> NDArray[np.bool_]:
    return np.any([disc(shape, centre, radius) for centre in centres], axis=0)


def draw_tile(centres, *, shape=(200, 240), radius=11, seed=0) -> NDArray[np.uint8]:
    """An H&E tile: round nuclei on uneven eosin, with slight noise in both stains."""
    rng = np.random.default_rng(seed)
    unevenness = ndimage.gaussian_filter(rng.normal(size=shape), 6)
    eosin = np.clip(28 + 10 * unevenness / max(unevenness.std(), 1e-9) + rng.normal(0, 2, shape), 0, None)
    nuclei = ndimage.gaussian_filter(discs(shape, centres, radius).astype(float), 0.7) if len(centres) else 0.0
    haematoxylin = np.clip(nuclei * (85 + rng.normal(0, 5, shape)) + np.abs(rng.normal(0, 1, shape)), 0, None)
    return mix(haematoxylin, eosin)


def grid_of_centres(shape=(200, 240), step=40) -> NDArray[np.int64]:
    """(N, 2) x, y of nuclei that do not touch each other or the border, shifted off any symmetry."""
    y, x = np.mgrid[25 : shape[0] - 20 : step, 22 : shape[1] - 20 : step]
    shift = np.arange(x.size).reshape(x.shape)
    return np.stack([x + shift % 5, y + shift % 3], axis=-1).reshape(-1, 2)


def encoded(pixels, image_format="PNG", **options) -> bytes:
    """Pixels (or a PIL image) as a file."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()
