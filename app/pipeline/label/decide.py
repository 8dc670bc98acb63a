"""Proportions → the tile's label by L2-SVM and k-means (paper §III-B2), or the reason why none is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from app.pipeline.label.reference import Placement, place
from app.pipeline.manifest import Conformal, ImageLevel, KMeans, LabelValue
from app.pipeline.types import Float64Array


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a label rests on.

    Attributes:
        score: the SVM's decision value, positive = abnormal.
        contributions: (K,) each cluster's part in the score, which is their sum plus the SVM's bias.
        kmeans: label of the nearest k-means centre.
        conformal: the labels that are possible at the bundle's coverage; none where the score is between both.
        probability: of abnormal, calibrated; None where the bundle has no calibration.
        placement: the tile beside the reference tiles.
    """

    score: float
    contributions: Float64Array
    kmeans: LabelValue
    conformal: tuple[LabelValue, ...]
    probability: float | None
    placement: Placement


@dataclass(frozen=True, slots=True)
class Label:
    """The tile's label.

    Attributes:
        value: normal, abnormal, or indeterminate when no label is given.
        evidence: None for a tile without a cell to count.
        reason: in words, why this value.
    """

    value: Literal["normal", "abnormal", "indeterminate"]
    evidence: Evidence | None
    reason: str


def decide_label(
    proportions: Float64Array | None, n_cells: int, model: ImageLevel, doubts: Sequence[str] = ()
) -> Label:
    """Label a tile, or say why not.

    No label is given where the tile is in doubt, where too few cells are counted, where both labels are possible, and
    where the score is one that tiles of its label hardly have, and k-means or the other label's tiles say otherwise.

    Args:
        proportions: (K,) float64, None for a tile without a cell to count.
        n_cells: cells that the proportions rest on.
        model: the bundle's image-level model.
        doubts: sentences on what is wrong with the tile.
    """
    doubts = list(doubts)
    if proportions is None:
        return Label("indeterminate", None, " ".join(["No cell was counted in this tile.", *doubts]))
    evidence = _weigh(proportions, model)
    if n_cells < model.min_cells:
        cells = "1 cell was" if n_cells == 1 else f"{n_cells} cells were"
        doubts.insert(0, f"{cells} counted; a label needs at least {model.min_cells}.")
    if doubts:
        # What was measured on such a tile says nothing of how probable a label is.
        return Label("indeterminate", replace(evidence, probability=None), " ".join(doubts))
    return _label(evidence, n_cells, model.conformal)


def possible_labels(score: float, conformal: Conformal) -> tuple[LabelValue, ...]:
    """The labels whose examples have such a score, each with the coverage of the limits."""
    possible: list[LabelValue] = []
    if conformal.max_normal is None or score <= conformal.max_normal:
        possible.append("normal")
    if conformal.min_abnormal is None or score >= conformal.min_abnormal:
        possible.append("abnormal")
    return tuple(possible)


def nearest_label(proportions: Float64Array, kmeans: KMeans) -> LabelValue:
    """Label of the centre that is nearest to (K,) proportions."""
    distances = np.linalg.norm(np.asarray(kmeans.centres) - proportions, axis=1)
    return kmeans.labels[int(distances.argmin())]


def _weigh(proportions: Float64Array, model: ImageLevel) -> Evidence:
    contributions = np.asarray(model.svm.weights) * proportions
    score = float(contributions.sum() + model.svm.bias)
    probability = None
    if model.calibration is not None:
        log_odds = model.calibration.slope * score + model.calibration.intercept
        probability = 0.5 * (1 + math.tanh(log_odds / 2))
    return Evidence(
        score=score,
        contributions=contributions,
        kmeans=nearest_label(proportions, model.kmeans),
        conformal=possible_labels(score, model.conformal),
        probability=probability,
        placement=place(proportions, model.reference),
    )


def _label(evidence: Evidence, n_cells: int, conformal: Conformal) -> Label:
    value: LabelValue = "abnormal" if evidence.score > 0 else "normal"
    scored = f"The SVM's score on {n_cells} cells is {evidence.score:.2f}"
    if len(evidence.conformal) > 1:
        few = "" if None not in (conformal.max_normal, conformal.min_abnormal) else ", with so few examples of them"
        reason = f"{scored}: at {conformal.coverage:.0%} coverage both labels are possible{few}."
        return Label("indeterminate", evidence, reason)
    if value not in evidence.conformal and (evidence.conformal or evidence.kmeans != value):
        reason = f"{scored}, nearer to 0 than {conformal.coverage:.0%} of {value} ones; k-means says {evidence.kmeans}."
        return Label("indeterminate", evidence, reason)
    side = "above" if evidence.score > 0 else "not above"
    agreement = "agrees" if evidence.kmeans == value else f"says {evidence.kmeans}"
    return Label(value, evidence, f"{scored}, {side} 0; k-means {agreement}.")
