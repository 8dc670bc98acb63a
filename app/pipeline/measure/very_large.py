"""Very large nuclei, as megakaryocytes have: found by size, from lobes that touch, and by the cytoplasm round them.

The limits were set by looking at the tiles of bm_graz. Nobody has compared what is found with a person's count, so
whatever is found is a candidate.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from app.pipeline.types import Int64Array, Nuclei

MIN_DIAMETER_UM = 9.0
"""Equivalent diameter in µm from which on a nucleus, or touching lobes together, are very large."""
MIN_LOBE_UM = 4.0
"""Equivalent diameter in µm that a lobe has at least: smaller nuclei beside a large one are neighbours."""
LOBE_GAP_UM = 0.5
"""Lobes of one nucleus lie at most so many µm apart."""
CYTOPLASM_UM, MAX_OTHERS = 5.0, 0.15
"""Within so many µm round a very large nucleus, other nuclei have at most this share of the area: its cytoplasm is
wide, and nuclei that merely crowd together have none."""


@dataclass(frozen=True, slots=True)
class VeryLargeNucleus:
    """One candidate.

    Attributes:
        members: (n,) int64, the nuclei that are its lobes, from 0, the largest first.
        area_um2: of all lobes together.
    """

    members: Int64Array
    area_um2: float

    @property
    def diameter_um(self) -> float:
        """Equivalent diameter."""
        return float(2 * np.sqrt(self.area_um2 / np.pi))


def find_very_large(nuclei: Nuclei, mpp: float) -> list[VeryLargeNucleus]:
    """Find the very large nuclei of a tile.

    Args:
        nuclei: N nuclei.
        mpp: µm per pixel.

    Returns:
        The candidates, the largest first.
    """
    areas = nuclei.areas_px * mpp**2
    lobes = np.flatnonzero(areas >= _area(MIN_LOBE_UM))
    if not len(lobes):
        return []
    group = _joined(nuclei, lobes, mpp)
    total = np.bincount(group, weights=areas[lobes])
    found = []
    for number in np.flatnonzero(total >= _area(MIN_DIAMETER_UM)):
        members = lobes[group == number]
        if _share_of_others(nuclei, members, mpp) <= MAX_OTHERS:
            found.append(VeryLargeNucleus(members[np.argsort(-areas[members])], float(total[number])))
    return sorted(found, key=lambda nucleus: -nucleus.area_um2)


def _area(diameter: float) -> float:
    return float(np.pi * diameter**2 / 4)


def _joined(nuclei: Nuclei, lobes: Int64Array, mpp: float) -> Int64Array:
    """Return (L,) the group of each lobe, 0…G − 1: lobes are joined where they lie as near as LOBE_GAP_UM."""
    step = max(1, round(LOBE_GAP_UM / mpp))
    sampled = np.ascontiguousarray(nuclei.label_image[::step, ::step])
    pairs = []
    for one, other in (
        (sampled[:, 1:], sampled[:, :-1]),
        (sampled[1:], sampled[:-1]),
        (sampled[1:, 1:], sampled[:-1, :-1]),
        (sampled[1:, :-1], sampled[:-1, 1:]),
    ):
        touch = (one != other) & ((one > 0) & (other > 0))
        pairs.append(np.stack([one[touch], other[touch]]))
    number = np.full(len(nuclei) + 1, -1)
    number[lobes + 1] = np.arange(len(lobes))
    joined = number[np.concatenate(pairs, axis=1)]
    joined = joined[:, (joined >= 0).all(axis=0)]
    graph = csr_array((np.ones(joined.shape[1], bool), tuple(joined)), shape=(len(lobes), len(lobes)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _share_of_others(nuclei: Nuclei, members: Int64Array, mpp: float) -> float:
    """Return how much of the ring of CYTOPLASM_UM round some nuclei belongs to others, 0–1."""
    reach = int(CYTOPLASM_UM / mpp) + 1
    x0, y0 = np.maximum(nuclei.bboxes[members, :2].min(axis=0) - reach, 0)
    x1, y1 = nuclei.bboxes[members, 2:].max(axis=0) + reach
    labels = nuclei.label_image[y0:y1, x0:x1]
    own = np.isin(labels, members + 1)
    distance = cv2.distanceTransform((~own).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    ring = ~own & (distance <= CYTOPLASM_UM / mpp)
    return float((labels[ring] > 0).mean()) if ring.any() else 0.0
