"""The plan of a slide: everything that is known before its tiles are analysed, for every worker that analyses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from app.answer.schemas import QualityOut
from app.batch.plan.nuclei import CoreGrid, SlideNuclei
from app.batch.summary import Frame, SlideInputs
from app.pipeline.headers.declared_scale import MppSource
from app.pipeline.types import LabStatistics, Segmentation, StainEstimate


class _Plan(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StainNumbers(_Plan):
    """A `StainEstimate` as plain numbers, so that it can be written as JSON; the fields are those of the estimate."""

    lab_mean: tuple[float, float, float]
    lab_sd: tuple[float, float, float]
    haematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    nuclear_density: float

    @classmethod
    def of(cls, estimate: StainEstimate) -> StainNumbers:
        """Return the numbers of an estimate."""
        return cls(
            lab_mean=tuple(estimate.lab.mean.tolist()),
            lab_sd=tuple(estimate.lab.sd.tolist()),
            haematoxylin=tuple(estimate.stain_matrix[:, 0].tolist()),
            eosin=tuple(estimate.stain_matrix[:, 1].tolist()),
            nuclear_density=estimate.nuclear_density,
        )

    def estimate(self) -> StainEstimate:
        """Return the estimate that has these numbers."""
        lab = LabStatistics(np.array(self.lab_mean), np.array(self.lab_sd))
        return StainEstimate(lab, np.column_stack([self.haematoxylin, self.eosin]), self.nuclear_density)


class Region(_Plan):
    """A part of the slide that somebody drew."""

    name: str = Field(description="The name that was drawn with it; a number makes it unique.")
    wkt: str = Field(
        description="A polygon or multipolygon without the areas to ignore, in px of level 0, where the corner of the "
        "first pixel is 0, 0."
    )


class Plan(_Plan):
    """The content of plan.json."""

    slide: str = Field(description="The id of the slide, which names its folder of results.")
    file: str = Field(description="The name of the slide's file, without folders.")
    bytes: int = Field(description="The size of the slide's files.")
    fingerprint: str = Field(
        description="A SHA-256 of the file; of a file larger than 64 MiB, that of its size, its first MiB, its last "
        "MiB and pieces between them."
    )
    width: int = Field(description="The width of the slide at full resolution (level 0), in px.")
    height: int = Field(description="The height of the slide at full resolution (level 0), in px.")
    frame: Frame
    mpp: float | None = Field(description="µm per px of level 0; null if neither the file nor the command says it.")
    mpp_source: MppSource = Field(description="Where `mpp` comes from.")
    um_per_px: float = Field(description="µm per px of level 0; that of the bundle if it is not known.")
    downsample: float = Field(description="px of level 0 per px of the scale at which the bundle analyses.")
    overview_px: int = Field(description="The edge of one px of the overview, in px of level 0.")
    tissue_mm2: float = Field(description="The area of the tissue, or of the tissue in the regions, in mm².")
    tile_px: int = Field(description="The edge of a tile's core, in px of level 0.")
    margin_px: int = Field(description="The margin that is analysed with a tile on each side, in px of level 0.")
    tiles: tuple[tuple[int, int], ...] = Field(
        description="x, y of each core that has tissue, in px of level 0 and in reading order."
    )
    regions: tuple[Region, ...] = Field(description="The regions; empty if the whole slide is analysed.")
    regions_skipped: tuple[str, ...] = Field(
        default=(),
        description="What else the file of the regions holds and why it is no region, and which regions were cut "
        "off at the border of the slide, in sentences.",
    )
    nuclei: SlideNuclei | None = Field(
        default=None, description="The nuclei that another program has found; null if the bundle finds them."
    )
    stain: StainNumbers | None = Field(description="The stain; null if no two stains can be told apart.")
    quality: QualityOut = Field(description="The quality of the slide, measured once on a sample of its tissue.")
    inputs: SlideInputs
    change: str | None = Field(
        default=None,
        description="What has changed since an earlier run, whose results of the slide were discarded, in a sentence; "
        "null if there were none.",
    )

    @property
    def grid(self) -> CoreGrid:
        """The cores of the slide."""
        return CoreGrid(self.width, self.height, self.tile_px, self.downsample, self.frame)

    @property
    def upload(self) -> Segmentation | None:
        """What found the nuclei, if it was not the bundle."""
        if self.nuclei is None:
            return None
        return Segmentation("upload", "geojson", upload_sha256=self.inputs.nuclei_sha256)


def read_plan(path: Path) -> Plan:
    """Read the plan of a slide.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: the file is damaged, as a power cut may leave it.
    """
    return Plan.model_validate_json(path.read_bytes())
