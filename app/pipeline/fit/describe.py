"""The training cells, their measurements and clusters → what sets each cluster apart, in numbers and in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.pipeline.descriptions import ClusterDescription, Descriptions, ExplainedMeasurement, MeasurementOfCluster
from app.pipeline.measure.table import MEASUREMENTS, Measurement
from app.pipeline.types import BoolArray, Float64Array, Int64Array

QUARTILES = (0.25, 0.5, 0.75)
N_FOREMOST = 3
MAX_CORRELATION = 0.8
"""Two measurements whose ranks are correlated more strongly say the same, and only one of them can matter most."""
MIN_CELLS = 20
"""A cluster with fewer training cells is not put into words."""
NEGLIGIBLE, SMALL, MEDIUM = 0.147, 0.33, 0.474
"""Usual limits of |Cliff's delta| (Romano et al. 2006): below the first, an effect is not put into words."""
ALIKE = "Much like the other cells."
TOO_FEW = "Too few training cells to say what sets them apart."


@dataclass(frozen=True)
class Words:
    """What a low and a high value of a measurement are called; `{}` is where "somewhat" or "markedly" stands.

    Attributes:
        place: whether the words stand before "nuclei", after "with", or at the end of the sentence.
        low: words for values below those of other cells.
        high: words for values above those of other cells.
    """

    place: Literal["before", "with", "end"]
    low: str
    high: str


WORDS: dict[str, Words | None] = {
    "area": Words("before", "{}small", "{}large"),
    "perimeter": None,
    "equivalent_diameter": None,
    "major_axis": None,
    "minor_axis": None,
    "feret_max": None,
    "feret_min": None,
    "eccentricity": Words("before", "{}round", "{}elongated"),
    "circularity": None,
    "solidity": Words("with", "a {}less smooth outline", "a {}smooth outline"),
    "lobulation": None,
    "concavities": None,
    "haematoxylin_od_mean": Words("before", "{}pale", "{}dark"),
    "haematoxylin_od_sd": Words("before", "{}evenly stained", "{}unevenly stained"),
    "eosin_od_mean": Words("before", "{}bluish", "{}pinkish"),
    "cytoplasm_haematoxylin_od_mean": Words("with", "{}clear cytoplasm", "{}bluish cytoplasm"),
    "cytoplasm_eosin_od_mean": Words("with", "{}pale cytoplasm", "{}pink cytoplasm"),
    "chromatin_contrast": Words("with", "{}fine, even chromatin", "{}coarse, clumped chromatin"),
    "chromatin_contrast_coarse": Words("with", "chromatin {}even from place to place", "{}patchy chromatin"),
    "chromatin_entropy": None,
    "haralick_contrast": None,
    "haralick_correlation": None,
    "haralick_homogeneity": None,
    "haralick_energy": None,
    "edge_sharpness": Words("with", "a {}blurred edge", "a {}sharp edge"),
    "dark_clumps": None,
    "neighbour_distance": None,
    "neighbours_within_25_um": Words("end", "standing {}apart", "{}crowded"),
    **dict.fromkeys(
        f"{stain}_od_{statistic}"
        for stain in ("haematoxylin", "eosin", "cytoplasm_haematoxylin", "cytoplasm_eosin")
        for statistic in ("sd", "min", "max", "p25", "median", "p75")
        if (stain, statistic) != ("haematoxylin", "sd")
    ),
}
"""The words of every measurement; None for one that has no plain word, or that says again what another one says.

Counts of clumps and of concavities have none, nor has the distance to the nearest centre: they grow with the nucleus,
so that they would say its size again. Lobulation has none because in small nuclei it is mostly the pixels' steps.
Solidity does not say "lobed", because ranks also part outlines with a notch of one pixel from those with none.
"""


def describe(values: Float64Array, clusters: Int64Array, n_clusters: int) -> Descriptions:
    """Describe every cluster by the measurements of its cells, beside those of all other cells.

    Args:
        values: (N, M) float64, the measurements of the training cells that are no outliers; NaN where not measured.
        clusters: (N,) int64, the cluster of each.
        n_clusters: K.
    """
    return Descriptions(
        measurements=tuple(
            ExplainedMeasurement(
                measurement=measurement.column(scale_known=True),
                title=measurement.title,
                unit=measurement.unit,
                eta_squared=_eta_squared(column, clusters),
            )
            for measurement, column in zip(MEASUREMENTS, values.T, strict=True)
        ),
        clusters=tuple(_describe_cluster(values, clusters == k) for k in range(n_clusters)),
    )


def _describe_cluster(values: Float64Array, members: BoolArray) -> ClusterDescription:
    measured = [_measure(one, column, members) for one, column in zip(MEASUREMENTS, values.T, strict=True)]
    effects = [one.effect for one in measured]
    foremost = choose_foremost(values, effects)
    known = [(MEASUREMENTS[i].name, effect) for i in foremost if (effect := effects[i]) is not None]
    others = sorted(set(range(len(measured))) - {*foremost}, key=lambda i: (-abs(effects[i] or 0), i))
    return ClusterDescription(
        sentence=TOO_FEW if members.sum() < MIN_CELLS else make_sentence(known),
        n_cells=int(members.sum()),
        measurements=tuple(measured[i] for i in [*foremost, *others]),
    )


def _measure(measurement: Measurement, column: Float64Array, members: BoolArray) -> MeasurementOfCluster:
    own, others = column[members], column[~members]
    own, others = own[~np.isnan(own)], others[~np.isnan(others)]
    effect = cliffs_delta(own, others)
    # Five digits are more than were measured.
    low, median, high = (float(f"{value:.5g}") for value in np.quantile(own, QUARTILES)) if len(own) else (None,) * 3
    return MeasurementOfCluster(
        measurement=measurement.column(scale_known=True),
        title=measurement.title,
        unit=measurement.unit,
        n=len(own),
        median=median,
        quartiles=None if low is None or high is None else (low, high),
        effect=None if effect is None else round(effect, 4),
    )


def cliffs_delta(own: Float64Array, others: Float64Array) -> float | None:
    """Return Cliff's delta (1993): P(own > other) − P(own < other), over all pairs of an own value and another one.

    It needs no unit and no normal distribution, one giant nucleus hardly moves it, and it can be read as it is: at .6,
    an own value is the larger one in 80% of the pairs, and the smaller one in 20%. It is 2 · AUC − 1 of a classifier
    that knows this measurement alone. It is computed from ranks; a tie counts as half above and half below.

    Args:
        own: (n,) without NaN.
        others: (m,) without NaN.

    Returns:
        −1 to 1; None if either is empty.
    """
    n, m = len(own), len(others)
    if not n or not m:
        return None
    above = _ranks(np.concatenate([own, others]))[:n].sum() - n * (n + 1) / 2
    # Ranks are halves of whole numbers, so this is exact: two opposite measurements have exactly opposite effects.
    return float((2 * above - n * m) / (n * m))


def choose_foremost(values: Float64Array, effects: Sequence[float | None]) -> list[int]:
    """Choose the three measurements that matter most: the largest effects, but not three names for the same thing.

    A measurement without words is not chosen, and neither is one whose rank correlation with a chosen one is above .8
    over all cells.

    Args:
        values: (N, M) float64, in the order of MEASUREMENTS; NaN where not measured.
        effects: the effect of each of the M measurements; None where it was not measured.

    Returns:
        At most three indices of measurements, that with the largest effect first.
    """
    sizes = {i: abs(effect) for i, effect in enumerate(effects) if effect and WORDS[MEASUREMENTS[i].name]}
    chosen: list[int] = []
    for i in sorted(sizes, key=lambda i: -sizes[i]):
        if len(chosen) == N_FOREMOST:
            break
        if all(abs(rank_correlation(values[:, i], values[:, j])) <= MAX_CORRELATION for j in chosen):
            chosen.append(i)
    return chosen


def rank_correlation(first: Float64Array, second: Float64Array) -> float:
    """Return Spearman's correlation of (N,) values, over the cells where both were measured; 0 if one does not vary."""
    both = ~np.isnan(first) & ~np.isnan(second)
    if both.sum() < 2:
        return 0.0
    x, y = (ranks - ranks.mean() for ranks in (_ranks(first[both]), _ranks(second[both])))
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / spread if spread else 0.0


def _ranks(values: Float64Array) -> Float64Array:
    """Return (N,) ranks from 1; equal values share the mean of theirs."""
    from scipy.stats import rankdata  # It takes .4 s, and the service starts without it.

    return np.asarray(rankdata(values))


def make_sentence(effects: Sequence[tuple[str, float]]) -> str:
    """Put the effects of measurements, by name, into a sentence; negligible ones are left out."""
    found: dict[str, list[str]] = {"before": [], "with": [], "end": []}
    for name, effect in effects:
        words = WORDS[name]
        if words is not None and abs(effect) >= NEGLIGIBLE:
            phrase = (words.high if effect > 0 else words.low).format(_grade(abs(effect)))
            found[words.place].append(phrase)
    if not any(found.values()):
        return ALIKE
    text = " ".join([", ".join(found["before"]), "nuclei"]).strip()
    if found["with"]:
        text += " with " + _listed(found["with"])
    text = ", ".join([text, *found["end"]])
    return f"{text[0].upper()}{text[1:]}."


def _grade(size: float) -> str:
    return "somewhat " if size < SMALL else "" if size < MEDIUM else "markedly "


def _listed(phrases: Sequence[str]) -> str:
    """Return phrases as a list in words: a; a and b; a, b and c."""
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)


def _eta_squared(column: Float64Array, clusters: Int64Array) -> float | None:
    measured = ~np.isnan(column)
    return round(explained(column[measured], clusters[measured]), 4) if measured.any() else None


def explained(values: Float64Array, clusters: Int64Array) -> float:
    """Return η²: the share of the variance of (N,) values that lies between the clusters; 0 if there is no variance."""
    sizes = np.bincount(clusters)
    means = np.bincount(clusters, values) / np.maximum(sizes, 1)
    total = float(((values - values.mean()) ** 2).sum())
    between = float((sizes * (means - values.mean()) ** 2).sum())
    return min(1.0, between / total) if total > 0 else 0.0
