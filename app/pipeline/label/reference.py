"""Where a tile lies among the reference tiles, on their principal components (paper Fig. 10)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.pipeline.manifest import Reference
from app.pipeline.types import Float64Array


@dataclass(frozen=True, slots=True)
class GroupDistance:
    """How far a tile is from a group of reference tiles.

    Attributes:
        name: name of the group.
        distance: L2 distance of the tile's proportions from the group's mean.
        farther_than: share of the group's members that are nearer to that mean, 0–1.
    """

    name: str
    distance: float
    farther_than: float


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a tile lies among the reference tiles.

    Attributes:
        position: (2,) float64 coordinates on the first two principal components.
        groups: distance from each group, nearest first.
    """

    position: Float64Array
    groups: tuple[GroupDistance, ...]


def place(proportions: Float64Array, reference: Reference) -> Placement:
    """Compare (K,) proportions with the reference tiles."""
    position = np.asarray(reference.axes) @ (proportions - np.asarray(reference.mean))
    groups = []
    for group in reference.groups:
        members = np.asarray(group.proportions)
        centre = members.mean(axis=0)
        distance = float(np.linalg.norm(proportions - centre))
        nearer = np.linalg.norm(members - centre, axis=1) < distance
        groups.append(GroupDistance(group.name, distance, float(nearer.mean())))
    return Placement(position, tuple(sorted(groups, key=lambda group: group.distance)))
