"""Proportions → the tile's label, by L2-SVM and k-means (paper §III-B2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.pipeline.manifest import ImageLevel, LabelValue
from app.pipeline.types import Float64Array


@dataclass(frozen=True, slots=True)
class Label:
    """The tile's label and what it rests on.

    Attributes:
        value: normal, abnormal, or indeterminate when no label is given.
        score: the SVM's decision value, positive = abnormal; None without proportions.
        kmeans: label of the nearest k-means centre; None without proportions.
        contributions: (K,) each cluster's share of the score, which is their sum plus the bias; None likewise.
        basis: what normal and abnormal mean for this bundle.
        reason: in words, why this value.
    """

    value: Literal["normal", "abnormal", "indeterminate"]
    score: float | None
    kmeans: LabelValue | None
    contributions: Float64Array | None
    basis: str
    reason: str


def diagnose(proportions: Float64Array | None, n_cells: int, model: ImageLevel) -> Label:
    """Label a tile.

    Args:
        proportions: (K,) float64, None for a tile without cells.
        n_cells: cells that the proportions rest on.
        model: the bundle's image-level model.
    """
    if proportions is None:
        return Label(
            "indeterminate",
            None,
            None,
            None,
            model.label_basis,
            "No nucleus was found in this tile, or none that its border leaves whole.",
        )
    contributions = np.asarray(model.svm.weights) * proportions
    score = float(contributions.sum() + model.svm.bias)
    distances = np.linalg.norm(np.asarray(model.kmeans.centres) - proportions, axis=1)
    kmeans = model.kmeans.labels[int(distances.argmin())]
    if n_cells < model.min_cells:
        reason = f"{n_cells} cells were found; a label needs at least {model.min_cells}."
        return Label("indeterminate", score, kmeans, contributions, model.label_basis, reason)
    value: LabelValue = "abnormal" if score > 0 else "normal"
    side = "above" if score > 0 else "not above"
    agreement = "agrees" if kmeans == value else f"says {kmeans}"
    reason = f"The SVM's score on {n_cells} cells is {score:.2f}, {side} 0; k-means {agreement}."
    return Label(value, score, kmeans, contributions, model.label_basis, reason)
