"""What can be said about a tile once its cells are known: are they enough, and like the training cells?"""

from __future__ import annotations

from app.pipeline.manifest import Outliers
from app.pipeline.proportions import Proportions
from app.pipeline.quality.assess import Flag

DIFFERENTIAL_COUNT = 500
"""Cells that a differential count of marrow asks for (Lee et al. 2008, ICSH guideline)."""


def cell_flags(proportions: Proportions, outliers: Outliers) -> tuple[Flag, ...]:
    """Flags `few_cells` and `many_outliers`, where they are due.

    Args:
        proportions: of the tile.
        outliers: the bundle's limits.
    """
    flags = []
    if proportions.n_counted < DIFFERENTIAL_COUNT:
        flags.append(_few_cells(proportions))
    n_cells, n_outliers = len(proportions.outlier), int(proportions.outlier.sum())
    # One cell more than the limit is no evidence where there are few: the limit must lie below two standard errors.
    share = n_outliers / max(n_cells, 1)
    error = (outliers.max_share * (1 - outliers.max_share) / max(n_cells, 1)) ** 0.5
    if share > outliers.max_share + 2 * error:
        message = (
            f"{n_outliers} of {n_cells} cells ({share:.1%}) are unlike any training cell, and {outliers.max_share:.1%} "
            "is the bundle's limit: is this marrow, stained and scanned as the training tiles?"
        )
        flags.append(Flag("many_outliers", message, share, outliers.max_share))
    return tuple(flags)


def _few_cells(proportions: Proportions) -> Flag:
    n = proportions.n_counted
    message = (
        f"{n} {'cell was' if n == 1 else 'cells were'} counted; a differential count asks for {DIFFERENTIAL_COUNT}."
    )
    if proportions.intervals is not None:
        widest = float((proportions.intervals[:, 1] - proportions.intervals[:, 0]).max())
        message += f" The widest interval of a proportion spans {widest:.2f}."
    return Flag("few_cells", message, n, DIFFERENTIAL_COUNT)
