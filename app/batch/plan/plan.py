"""What is known of a slide before its tiles are analysed: written once, read by every worker."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from app.answer.schemas import QualityOut


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StainNumbers(_Part):
    """A `StainEstimate` as plain numbers."""

    lab_mean: tuple[float, float, float]
    lab_sd: tuple[float, float, float]
    haematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    nuclear_density: float


class Region(_Part):
    """A part of the slide that somebody drew."""

    name: str = Field(description="as it was drawn; made unique with a number")
    wkt: str = Field(description="polygon or multipolygon in px of level 0, after what is to be ignored was cut out")


class Plan(_Part):
    """One slide, and what is to be done with it."""

    slide: str = Field(description="its id in this run: the name of its folder of results")
    file: str = Field(description="name of its file, without folders")
    bytes: int = Field(description="of the file")
    fingerprint: str = Field(
        description="SHA-256 of the file; of its size, first and last MiB where it is larger than 64 MiB"
    )
    width: int = Field(description="px of level 0")
    height: int = Field(description="px of level 0")
    mpp: float | None = Field(description="µm per px of level 0; null: neither the file nor the command says")
    um_per_px: float = Field(description="the same; the bundle's where nobody says")
    downsample: float = Field(description="level-0 px per px at which the bundle looks")
    overview_px: int = Field(description="edge, in level-0 px, of one px of the overview")
    tissue_mm2: float = Field(description="area of the tissue, within the regions if there are any")
    tile_px: int = Field(description="edge of a tile's core, level-0 px")
    margin_px: int = Field(description="what a tile sees beyond its core, level-0 px")
    tiles: tuple[tuple[int, int], ...] = Field(
        description="x, y of the cores with tissue, level-0 px, in reading order"
    )
    regions: tuple[Region, ...] = Field(description="empty: the whole slide")
    stain: StainNumbers | None = Field(description="null: no two stains can be told apart")
    quality: QualityOut = Field(description="measured once, on a sample of the tissue")
