"""The JSON of every answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.pipeline.manifest import LabelCounts, LabelValue, Manifest
from app.pipeline.networks.backend import Precision

NOTICE = "For Research Use Only. Not for use in diagnostic procedures."

Fraction = Annotated[float, Field(ge=0, le=1)]
Point = tuple[float, float]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class TileOut(_Answer):
    """The upload."""

    width: int = Field(description="px")
    height: int = Field(description="px")
    mpp: float | None = Field(description="µm per pixel, as the request said; null: it did not")
    sha256: str = Field(description="of the uploaded bytes, hexadecimal")
    cut_nuclei: int = Field(
        description="nuclei of which the border cuts off more than half; they are not among the cells"
    )


class FlagOut(_Answer):
    """Something about the tile that its reader should know."""

    code: str = Field(
        description="blurred, compressed, little_tissue, saturated, no_stain, not_he, stain_out_of_range, mpp_unknown, "
        "scale_suspect, few_cells or many_outliers"
    )
    message: str = Field(description="in words, with what was measured and the limit")
    value: float | None = Field(
        description="what was measured: a ratio (blurred, compressed), a share of 0–1 (little_tissue, saturated, "
        "not_he, many_outliers), robust standard deviations (stain_out_of_range), the mean nuclear radius, or that "
        "over focus, in px at the bundle's scale (scale_suspect), cells that are counted (few_cells); null (no_stain, "
        "mpp_unknown)"
    )
    threshold: float | None = Field(description="the limit that it passed, in the same unit; null like value")
    prevents_label: bool = Field(description="the tile's label is indeterminate because of it")


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
    flags: list[FlagOut] = Field(description="what is wrong with the tile; empty: nothing was found")


class CellOut(_Answer):
    """One cell; coordinates are pixels of the uploaded tile, origin at the top-left corner, x right, y down."""

    id: int = Field(description="from 0, in the order of the list")
    centroid: Point = Field(description="x, y in px")
    bbox: tuple[int, int, int, int] = Field(description="x0, y0, x1, y1 in px; x1 and y1 exclusive")
    area_px: int = Field(description="area of the nucleus in px of the uploaded tile")
    contour: list[Point] = Field(description="outer outline, x, y in px, not closed")
    touches_border: bool = Field(description="the tile's border cuts it, or may do so")
    cluster: int = Field(description="the most probable one, from 0")
    probabilities: list[Fraction] = Field(description="of each cluster, by Q; they sum to 1")
    outlier: bool = Field(description="unlike the training cells of every cluster, and not counted in any")


class OutliersOut(_Answer):
    """The cells that are unlike any training cell; no cluster counts them."""

    count: int = Field(description="how many")
    share: Fraction | None = Field(description="of all cells; null without cells")


class ClusterOut(_Answer):
    """One cluster's part in the tile."""

    cluster: int = Field(description="from 0")
    name: str | None = Field(description="only if somebody has named it; GET /bundles/{name} says who and when")
    color: str = Field(description="#rrggbb, of its cells on the page, in pictures and in QuPath")
    count: int = Field(description="cells, outliers left out")
    proportion: Fraction | None = Field(description="count over the sum of all counts; null where that is 0")
    interval: tuple[Fraction, Fraction] | None = Field(
        description="low and high; simultaneous: with 95% confidence all clusters' intervals together hold the "
        "proportions of the tissue that these cells are a random sample of. It covers sampling and Q's own doubt about "
        "each cell, so it need not lie evenly round the proportion. Null like proportion"
    )
    contribution: float | None = Field(
        description="part of the label's score, in units of the score: the SVM's weight times the proportion; the sum "
        "over clusters plus label.bias is label.score"
    )
    prototypes_url: str = Field(description="where cells that the generator draws of this cluster are")
    prototypes: list[str] | None = Field(
        default=None, exclude_if=lambda cells: cells is None, description="base64 PNG; only when asked for"
    )


class GroupOut(_Answer):
    """How far the tile is from a group of reference tiles."""

    name: str = Field(description="what they are; says if they are simulated")
    distance: float = Field(
        description="L2 distance of the tile's proportions from the group's mean ones, 0–√2, no unit"
    )
    farther_than: Fraction = Field(description="share of the group's own tiles nearer to that mean; 1: all are")


class PlacementOut(_Answer):
    """The tile beside the reference tiles of the bundle (GET /bundles/{name} has their proportions)."""

    position: Point = Field(description="on the first two principal components of the reference tiles' proportions")
    nearest: str = Field(description="name of the group whose mean is the nearest")
    groups: list[GroupOut] = Field(description="nearest first")


class LabelOut(_Answer):
    """The tile's label."""

    value: Literal["normal", "abnormal", "indeterminate"] = Field(
        description="indeterminate: no label is given, and reason says why"
    )
    score: float | None = Field(
        description="SVM's decision value, positive = abnormal, no unit; null without a counted cell"
    )
    bias: float = Field(description="of the SVM: the score of a tile before any cluster contributes")
    probability: Fraction | None = Field(
        description="of abnormal, calibrated on labelled tiles, at their shares of both labels; null: the bundle has "
        "fewer than 20 tiles of a label, or the tile is not fit to be judged"
    )
    calibrated_on: LabelCounts | None = Field(
        description="labelled tiles that the probability rests on; null: the bundle has too few"
    )
    conformal_set: list[LabelValue] | None = Field(
        description="labels whose examples have such a score, at 90% coverage of each; both: either is possible; "
        "empty: the score lies between those of both; null without a counted cell"
    )
    kmeans: LabelValue | None = Field(description="label of the nearest k-means centre; null without a counted cell")
    reference: PlacementOut | None = Field(description="null without a counted cell")
    basis: str = Field(description="what normal and abnormal mean here; says what was simulated")
    reason: str = Field(description="in words, why this label, or why none")


class BundleIdentity(_Answer):
    """Which bundle, and where it computes."""

    name: str = Field(description="of the bundle")
    version: str = Field(description="of the bundle")
    sha256: str = Field(description="of its manifest.json, which has the checksum of every other file; hexadecimal")
    backend: Literal["onnxruntime", "pytorch"] = Field(description="what computes the networks")
    device: Literal["cpu", "cuda"] = Field(description="where")


class BundleUsed(BundleIdentity):
    """What computed the answer."""

    precision: Precision = Field(
        description="of the network that sorted the cells. full: exact; fast: in 8-bit integers, nearly the same"
    )


class ParametersOut(_Answer):
    """Asked with these, the same bundle and code answer the same tile with the same result."""

    bundle: str = Field(description="name of the bundle, the default one's too")
    mpp: float | None = Field(description="µm per pixel; null: none was given")
    precision: Precision = Field(description="that the answer has, which may be full where fast was asked")
    prototypes: int = Field(description="per cluster; 0: none were asked for")


class TimingOut(_Answer):
    """Milliseconds per stage."""

    decode: float = Field(description="ms: bytes to pixels, at the bundle's scale")
    segment: float = Field(description="ms: stains and nuclei")
    quality: float = Field(description="ms: focus, stain, tissue and scale, while nuclei are sought")
    encode: float = Field(description="ms: crops, and Q on them")
    label: float = Field(description="ms: proportions and label")
    total: float = Field(description="ms: all of it, but for the upload and the writing of the answer")


class AnalysisOut(_Answer):
    """POST /analyze."""

    request_id: str = Field(description="also in the header X-Request-ID")
    notice: str = Field(description="what the answer may be used for")
    tile: TileOut
    quality: QualityOut
    cells: list[CellOut] = Field(description="from top to bottom; empty: none was found")
    outliers: OutliersOut
    clusters: list[ClusterOut] = Field(description="all of the bundle's, by number")
    label: LabelOut
    bundle: BundleUsed
    parameters: ParametersOut
    code_version: str = Field(
        description="of the service: version, and first 12 digits of a SHA-256 of its source, as 0.1.0+5be1f0c2a9d3"
    )
    result_sha256: str = Field(
        description="of this answer as canonical JSON without request_id, code_version, bundle.backend, bundle.device, "
        "timing_ms and itself, hexadecimal: the same result has the same one. docs/decisions/0015-provenance.md says "
        "how to compute it",
    )
    timing_ms: TimingOut


class PrototypesOut(_Answer):
    """GET /prototypes/{cluster}?format=json."""

    cluster: int = Field(description="from 0")
    n: int = Field(description="cells drawn")
    seed: int = Field(description="of the noise; the same seed gives the same cells")
    cells: list[str] = Field(description="base64 PNG, 32×32 px")
    fidelity: Fraction = Field(
        description="share of 400 generated cells that Q put back into the cluster when the bundle was made"
    )
    diversity: float | None = Field(
        description="mean L2 distance between 16 generated cells over that between 16 real ones of the cluster, "
        "likewise; 1: as varied as real cells; null: there were fewer than 16"
    )


class PrototypeGridOut(_Answer):
    """GET /prototypes?format=json."""

    clusters: list[PrototypesOut] = Field(description="all of the bundle's; cell i of each has the same noise")


class BundleSummary(BundleIdentity):
    """One entry of GET /bundles."""

    default: bool = Field(description="whether it answers when a request names none")
    n_clusters: int = Field(description="K")
    precisions: list[Precision] = Field(
        description="that POST /analyze can answer with; only full: there is no fast network, or it is not used here"
    )


class BundlesOut(_Answer):
    """GET /bundles."""

    bundles: list[BundleSummary] = Field(description="those that can be served")
    batches: bool = Field(default=False, description="whether this service runs batches too: POST /batches")


class BundleOut(BundleSummary):
    """GET /bundles/{name}: model card, provenance, licence, metrics and checksums, as the manifest has them."""

    manifest: Manifest


class HealthOut(_Answer):
    """GET /livez and /readyz."""

    status: Literal["alive", "ready"] = Field(description="alive: /livez; ready: /readyz")
