"""The summary of a slide: the content of summary.json, from which the reports and the table of the cohort are made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from app.answer.schemas import (
    BundleUsed,
    ClusterOut,
    Fraction,
    LabelOut,
    MeasurementOut,
    OutliersOut,
    QualityOut,
    Rounded,
    SegmentationOut,
    TissueOut,
    TypeOut,
    VeryLargeNucleiOut,
)
from app.files import write_whole
from app.pipeline.headers.declared_scale import MppSource
from app.pipeline.headers.inputs import FrameName
from app.pipeline.networks.backend import Precision

SUMMARY = "summary.json"


class _Summary(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Frame(_Summary):
    """The part of a slide's canvas that is analysed; the coordinates of all results count from its corner."""

    name: FrameName = Field(
        description="`bounds` if the frame is the scanned part that the file states, which QuPath shows; `canvas` if "
        "it is the whole canvas."
    )
    x: int = Field(description="The column of the frame's first pixel on the canvas, in px of level 0.")
    y: int = Field(description="The row of the frame's first pixel on the canvas, in px of level 0.")
    canvas_width: int = Field(description="The width of the canvas, in px of level 0.")
    canvas_height: int = Field(description="The height of the canvas, in px of level 0.")


class SlideInputs(_Summary):
    """Everything that the results of a slide depend on: equal inputs give results that are the same to the byte."""

    model_config = ConfigDict(frozen=True)

    slide: str = Field(description="The id of the slide in the batch.")
    file: str = Field(description="The name of the slide's file, without folders.")
    bytes: int = Field(description="The size of the slide's files.")
    fingerprint: str = Field(description="A checksum of the slide's files.")
    regions_sha256: str | None = Field(
        description="The SHA-256 of the file with its regions; null if the whole slide is analysed."
    )
    nuclei_sha256: str | None = Field(
        default=None,
        description="The SHA-256 of the file with its nuclei, which another program has found; null if the bundle "
        "finds them.",
    )
    patient: str | None = Field(description="The patient, from the table of patients; null if it has no such slide.")
    bundle_sha256: str = Field(description="The SHA-256 of the bundle's manifest.json.")
    code_version: str = Field(description="The version of the program.")
    precision: Precision = Field(description="The precision that was asked for.")
    mpp: float | None = Field(description="The option --mpp, in µm per pixel; null if it was not given.")
    frame: FrameName = Field(
        description="Whether the scanned part that the file states is analysed, or the whole canvas."
    )
    max_pixels: int = Field(description="The largest number of pixels of a PNG or JPEG.")
    map: str | None = Field(
        default=None, description="The measurement whose mean over the slide is drawn as a map; null if none is."
    )

    @property
    def sha256(self) -> str:
        """The SHA-256 of these inputs, in hexadecimal; whatever is made of them is marked with it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Counted(_Summary):
    """The cells of a slide or of one of its regions, counted by cluster."""

    cells: int = Field(description="The number of cells, outliers included.")
    tissue_mm2: float = Field(description="The area of the tissue in which the cells were found, in mm².")
    outliers: OutliersOut
    clusters: list[ClusterOut] = Field(description="Every cluster of the bundle, in the order of their numbers.")
    types: list[TypeOut] | None = Field(
        default=None,
        description="Every type that people have taught the bundle, in the order of its manifest; null if it has no "
        "cell classifier.",
    )
    cells_without_type: int | None = Field(
        default=None,
        description="The number of counted cells for which no type is probable enough; null if the bundle has no cell "
        "classifier.",
    )
    myeloid_erythroid_ratio: Rounded | None = Field(
        default=None,
        description="The number of cells of myeloid types over that of cells of erythroid types; null unless the "
        "bundle marks types of both sides, and without erythroid cells.",
    )
    label: LabelOut
    tissue: TissueOut | None = Field(
        description="The shares of the slide or region that each kind of tissue has; what was not analysed has no "
        "tissue and is background. It is null if two stains could not be told apart on the slide."
    )
    measurements: list[MeasurementOut] = Field(
        description="Every measurement over the counted cells, outliers left out."
    )
    means: dict[str, Rounded | None] = Field(
        description="The mean of each measurement over these cells, by its name; null if it was made on none."
    )
    very_large_nuclei: VeryLargeNucleiOut = Field(
        description="Very large nuclei, with their number per mm² of tissue. Of each, the largest lobe is named."
    )


class RegionSummary(Counted):
    """The cells with their centroid in a region; a cell may be in several regions, because regions may overlap."""

    name: str = Field(description="The name of the region, as it was drawn.")


class PairSummary(_Summary):
    """The distance from the cells of one cluster to the nearest cells of another cluster, or of their own."""

    cluster: int = Field(description="The cluster of the cells from which the distance is measured.")
    other: int = Field(description="The cluster of the cells to which it is measured; it may be the same cluster.")
    cells: int = Field(description="The number of cells of `cluster`, outliers excluded.")
    median_um: float | None = Field(
        description="The median distance from a cell of `cluster` to the nearest other cell of `other`, in µm; null if "
        "there is no such cell."
    )
    ratio: float | None = Field(
        description="The mean distance divided by the mean distance that the same cells would have if their clusters "
        "were assigned at random. Below 1 the cells are nearer than by chance. Null if there are too few cells."
    )


class IslandSummary(_Summary):
    """The islands of a cluster: dense groups of its cells."""

    cluster: int = Field(description="The cluster that the islands consist of.")
    islands: int = Field(description="The number of islands.")
    cells: int = Field(description="The number of cells in all islands together.")
    share: Fraction | None = Field(
        description="The share of the cluster's cells that are in an island, 0–1; null if the cluster has no cells."
    )
    median_cells: float | None = Field(
        description="The median number of cells in an island; null if there is no island."
    )


class NoveltySummary(_Summary):
    """Where the slide is unlike the training tiles: each square is judged by its cells, as a tile is."""

    squares: int = Field(description="The number of squares with enough cells to be judged.")
    unlike: int = Field(description="The number of these that are unlike the training tiles.")
    square_um: float = Field(description="The edge of a square, in µm.")


class SlideSummary(Counted):
    """The content of summary.json: everything that was found on one slide, apart from the single cells."""

    slide: str = Field(description="The id of the slide in the batch.")
    file: str = Field(description="The name of the slide's file, without folders.")
    fingerprint: str = Field(description="A checksum of the slide's file, the `fingerprint` of its plan.")
    patient: str | None = Field(description="The patient, from the table of patients; null if it has no such slide.")
    notice: str = Field(description="What the results may be used for.")
    width: int = Field(description="The width of the slide at full resolution (level 0), in px.")
    height: int = Field(description="The height of the slide at full resolution (level 0), in px.")
    frame: Frame
    mpp: float | None = Field(
        description="µm per px of level 0; null if it is not known and that of the bundle was assumed."
    )
    mpp_source: MppSource = Field(
        description="Where `mpp` comes from: `request` is --mpp; `slide_metadata` is what a scanner wrote; "
        "`ome_xml`, `imagej`, `aperio`, `tiff_resolution`, `png_phys` and `jfif` are other metadata of the file; "
        "`objective` is an estimate from the power of the objective; `bundle` means that nobody says it."
    )
    um_per_px: float = Field(description="µm per px of level 0 with which distances and areas were computed.")
    tiles: int = Field(description="The number of tiles that were analysed.")
    quality: QualityOut
    novelty: NoveltySummary | None = Field(
        default=None,
        description="Where the slide is unlike the training tiles; null if the bundle knows nothing to compare with.",
    )
    regions: list[RegionSummary] = Field(description="The regions; empty if the whole slide was analysed.")
    regions_skipped: list[str] = Field(
        default=[],
        description="What else the file of the regions holds and why it is no region, and which regions were cut "
        "off at the border of the slide, in sentences.",
    )
    types_warning: str | None = Field(
        default=None,
        description="Why the types are recognised worse on a slide than on the cells that were named, in a sentence; "
        "null if the figures of the cell classifier hold for new tiles, and if the bundle has none.",
    )
    neighbours: list[PairSummary] = Field(description="Every ordered pair of clusters.")
    islands: list[IslandSummary] = Field(description="Every cluster, in the order of their numbers.")
    segmentation: SegmentationOut
    bundle: BundleUsed
    code_version: str = Field(description="The version of the program.")
    inputs: SlideInputs
    files: dict[str, int] = Field(
        description="The other files of results, with the length of each in bytes. If one of them is missing or has "
        "another length, the slide counts as not finished."
    )


@dataclass(frozen=True, slots=True)
class FailedSlide:
    """A slide that could not be analysed and so has no summary.

    Attributes:
        slide: its id in the batch.
        file: the name of its file, without folders.
        patient: its patient, from the table of patients; None if it has no such slide.
        reason: why it could not be analysed.
    """

    slide: str
    file: str
    patient: str | None
    reason: str


def write_summary(summary: SlideSummary, path: Path) -> None:
    """Write the summary of a slide, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    write_whole((summary.model_dump_json(indent=2) + "\n").encode(), path)


def read_summary(path: Path) -> SlideSummary:
    """Read the summary of a slide.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: the file is damaged, as a power cut may leave it.
    """
    return SlideSummary.model_validate_json(path.read_bytes())
