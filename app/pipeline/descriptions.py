"""What sets each cluster of a bundle apart from the others, in measurements and in a sentence."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from app.pipeline.presets import Fraction, ManifestModel

Effect = Annotated[float, Field(ge=-1, le=1)]


class MeasurementOfCells(ManifestModel):
    """A measurement of the training cells, and how much of it the clusters explain."""

    measurement: str = Field(
        min_length=1, description="The measurement has this name in answers, where the scale is known."
    )
    title: str = Field(min_length=1, description="This is what it is called in words.")
    unit: str = Field(
        description="Its values have this unit: um2 (µm²), um (µm), od (optical density), od_per_um, bits or count. "
        "It is empty if they have none."
    )
    eta_squared: Fraction | None = Field(
        description="This share of its variance over the training cells lies between the clusters (η²): 1 if the "
        "cluster of a cell determines it, 0 if the clusters do not differ in it. It is null if no cell was measured."
    )


class MeasurementOfCluster(ManifestModel):
    """A measurement of the training cells of one cluster; null where no cell was measured."""

    n: int = Field(ge=0, description="It was measured on this many training cells of the cluster.")
    median: float | None = Field(description="This is the median over the training cells of the cluster.")
    quartiles: tuple[float, float] | None = Field(
        description="A quarter of the cells lies below the first, and a quarter above the second."
    )
    effect: Effect | None = Field(
        description="This is how far the cluster differs from all other training cells (Cliff's delta): how much more "
        "often one of its cells has the larger value than the smaller one, beside a cell of another cluster. It is 1 "
        "if all of its cells have larger values, 0 if neither is larger more often, and −1 if all have smaller ones."
    )


class ClusterDescription(ManifestModel):
    """What sets one cluster apart from the others."""

    sentence: str = Field(min_length=1, description="It says what sets the cluster apart, without naming a cell type.")
    n_cells: int = Field(ge=0, description="This many training cells are in the cluster, without outliers.")
    foremost: tuple[str, ...] = Field(
        max_length=3, description="These measurements matter most: they differ most, and each says another thing."
    )
    measurements: tuple[MeasurementOfCluster, ...] = Field(
        description="There is one for each measurement, in the order of the bundle's list."
    )


class Descriptions(ManifestModel):
    """What sets each cluster apart, measured on the training cells that are no outliers, at the bundle's scale."""

    measurements: tuple[MeasurementOfCells, ...] = Field(min_length=1)
    clusters: tuple[ClusterDescription, ...] = Field(description="There is one for each of the K clusters, by number.")

    @model_validator(mode="after")
    def _complete(self) -> Descriptions:
        names = [known.measurement for known in self.measurements]
        for k, cluster in enumerate(self.clusters):
            if len(cluster.measurements) != len(names):
                raise ValueError(f"cluster {k} needs {len(names)} measurements, found {len(cluster.measurements)}")
            if unknown := sorted({*cluster.foremost} - {*names}):
                raise ValueError(f"cluster {k} names {unknown[0]}, which is no measurement of the list")
        return self

    def of(self, cluster: int) -> list[tuple[MeasurementOfCells, MeasurementOfCluster]]:
        """Return the measurements of a cluster: those that matter most, and then all others by falling effect."""
        described = self.clusters[cluster]
        pairs = zip(self.measurements, described.measurements, strict=True)
        places = {name: place for place, name in enumerate(described.foremost)}

        def place(pair: tuple[MeasurementOfCells, MeasurementOfCluster]) -> tuple[int, float]:
            return places.get(pair[0].measurement, len(places)), -abs(pair[1].effect or 0)

        return sorted(pairs, key=place)
