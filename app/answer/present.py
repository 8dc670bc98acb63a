"""Values of the pipeline → the JSON of the contract."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app.answer.code_version import code_version
from app.answer.palette import cluster_color, hex_color
from app.answer.provenance import result_sha256
from app.answer.schemas import (
    NOTICE,
    AnalysisOut,
    BundleOut,
    BundleSummary,
    BundleUsed,
    CellOut,
    ClusterOut,
    FlagOut,
    GroupOut,
    LabelOut,
    OutliersOut,
    ParametersOut,
    PlacementOut,
    PrototypesOut,
    QualityOut,
    TileOut,
    TimingOut,
)
from app.pipeline.bundle.load import Bundle
from app.pipeline.label.decide import Label
from app.pipeline.label.reference import Placement
from app.pipeline.manifest import ImageLevel, Manifest
from app.pipeline.networks.backend import Precision
from app.pipeline.proportions import Proportions
from app.pipeline.quality.assess import Flag, Quality
from app.pipeline.types import UInt8Array
from app.service import Result

ROUNDING = 1e-6
PNG_LEVEL = 3
"""Of compression: 6, Pillow's own, takes more than twice as long for 6% fewer bytes."""


def png(pixels: UInt8Array, text: PngInfo | None = None) -> bytes:
    """(H, W, 3) uint8 → PNG bytes, with text chunks if there are any."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=PNG_LEVEL, pnginfo=text)
    return buffer.getvalue()


def base64_pngs(cells: UInt8Array) -> list[str]:
    """(n, 32, 32, 3) uint8 → n base64 PNGs."""
    return [base64.b64encode(png(cell)).decode("ascii") for cell in cells]


def analysis_out(result: Result, request_id: str) -> AnalysisOut:
    """The body of POST /analyze."""
    analysis = result.analysis
    answer = AnalysisOut(
        request_id=request_id,
        notice=NOTICE,
        tile=TileOut(
            width=analysis.tile.width,
            height=analysis.tile.height,
            mpp=analysis.tile.mpp,
            sha256=analysis.tile.sha256,
            cut_nuclei=analysis.n_cut,
        ),
        quality=quality_out(analysis.quality),
        cells=cells_out(result),
        outliers=outliers_out(analysis.proportions),
        clusters=clusters_out(analysis.proportions, analysis.label, result.bundle.manifest, result.prototypes),
        label=label_out(analysis.label, result.bundle.manifest.image_level),
        bundle=bundle_used(result.bundle, analysis.precision),
        parameters=ParametersOut(
            bundle=result.bundle.manifest.name,
            mpp=analysis.tile.mpp,
            precision=analysis.precision,
            prototypes=len(result.prototypes[0]) if result.prototypes else 0,
        ),
        code_version=code_version(),
        result_sha256="",
        timing_ms=TimingOut(**{stage: round(ms, 3) for stage, ms in analysis.timing_ms.items()}),
    )
    answer.result_sha256 = result_sha256(answer)
    return answer


def quality_out(quality: Quality) -> QualityOut:
    """What was measured on a tile or slide, and its flags."""
    return QualityOut(
        focus=round(quality.focus, 4),
        stain_distance=_rounded(quality.stain_distance, 3),
        tissue_fraction=round(quality.tissue_fraction, 6),
        flags=[flag_out(flag) for flag in quality.flags],
    )


def flag_out(flag: Flag) -> FlagOut:
    """One flag."""
    value, threshold = _rounded(flag.value, 6), _rounded(flag.threshold, 6)
    return FlagOut(
        code=flag.code,
        message=flag.message,
        value=value,
        threshold=threshold,
        prevents_label=flag.prevents_label,
    )


def cells_out(result: Result) -> list[CellOut]:
    """Every cell of the tile."""
    cells, proportions = result.analysis.cells, result.analysis.proportions
    clusters, outlier = proportions.clusters.tolist(), proportions.outlier.tolist()
    # A box is widened to whole pixels, but not for the rounding of its own scaling.
    low = np.floor(cells.bboxes[:, :2] + ROUNDING)
    high = np.ceil(cells.bboxes[:, 2:] - ROUNDING)
    bboxes = np.hstack([low, high]).astype(int).tolist()
    touches = cells.touches_border.tolist()
    areas = np.maximum(np.rint(cells.areas_px), 1).astype(int).tolist()
    probs = cells.cluster_probs.astype(float).round(6).clip(0, 1).tolist()
    return [
        CellOut(
            id=i,
            centroid=centroid,
            bbox=bboxes[i],
            area_px=areas[i],
            contour=cells.contours[i].round(1).tolist(),
            touches_border=touches[i],
            cluster=clusters[i],
            probabilities=probs[i],
            outlier=outlier[i],
        )
        for i, centroid in enumerate(cells.centroids.round(2).tolist())
    ]


def outliers_out(proportions: Proportions) -> OutliersOut:
    """How many of the cells are of no cluster."""
    count, n_cells = int(proportions.outlier.sum()), len(proportions.outlier)
    return OutliersOut(count=count, share=count / n_cells if n_cells else None)


def clusters_out(
    proportions: Proportions, label: Label, manifest: Manifest, prototypes: Sequence[UInt8Array] = ()
) -> list[ClusterOut]:
    """Each cluster's part; with its prototypes, (n, 32, 32, 3) uint8, if there are any."""
    values, intervals = proportions.values, proportions.intervals
    evidence, names = label.evidence, manifest.cluster_names
    return [
        ClusterOut(
            cluster=k,
            name=names.of(k) if names else None,
            color=hex_color(cluster_color(k)),
            count=int(proportions.counts[k]),
            proportion=None if values is None else float(values[k]),
            interval=None if intervals is None else (float(intervals[k, 0]), float(intervals[k, 1])),
            contribution=None if evidence is None else float(evidence.contributions[k]),
            prototypes_url=f"/prototypes/{k}?bundle={manifest.name}",
            prototypes=base64_pngs(prototypes[k]) if prototypes else None,
        )
        for k in range(manifest.n_clusters)
    ]


def label_out(label: Label, model: ImageLevel) -> LabelOut:
    """The label, and what it rests on."""
    evidence = label.evidence
    return LabelOut(
        value=label.value,
        score=evidence.score if evidence else None,
        bias=model.svm.bias,
        probability=evidence.probability if evidence else None,
        calibrated_on=model.calibration.tiles if model.calibration else None,
        conformal_set=list(evidence.conformal) if evidence else None,
        kmeans=evidence.kmeans if evidence else None,
        reference=_placement(evidence.placement) if evidence else None,
        basis=model.label_basis,
        reason=label.reason,
    )


def _placement(placement: Placement) -> PlacementOut:
    x, y = placement.position.round(6).tolist()
    groups = [
        GroupOut(name=group.name, distance=round(group.distance, 6), farther_than=round(group.farther_than, 6))
        for group in placement.groups
    ]
    return PlacementOut(position=(x, y), nearest=groups[0].name, groups=groups)


def prototypes_out(bundle: Bundle, cluster: int, seed: int, cells: UInt8Array) -> PrototypesOut:
    """(n, 32, 32, 3) prototypes of one cluster, and how well the bundle draws it."""
    metrics = bundle.manifest.metrics.clusters[cluster]
    return PrototypesOut(
        cluster=cluster,
        n=len(cells),
        seed=seed,
        cells=base64_pngs(cells),
        fidelity=metrics.fidelity,
        diversity=metrics.diversity,
    )


def bundle_summary(bundle: Bundle, *, default: bool) -> BundleSummary:
    """One entry of GET /bundles."""
    return BundleSummary(
        **_identity(bundle),
        default=default,
        n_clusters=bundle.manifest.n_clusters,
        precisions=list(bundle.backend.precisions),
    )


def bundle_out(bundle: Bundle, *, default: bool) -> BundleOut:
    """The body of GET /bundles/{name}."""
    return BundleOut(**bundle_summary(bundle, default=default).model_dump(), manifest=bundle.manifest)


def bundle_used(bundle: Bundle, precision: Precision) -> BundleUsed:
    """Which bundle answers, and how."""
    return BundleUsed(**_identity(bundle), precision=precision)


def _identity(bundle: Bundle) -> dict[str, Any]:
    return {
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "sha256": bundle.sha256,
        "backend": bundle.backend.name,
        "device": bundle.backend.device,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
