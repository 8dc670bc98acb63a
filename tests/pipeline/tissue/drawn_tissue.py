"""Draw tiles of tissue whose kinds cover known areas. All lengths are µm; a tile is drawn at any scale."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from app.pipeline.nuclei.measure import measure
from app.pipeline.tissue.classes import BACKGROUND, BONE_AND_STROMA, CLASSES, FAT, HAEMATOPOIETIC, RED_CELLS
from app.pipeline.tissue.compose import compose
from app.pipeline.types import Later, Stain
from tests.drawing import EOSIN, HAEMATOXYLIN

HAEMOGLOBIN = np.array([0.10, 0.80, 0.60])
GLASS = 245


@dataclass
class Drawing:
    """A tile that begins as one kind of tissue, on which others are drawn.

    Attributes:
        size: width and height.
        mpp: µm per pixel.
        truth: (H, W) uint8, the kind of each pixel.
    """

    size: tuple[float, float]
    mpp: float
    ground: int = HAEMATOPOIETIC

    def __post_init__(self):
        width, height = (round(side / self.mpp) for side in self.size)
        rows, columns = np.indices((height, width))
        self.x, self.y = (columns + 0.5) * self.mpp, (rows + 0.5) * self.mpp
        self.truth = np.full((height, width), self.ground, np.uint8)

    def paint(self, kind, shape):
        self.truth[shape] = kind
        return self

    def disc(self, x, y, diameter):
        return (self.x - x) ** 2 + (self.y - y) ** 2 <= diameter**2 / 4

    def box(self, x0, y0, x1, y1):
        return (self.x >= x0) & (self.x < x1) & (self.y >= y0) & (self.y < y1)

    def ellipse(self, x, y, length, width, degrees=0.0):
        along, across = self.turned(x, y, degrees)
        return (2 * along / length) ** 2 + (2 * across / width) ** 2 <= 1

    def tear(self, x, y, length, width, degrees=0.0):
        """A long, bent, ragged hole."""
        along, across = self.turned(x, y, degrees)
        ragged = width * (0.5 + 0.08 * np.sin(along / 2.3) + 0.05 * np.sin(along / 1.3 + 1))
        return (np.abs(along) <= length / 2) & (np.abs(across - 0.3 * width * np.sin(along / 12)) <= ragged)

    def turned(self, x, y, degrees):
        cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        return cosine * (self.x - x) + sine * (self.y - y), -sine * (self.x - x) + cosine * (self.y - y)

    def nuclei(self, step=9.0, diameter=6.5, margin=4.5):
        """(H, W) int32 label image: nuclei in all haematopoietic tissue, off its edges."""
        deep = (
            ndimage.distance_transform_edt(np.pad(self.truth == HAEMATOPOIETIC, 1, mode="edge"))[1:-1, 1:-1] * self.mpp
        )
        centres = [
            (x + 1.5 * np.sin(3 * x + y), y + 1.5 * np.cos(x - 2 * y))
            for y in np.arange(step / 2, self.size[1], step)
            for x in np.arange(step / 2, self.size[0], step)
        ]
        return self.label_image([(x, y) for x, y in centres if deep[self.at(x, y)] >= margin], diameter)

    def at(self, x, y):
        height, width = self.truth.shape
        return min(int(y / self.mpp), height - 1), min(int(x / self.mpp), width - 1)

    def label_image(self, centres, diameter=7.0):
        found = np.zeros(self.truth.shape, np.int32)
        for i, (x, y) in enumerate(centres):
            found[self.disc(x, y, diameter)] = i + 1
        return found

    def pixels(self, nuclei, seed=0):
        """(H, W, 3) uint8, stained by haematoxylin, eosin and, in red cells, haemoglobin; slightly noisy."""
        rng = np.random.default_rng(seed)
        amounts = np.zeros((3, *self.truth.shape))
        for kind, stains in {HAEMATOPOIETIC: (8, 22, 0), BONE_AND_STROMA: (2, 45, 0), RED_CELLS: (0, 0, 45)}.items():
            amounts[:, self.truth == kind] = np.array(stains)[:, None]
        amounts[0][nuclei > 0] = 75
        sharpness = 0.5 / self.mpp  # of the microscope, µm
        amounts = np.array([ndimage.gaussian_filter(amount, sharpness) for amount in amounts])
        amounts = np.clip(amounts + rng.normal(0, 1, amounts.shape) * (amounts > 1), 0, None)
        vectors = np.array([HAEMATOXYLIN, EOSIN, HAEMOGLOBIN])
        density = np.tensordot(amounts, vectors, axes=(0, 0))
        white = 255 * (1 - np.log(GLASS + 1) / np.log(256))
        return np.rint(np.clip(256 ** (1 - (density + white) / 255) - 1, 0, 255)).astype(np.uint8)

    def composed(self):
        label_image = self.nuclei()
        return composed(self.pixels(label_image), label_image, self.mpp)

    def shares(self):
        return named(np.bincount(self.truth.ravel(), minlength=len(CLASSES)) / self.truth.size)


STAIN_MATRIX = np.stack([HAEMATOXYLIN, EOSIN], axis=1)


def composed(pixels, label_image, mpp, matrix=STAIN_MATRIX):
    stains = Stain(pixels, np.ones(pixels.shape[:2], bool), matrix, Later(lambda: (pixels[..., 0], None)))
    return compose(pixels, stains, measure(label_image), mpp)


def named(shares):
    return dict(zip(CLASSES, np.asarray(shares, float).round(4).tolist(), strict=True))


def mixed(mpp):
    """All kinds: round, touching and cut vacuoles, a tear, a trabecula of bone, a pool of red cells, glass."""
    drawing = Drawing((300, 300), mpp)
    drawing.paint(BONE_AND_STROMA, drawing.box(0, 212, 300, 240))
    drawing.paint(BACKGROUND, drawing.y > 275 + 4 * np.sin(drawing.x / 9))
    drawing.paint(RED_CELLS, drawing.ellipse(230, 165, 110, 60))
    drawing.paint(BACKGROUND, drawing.tear(225, 105, 110, 14, 10))
    for x, y, diameter in ((60, 62, 80), (135, 45, 40), (130, 105, 60), (69, 134, 60), (30, 185, 30), (130, 180, 50)):
        drawing.paint(FAT, drawing.disc(x, y, diameter))
    for x, y, diameter in ((215, 0, 70), (300, 50, 60), (-8, 125, 56)):
        drawing.paint(FAT, drawing.disc(x, y, diameter))
    return drawing
