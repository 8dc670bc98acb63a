"""What a manifest says of the fast Q."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.pipeline.presets import Fraction, Part, Positive


class FastAgreement(Part):
    """How far the fast Q says what the full one says, of cells on tiles that it was not fitted to."""

    tiles: int = Field(ge=1, description="held out")
    cells: int = Field(ge=1, description="on them")
    clusters: Fraction = Field(description="share of the cells that both put into the same cluster")
    outliers: Fraction = Field(description="share of the cells that both call an outlier, or neither does")
    proportion_change: Fraction = Field(
        description="largest difference of a cluster's proportion, over all of the cells"
    )
    worst_tile_proportion_change: Fraction = Field(description="likewise, over one tile; the largest of any")


class FastNetwork(Part):
    """A second Q that says nearly the same in less time."""

    kind: Literal["int8"] = Field(
        description="int8: q.onnx with its convolutions in 8-bit integers, and heads that were fitted to that"
    )
    fitted_cells: int = Field(ge=1, description="real cells that set its scales and its heads")
    agreement: FastAgreement
    tolerance: Positive = Field(description="largest difference from its golden pair that is allowed")
