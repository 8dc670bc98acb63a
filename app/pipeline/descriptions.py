"""What sets each cluster of a bundle apart from the others, in measurements and in a sentence.

Answers hold these models as they are: they are made once, when the bundle is loaded.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.pipeline.presets import Fraction, ManifestModel

Effect = Annotated[float, Field(ge=-1, le=1)]
Name = Annotated[
    str,
    Field(
        min_length=1,
        description="Name of the measurement, with its unit where that is a length or an area, as in area_um2.",
    ),
]
Title = Annotated[str, Field(min_length=1, description="What it is called in words.")]
Unit = Annotated[
    str,
    Field(
        description="Unit of the values: um2 (µm²), um (µm), od (optical density), od_per_um, bits or count; empty if "
        "they have none. Lengths are in µm at the bundle's scale, also where the scale of a tile is not known."
    ),
]


class MeasurementOfCluster(ManifestModel):
    """A measurement of the training cells of one cluster; null where no cell was measured."""

    measurement: Name
    title: Title
    unit: Unit
    n: int = Field(ge=0, description="Number of training cells of the cluster on which it was measured.")
    median: float | None = Field(description="Median over these cells, in its unit.")
    quartiles: tuple[float, float] | None = Field(
        description="A quarter of these cells lies below the first value, and a quarter above the second, in its unit."
    )
    effect: Effect | None = Field(
        description="How far the cluster differs from all other training cells, −1 to 1 (Cliff's delta): the share of "
        "pairs of one of its cells and another cell in which its cell has the larger value, minus the share in which "
        "it has the smaller one. Below 0.147 in size, the difference is negligible."
    )


class ClusterDescription(ManifestModel):
    """What sets a cluster apart. It was measured on the bundle's training cells, not on the cells of a tile."""

    sentence: str = Field(
        min_length=1, description="What sets the cluster apart, in a sentence that names no cell type."
    )
    n_cells: int = Field(ge=0, description="Number of training cells in the cluster, without outliers.")
    measurements: tuple[MeasurementOfCluster, ...] = Field(
        description="The measurements of these cells: first the three that matter most, which are those with plain "
        "words that differ most and do not say the same; then all others, from the one that differs most."
    )


class ExplainedMeasurement(ManifestModel):
    """A measurement of the training cells, and how much of it the clusters explain."""

    measurement: Name
    title: Title
    unit: Unit
    eta_squared: Fraction | None = Field(
        description="Share of its variance over the training cells that lies between the clusters (η²): 1 if the "
        "cluster of a cell determines it, 0 if the clusters do not differ in it. It is null if no cell was measured."
    )


class Descriptions(ManifestModel):
    """What sets each cluster apart, measured on the training cells that are no outliers, at the bundle's scale."""

    measurements: tuple[ExplainedMeasurement, ...] = Field(description="All measurements, in the order of their list.")
    clusters: tuple[ClusterDescription, ...] = Field(description="There is one for each of the K clusters, by number.")
