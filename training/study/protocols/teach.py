"""How many actions of a reviewer it takes to teach cell types, and how many cells have to be named.

The reviewer is simulated: it sees the true type of each cell, and never errs. An action is one naming of any number of
selected cells, as on the page of the review: selecting them is not counted, but how many cells were selected is.

In each way of naming, the service's own classifier (`app.review.classifier.teach`) learns from the cells named so far,
of the training tiles of a split of Table I, and is tested on the other tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from math import exp, log
from time import perf_counter

import numpy as np
from scipy.linalg import hadamard
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from app.pipeline.cell_classifier import CellClassifier, CellType
from app.pipeline.cell_types import classify, neighbour_means
from app.pipeline.types import Float32Array, Float64Array, Int64Array
from app.review.classifier import MIN_CELLS, MIN_CELLS_OF_A_TYPE, teach
from app.review.named_cells import NamedCells
from training.cells.unlabelled import UnlabelledCells
from training.metrics.classification import score_types
from training.study.baselines.kmeans import KMeansOn
from training.study.interfaces import Describer, DescriberFactory, Probable
from training.study.protocols.classification import ClassificationTask, Find, split_by_tile
from training.study.protocols.fits import Report, record_fits
from training.study.records import Record, Records, provenance
from training.study.systems.cell_systems import N_CLUSTERS, describer
from training.study.typed_cells import TypedCells

ACTIONS = (5, 10, 20, 50, 100, 200, 400)
"""Numbers of actions after which F is measured."""
WANTED_SHARE = 0.9
"""Share of the F with all cells named that is to be reached."""
WALL = 40
"""Largest number of cells that are shown at once, as on the page."""
GROWTH = 1.5
"""The classifier that says which cells are doubtful learns again when so many times the cells are named that it learned
from. The page does so after every action; here, that would take days."""
MOST_DIMENSIONS = 256
"""Features of more dimensions are reduced to so many, a power of 2: see `_reduce`."""
NO_BUNDLE = "0" * 64
"""The features are those of no bundle."""


@dataclass(frozen=True)
class Side:
    """The N cells on one side of a split.

    Attributes:
        features: (N, F) float32.
        near: (N, F) float64, the mean features of the nearest typed cells of the tile; see `neighbour_means`.
        centroids: (N, 2) float64, px.
        tiles: (N,) int64, the tile of each.
        types: (N,) int64, what the reviewer sees in it.
    """

    features: Float32Array
    near: Float64Array
    centroids: Float64Array
    tiles: Int64Array
    types: Int64Array

    @classmethod
    def of(cls, cells: TypedCells, chosen: Int64Array, features: Float32Array) -> Side:
        """Return the chosen cells, which have these features."""
        centroids, tiles = cells.unlabelled.centroids[chosen], cells.unlabelled.tile_index[chosen]
        near = np.empty(features.shape)
        for tile in np.unique(tiles):
            inside = tiles == tile
            near[inside] = neighbour_means(features[inside], centroids[inside])
        return cls(features, near, centroids, tiles, cells.types[chosen])


@dataclass(frozen=True)
class Split:
    """What a system makes of a split; it has learned from the cells of the training tiles, without their types.

    Attributes:
        training: the N cells that may be named.
        test: the cells that are tested on.
        clusters: (N,) int64, the cluster of each cell of `training`.
        type_names: names of the types.
        full: f1 and macro_f1 of the classifier that learns from all cells of `training`.
    """

    training: Side
    test: Side
    clusters: Int64Array
    type_names: tuple[str, ...]
    full: dict[str, float]


class Pupil:
    """What is named so far, and what the classifier learns from it.

    Types of which too few cells are named are left out, as the service does.

    Args:
        training: the cells that are named.
        type_names: names of the types.
        seed: of the classifier's draws.
    """

    def __init__(self, training: Side, type_names: tuple[str, ...], seed: int) -> None:
        self.is_named = np.zeros(len(training.types), bool)
        self._training, self._type_names, self._seed = training, type_names, seed
        self._learned_from = 0
        self._kinds = np.zeros(0, np.int64)
        self._classifier: CellClassifier | None = None
        self._certainty: Float64Array | None = None

    def name(self, cells: Int64Array) -> None:
        """Name cells by their true types."""
        self.is_named[cells] = True

    def learn(self) -> None:
        """Learn from all cells that are named, unless nothing was named since."""
        n_named = int(self.is_named.sum())
        if n_named == self._learned_from:
            return
        self._learned_from, self._certainty = n_named, None
        counts = np.bincount(self._training.types[self.is_named], minlength=len(self._type_names))
        kinds = np.flatnonzero(counts >= MIN_CELLS_OF_A_TYPE)
        if len(kinds) < 2 or counts[kinds].sum() < MIN_CELLS:
            # Nothing can be taught yet; until then, the commonest type is the best guess.
            self._kinds, self._classifier = np.array([counts.argmax()], np.int64), None
            return
        named = named_cells(self._training, self.is_named, kinds, self._type_names)
        types = [CellType(name=name, color="#808080", lineage=None) for name in named.type_names]
        self._kinds = kinds
        self._classifier = teach(named, types=types, bundle_sha256=NO_BUNDLE, seed=self._seed)

    def types(self, side: Side) -> Int64Array:
        """Return the most probable type of each cell, (N,) int64: none is left without a type, however doubtful."""
        return self._kinds[self._probabilities(side).argmax(axis=1)]

    def certainty(self) -> Float64Array | None:
        """Return (N,) float64, the probability of the most probable type of each training cell.

        It learns first if much has been named since it last did. None if nothing can be taught yet.
        """
        if self._classifier is None or self.is_named.sum() >= GROWTH * self._learned_from:
            self.learn()
        if self._classifier is not None and self._certainty is None:
            self._certainty = self._probabilities(self._training).max(axis=1)
        return self._certainty

    def _probabilities(self, side: Side) -> Float64Array:
        if self._classifier is None:
            return np.ones((len(side.types), 1))
        found = np.empty((len(side.types), len(self._kinds)))
        for tile in np.unique(side.tiles):
            inside = side.tiles == tile
            measured = np.zeros((int(inside.sum()), 0))
            found[inside] = classify(
                side.features[inside], measured, side.centroids[inside], self._classifier
            ).probabilities
        return found


Naming = Callable[[Split, Pupil, np.random.Generator], Iterator[Int64Array]]
"""Yields the cells that each action names, until all are named."""


def by_groups(split: Split, pupil: Pupil, random: np.random.Generator) -> Iterator[Int64Array]:
    """Name the cells of one wall after the other: first those of its commonest type, then those of each other type.

    Each wall shows up to WALL random cells of one cluster that have no name, and the clusters take turns.
    """
    order = random.permutation(len(split.clusters))
    while not pupil.is_named.all():
        for cluster in np.unique(split.clusters):
            shown = order[(split.clusters[order] == cluster) & ~pupil.is_named[order]][:WALL]
            counts = np.bincount(split.training.types[shown], minlength=len(split.type_names))
            for kind in np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]:
                yield shown[split.training.types[shown] == kind]


def one_by_one(split: Split, pupil: Pupil, random: np.random.Generator) -> Iterator[Int64Array]:
    """Name random cells, one at a time."""
    yield from random.permutation(len(pupil.is_named))[:, None]


def doubtful_first(split: Split, pupil: Pupil, random: np.random.Generator) -> Iterator[Int64Array]:
    """Name one cell at a time, that which the classifier doubts most; random cells until one can be taught."""
    at_random = random.permutation(len(pupil.is_named)).astype(np.float64)
    while not pupil.is_named.all():
        certainty = pupil.certainty()
        rank = at_random if certainty is None else certainty
        yield np.array([np.where(pupil.is_named, np.inf, rank).argmin()])


WAYS: dict[str, Naming] = {"groups": by_groups, "one-by-one": one_by_one, "doubtful-first": doubtful_first}
"""Ways of naming, in the order of the report."""


def evaluate_teach(
    sets: dict[str, TypedCells], task: ClassificationTask, records: Records, report: Report, find: Find = describer
) -> None:
    """Run every way of naming that is not recorded yet, on the splits of Table I, and record each as it ends.

    Args:
        sets: typed cells by the name of the set.
        task: the fits to run; each is used for all ways of naming.
        records: receives a record for each fit and way as soon as it is measured.
        report: called with a line about each of them, and about each system that cannot be run here and is skipped.
        find: returns the factory of a system by its name.

    Raises:
        DataError: there is no system of a name.
    """
    # The ways of a fit follow each other, so that the last fit is all that is kept.
    fits = [{**fit, "way": way} for fit in task.fits(sets) for way in WAYS]
    last: dict[tuple[str, ...], Split] = {}

    def measure(system: DescriberFactory, fit: Record) -> tuple[Record, str]:
        key = tuple(str(value) for name, value in fit.items() if name != "way")
        if key not in last:
            last.clear()
            last[key] = fit_split(system, sets[fit["set"]], fit["split"], fit["seed"])
        figures = score_way(last[key], fit["way"], fit["split"], fit["seed"])
        reached = figures.get("actions_to_f1")
        after = f"more than {ACTIONS[-1]}" if reached is None else f"{reached:.0f}"
        return figures, f"{after} actions to {WANTED_SHARE:.0%} of F {figures['full_f1']:.3f}"

    record_fits(fits, task.again, records, report, find, measure)


def fit_split(system: DescriberFactory, cells: TypedCells, split: int, seed: int) -> Split:
    """Let a system learn from the training tiles without types, and find what is shown of them to the reviewer.

    The clusters are those of the system, or of k-means on its features if it has none.
    """
    training, test = split_by_tile(cells, split)
    described = system(seed)
    learned_from = cells.unlabelled[training]
    clusters = _cluster(described, learned_from, seed)
    features = described.features(learned_from.crops)
    reduced, of_test = _reduce(features, described.features(cells.unlabelled.crops[test]))
    sides = Side.of(cells, training, reduced), Side.of(cells, test, of_test)
    pupil = Pupil(sides[0], cells.type_names, seed)
    pupil.name(np.arange(len(training)))
    pupil.learn()
    return Split(
        *sides,
        clusters=clusters,
        type_names=cells.type_names,
        full=score_types(sides[1].types, pupil.types(sides[1])),
    )


def _cluster(described: Describer, cells: UnlabelledCells, seed: int) -> Int64Array:
    """Fit a system, and return the cluster of each cell, (N,): its own, or those of k-means on its features."""
    if isinstance(described, Probable):
        described.fit(cells)
        return described.probabilities(cells.crops).argmax(axis=1).astype(np.int64)
    kmeans = KMeansOn(described, N_CLUSTERS, seed)
    kmeans.fit(cells)
    return kmeans.clusters(cells.crops)


def score_way(split: Split, way: str, draw: int, seed: int) -> Record:
    """Let the reviewer name cells in one way, and measure what a classifier learns from them.

    Args:
        split: the cells.
        way: one of `WAYS`.
        draw: seed of the random cells, the same for every system.
        seed: of the classifier's draws.

    Returns:
        f1_N and macro_f1_N, as `score_types` defines them, on the test tiles, and cells_N, the number of cells that are
        named, after each number N of `ACTIONS`, or after all cells are named; full_f1 and full_macro_f1, when all cells
        of the training tiles are named; actions_to_f1, cells_to_f1, actions_to_macro_f1 and cells_to_macro_f1, the
        number that reaches WANTED_SHARE of them, absent if it is not reached; dimensions, the number of features;
        training_cells and test_cells; the seconds of naming and learning; and the `provenance`.
    """
    start = perf_counter()
    pupil = Pupil(split.training, split.type_names, seed)
    actions = chain(WAYS[way](split, pupil, np.random.default_rng(draw)), repeat(np.zeros(0, np.int64)))
    figures: Record = {}
    for number, cells in zip(range(1, ACTIONS[-1] + 1), actions, strict=False):
        pupil.name(cells)
        if number in ACTIONS:
            pupil.learn()
            scores = score_types(split.test.types, pupil.types(split.test))
            figures |= {f"{figure}_{number}": scores[figure] for figure in ("f1", "macro_f1")}
            figures[f"cells_{number}"] = int(pupil.is_named.sum())
    n_cells = [figures[f"cells_{number}"] for number in ACTIONS]
    for figure in ("f1", "macro_f1"):
        figures[f"full_{figure}"] = split.full[figure]
        scored = [figures[f"{figure}_{number}"] for number in ACTIONS]
        for what, numbers in (("actions", list(ACTIONS)), ("cells", n_cells)):
            reached = reached_at(numbers, scored, WANTED_SHARE * split.full[figure])
            figures |= {} if reached is None else {f"{what}_to_{figure}": reached}
    return {
        **figures,
        "dimensions": split.training.features.shape[1],
        "training_cells": len(split.training.types),
        "test_cells": len(split.test.types),
        "seconds": round(perf_counter() - start, 1),
        **provenance(),
    }


def reached_at(numbers: list[int], scores: list[float], wanted: float) -> float | None:
    """Return the number at which a curve first reaches a score; None if it does not.

    Between two points of the curve, the score is taken to be linear in the logarithm of the number.

    Args:
        numbers: of actions or of cells, positive and rising.
        scores: the score at each of them.
        wanted: the score.
    """
    for i, (number, score) in enumerate(zip(numbers, scores, strict=True)):
        if score < wanted:
            continue
        if i == 0:
            return float(number)
        part = (wanted - scores[i - 1]) / (score - scores[i - 1])
        return exp(log(numbers[i - 1]) + part * (log(number) - log(numbers[i - 1])))
    return None


def named_cells(side: Side, is_named: np.ndarray, kinds: Int64Array, type_names: tuple[str, ...]) -> NamedCells:
    """Return what the classifier learns from: the named cells of some types.

    Typed cells have no measurements, so it learns from the features of a cell and of its neighbours alone.

    Args:
        side: N cells.
        is_named: (N,) bool.
        kinds: (T,) int64 rising, the types that are learned.
        type_names: names of all types.
    """
    chosen = np.flatnonzero(is_named & np.isin(side.types, kinds))
    tiles, groups = np.unique(side.tiles[chosen], return_inverse=True)
    return NamedCells(
        features=side.features[chosen],
        measured=np.zeros((len(chosen), 0)),
        neighbour_features=side.near[chosen],
        types=np.searchsorted(kinds, side.types[chosen]).astype(np.int64),
        type_names=tuple(type_names[kind] for kind in kinds),
        groups=groups.astype(np.int64),
        group_kind="tiles",
        tiles=tuple(map(str, tiles)),
        reviewers=("simulated",),
    )


def _reduce(training: Float32Array, test: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Return features of at most MOST_DIMENSIONS dimensions.

    The classifier is made for the 128 features of a bundle; with the 1,280 of an ImageNet network, it would learn for
    minutes each time. More features are therefore standardised and taken along their first principal axes, which are
    those of the training tiles and know no types. The axes are then mixed evenly, so that all have the same variance:
    when the classifier standardises its numbers, the axes keep their proportions.
    """
    if training.shape[1] <= MOST_DIMENSIONS or len(training) < MOST_DIMENSIONS:
        return training, test
    scaler = StandardScaler().fit(training)
    axes = PCA(MOST_DIMENSIONS, svd_solver="covariance_eigh").fit(scaler.transform(training))
    mixed = hadamard(MOST_DIMENSIONS) / np.sqrt(MOST_DIMENSIONS)
    first, second = ((axes.transform(scaler.transform(side)) @ mixed).astype(np.float32) for side in (training, test))
    return first, second
