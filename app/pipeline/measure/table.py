"""What is measured on every nucleus: names, units and definitions, in the order of the columns.

Every format, the page and the documents take them from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from app.pipeline.errors import InvalidParameter

Unit = Literal["um2", "um", "od", "od_per_um", "bits", "count", ""]
Group = Literal["shape", "density", "cytoplasm", "chromatin", "neighbours"]

LENGTH_POWERS: dict[Unit, int] = {"um2": 2, "um": 1, "od_per_um": -1}
"""With which power of a length a unit grows; a unit that is not named does not depend on the scale."""
IN_PIXELS: dict[Unit, str] = {"um2": "px", "um": "px", "od_per_um": "od_per_px"}
SYMBOLS = {
    "um2": "µm²",
    "um": "µm",
    "od": "OD",
    "od_per_um": "OD/µm",
    "od_per_px": "OD/px",
    "px": "px",
    "bits": "bits",
    "count": "",
    "": "",
}
DECIMALS: dict[Unit, int] = {"um2": 3, "um": 3, "od": 4, "od_per_um": 4, "bits": 4, "count": 0, "": 4}

NEIGHBOURHOOD_UM = 25.0
"""Radius in µm within which the neighbours of a nucleus are counted."""
RING_UM = 3.0
"""Width in µm of the ring round a nucleus that stands for its cytoplasm."""
FINE_UM, COARSE_UM, PAIR_UM = 0.25, 1.0, 0.5
"""Distances in µm of the pixels that are compared for the two contrasts of chromatin, and for Haralick's features."""
GREY_LEVELS, GREY_STEP_OD = 16, 0.1
"""Haralick's features are of this many levels of this optical density each; the last one holds all that is denser."""
ENTROPY_STEP_OD = 0.05
"""Width in optical density of the bins of the histogram whose entropy is measured."""
CLUMP_SD, CLUMP_UM2 = 1.0, 0.5
"""A dark clump is this many standard deviations above the nucleus's mean, and has at least this area in µm²."""
CONCAVITY_UM = 0.75
"""Depth in µm from which on a concavity of the outline counts."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of a nucleus.

    Attributes:
        name: without the unit.
        unit: where the scale is known.
        title: what people read.
        group: what it is measured on.
        qupath: QuPath's name without the unit.
        definition: the formula, in whole sentences.
        source: where the definition comes from; empty for one of our own.
    """

    name: str
    unit: Unit
    title: str
    group: Group
    qupath: str
    definition: str
    source: str = ""

    def column(self, scale_known: bool) -> str:
        """Return the public name; where the unit depends on the scale, the name ends in it."""
        if self.unit not in IN_PIXELS:
            return self.name
        return f"{self.name}_{self.unit if scale_known else IN_PIXELS[self.unit]}"

    def symbol(self, scale_known: bool) -> str:
        """Return the unit as people write it; empty for a number without a unit."""
        return SYMBOLS[self.unit if scale_known else IN_PIXELS.get(self.unit, self.unit)]

    def qupath_name(self, scale_known: bool) -> str:
        """Return the name that QuPath gives this measurement, or would give it."""
        unit = {"um2": ("px^2", "µm^2"), "um": ("px", "µm"), "od_per_um": ("OD/px", "OD/µm")}.get(self.unit)
        return self.qupath if unit is None else f"{self.qupath} {unit[scale_known]}"

    def per_pixel(self, mpp: float) -> float:
        """Return by what a value in the unit is multiplied to be in pixels of `mpp` µm."""
        return float(mpp ** -LENGTH_POWERS.get(self.unit, 0))


SKIMAGE = "scikit-image, regionprops"
QUPATH = "QuPath, shape features"
HARALICK = "Haralick, Shanmugam and Dinstein 1973; mean of four directions"

SHAPE = (
    Measurement("area", "um2", "Nuclear area", "shape", "Nucleus: Area", "Number of pixels of the nucleus.", SKIMAGE),
    Measurement(
        "perimeter",
        "um",
        "Perimeter",
        "shape",
        "Nucleus: Length",
        "Length of the outline by Crofton's formula: π/4 times the sum, over four directions, of the number of lines "
        "that leave the nucleus times their distance.",
        "scikit-image, perimeter_crofton with directions=4",
    ),
    Measurement(
        "equivalent_diameter",
        "um",
        "Equivalent diameter",
        "shape",
        "Nucleus: Equivalent diameter",
        "Diameter of the disc that has the same area: 2 √(area / π).",
        SKIMAGE,
    ),
    Measurement(
        "major_axis",
        "um",
        "Major axis",
        "shape",
        "Nucleus: Major axis",
        "Length of the major axis of the ellipse that has the same second moments.",
        SKIMAGE,
    ),
    Measurement(
        "minor_axis",
        "um",
        "Minor axis",
        "shape",
        "Nucleus: Minor axis",
        "Length of the minor axis of the ellipse that has the same second moments.",
        SKIMAGE,
    ),
    Measurement(
        "feret_max",
        "um",
        "Longest diameter (Feret)",
        "shape",
        "Nucleus: Max diameter",
        "Longest distance between two points of the outline, which runs through the middles of the pixels' outer "
        "sides.",
        "scikit-image, feret_diameter_max, within a pixel",
    ),
    Measurement(
        "feret_min",
        "um",
        "Shortest diameter (Feret)",
        "shape",
        "Nucleus: Min diameter",
        "Smallest distance between two parallel lines that hold the outline between them.",
        QUPATH,
    ),
    Measurement(
        "eccentricity",
        "",
        "Eccentricity",
        "shape",
        "Nucleus: Eccentricity",
        "√(1 − (minor axis / major axis)²): 0 for a circle, towards 1 for a line.",
        SKIMAGE,
    ),
    Measurement(
        "circularity",
        "",
        "Circularity",
        "shape",
        "Nucleus: Circularity",
        "4 π area / perimeter², at most 1: 1 for a disc, lower for a long or lobed outline.",
        QUPATH,
    ),
    Measurement(
        "solidity",
        "",
        "Solidity",
        "shape",
        "Nucleus: Solidity",
        "Number of pixels over that of the pixels whose centres lie in the convex hull of their centres: 1 for a "
        "convex nucleus.",
        "scikit-image, solidity with offset_coordinates=False",
    ),
    Measurement(
        "lobulation",
        "",
        "Lobulation",
        "shape",
        "Nucleus: Lobulation",
        "Depth of the deepest concavity of the outline below its convex hull, over the equivalent diameter: 0 for a "
        "convex nucleus.",
    ),
    Measurement(
        "concavities",
        "count",
        "Concavities",
        "shape",
        "Nucleus: Concavities",
        f"Number of concavities of the outline that are at least {CONCAVITY_UM} µm deep: 2 for two lobes.",
    ),
)

STATISTICS = {
    "mean": ("mean", "mean", "Mean"),
    "sd": ("standard deviation", "std dev", "Standard deviation of the"),
    "min": ("minimum", "min", "Smallest"),
    "max": ("maximum", "max", "Largest"),
    "p25": ("lower quartile", "lower quartile", "First quartile of the"),
    "median": ("median", "median", "Median"),
    "p75": ("upper quartile", "upper quartile", "Third quartile of the"),
}
"""By name: in a title, in QuPath's names, and at the beginning of a definition."""
STAINS = {"haematoxylin": "Hematoxylin", "eosin": "Eosin"}
"""By our name, QuPath's."""


def _densities(group: Group, prefix: str, place: str, where: str) -> tuple[Measurement, ...]:
    return tuple(
        Measurement(
            f"{prefix}{stain}_od_{statistic}",
            "od",
            f"{stain.capitalize()}{place}, {in_title}",
            group,
            f"{'Cytoplasm' if prefix else 'Nucleus'}: {in_qupath} OD {of_qupath}",
            f"{begins} optical density of {stain} {where}.",
            "QuPath, cell detection",
        )
        for stain, in_qupath in STAINS.items()
        for statistic, (in_title, of_qupath, begins) in STATISTICS.items()
    )


DENSITY = _densities("density", "", "", "over the pixels of the nucleus")
CYTOPLASM = _densities(
    "cytoplasm",
    "cytoplasm_",
    " of cytoplasm",
    f"in the ring of {RING_UM:g} µm round the nucleus, without glass and without what lies in or nearer to another "
    "nucleus; of the pixels of every second row and column",
)
CHROMATIN = (
    Measurement(
        "chromatin_contrast",
        "od",
        "Chromatin contrast, fine",
        "chromatin",
        "Nucleus: Chromatin contrast fine",
        "Mean absolute difference of the optical density of haematoxylin between pixels of the nucleus that are "
        f"{FINE_UM} µm apart along a row or column.",
    ),
    Measurement(
        "chromatin_contrast_coarse",
        "od",
        "Chromatin contrast, coarse",
        "chromatin",
        "Nucleus: Chromatin contrast coarse",
        f"The same for pixels that are {COARSE_UM:g} µm apart.",
    ),
    Measurement(
        "chromatin_entropy",
        "bits",
        "Chromatin entropy",
        "chromatin",
        "Nucleus: Chromatin entropy",
        "Shannon entropy of the histogram of the nucleus's optical density of haematoxylin, in bins of "
        f"{ENTROPY_STEP_OD}.",
        "Shannon 1948",
    ),
    Measurement(
        "haralick_contrast",
        "",
        "Haralick contrast",
        "chromatin",
        "Nucleus: Hematoxylin OD: Haralick Contrast (F1)",
        f"Σ p(i, j) (i − j)², where p is how often two pixels of the nucleus {PAIR_UM} µm apart have the levels i and "
        f"j of the optical density of haematoxylin, of {GREY_LEVELS} levels of {GREY_STEP_OD} each.",
        HARALICK,
    ),
    Measurement(
        "haralick_correlation",
        "",
        "Haralick correlation",
        "chromatin",
        "Nucleus: Hematoxylin OD: Haralick Correlation (F2)",
        "Correlation of the levels i and j of such pairs; it is not defined where all pixels have one level.",
        HARALICK,
    ),
    Measurement(
        "haralick_homogeneity",
        "",
        "Haralick homogeneity",
        "chromatin",
        "Nucleus: Hematoxylin OD: Haralick Inverse difference moment (F4)",
        "Σ p(i, j) / (1 + (i − j)²): 1 for even chromatin.",
        HARALICK,
    ),
    Measurement(
        "haralick_energy",
        "",
        "Haralick energy",
        "chromatin",
        "Nucleus: Hematoxylin OD: Haralick Angular second moment (F0)",
        "Σ p(i, j)²: 1 where all pixels have one level.",
        HARALICK,
    ),
    Measurement(
        "edge_sharpness",
        "od_per_um",
        "Edge sharpness",
        "chromatin",
        "Nucleus: Edge sharpness",
        "Mean length of the gradient of the optical density of haematoxylin on the outermost pixels of the nucleus, "
        "by central differences.",
    ),
    Measurement(
        "dark_clumps",
        "count",
        "Dark clumps",
        "chromatin",
        "Nucleus: Dark clumps",
        f"Number of connected areas of at least {CLUMP_UM2} µm² inside the outline whose optical density of "
        f"haematoxylin is more than {CLUMP_SD:g} standard deviation above the nucleus's mean.",
    ),
)
NEIGHBOURS = (
    Measurement(
        "neighbour_distance",
        "um",
        "Distance to the nearest nucleus",
        "neighbours",
        "Neighbours: Nearest distance",
        "Distance between the centre of the nucleus and the nearest other centre.",
        "CellProfiler, MeasureObjectNeighbors",
    ),
    Measurement(
        "neighbours_within_25_um",
        "count",
        f"Neighbours within {NEIGHBOURHOOD_UM:g} µm",
        "neighbours",
        f"Neighbours: Number within {NEIGHBOURHOOD_UM:g} µm",
        f"Number of other nuclei whose centres are at most {NEIGHBOURHOOD_UM:g} µm away.",
        "CellProfiler, MeasureObjectNeighbors",
    ),
)
MEASUREMENTS = (*SHAPE, *DENSITY, *CYTOPLASM, *CHROMATIN, *NEIGHBOURS)
INDEX = {measurement.name: i for i, measurement in enumerate(MEASUREMENTS)}


def check_measurement(name: str | None) -> str | None:
    """Refuse a name that no measurement has, and return any other; None, which names none, passes.

    Raises:
        InvalidParameter: no measurement has this name, or it has a unit at its end.
    """
    if name is None or name in INDEX:
        return name
    near = get_close_matches(name, INDEX, n=1)
    hint = f"; did you mean {near[0]}?" if near else ", such as area or chromatin_contrast."
    raise InvalidParameter(f"'{name[:80]}' is not the name of a measurement{hint}")


REASONS = (
    "",
    "touches_border",
    "too_few_pixels",
    "no_stain",
    "no_cytoplasm",
    "near_border",
    "no_neighbour",
    "not_defined",
)
"""Why a measurement is missing, by code; code 0 is of one that is there."""
MEASURED, TOUCHES_BORDER, TOO_FEW_PIXELS, NO_STAIN, NO_CYTOPLASM, NEAR_BORDER, NO_NEIGHBOUR, NOT_DEFINED = range(8)
REASON_TEXTS = {
    "touches_border": "The tile's border cuts the nucleus, so its size and shape are not seen.",
    "too_few_pixels": "The nucleus has fewer than 5 pixels, or is as thin as a line.",
    "no_stain": "Two stains could not be told apart in the tile.",
    "no_cytoplasm": "Too little cytoplasm is seen between the nucleus, its neighbours and the glass.",
    "near_border": "The nucleus is so near to the tile's border that neighbours beyond it are not seen.",
    "no_neighbour": "There is no other nucleus.",
    "not_defined": "The formula has no value for this nucleus, whose pixels are all alike.",
}
