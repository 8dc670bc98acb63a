"""Multinomial logistic regression with an L2 penalty, along a path of penalties, by L-BFGS.

The penalty is on the weights of standardised numbers and not on the biases. Numbers are rotated onto their principal
axes, which changes neither the loss nor the penalty, and each axis is scaled by a bound of its curvature (Böhning
1992): L-BFGS then needs a few steps where features are strongly correlated, as those of a network are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from app.pipeline.cell_types import MOST_DEVIATIONS
from app.pipeline.types import Float64Array, Int64Array

PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""The strengths of the penalty that are tried, from the strongest."""
BIAS_PENALTY = 1e-6
"""That of a bias: it keeps the bias of a type finite where no cell of the type was learned from."""
TOLERANCE, ROUGH = 1e-6, 1e-4
"""Learning ends where no derivative of the loss by a scaled parameter is larger: for good, and where penalties are
compared."""
NO_SPREAD = 1e-12
"""Cells are the same along an axis on which they spread by less than this, as a share of the largest spread."""
MAX_STEPS = 500
MEMORY = 20
"""Steps that L-BFGS remembers."""


@dataclass(frozen=True, slots=True)
class Axes:
    """How the numbers of cells are standardised and rotated.

    Attributes:
        mean: (D,) float64, of the cells that were learned from.
        deviation: (D,) float64, their standard deviations, 1 where they are all the same.
        rotation: (D, D) float64, the principal axes in its columns.
        spread: (D,) float64, the mean square of the cells along each axis.
    """

    mean: Float64Array
    deviation: Float64Array
    rotation: Float64Array
    spread: Float64Array

    @classmethod
    def of(cls, numbers: Float64Array) -> Axes:
        """Return the axes of (N, D) numbers, NaN where one is missing."""
        known = np.isfinite(numbers)
        n_known = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, numbers, 0.0).sum(axis=0) / n_known
        squares = np.where(known, numbers - mean, 0.0) ** 2
        deviation = np.sqrt(squares.sum(axis=0) / n_known)
        # A column of one value has a deviation of some last digits.
        deviation[deviation <= 1e-9 * np.maximum(np.abs(mean), 1e-9)] = 1.0
        standardised = _standardised(numbers, mean, deviation)
        spread, rotation = np.linalg.eigh(standardised.T @ standardised / len(numbers))
        return cls(mean, deviation, rotation, spread.clip(0))

    def apply(self, numbers: Float64Array) -> Float64Array:
        """Return (N, D) numbers along the axes; one that is missing is at the mean."""
        return np.asarray(_standardised(numbers, self.mean, self.deviation) @ self.rotation)


def _standardised(numbers: Float64Array, mean: Float64Array, deviation: Float64Array) -> Float64Array:
    """Do what `cell_types.classify` does before it weighs the numbers."""
    return np.nan_to_num((numbers - mean) / deviation, nan=0.0).clip(-MOST_DEVIATIONS, MOST_DEVIATIONS)


@dataclass(frozen=True, slots=True)
class Regression:
    """What was learned: logits = weights · numbers along the axes + bias.

    Attributes:
        axes: along which the numbers of a cell are taken.
        weights: (T, D) float64.
        bias: (T,) float64.
    """

    axes: Axes
    weights: Float64Array
    bias: Float64Array

    def logits(self, numbers: Float64Array) -> Float64Array:
        """Return (N, T) logits of cells with (N, D) numbers."""
        return np.asarray(self.axes.apply(numbers) @ self.weights.T + self.bias)

    @property
    def plain_weights(self) -> Float64Array:
        """(T, D) float64, the weights of standardised numbers."""
        return np.asarray(self.weights @ self.axes.rotation.T)


def balanced_weights(types: Int64Array, n_types: int) -> Float64Array:
    """Return (N,) float64, how much each cell counts: as one over the root of the number of its type, 1 on average.

    Full balance, one over the number itself, would let the few cells of a rare type decide nearly alone.

    Args:
        types: (N,) int64, 0 … T − 1.
        n_types: T.
    """
    weights = 1 / np.sqrt(np.bincount(types, minlength=n_types).clip(1))[types]
    return np.asarray(weights / weights.mean())


def loss_and_gradient(
    parameters: Float64Array, x: Float64Array, types: Int64Array, weights: Float64Array, penalty: float
) -> tuple[float, Float64Array]:
    """Return the penalised loss of a regression, and its derivatives.

    loss = Σ w · cross-entropy / Σ w + penalty / 2 · |W|² + BIAS_PENALTY / 2 · |b|²

    Args:
        parameters: (T, D + 1) float64, the weights W and, in the last column, the biases b.
        x: (D, N) float64, a column for each cell: several times as fast as a row for each, where T is small.
        types: (N,) int64, the type of each cell.
        weights: (N,) float64, w: how much each cell counts.
        penalty: strength of the penalty of the weights.

    Returns:
        The loss in nats, and (T, D + 1) float64 its derivatives by the parameters.
    """
    columns, shares = np.arange(x.shape[1]), weights / weights.sum()
    logits = parameters[:, :-1] @ x + parameters[:, -1:]
    logits -= logits.max(axis=0)
    right = logits[types, columns]
    odds = np.exp(logits, out=logits)
    sums = odds.sum(axis=0)
    loss = float(shares @ (np.log(sums) - right))
    errors = np.multiply(odds, shares / sums, out=odds)
    errors[types, columns] -= shares
    strengths = np.full(parameters.shape[1], penalty)
    strengths[-1] = BIAS_PENALTY
    gradient = np.column_stack([errors @ x.T, errors.sum(axis=1)]) + strengths * parameters
    return loss + float((strengths * parameters**2).sum() / 2), gradient


def learn_path(
    numbers: Float64Array,
    types: Int64Array,
    n_types: int,
    penalties: Sequence[float] = PENALTIES,
    tolerance: float = TOLERANCE,
) -> Iterator[Regression]:
    """Learn types from cells, once for each penalty; each begins where the one before has ended.

    Args:
        numbers: (N, D) float64, NaN where one is missing.
        types: (N,) int64, 0 … T − 1; the biases of types that no cell has become very low.
        n_types: T.
        penalties: their strengths, from the strongest.
        tolerance: learning ends where no derivative of the loss by a scaled parameter is larger.
    """
    axes = Axes.of(numbers)
    x, weights = np.ascontiguousarray(axes.apply(numbers).T), balanced_weights(types, n_types)
    parameters = np.zeros((n_types, len(x) + 1))
    for penalty in penalties:
        parameters = _fitted(parameters, x, types, weights, penalty, axes.spread, tolerance)
        yield Regression(axes, parameters[:, :-1], parameters[:, -1])


def _fitted(
    start: Float64Array,
    x: Float64Array,
    types: Int64Array,
    weights: Float64Array,
    penalty: float,
    spread: Float64Array,
    tolerance: float,
) -> Float64Array:
    """Return the parameters of the lowest loss, (T, D + 1)."""
    # Half is the largest curvature that a softmax can have.
    scale = 1 / np.sqrt(np.append(spread / 2 + penalty, 0.5))

    def scaled(flat: Float64Array) -> tuple[float, Float64Array]:
        loss, gradient = loss_and_gradient(flat.reshape(start.shape) * scale, x, types, weights, penalty)
        return loss, (gradient * scale).ravel()

    found = minimize(
        scaled,
        (start / scale).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MAX_STEPS, "maxcor": MEMORY, "gtol": tolerance, "ftol": 1e-12},
    )
    parameters = np.asarray(found.x.reshape(start.shape) * scale)
    # Nothing was learned along an axis on which all cells are the same; L-BFGS leaves some last digits there.
    parameters[:, :-1][:, spread <= NO_SPREAD * spread.max()] = 0
    return parameters
