"""A bundle and the cells that it was trained on → the next version of its manifest: what `fit` measures, fitted anew.

The networks stay as they are, so that no run is needed: only what `fit` adds to them is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from app.files import write_whole
from app.pipeline.bundle.load import MANIFEST, load_bundle
from app.pipeline.crops import seen
from app.pipeline.fit.describe import describe
from app.pipeline.manifest import SCHEMA_VERSION, Manifest
from app.pipeline.networks.encode import encode
from app.pipeline.networks.pytorch import TorchBackend
from app.pipeline.types import Int64Array
from training.bundle.outliers import fit_outliers
from training.cells.extract import Cells
from training.config import config_of
from training.errors import DataError
from training.gan.calibrate_q import measure_calibration
from training.label.image_level import fit_image_level
from training.representation.traits import explained_traits

MAX_SHARE_CHANGE = 0.01
"""Largest difference between the shares of the clusters and those in the manifest, if the cells are the same."""


def refit_bundle(
    directory: Path,
    cells: Cells,
    bundle_version: str,
    device: torch.device,
    *,
    keep_calibration: bool = False,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Manifest:
    """Fit label, ranges and Q's calibration anew, describe clusters and tiles, and write all into a bundle's manifest.

    Args:
        directory: the bundle's directory.
        cells: the cells that it was trained on, cut again from the same tiles; their labels may have changed.
        bundle_version: version of the bundle, which has to be another one, because its answers change.
        device: where Q is trained to measure its calibration.
        keep_calibration: take over the calibration that the bundle has, if it has one.
        track: wraps the folds, to show progress.

    Returns:
        The manifest that was written.

    Raises:
        InvalidBundle: the bundle does not load.
        DataError: the version is the same, or the cells are not those of the bundle.
        ConfigError: the manifest does not hold the configuration of the training.
        OSError: the manifest cannot be written.
    """
    bundle = load_bundle(directory)
    manifest = bundle.manifest
    if bundle_version == manifest.version:
        raise DataError(f"{directory.name} has version {bundle_version} already; give another one to --bundle-version.")
    config = config_of(manifest.training.config)
    crops = seen(cells.crops, manifest.architecture.crops)
    encoded = encode(crops, bundle.backend, manifest.n_clusters)
    clusters = encoded.cluster_probs.argmax(axis=1).astype(np.int64)
    _check_cells(cells, clusters, manifest)
    counted = encoded.surprise <= manifest.outliers.threshold
    label = fit_image_level(cells.only(counted), clusters[counted], manifest.n_clusters, config.fit)
    q = TorchBackend(directory, manifest).q.cpu()
    compressed = seen(cells.compressed, manifest.architecture.crops)
    tiles = fit_outliers(q, crops, cells.tile_index, compressed).limits.tile_surprise
    kept = manifest.q_calibration if keep_calibration else None
    values = manifest.model_dump() | {
        "schema_version": SCHEMA_VERSION,
        "version": bundle_version,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "outliers": manifest.outliers.model_copy(update={"tile_surprise": tiles}),
        "descriptions": describe(cells.measurements[counted], clusters[counted], manifest.n_clusters),
        "image_level": label["model"],
        "reference_ranges": label["reference_ranges"],
        "q_calibration": kept or measure_calibration(cells, config.train, q, device, track),
        "metrics": manifest.metrics.model_dump()
        | {"image_level": label["metrics"], "explained": explained_traits(crops, clusters)},
    }
    refitted = Manifest.model_validate(values)
    write_whole((refitted.model_dump_json(indent=2) + "\n").encode(), directory / MANIFEST)
    return refitted


def _check_cells(cells: Cells, clusters: Int64Array, manifest: Manifest) -> None:
    """Check that cells are those that a bundle was trained on.

    Raises:
        DataError: they were cut with other parameters, or fall into the clusters in other shares.
    """
    if cells.segmentation != manifest.segmentation:
        raise DataError(f"The cells were not cut as bundle {manifest.name} cuts them; check the options of `cells`.")
    shares = np.bincount(clusters, minlength=manifest.n_clusters) / len(clusters)
    difference = np.abs(shares - [cluster.share for cluster in manifest.metrics.clusters]).max()
    if difference > MAX_SHARE_CHANGE:
        raise DataError(
            f"The cells are not those that bundle {manifest.name} was trained on: the share of a cluster differs by "
            f"{difference:.3f}. Cut them from the tiles that it was trained on."
        )
