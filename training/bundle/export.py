"""A finished run → a bundle: networks, golden pair, sample tile, manifest. If a check fails, nothing is written."""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from app import __version__
from app.files import whole_directory, write_whole
from app.pipeline.bundle.load import MANIFEST, Golden, golden_maps, golden_picture, load_bundle, read_manifest
from app.pipeline.crops import from_network, seen, to_network
from app.pipeline.descriptions import Descriptions
from app.pipeline.errors import InvalidBundle
from app.pipeline.fit.describe import describe
from app.pipeline.manifest import (
    FILES,
    GENERATOR_ONNX,
    GOLDEN_CELLS,
    GOLDEN_EXPECTED,
    NAME_PATTERN,
    Q_FAST_ONNX,
    Q_ONNX,
    SAMPLE,
    SCHEMA_VERSION,
    WEIGHTS,
    Architecture,
    ClusterNames,
    FastNetwork,
    Manifest,
    segmenter_files,
)
from app.pipeline.networks.architecture import AnyQ, ClusterNet, Generator
from app.pipeline.networks.backend import Backend, Described
from app.pipeline.networks.encode import tempered
from app.pipeline.networks.onnx import OnnxBackend
from app.pipeline.networks.open import open_segmenter
from app.pipeline.networks.pytorch import TorchBackend
from app.pipeline.presets import SegmentationParams
from app.pipeline.prototypes import draw_noise, join_latent
from app.pipeline.quality.reference import fit_reference
from app.pipeline.types import Float32Array, UInt8Array
from training.bundle.fast_network import NoFastNetwork, make_fast
from training.bundle.gates import MAX_ONNX_DIFFERENCE, failed_gates
from training.bundle.onnx_export import fold_pooling, write_onnx
from training.bundle.outliers import FittedOutliers
from training.bundle.sample_tile import draw_tile
from training.cells.extract import Cells, copy_segmenter
from training.cells.tile_files import png_bytes
from training.config import Config, TrainConfig, as_dict
from training.errors import ExportError
from training.gan.checks import assign_clusters

log = logging.getLogger(__name__)

GOLDEN_TOLERANCE = 2e-3
MAPS_TOLERANCE = 0.03
"""Largest difference from the golden pair: more than another processor's rounding causes, less than a wrong weight."""
GOLDEN_PER_CLUSTER = 4
SAMPLE_CELLS = 400
"""More than a sample tile takes up."""
LIBRARIES = (
    "torch",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "numpy",
    "scikit-learn",
    "scikit-image",
    "opencv-python-headless",
)
BUNDLE_LICENCE = "Apache-2.0 for the weights; see data for the terms of what they were trained on"


@dataclass(frozen=True)
class FinishedRun:
    """What a bundle is made from.

    Attributes:
        config: the run's configuration.
        cells: the cells that the run was trained on.
        generator: G, in evaluation mode, on the CPU.
        q: the network whose head is Q, in evaluation mode, on the CPU.
        iterations: number of generator iterations done.
        checks: result of `check_model`.
        image_level: result of `fit_image_level`, with the result of `measure_calibration` as `q_calibration`.
        outliers: result of `fit_outliers` for `crops`.
        segmenter: directory that holds the network which found the nuclei, if the segmentation needs one.
    """

    config: Config
    cells: Cells
    generator: Generator
    q: AnyQ
    iterations: int
    checks: dict[str, Any]
    image_level: dict[str, Any]
    outliers: FittedOutliers
    segmenter: Path | None = None

    @property
    def crops(self) -> UInt8Array:
        """What the networks see of the N cells, (N, 32, 32, C) uint8."""
        return seen(self.cells.crops, self.config.train.crops)


def export_bundle(target: Path, run: FinishedRun, bundle_version: str, *, unfit: bool = False) -> Manifest:
    """Write models/<name>, whole or not at all.

    Args:
        target: the bundle's directory; its last part is the bundle's name. An existing bundle is replaced; the names of
            its clusters stay if it has the same weights.
        run: what to write.
        bundle_version: version of the bundle.
        unfit: write the bundle even if the run has not learned enough.

    Returns:
        The manifest of the written bundle.

    Raises:
        ExportError: `target` exists and is not a bundle, or its name cannot be a bundle's; ONNX and PyTorch differ by
            more than `MAX_ONNX_DIFFERENCE`; or the run has not learned enough (`gates.GATES`).
        InvalidBundle: the written bundle does not load, or does not reproduce its golden pair.
        OSError: it cannot be written, for example on a full disk; the error names the file.
    """
    check_target(target)
    with whole_directory(target) as staged:
        q = ClusterNet(run.q, run.outliers.surprise).eval()
        _write_networks(staged, run.generator, q)
        onnx = OnnxBackend(staged)
        latent = _balanced_latent(run.config, GOLDEN_PER_CLUSTER)
        if run.segmenter is not None and segmenter_files(run.cells.segmentation):
            copy_segmenter(run.segmenter, staged)
        _write_golden(staged, onnx, latent, run.cells.segmentation)
        write_whole(png_bytes(draw_tile(_sample_cells(run, onnx))), staged / SAMPLE)
        difference = max_difference(onnx, q, run.generator, latent, _temperature(run))
        if not difference <= MAX_ONNX_DIFFERENCE:
            raise ExportError(f"ONNX and PyTorch differ by {difference:.2g}, more than {MAX_ONNX_DIFFERENCE:.0e}.")
        manifest = build_manifest(staged, run, bundle_version, difference, _fast_network(staged, run))
        manifest = manifest.model_copy(update={"cluster_names": _names_of_the_same(target, manifest)})
        if (failures := failed_gates(manifest.metrics)) and not unfit:
            raise ExportError("The run has not learned enough to be shipped: " + "; ".join(failures) + ".")
        write_whole((manifest.model_dump_json(indent=2) + "\n").encode(), staged / MANIFEST)
        load_bundle(staged)
        _check_fallback(staged, manifest, onnx, latent)
    return manifest


def check_target(target: Path) -> None:
    """Check that a bundle may be written to a directory.

    Raises:
        ExportError: it exists and is not a bundle, or its name cannot be a bundle's.
    """
    if not re.fullmatch(NAME_PATTERN, target.name):
        raise ExportError(f"A bundle's name consists of lower-case letters, digits, - and _, found '{target.name}'.")
    if target.exists() and not (target / MANIFEST).is_file():
        raise ExportError(f"{target} exists and is not a bundle; nothing was changed.")


def _write_networks(directory: Path, generator: Generator, q: ClusterNet) -> None:
    """Write generator.onnx, q.onnx and weights.safetensors."""
    latent = torch.zeros(2, generator.n_clusters + generator.latent_size)
    write_onnx(generator, latent, directory / GENERATOR_ONNX, "latent", ["cells"])
    with torch.no_grad():
        crops = generator(latent)
    write_onnx(fold_pooling(q), crops, directory / Q_ONNX, "crops", q.outputs)
    weights = nn.ModuleDict({"generator": generator, "q": q}).state_dict()
    # In memory first: safetensors has an error of its own for a full disk, and lets no other user read its files.
    write_whole(save({name: value.contiguous() for name, value in weights.items()}), directory / WEIGHTS)


def _names_of_the_same(target: Path, manifest: Manifest) -> ClusterNames | None:
    """Return the names of the clusters in the bundle that is replaced, if its weights are the same; else None."""
    try:
        before, _ = read_manifest(target)
    except InvalidBundle:
        return None
    return before.cluster_names if before.files[WEIGHTS] == manifest.files[WEIGHTS] else None


def _fast_network(directory: Path, run: FinishedRun) -> FastNetwork | None:
    """Write q_fast.onnx and return its part of the manifest; if it fails its gate, log why and return None."""
    try:
        return make_fast(directory, run.crops, run.cells.tile_index, run.outliers.limits.threshold)
    except NoFastNetwork as error:
        log.warning("The bundle has no fast network: %s", error)
        return None


def _balanced_latent(config: Config, per_cluster: int, seed: int = 0) -> Float32Array:
    """Return inputs of G, (K · per_cluster, K + Z) float32: `per_cluster` rows [one-hot c, z] for each cluster."""
    clusters = np.repeat(np.arange(config.train.n_clusters), per_cluster)
    return join_latent(clusters, draw_noise(len(clusters), config.train.latent_size, seed), config.train.n_clusters)


def _write_golden(directory: Path, backend: Backend, latent: Float32Array, params: SegmentationParams) -> None:
    """Write the golden pair: generated cells, and what Q gives for them, and the segmenter if there is one."""
    cells = from_network(backend.generate(latent))
    found = backend.describe(to_network(cells))
    write_whole(png_bytes(golden_picture(cells)), directory / GOLDEN_CELLS)
    golden = Golden(
        latent=latent.tolist(),
        cluster_probs=found.cluster_probs.tolist(),
        surprise=found.surprise.tolist(),
        features=None if found.features is None else found.features.tolist(),
        tolerance=GOLDEN_TOLERANCE,
        maps=golden_maps(cells, open_segmenter(directory)).tolist() if segmenter_files(params) else None,
        maps_tolerance=MAPS_TOLERANCE if segmenter_files(params) else None,
    )
    write_whole(golden.model_dump_json().encode(), directory / GOLDEN_EXPECTED)


def _sample_cells(run: FinishedRun, backend: Backend) -> UInt8Array:
    """Generate (400, 32, 32, C) uint8 cells, in the proportions of the training cells, in random order."""
    train, shares = run.config.train, np.array(run.checks["shares"])
    drawn = np.random.default_rng(0).choice(train.n_clusters, SAMPLE_CELLS, p=shares / shares.sum())
    noise = draw_noise(SAMPLE_CELLS, train.latent_size, seed=1)
    return from_network(backend.generate(join_latent(drawn, noise, train.n_clusters)))


def _temperature(run: FinishedRun) -> float:
    """Return what the service will divide Q's logits by; 1 if its probabilities were not measured."""
    calibration = run.image_level.get("q_calibration")
    return float(calibration["temperature"]) if calibration else 1.0


def max_difference(
    backend: Backend, q: ClusterNet, generator: nn.Module, latent: Float32Array, temperature: float = 1.0
) -> float:
    """Return the largest difference between a backend and PyTorch, over G's cells and Q's outputs.

    Differences of cells, and of probabilities after the temperature, are absolute. The surprise is a sum over
    components, so its difference is divided by their number or, if the surprise itself is larger, by the surprise. That
    of features is divided by the largest feature, if it is above 1.

    Args:
        backend: runs the networks of the bundle.
        q: Q as it is served, in PyTorch.
        generator: G, in PyTorch.
        latent: (N, K + Z) float32 inputs of G.
        temperature: what the service divides Q's logits by.
    """
    components = q.surprise.components
    with torch.inference_mode():
        cells = generator(torch.from_numpy(latent)).numpy()
        expected = Described(*(output.numpy() for output in q(torch.from_numpy(cells))))
    found = backend.describe(cells)
    scale = np.maximum(np.abs(expected.surprise), components)
    differences = [
        np.abs(backend.generate(latent) - cells),
        np.abs(tempered(found.cluster_probs, temperature) - tempered(expected.cluster_probs, temperature)),
        np.abs(found.surprise - expected.surprise) / scale,
    ]
    if expected.features is not None and found.features is not None:
        differences.append(np.abs(found.features - expected.features) / max(np.abs(expected.features).max(), 1))
    return float(max(difference.max() for difference in differences))


def _check_fallback(directory: Path, manifest: Manifest, onnx: Backend, latent: Float32Array) -> None:
    """Raise an ExportError if the generator of weights.safetensors does not give what the ONNX file gives."""
    fallback = TorchBackend(directory, manifest)
    difference = float(np.abs(fallback.generate(latent) - onnx.generate(latent)).max())
    if not difference <= MAX_ONNX_DIFFERENCE:
        raise ExportError(f"{WEIGHTS} and {GENERATOR_ONNX} differ by {difference:.2g}.")


def build_manifest(
    directory: Path, run: FinishedRun, bundle_version: str, onnx_max_difference: float, fast: FastNetwork | None
) -> Manifest:
    """Return the manifest of the files in `directory`; the last part of its path is the bundle's name."""
    config, cells = run.config, run.cells
    files = (*FILES, *([Q_FAST_ONNX] if fast else []), *segmenter_files(cells.segmentation))
    return Manifest.model_validate(
        {
            "schema_version": SCHEMA_VERSION,
            "name": directory.name,
            "version": bundle_version,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "licence": BUNDLE_LICENCE,
            "n_clusters": config.train.n_clusters,
            "latent_size": config.train.latent_size,
            "mpp": config.data.mpp,
            "mpp_basis": config.data.mpp_basis,
            "architecture": _architecture(config.train),
            "segmentation": cells.segmentation.model_dump(),
            "appearance": cells.appearance and cells.appearance.model_dump(),
            "quality": fit_reference(cells.views, cells.stain_matrices).model_dump(),
            "descriptions": _descriptions(run),
            "image_level": run.image_level["model"],
            "reference_ranges": run.image_level["reference_ranges"],
            "outliers": run.outliers.limits.model_dump(),
            "q_calibration": run.image_level.get("q_calibration"),
            "training": _provenance(run),
            "metrics": _metrics(run, onnx_max_difference),
            "fast": fast,
            "files": {file: hashlib.sha256((directory / file).read_bytes()).hexdigest() for file in files},
        }
    )


def _architecture(config: TrainConfig) -> Architecture:
    """Return the field `architecture` of the manifest."""
    return Architecture(
        channels=config.channels,
        code_scale=config.code_scale,
        crops=config.crops,
        encoder_width=config.encoder.width if config.encoder else None,
    )


def _descriptions(run: FinishedRun) -> Descriptions:
    """Describe the clusters by the training cells that are no outliers."""
    is_counted = ~run.outliers.outlier
    clusters = assign_clusters(run.q, torch.from_numpy(to_network(run.crops[is_counted])))
    return describe(run.cells.measurements[is_counted], clusters, run.config.train.n_clusters)


def _provenance(run: FinishedRun) -> dict[str, Any]:
    """Return the field `training` of the manifest: configuration, data, versions."""
    source = {key: getattr(run.config.data, key) for key in ("name", "description", "source", "licence")}
    n_tiles = len(run.cells.tiles) - len(run.cells.empty_tiles)
    return {
        "config": as_dict(run.config),
        "data": [{**source, "tiles": n_tiles, "cells": len(run.cells)}],
        "code_version": __version__,
        "libraries": {library: version(library) for library in LIBRARIES},
        "iterations": run.iterations,
    }


def _metrics(run: FinishedRun, onnx_max_difference: float) -> dict[str, Any]:
    """Return the field `metrics` of the manifest."""
    checks = run.checks
    per_cluster = zip(checks["shares"], checks["fidelity"], checks["diversity"], strict=True)
    return {
        "loss_q": checks["loss_q"],
        "rotation_agreement": checks["rotation_agreement"],
        "clusters": [
            {"share": share, "fidelity": fidelity, "diversity": diversity} for share, fidelity, diversity in per_cluster
        ],
        "explained": checks["explained"],
        "onnx_max_difference": onnx_max_difference,
        "image_level": run.image_level["metrics"],
    }
