"""Named cells → a classifier of cell types, with what it is worth on cells that it has not learned from.

It needs neither PyTorch nor scikit-learn, which are not installed where the service runs, and takes seconds. The same
cells give the same classifier, in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from scipy.special import log_softmax, softmax

from app.pipeline.cell_classifier import (
    MIN_GROUPS,
    CellClassifier,
    CellType,
    ClassifierSource,
    ClassifierValidation,
    LearningPoint,
)
from app.pipeline.cell_types import NO_TYPE
from app.pipeline.fit.calibration import calibration_error, fit_temperature
from app.pipeline.measure.table import MEASUREMENTS
from app.pipeline.types import BoolArray, Float64Array, Int64Array
from app.review.folds import FOLDS, folds_of_cells, folds_of_groups, some_of
from app.review.named_cells import InvalidNamedCells, NamedCells
from app.review.regression import PENALTIES, ROUGH, balanced_weights, learn_path
from app.review.scores import choose_threshold, confusion_of, macro_f, score_types

MIN_CELLS, MIN_CELLS_OF_A_TYPE, MAX_TYPES = 10, 5, 32
MIN_GAIN = 0.005
"""Measurements, or the features of neighbours, are used only if they raise the mean F on groups left out by this."""
MIN_KNOWN = 0.5
"""A measurement that is missing on more than the rest of the named cells is not used."""
MOST_TO_CHOOSE = 3000
"""What is learned from, and the penalty, are chosen on at most this many cells; more take longer and change little."""
SHARES = (0.25, 0.5, 1.0)
"""The learning curve is measured at these shares of the cells that are learned from."""
FEW_CELLS, DRAWS = 2000, 3
"""With at most so many cells, a point of the curve is the mean of so many draws."""
MORE_CELLS = 50


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is learned from, beside the features of each cell.

    Attributes:
        measurements: columns of MEASUREMENTS.
        neighbours: whether the mean features of the nearest cells are.
    """

    measurements: tuple[int, ...] = ()
    neighbours: bool = False

    def numbers(self, named: NamedCells) -> Float64Array:
        """Return (N, D) float64, in the order in which `cell_types.classify` takes them."""
        near = named.neighbour_features if self.neighbours else named.neighbour_features[:, :0]
        return np.hstack([named.features, near, named.measured[:, list(self.measurements)]]).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Folds:
    """Which cells are left out together.

    Attributes:
        of_cell: (N,) int64, the fold of each cell.
        number: how many folds there are.
        is_judged: (N,) bool, whether the other folds have cells of the same type, and of another one. Where they have
            none, nothing can have been learned about the cell.
        are_groups: whether groups are left out, and not single cells of them.
    """

    of_cell: Int64Array
    number: int
    is_judged: BoolArray
    are_groups: bool

    def select(self, chosen: BoolArray) -> Folds:
        """Return the folds of some of the cells."""
        return replace(self, of_cell=self.of_cell[chosen], is_judged=self.is_judged[chosen])


def teach(named: NamedCells, *, types: Sequence[CellType], bundle_sha256: str, seed: int = 0) -> CellClassifier:
    """Learn cell types from named cells.

    A multinomial logistic regression learns from the features of each cell (`regression`). Whether it also learns from
    measurements and from the features of neighbouring cells, and how strong its penalty is, is decided on groups that
    are left out, and so are the temperature of its probabilities and the probability below which a cell gets no type.
    The same groups then say how right it is; with a handful of decisions and hundreds of cells, that flatters little.

    Args:
        named: N cells; the names of their types are those of some of `types`.
        types: name, colour and lineage of each type.
        bundle_sha256: hex digest of the manifest of the bundle whose features these are.
        seed: of the draws of cells.

    Raises:
        InvalidNamedCells: there are too few cells or types, or too many types.
    """
    check(named)
    named = _in_order(named)
    folds = deal(named, seed)
    inputs, penalty = _choose(named, folds, seed)
    numbers, n_types = inputs.numbers(named), len(named.type_names)
    logits = next(_left_out(numbers, named.types, n_types, folds, (penalty,)))
    *_, learned = learn_path(numbers, named.types, n_types, PENALTIES[: PENALTIES.index(penalty) + 1])
    temperature, threshold, validation = _validated(named, folds, logits)
    curve = _learning_curve(numbers, named.types, n_types, folds, penalty, seed)
    by_name = {one.name: one for one in types}
    return CellClassifier(
        types=tuple(by_name[name] for name in named.type_names),
        measurements=tuple(MEASUREMENTS[i].name for i in inputs.measurements),
        neighbours=inputs.neighbours,
        mean=_floats(learned.axes.mean),
        deviation=_floats(learned.axes.deviation),
        weights=tuple(_floats(row) for row in learned.plain_weights),
        bias=_floats(learned.bias),
        temperature=temperature,
        threshold=threshold,
        validation=validation.model_copy(
            update={"learning_curve": curve, "gain_of_50": expected_gain(curve, len(named))}
        ),
        source=ClassifierSource(
            cells=len(named),
            tiles=len(named.tiles),
            reviewers=len(named.reviewers),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            bundle_sha256=bundle_sha256,
        ),
    )


def check(named: NamedCells) -> None:
    """Refuse cells from which no types can be learned.

    Raises:
        InvalidNamedCells: there are too few cells or types, or too many types; the text says what is missing.
    """
    counts = np.bincount(named.types, minlength=len(named.type_names))
    if len(named) < MIN_CELLS:
        raise InvalidNamedCells(f"{_cells(len(named))} named; at least {MIN_CELLS} are needed.")
    if len(named.type_names) < 2:
        raise InvalidNamedCells(
            f"All {len(named)} named cells have the one type '{named.type_names[0]}'; at least two types are needed."
        )
    if len(named.type_names) > MAX_TYPES:
        raise InvalidNamedCells(f"The cells have {len(named.type_names)} types; at most {MAX_TYPES} can be learned.")
    few = [f"'{name}' ({n})" for name, n in zip(named.type_names, counts, strict=True) if n < MIN_CELLS_OF_A_TYPE]
    if few:
        raise InvalidNamedCells(
            f"Fewer than {MIN_CELLS_OF_A_TYPE} cells have the type {', '.join(few)}: name more, or leave it out."
        )


def _cells(n: int) -> str:
    return "1 cell is" if n == 1 else f"{n} cells are"


def _floats(values: Float64Array) -> tuple[float, ...]:
    return tuple(values.tolist())


def _in_order(named: NamedCells) -> NamedCells:
    """Return the cells in an order that does not depend on that in which they came."""
    keys = np.hstack([named.types[:, None], named.groups[:, None], named.features, named.measured])
    return named.select(np.lexsort(keys.T[::-1]))


def deal(named: NamedCells, seed: int) -> Folds:
    """Deal the cells into folds: of groups, or, where too little can be learned so, of cells.

    Args:
        named: the cells.
        seed: of the draws.
    """
    n_types = len(named.type_names)
    if len(np.unique(named.groups)) >= MIN_GROUPS:
        of_cell = folds_of_groups(named.groups, named.types, n_types)
        is_judged = _judged(of_cell, named.types, n_types)
        if len(np.unique(named.types[is_judged])) >= 2:
            return Folds(of_cell, int(of_cell.max()) + 1, is_judged, are_groups=True)
    of_cell = folds_of_cells(named.types, np.random.default_rng(seed))
    return Folds(of_cell, FOLDS, np.ones(len(named), bool), are_groups=False)


def _judged(of_cell: Int64Array, types: Int64Array, n_types: int) -> BoolArray:
    """Return (N,) bool; see `Folds.is_judged`."""
    inside = np.zeros((int(of_cell.max()) + 1, n_types), np.int64)
    np.add.at(inside, (of_cell, types), 1)
    others = inside.sum(axis=0) - inside
    has_two = (others > 0).sum(axis=1) >= 2
    return np.asarray((others[of_cell, types] > 0) & has_two[of_cell])


def _left_out(
    numbers: Float64Array, types: Int64Array, n_types: int, folds: Folds, penalties: Sequence[float]
) -> Iterator[Float64Array]:
    """Yield for each penalty (N, T) float64 logits, of each cell by what was learned without its fold."""
    parts = [(folds.of_cell == fold) & folds.is_judged for fold in range(folds.number)]
    learned = [
        learn_path(numbers[folds.of_cell != fold], types[folds.of_cell != fold], n_types, penalties, ROUGH)
        for fold, part in enumerate(parts)
        if part.any()
    ]
    parts = [part for part in parts if part.any()]
    for regressions in zip(*learned, strict=True):
        logits = np.zeros((len(types), n_types))
        for part, regression in zip(parts, regressions, strict=True):
            logits[part] = regression.logits(numbers[part])
        yield logits


def _choose(named: NamedCells, folds: Folds, seed: int) -> tuple[Inputs, float]:
    """Choose what is learned from, and the strength of the penalty, on cells that are left out."""
    if len(named) > MOST_TO_CHOOSE:
        strata = folds.of_cell * len(named.type_names) + named.types
        chosen = some_of(strata, MOST_TO_CHOOSE / len(named), np.random.default_rng(seed))
        named, folds = named.select(chosen), folds.select(chosen)
    known = np.isfinite(named.measured).mean(axis=0) >= MIN_KNOWN
    best = Inputs()
    f, penalty = _best_penalty(best, named, folds)
    for further in ({"measurements": tuple(np.flatnonzero(known).tolist())}, {"neighbours": True}):
        tried = replace(best, **further)
        if tried == best:
            continue
        f_tried, penalty_tried = _best_penalty(tried, named, folds)
        if f_tried >= f + MIN_GAIN:
            best, f, penalty = tried, f_tried, penalty_tried
    return best, penalty


def _best_penalty(inputs: Inputs, named: NamedCells, folds: Folds) -> tuple[float, float]:
    """Return the mean F of cells that are left out, and the penalty for which their types are the most likely."""
    n_types, judged = len(named.type_names), folds.is_judged
    types, weights = named.types[judged], balanced_weights(named.types, n_types)[judged]
    best, lowest = (0.0, PENALTIES[0]), np.inf
    candidates = _left_out(inputs.numbers(named), named.types, n_types, folds, PENALTIES)
    for penalty, logits in zip(PENALTIES, candidates, strict=False):
        likelihoods = log_softmax(logits[judged], axis=1)[np.arange(len(types)), types]
        loss = -float(weights @ likelihoods)
        if loss >= lowest:
            break  # weaker penalties learn the cells by heart, and take the longest
        best, lowest = (macro_f(types, logits[judged].argmax(axis=1), n_types), penalty), loss
    return best


def _validated(named: NamedCells, folds: Folds, logits: Float64Array) -> tuple[float, float, ClassifierValidation]:
    """Return temperature, threshold and what the classifier is worth, without its learning curve.

    Args:
        named: N cells.
        folds: those that were left out.
        logits: (N, T) float64, of each cell by what was learned without its fold.
    """
    judged, n_types = folds.is_judged, len(named.type_names)
    types, logits, of_cell = named.types[judged], logits[judged], folds.of_cell[judged]
    temperature = fit_temperature(logits, types, _smoothing(len(types)))
    probabilities = softmax(logits / temperature, axis=1)
    largest, most_probable = probabilities.max(axis=1), logits.argmax(axis=1)
    threshold = choose_threshold(largest, most_probable == types)
    confusion = confusion_of(types, np.where(largest >= threshold, most_probable, NO_TYPE), n_types)
    return (
        temperature,
        threshold,
        ClassifierValidation(
            held_out=named.group_kind,
            groups=len(np.unique(named.groups)),
            cells=len(types),
            folds=folds.number,
            optimistic=not folds.are_groups,
            types=score_types(confusion),
            confusion=tuple(tuple(row) for row in confusion.tolist()),
            accuracy=float((most_probable == types).mean()),
            calibration_error_before=calibration_error(logits, types),
            calibration_error_after=calibration_error(_tempered(logits, types, of_cell), types),
            learning_curve=(),
            gain_of_50=None,
        ),
    )


def _smoothing(n: int) -> float:
    """Return by how much n cells leave open what another one would be (Platt 1999)."""
    return 1 / (n + 2)


def _tempered(logits: Float64Array, types: Int64Array, of_cell: Int64Array) -> Float64Array:
    """Return the logits of each fold over the temperature of the other folds, so that none judges its own cells."""
    tempered = logits.copy()
    for fold in np.unique(of_cell):
        out = of_cell == fold
        if not out.all():
            tempered[out] /= fit_temperature(logits[~out], types[~out], _smoothing(int((~out).sum())))
    return tempered


def _learning_curve(
    numbers: Float64Array, types: Int64Array, n_types: int, folds: Folds, penalty: float, seed: int
) -> tuple[LearningPoint, ...]:
    """Return the mean F on cells left out, when only some of the other cells are learned from."""
    judged = folds.is_judged
    n_draws = DRAWS if len(types) <= FEW_CELLS else 1
    points = []
    for share in SHARES:
        scores, n_cells = [], []
        for draw in range(n_draws if share < 1 else 1):
            given = np.zeros(len(types), np.int64)
            for fold in np.unique(folds.of_cell[judged]):
                rest = np.flatnonzero(folds.of_cell != fold)
                part = (folds.of_cell == fold) & judged
                some = rest[some_of(types[rest], share, np.random.default_rng([seed, draw, fold]))]
                (learned,) = learn_path(numbers[some], types[some], n_types, (penalty,), ROUGH)
                given[part] = learned.logits(numbers[part]).argmax(axis=1)
                n_cells.append(len(some))
            scores.append(macro_f(types[judged], given[judged], n_types))
        points.append(LearningPoint(cells=round(float(np.mean(n_cells))), f=float(np.mean(scores))))
    return tuple(points)


def expected_gain(curve: Sequence[LearningPoint], n_cells: int, more: int = MORE_CELLS) -> float | None:
    """Return by how much the mean F is expected to rise with further named cells.

    F = a − b / √n is fitted to the curve, because errors of what is learned fall about as fast as those of a mean.

    Args:
        curve: F for several numbers of cells, the last one the highest number.
        n_cells: how many cells are named.
        more: how many would be named besides.

    Returns:
        0 to 1 − F; None if the curve has fewer than three different numbers of cells.
    """
    if len({point.cells for point in curve}) < len(SHARES):
        return None
    slope = np.polyfit([point.cells**-0.5 for point in curve], [point.f for point in curve], 1)[0]
    gain = -slope * (n_cells**-0.5 - (n_cells + more) ** -0.5)
    return float(np.clip(gain, 0, 1 - curve[-1].f))
