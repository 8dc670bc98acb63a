"""The JSON of every answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.pipeline.manifest import Manifest

NOTICE = "For Research Use Only. Not for use in diagnostic procedures."

Fraction = Annotated[float, Field(ge=0, le=1)]
Point = tuple[float, float]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class TileOut(_Answer):
    """The upload."""

    width: int
    height: int
    mpp: float | None = Field(description="µm per pixel, as the request said")
    sha256: str
    cut_nuclei: int = Field(
        description="nuclei of which the border cuts off more than half; they are not among the cells"
    )


class FlagOut(_Answer):
    """Something about the tile that its reader should know."""

    code: str = Field(
        description="blurred, compressed, little_tissue, saturated, no_stain, not_he, stain_out_of_range, mpp_unknown "
        "or scale_suspect"
    )
    message: str
    value: float | None = Field(
        description="what was measured: a ratio (blurred, compressed), a share of 0–1 (little_tissue, saturated, "
        "not_he), robust standard deviations (stain_out_of_range), the mean nuclear radius in px at the bundle's scale "
        "(scale_suspect); null (no_stain, mpp_unknown)"
    )
    threshold: float | None = Field(description="the bundle's limit that it passed, in the same unit; null like value")


class QualityOut(_Answer):
    """Measures of the tile."""

    focus: float = Field(
        description="ratio: energy of fine over coarse detail in the tissue; higher is sharper; 0: too little tissue"
    )
    stain_distance: float | None = Field(
        description="distance of the stain as it came from that of the training tiles, in robust standard deviations "
        "(root mean square over mean and spread of lαβ and both stain vectors); null: no two stains"
    )
    tissue_fraction: Fraction = Field(description="share of the tile's pixels that are tissue")
    flags: list[FlagOut]


class CellOut(_Answer):
    """One cell; coordinates are pixels of the uploaded tile, origin at the top-left corner, x right, y down."""

    id: int = Field(description="from 0, in the order of the list")
    centroid: Point
    bbox: tuple[int, int, int, int] = Field(description="x0, y0, x1, y1; x1 and y1 exclusive")
    area_px: int
    contour: list[Point] = Field(description="outer outline, not closed")
    touches_border: bool = Field(description="the tile's border cuts it, or may do so")
    cluster: int
    probabilities: list[Fraction] = Field(description="of each cluster")
    outlier: bool | None = Field(description="unlike any training cell; null: this bundle cannot tell")


class ClusterOut(_Answer):
    """One cluster's part in the tile."""

    cluster: int
    name: str | None = Field(description="only if somebody has named it")
    count: int
    proportion: Fraction | None = Field(description="count / cells; null without cells")
    interval: tuple[Fraction, Fraction] | None = Field(
        description="95% Wilson interval of this proportion by itself; sampling of cells only"
    )
    contribution: float | None = Field(
        description="part of the label's score; the sum plus the SVM's bias is the score"
    )
    prototypes_url: str
    prototypes: list[str] | None = Field(
        default=None, exclude_if=lambda cells: cells is None, description="base64 PNG; only when asked for"
    )


class LabelOut(_Answer):
    """The tile's label."""

    value: Literal["normal", "abnormal", "indeterminate"]
    score: float | None = Field(description="SVM's decision value, positive = abnormal")
    probability: Fraction | None = Field(description="calibrated; null: the bundle has no calibration")
    kmeans: Literal["normal", "abnormal"] | None = Field(description="label of the nearest k-means centre")
    basis: str = Field(description="what normal and abnormal mean here")
    reason: str


class BundleUsed(_Answer):
    """What computed the answer."""

    name: str
    version: str
    sha256: str
    backend: Literal["onnxruntime", "pytorch"]
    device: Literal["cpu", "cuda"]


class TimingOut(_Answer):
    """Milliseconds per stage."""

    decode: float
    segment: float
    quality: float
    encode: float
    label: float
    total: float


class AnalysisOut(_Answer):
    """POST /analyze."""

    request_id: str
    notice: str
    tile: TileOut
    quality: QualityOut
    cells: list[CellOut]
    clusters: list[ClusterOut]
    label: LabelOut
    bundle: BundleUsed
    timing_ms: TimingOut


class PrototypesOut(_Answer):
    """GET /prototypes/{cluster}?format=json."""

    cluster: int
    n: int
    seed: int
    cells: list[str] = Field(description="base64 PNG, 32×32")
    fidelity: Fraction = Field(description="share of generated cells that Q puts back into the cluster")
    diversity: float | None = Field(description="spread of prototypes over that of the cluster's real cells")


class BundleSummary(BundleUsed):
    """One entry of GET /bundles."""

    default: bool
    n_clusters: int


class BundlesOut(_Answer):
    """GET /bundles."""

    bundles: list[BundleSummary]


class BundleOut(BundleSummary):
    """GET /bundles/{name}: model card, provenance, licence, metrics and checksums, as the manifest has them."""

    manifest: Manifest


class HealthOut(_Answer):
    """GET /livez and /readyz."""

    status: Literal["alive", "ready"]
