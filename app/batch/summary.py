"""What is told of a slide: summary.json, and from it the reports and the cohort's table."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from app.answer.schemas import BundleUsed, ClusterOut, Fraction, LabelOut, OutliersOut, QualityOut

SUMMARY = "summary.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Counted(_Part):
    """The cells of a slide, or of one of its regions."""

    cells: int = Field(description="all of them, outliers too")
    tissue_mm2: float = Field(description="area of tissue that they were sought in")
    outliers: OutliersOut
    clusters: list[ClusterOut] = Field(description="all of the bundle's, by number")
    label: LabelOut


class RegionSummary(Counted):
    """The cells whose centroid lies within a region; regions may overlap."""

    name: str = Field(description="as it was drawn")


class PairSummary(_Part):
    """How near the cells of one cluster have those of another (or the next of their own)."""

    cluster: int = Field(description="whose cells look round")
    other: int = Field(description="what they look for")
    cells: int = Field(description="of `cluster`, outliers left out")
    median_um: float | None = Field(description="median distance to the nearest of `other`, µm; null: there is none")
    ratio: float | None = Field(
        description="mean distance over the mean of it when the clusters are dealt out to the same places at random; "
        "below 1: nearer than by chance; null: too few cells"
    )


class IslandSummary(_Part):
    """Dense groups of cells of one cluster."""

    cluster: int = Field(description="whose")
    islands: int = Field(description="how many")
    cells: int = Field(description="in them")
    share: Fraction | None = Field(description="of the cluster's cells; null: it has none")
    median_cells: float | None = Field(description="of an island; null: there is none")


class SlideSummary(Counted):
    """summary.json of one slide."""

    slide: str = Field(description="its id in this run")
    file: str = Field(description="name of its file, without folders")
    fingerprint: str = Field(description="of the file; see the plan")
    patient: str | None = Field(description="as the table of patients says; null: it does not")
    notice: str = Field(description="what the results may be used for")
    width: int = Field(description="px of level 0")
    height: int = Field(description="px of level 0")
    mpp: float | None = Field(description="µm per px of level 0; null: not known, the bundle's was taken")
    um_per_px: float = Field(description="that distances and areas were computed with")
    tiles: int = Field(description="that were analysed")
    quality: QualityOut
    regions: list[RegionSummary] = Field(description="empty: the whole slide")
    neighbours: list[PairSummary] = Field(description="each pair of clusters, in order")
    islands: list[IslandSummary] = Field(description="each cluster")
    bundle: BundleUsed
    code_version: str = Field(description="of the program")
