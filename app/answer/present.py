"""Values of the pipeline → the values of the answer, each made when a format asks for it, and once."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic_core import to_json

from app.answer.cell_types import TypesOut, type_columns, types_out
from app.answer.measured import MeasuredColumns
from app.answer.model_card import describe_q
from app.answer.palette import cluster_color, hex_color
from app.answer.provenance import Record, code_version, environment, result_sha256
from app.answer.ranges import measurements_out, proportion_ranges, range_out, within_out
from app.answer.schemas import (
    CANDIDATES,
    NOTICE,
    AnalysisOut,
    BundleOut,
    BundleSummary,
    BundleUsed,
    ClusterOut,
    CorrectionsOut,
    GroupOut,
    LabelOut,
    MeasurementContributionOut,
    MeasurementOut,
    OutliersOut,
    ParametersOut,
    PlacementOut,
    PrototypesOut,
    QualityOut,
    SegmentationOut,
    TileOut,
    TimingOut,
    TissueOut,
    VeryLargeNucleiOut,
    VeryLargeNucleusOut,
)
from app.pipeline.bundle.load import Bundle
from app.pipeline.corrections import cells_sha256
from app.pipeline.label.decide import Label
from app.pipeline.label.reference import Placement
from app.pipeline.manifest import Manifest
from app.pipeline.measure.very_large import MIN_DIAMETER_UM, VeryLargeNucleus
from app.pipeline.networks.backend import Precision
from app.pipeline.networks.encode import rounded_features
from app.pipeline.proportions import Proportions
from app.pipeline.prototypes import prototypes
from app.pipeline.run import Analysis
from app.pipeline.tissue.classes import BACKGROUND, CLASSES, COLOURED, Composition
from app.pipeline.types import Float32Array, Float64Array, Segmentation, UInt8Array

ROUNDING = 1e-6
PNG_LEVEL = 3
"""Compression level of PNG: Pillow's own, 6, takes more than twice as long for 6% fewer bytes."""


@dataclass(frozen=True, slots=True)
class CellColumns:
    """The values of a tile's cells as every format shows them: value i of each list belongs to cell i.

    Attributes:
        centroids: x and y, px of the upload.
        bboxes: x0, y0, x1, y1, px of the upload; x1 and y1 are exclusive.
        areas_px: areas of the nuclei, px of the upload, at least 1.
        touches_border: whether the tile's border cuts the nucleus, or may do so.
        clusters: the most probable cluster, 0 … K − 1.
        probabilities: K probabilities that Q gives the cell.
        outliers: whether no cluster counts the cell.
        types: names of the cells' types, None where a cell has none; None where the bundle has no cell classifier.
        type_probabilities: those of these types, None as there.
        corrected: whether a person gave the cell its type; None where nobody gave a cell one.
    """

    centroids: list[list[float]]
    bboxes: list[list[int]]
    areas_px: list[int]
    touches_border: list[bool]
    clusters: list[int]
    probabilities: list[list[float]]
    outliers: list[bool]
    types: list[str | None] | None = None
    type_probabilities: list[float | None] | None = None
    corrected: list[bool] | None = None

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.areas_px)


@dataclass(frozen=True)
class Result:
    """One analysis on its way out. Every format is written from it, and asks only for what it shows.

    A table of cells needs no outlines, and a picture needs no JSON: each part is made when it is first asked for.

    Attributes:
        analysis: what the pipeline found in the tile.
        bundle: the bundle that found it.
        request_id: id of the request that is answered, 32 hexadecimal digits.
        n_prototypes: how many prototypes of each cluster the JSON answer holds, 0–16.
        with_measurements: whether the measurements of every cell are shown.
        with_features: whether the JSON answer holds the features of every cell; only where the bundle has features.
    """

    analysis: Analysis
    bundle: Bundle
    request_id: str
    n_prototypes: int = 0
    with_measurements: bool = True
    with_features: bool = False

    @cached_property
    def tile(self) -> TileOut:
        """The upload."""
        tile = self.analysis.tile
        return TileOut(
            width=tile.width,
            height=tile.height,
            mpp=tile.mpp,
            mpp_source=tile.mpp_source,
            sha256=tile.sha256,
            cut_nuclei=self.analysis.n_cut,
        )

    @cached_property
    def quality(self) -> QualityOut:
        """What was measured on the tile, and its flags."""
        return QualityOut.model_validate(self.analysis.quality)

    @cached_property
    def cells(self) -> CellColumns:
        """The cells, without their outlines."""
        cells, proportions = self.analysis.cells, self.analysis.proportions
        # A box is widened to whole pixels, but not because its own scaling was rounded.
        low = np.floor(cells.bboxes[:, :2] + ROUNDING)
        high = np.ceil(cells.bboxes[:, 2:] - ROUNDING)
        return CellColumns(
            centroids=cells.centroids.round(2).tolist(),
            bboxes=np.hstack([low, high]).astype(int).tolist(),
            areas_px=np.maximum(np.rint(cells.areas_px), 1).astype(int).tolist(),
            touches_border=cells.touches_border.tolist(),
            clusters=proportions.clusters.tolist(),
            probabilities=cells.cluster_probs.astype(float).round(6).clip(0, 1).tolist(),
            outliers=proportions.outlier.tolist(),
            **type_columns(self.analysis.types, self.bundle.manifest),
        )

    @cached_property
    def measured(self) -> MeasuredColumns | None:
        """The measurements of the cells; None where they were not asked for."""
        if not self.with_measurements:
            return None
        return MeasuredColumns.of(self.analysis.measurements, scale_known=self.analysis.tile.mpp is not None)

    @cached_property
    def very_large_nuclei(self) -> VeryLargeNucleiOut:
        """The nuclei that may be those of megakaryocytes."""
        analysis = self.analysis
        tissue_mm2 = analysis.tissue.area_mm2 * (1 - analysis.tissue.shares[BACKGROUND])
        return very_large_out(analysis.very_large, None if analysis.tile.mpp is None else float(tissue_mm2))

    @cached_property
    def contours(self) -> list[Float64Array]:
        """The outline of each cell: (V, 2) float64 x, y in px of the upload, to one decimal."""
        return [contour.round(1) for contour in self.analysis.cells.contours]

    @cached_property
    def outliers(self) -> OutliersOut:
        """How many of the cells no cluster counts."""
        return outliers_out(self.analysis.proportions)

    @cached_property
    def clusters(self) -> list[ClusterOut]:
        """Each cluster's share of the tile, with its prototypes where they were asked for."""
        analysis = self.analysis
        return clusters_out(analysis.proportions, analysis.label, self.bundle.manifest, self._prototypes())

    @cached_property
    def types(self) -> TypesOut:
        """Each type's share of the tile; nothing where the bundle has no cell classifier."""
        return types_out(self.analysis.types, ~self.analysis.proportions.outlier, self.bundle.manifest)

    @cached_property
    def corrections(self) -> CorrectionsOut | None:
        """How many cells have a type that a person has given, and who; None where nobody has given any."""
        given = self.analysis.corrections
        return None if given is None else CorrectionsOut(n=given.number, by=given.by)

    @cached_property
    def cells_sha256(self) -> str | None:
        """On which cells corrections of types are made; None where the bundle has no cell classifier."""
        if self.analysis.types is None:
            return None
        return cells_sha256(self.analysis.tile.sha256, self.bundle.sha256, self.analysis.cells.nuclei.bboxes)

    @cached_property
    def label(self) -> LabelOut:
        """The tile's label, and what it rests on."""
        return label_out(self.analysis.label, self.analysis.proportions, self.bundle.manifest)

    @cached_property
    def measurements(self) -> list[MeasurementOut]:
        """Every measurement over the counted cells."""
        measured, scale_known = self.analysis.measurements, self.analysis.tile.mpp is not None
        counted = measured.shown(scale_known)[~self.analysis.proportions.outlier]
        return measurements_out(counted.T, self.bundle.manifest, None if scale_known else measured.mpp)

    @cached_property
    def tissue(self) -> TissueOut:
        """What the tile consists of."""
        analysis = self.analysis
        return tissue_out(analysis.tissue, self.bundle.manifest, scale_known=analysis.tile.mpp is not None)

    @cached_property
    def segmentation(self) -> SegmentationOut:
        """What found the nuclei."""
        return segmentation_out(self.analysis.segmentation)

    @cached_property
    def bundle_used(self) -> BundleUsed:
        """Which bundle answers, and with which network."""
        return bundle_used(self.bundle, self.analysis.precision)

    @cached_property
    def parameters(self) -> ParametersOut:
        """The parameters that give the same result again."""
        corrections = self.analysis.corrections
        return ParametersOut(
            bundle=self.bundle.manifest.name,
            mpp=self.analysis.tile.requested_mpp,
            precision=self.analysis.precision,
            prototypes=self.n_prototypes,
            measurements=self.with_measurements,
            features=self.with_features,
            nuclei_sha256=self.analysis.segmentation.upload_sha256,
            corrections=None if corrections is None else {t: list(of_type) for t, of_type in corrections.cells.items()},
            reviewer=None if corrections is None else corrections.by,
        )

    @cached_property
    def timing(self) -> TimingOut:
        """How long each stage took."""
        return TimingOut.model_validate(self.analysis.timing_ms)

    @cached_property
    def answer(self) -> dict[str, Any]:
        """The members of the JSON answer as plain values, with their hash.

        All but the cells come from the schema. To make the cells from it, too, or only to check thousands of numbers
        against it, would take as long as a stage of the analysis: the tests do that.
        """
        answer = AnalysisOut(
            request_id=self.request_id,
            notice=NOTICE,
            tile=self.tile,
            quality=self.quality,
            cells=[],
            outliers=self.outliers,
            very_large_nuclei=self.very_large_nuclei,
            clusters=self.clusters,
            **self.types,
            corrections=self.corrections,
            cells_sha256=self.cells_sha256,
            measurements=self.measurements,
            tissue=self.tissue,
            label=self.label,
            segmentation=self.segmentation,
            bundle=self.bundle_used,
            parameters=self.parameters,
            code_version=code_version(),
            result_sha256="",
            timing_ms=self.timing,
        ).model_dump()
        answer["cells"] = self._cells()
        answer["result_sha256"] = result_sha256(answer)
        return answer

    @property
    def sha256(self) -> str:
        """The hash of the result; see `provenance.result_sha256`."""
        return str(self.answer["result_sha256"])

    def json(self) -> bytes:
        """Return the JSON answer: the values that were hashed, written as they are."""
        return to_json(self.answer)

    def record(self) -> Record:
        """Return what the audit log keeps of the answer."""
        return Record(
            parameters=self.parameters,
            bundle=self.bundle_used,
            code_version=code_version(),
            environment=environment(),
            result_sha256=self.sha256,
            n_cells=len(self.cells),
            corrections=self.corrections,
            label=self.label.value,
            flags=[flag.code for flag in self.quality.flags],
        )

    def _cells(self) -> list[dict[str, Any]]:
        """Return the cells as the plain values of `schemas.CellOut`."""
        columns, measured = self.cells, self.measured
        cells: list[dict[str, Any]] = [
            {
                "id": i,
                "centroid": columns.centroids[i],
                "bbox": columns.bboxes[i],
                "area_px": columns.areas_px[i],
                "contour": contour.tolist(),
                "touches_border": columns.touches_border[i],
                "cluster": columns.clusters[i],
                "probabilities": columns.probabilities[i],
                "outlier": columns.outliers[i],
            }
            for i, contour in enumerate(self.contours)
        ]
        if columns.types is not None and columns.type_probabilities is not None:
            for cell, name, probability in zip(cells, columns.types, columns.type_probabilities, strict=True):
                cell |= {"type": name, "type_probability": probability}
        for i, corrected in enumerate(columns.corrected or ()):
            if corrected:
                cells[i]["type_corrected"] = True
        if measured is not None:
            for cell, values in zip(cells, measured.by_name(), strict=True):
                cell["measurements"] = values
            for i, reasons in measured.reasons.items():
                cells[i]["not_measured"] = reasons
        if self.with_features and self.analysis.features is not None:
            for cell, features in zip(cells, base64_features(self.analysis.features), strict=True):
                cell["features"] = features
        return cells

    def _prototypes(self) -> list[UInt8Array]:
        """Return (n, 32, 32, 3) uint8 prototypes of each cluster; none where none were asked for."""
        n = self.n_prototypes
        return [
            prototypes(self.bundle, cluster, n, seed=0)
            for cluster in range(self.bundle.manifest.n_clusters if n else 0)
        ]


def png(pixels: UInt8Array, text: PngInfo | None = None) -> bytes:
    """Return a PNG of (H, W, 3) uint8 RGB, with text chunks if there are any."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=PNG_LEVEL, pnginfo=text)
    return buffer.getvalue()


def base64_pngs(cells: UInt8Array) -> list[str]:
    """Return each of (n, 32, 32, 3) uint8 RGB cells as a base64 PNG."""
    return [base64.b64encode(png(cell)).decode("ascii") for cell in cells]


def base64_features(features: Float32Array) -> list[str]:
    """Return each row of (N, F) float32 features as base64 of 16-bit floats, little endian."""
    return [base64.b64encode(row.tobytes()).decode("ascii") for row in rounded_features(features).astype("<f2")]


def outliers_out(proportions: Proportions) -> OutliersOut:
    """Return how many of the cells no cluster counts."""
    count, n_cells = int(proportions.outlier.sum()), len(proportions.outlier)
    return OutliersOut(count=count, share=count / n_cells if n_cells else None)


def clusters_out(
    proportions: Proportions, label: Label, manifest: Manifest, prototypes: Sequence[UInt8Array] = ()
) -> list[ClusterOut]:
    """Return each cluster's share.

    Args:
        proportions: the shares of the clusters.
        label: says what each cluster contributes to the score.
        manifest: the bundle's; it holds the clusters' names and the reference ranges.
        prototypes: (n, 32, 32, 3) uint8 for each cluster; none where none were asked for.
    """
    values, intervals = proportions.values, proportions.intervals
    evidence, names = label.evidence, manifest.cluster_names
    ranges = proportion_ranges(proportions, manifest)
    return [
        ClusterOut(
            cluster=k,
            name=names.of(k) if names else None,
            color=hex_color(cluster_color(k)),
            count=int(proportions.counts[k]),
            proportion=None if values is None else float(values[k]),
            interval=None if intervals is None else (float(intervals[k, 0]), float(intervals[k, 1])),
            reference=ranges[k],
            contribution=None if evidence is None else float(evidence.contributions[k]),
            description=manifest.descriptions.clusters[k] if manifest.descriptions else None,
            prototypes_url=f"prototypes/{k}?bundle={manifest.name}",
            prototypes=base64_pngs(prototypes[k]) if prototypes else None,
        )
        for k in range(manifest.n_clusters)
    ]


def tissue_out(tissue: Composition, manifest: Manifest, *, scale_known: bool) -> TissueOut:
    """Return what a tile or a slide consists of.

    Args:
        tissue: its kinds of tissue.
        manifest: the bundle's; it holds the reference range of the cellularity.
        scale_known: whether its µm per pixel are known, and so its area.
    """
    limits = manifest.reference_ranges.cellularity if manifest.reference_ranges else None
    shares: dict[str, float | None] = dict(zip(CLASSES, tissue.shares.tolist(), strict=True))
    if not tissue.is_stained:
        shares |= dict.fromkeys(COLOURED)
    return TissueOut(
        area_mm2=tissue.area_mm2 if scale_known else None,
        cellularity=tissue.cellularity,
        **shares,
        reference=range_out(limits, tissue.cellularity),
        reason=tissue.reason,
    )


def label_out(label: Label, proportions: Proportions, manifest: Manifest) -> LabelOut:
    """Return the label and what it rests on.

    Args:
        label: the label of a tile, a slide or a region.
        proportions: the shares of the clusters that it was given for.
        manifest: the bundle's, whose image-level model gave it.
    """
    evidence, model = label.evidence, manifest.image_level
    return LabelOut(
        value=label.value,
        score=evidence.score if evidence else None,
        bias=model.svm.bias,
        measurement_contributions=[
            MeasurementContributionOut.model_validate(one) for one in (evidence.measurements if evidence else ())
        ],
        probability=evidence.probability if evidence else None,
        calibrated_on=model.calibration.tiles if model.calibration else None,
        conformal_set=evidence.conformal if evidence else None,
        conformal_coverage=model.conformal.coverage if model.conformal.units else None,
        kmeans=evidence.kmeans if evidence else None,
        reference=_placement(evidence.placement) if evidence else None,
        within_reference=within_out(proportions, manifest),
        basis=model.label_basis,
        reason=label.reason,
    )


def _placement(placement: Placement) -> PlacementOut:
    x, y = placement.position.round(6).tolist()
    groups = [GroupOut.model_validate(group) for group in placement.groups]
    return PlacementOut(position=(x, y), nearest=groups[0].name, groups=groups)


def very_large_out(found: Sequence[VeryLargeNucleus], tissue_mm2: float | None) -> VeryLargeNucleiOut:
    """Return the nuclei that may be those of megakaryocytes.

    Args:
        found: candidates; their members are numbers of cells.
        tissue_mm2: area of the tile, slide or region without background, mm²; None where the scale is not known.
    """
    return VeryLargeNucleiOut(
        count=len(found),
        per_mm2=len(found) / tissue_mm2 if tissue_mm2 else None,
        min_diameter_um=MIN_DIAMETER_UM,
        nuclei=[
            VeryLargeNucleusOut(cells=nucleus.members.tolist(), equivalent_diameter_um=nucleus.diameter_um)
            for nucleus in found
        ],
        notice=CANDIDATES.format(diameter=MIN_DIAMETER_UM),
    )


def prototypes_out(bundle: Bundle, cluster: int, seed: int, cells: UInt8Array) -> PrototypesOut:
    """Return generated cells of one cluster, and how well the bundle draws it.

    Args:
        bundle: its generator drew the cells.
        cluster: 0 … K − 1.
        seed: the seed of the noise.
        cells: (n, 32, 32, 3) uint8 RGB.
    """
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
    """Return what GET /bundles lists of a bundle."""
    return BundleSummary(
        **_identity(bundle),
        default=default,
        n_clusters=bundle.manifest.n_clusters,
        precisions=list(bundle.backend.precisions),
        warnings=list(bundle.warnings),
    )


def bundle_out(bundle: Bundle, *, default: bool) -> BundleOut:
    """Return the body of GET /bundles/{name}."""
    summary = bundle_summary(bundle, default=default).model_dump()
    classifier = bundle.manifest.cell_classifier
    return BundleOut(
        **summary,
        network=describe_q(bundle.manifest),
        segmentation=segmentation_out(bundle.manifest.own_segmentation),
        types_warning=classifier.validation.warning if classifier else None,
        manifest=bundle.manifest,
    )


def segmentation_out(segmentation: Segmentation) -> SegmentationOut:
    """Return what found the nuclei."""
    return SegmentationOut.model_validate(segmentation)


def bundle_used(bundle: Bundle, precision: Precision) -> BundleUsed:
    """Return which bundle answered, and with which precision of Q."""
    calibrated = bundle.manifest.q_calibration is not None
    return BundleUsed(**_identity(bundle), precision=precision, q_calibrated=calibrated)


def _identity(bundle: Bundle) -> dict[str, Any]:
    return {
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "sha256": bundle.sha256,
        "backend": bundle.backend.name,
        "device": bundle.backend.device,
    }
