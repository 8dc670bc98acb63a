"""Proportions, and medians of measurements if the bundle uses them → Label by L2-SVM and k-means (paper §III-B2).

If no label is given, there is a reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from app.pipeline.label.reference import Placement, place
from app.pipeline.manifest import Conformal, ImageLevel, KMeans, LabelValue, Svm
from app.pipeline.types import Float64Array


@dataclass(frozen=True, slots=True)
class MeasurementContribution:
    """What a measurement adds to the score.

    Attributes:
        measurement: its name where the scale is known.
        title: what it is called in words.
        value: median over the counted cells, in its unit, µm for lengths.
        contribution: the SVM's weight times the standardised value.
    """

    measurement: str
    title: str
    value: float
    contribution: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a label is based on.

    Attributes:
        score: the SVM's decision value, positive = abnormal.
        contributions: (K,) float64 of the clusters; the score is their sum, plus the contributions of the measurements,
            plus the SVM's bias.
        measurements: contributions of the measurements; empty where the bundle's descriptor has none.
        kmeans: label of the nearest k-means centre.
        conformal: labels that are possible at the bundle's coverage; none of them where the score lies between their
            limits, and None where there were too few examples for limits (`possible_labels`).
        probability: calibrated probability of abnormal; None where the bundle has no calibration.
        placement: where the tile lies among the reference tiles.
    """

    score: float
    contributions: Float64Array
    measurements: tuple[MeasurementContribution, ...]
    kmeans: LabelValue
    conformal: tuple[LabelValue, ...] | None
    probability: float | None
    placement: Placement


@dataclass(frozen=True, slots=True)
class Label:
    """The tile's label.

    Attributes:
        value: normal or abnormal; indeterminate means that no label is given.
        evidence: what the label is based on; None for a tile without a counted cell.
        reason: why the label has this value, in words.
    """

    value: Literal["normal", "abnormal", "indeterminate"]
    evidence: Evidence | None
    reason: str


def decide_label(
    proportions: Float64Array | None,
    n_cells: int,
    model: ImageLevel,
    doubts: Sequence[str] = (),
    medians: Mapping[str, float] | None = None,
) -> Label:
    """Label a tile, or give the reason why it gets no label.

    No label is given in six cases: there are doubts about the tile; too few cells are counted; the bundle's descriptor
    has a measurement whose median is not known; the bundle had too few examples to say which labels are possible; both
    labels are possible; or tiles of the score's label hardly ever have such a score, and k-means or the other label's
    tiles contradict it.

    Args:
        proportions: (K,) float64, None for a tile without a counted cell.
        n_cells: number of cells that the proportions are computed from.
        model: the bundle's image-level model.
        doubts: sentences that say what is wrong with the tile.
        medians: of the measurements in the bundle's descriptor over these cells, by their names where the scale is
            known, in µm for lengths; one that was measured on no cell is left out.
    """
    doubts = list(doubts)
    if proportions is None:
        return Label("indeterminate", None, " ".join(["No cell was counted in this tile.", *doubts]))
    medians = medians or {}
    if missing := [one.title for one in model.measurements if one.measurement not in medians]:
        reason = f"The label of this bundle also rests on medians that are not known here: {', '.join(missing)}."
        return Label("indeterminate", None, " ".join([reason, *doubts]))
    evidence = _weigh(proportions, medians, model)
    if n_cells < model.min_cells:
        cells = "1 cell was" if n_cells == 1 else f"{n_cells} cells were"
        doubts.insert(0, f"{cells} counted; a label needs at least {model.min_cells}.")
    if doubts:
        # The calibration was fitted to tiles without doubts, so it gives no probability for this one.
        return Label("indeterminate", replace(evidence, probability=None), " ".join(doubts))
    return _label(evidence, n_cells, model.conformal)


def describe_tile(proportions: Float64Array, medians: Mapping[str, float], model: ImageLevel) -> Float64Array:
    """Return the descriptor that the SVM scores: the proportions, and then the standardised medians, if it has any.

    Args:
        proportions: (K,) float64.
        medians: by the names of the descriptor's measurements.
        model: the bundle's image-level model.
    """
    standardised = [(medians[one.measurement] - one.centre) / one.scale for one in model.measurements]
    return np.concatenate([proportions, standardised])


def possible_labels(descriptor: Float64Array, model: ImageLevel) -> tuple[LabelValue, ...] | None:
    """Return the labels whose examples have such a score, each at the coverage of the limits.

    For each label, the tile is scored by the SVMs that were fitted without one of that label's units each, and the
    score that suits the label best counts. This is what makes the limits hold at their coverage for a new unit. Bundles
    of earlier versions have no such SVMs: there the score of the fitted SVM counts, and no coverage is promised.

    Args:
        descriptor: see `describe_tile`.
        model: the bundle's image-level model.

    Returns:
        The possible labels; None if there were too few examples of a label for a limit.
    """
    limits = model.conformal
    if limits.max_normal is None or limits.min_abnormal is None:
        return None
    possible: list[LabelValue] = []
    if min(score(svm, descriptor) for svm in limits.without_a_normal or (model.svm,)) <= limits.max_normal:
        possible.append("normal")
    if max(score(svm, descriptor) for svm in limits.without_an_abnormal or (model.svm,)) >= limits.min_abnormal:
        possible.append("abnormal")
    return tuple(possible)


def score(svm: Svm, descriptor: Float64Array) -> float:
    """Return the decision value of a descriptor; positive = abnormal."""
    return float((np.asarray(svm.weights) * descriptor).sum() + svm.bias)


def nearest_label(proportions: Float64Array, kmeans: KMeans) -> LabelValue:
    """Return the label of the centre that is nearest to (K,) proportions."""
    distances = np.linalg.norm(np.asarray(kmeans.centres) - proportions, axis=1)
    return kmeans.labels[int(distances.argmin())]


def _weigh(proportions: Float64Array, medians: Mapping[str, float], model: ImageLevel) -> Evidence:
    descriptor = describe_tile(proportions, medians, model)
    decision = score(model.svm, descriptor)
    probability = None
    if model.calibration is not None:
        log_odds = model.calibration.slope * decision + model.calibration.intercept
        probability = 0.5 * (1 + math.tanh(log_odds / 2))
    contributions = np.asarray(model.svm.weights) * descriptor
    of_measurements = zip(model.measurements, contributions[len(proportions) :].tolist(), strict=True)
    return Evidence(
        score=decision,
        contributions=contributions[: len(proportions)],
        measurements=tuple(
            MeasurementContribution(one.measurement, one.title, medians[one.measurement], contribution)
            for one, contribution in of_measurements
        ),
        kmeans=nearest_label(proportions, model.kmeans),
        conformal=possible_labels(descriptor, model),
        probability=probability,
        placement=place(proportions, model.reference),
    )


def _label(evidence: Evidence, n_cells: int, conformal: Conformal) -> Label:
    value: LabelValue = "abnormal" if evidence.score > 0 else "normal"
    scored = f"The SVM's score on {n_cells} cells is {evidence.score:.2f}"
    if evidence.conformal is None:
        return Label("indeterminate", evidence, f"{scored}. {_too_few(conformal)}")
    if len(evidence.conformal) > 1:
        reason = f"{scored}: at {conformal.coverage:.0%} coverage both labels are possible."
        return Label("indeterminate", evidence, reason)
    if value not in evidence.conformal and (evidence.conformal or evidence.kmeans != value):
        nearer = f"nearer to 0 than the scores of {conformal.coverage:.0%} of {value} tiles"
        reason = f"{scored}, {nearer}; k-means gives {evidence.kmeans}."
        return Label("indeterminate", evidence, reason)
    side = "above" if evidence.score > 0 else "not above"
    agreement = "agrees" if evidence.kmeans == value else f"gives {evidence.kmeans}"
    return Label(value, evidence, f"{scored}, {side} 0; k-means {agreement}.")


def _too_few(conformal: Conformal) -> str:
    """Return why the bundle cannot say which labels are possible."""
    units, counts = conformal.units or "examples", conformal.n_units or conformal.examples
    return (
        f"Which labels are possible at {conformal.coverage:.0%} coverage is not known: that needs "
        f"{conformal.min_units} {units} of each label, and the bundle was fitted to {counts.normal} normal and "
        f"{counts.abnormal} abnormal ones."
    )
