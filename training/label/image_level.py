"""The cells of tiles → the model of the tile's label, fitted to the user's labels or else to simulated bags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold

from app.pipeline.manifest import ImageLevel, QCalibration
from app.pipeline.reference_ranges import ReferenceRanges
from app.pipeline.types import Float64Array, Int64Array
from training.cells.extract import Cells
from training.cells.tile_labels import LABELS, MIN_PER_LABEL, TileLabels
from training.config import FitConfig
from training.console import write_text
from training.errors import DataError
from training.label.calibration import fit_calibration, fit_conformal, reliability
from training.label.descriptor import fit_standards
from training.label.models import Examples, Folds, fit_models, score_left_out, svm_scores
from training.label.reference_ranges import fit_ranges
from training.label.reference_tiles import fit_reference_tiles
from training.label.simulated_bags import simulate_bags

NAME = "image_level.json"
HEALTHY_TILES = "healthy training tiles"
SIMULATED_BAGS = "simulated abnormal bags"
SIMULATED_BASIS = (
    "Simulated. No abnormal tile was used: 'abnormal' stands for bags of real cells of the training tiles, resampled "
    "so that large, pale (open-chromatin) nuclei dominate, as blasts would. Not validated on any patient."
)
LABELLED_BASIS = (
    "Not simulated: the label rests on {n} tiles {patients}, labelled by those who trained this bundle ({normal} "
    "normal, {abnormal} abnormal). Each tile was left out of a fit{together}, and labelled by it: {right} of the {n} "
    "were given their own label. Not validated on any other patient."
)


def fit_image_level(cells: Cells, clusters: Int64Array, n_clusters: int, config: FitConfig) -> dict[str, Any]:
    """Fit the L2-SVM and k-means to the tiles' labels or, if there are none, to simulated bags.

    Args:
        cells: N real cells.
        clusters: (N,) int64, the cluster of each cell.
        n_clusters: K.
        config: C and seed; sizes and shares of the bags.

    Returns:
        `model`, the fields of `app.pipeline.manifest.ImageLevel`; `metrics`, measured on tiles or bags that were left
        out of the fit; and `reference_ranges`, the fields of `ReferenceRanges`, or None as in `fit_ranges`.

    Raises:
        DataError: without labels, the cells are of a single tile; or a measurement of the descriptor was made on no
            cell of a tile.
    """
    tiles, proportions = tile_proportions(cells, clusters, n_clusters)
    standards = fit_standards(cells, config)
    measured = np.array(
        [standards.of(cells.measurements[cells.tile_index == tile], f"tile {cells.tiles[tile]}") for tile in tiles]
    )
    if cells.labels is not None:
        labels = cells.labels.only(tiles)
        result = _fit_labelled(labels, Examples(proportions, labels.abnormal, measured), config)
    elif len(tiles) < 2:
        raise DataError("The image-level model needs the cells of at least two tiles, found one.")
    else:
        healthy = Examples(proportions, np.zeros(len(tiles), np.int64), measured)
        result = _fit_simulated(*simulate_bags(cells, clusters, n_clusters, config, standards), healthy, config)
    result["model"] |= {"descriptor": config.descriptor, "measurements": standards.as_manifest()}
    ranges = fit_ranges(cells, clusters, n_clusters)
    return {**result, "reference_ranges": None if ranges is None else ranges.model_dump(mode="json")}


def tile_proportions(cells: Cells, clusters: Int64Array, n_clusters: int) -> tuple[Int64Array, Float64Array]:
    """Return the indices of the tiles that have cells, (T,) int64, and the proportions of these tiles, (T, K)."""
    tiles = np.unique(cells.tile_index)
    counts = np.array([np.bincount(clusters[cells.tile_index == tile], minlength=n_clusters) for tile in tiles])
    return tiles, counts / counts.sum(axis=1, keepdims=True)


def _fit_labelled(labels: TileLabels, examples: Examples, config: FitConfig) -> dict[str, Any]:
    """Fit to T labelled tiles; those of the same patient are left out together."""
    n = len(labels.abnormal)
    folds = list(_folds(labels))
    figures, scores = score_left_out(examples, folds, config)
    calibration = fit_calibration(scores, labels.abnormal)
    patients = "of unknown patients" if labels.n_patients is None else f"of {labels.n_patients} patients"
    together = "" if labels.n_patients is None else " with all other tiles of the same patient"
    right = sum(figures["called"][name][name] for name in LABELS)
    basis = LABELLED_BASIS.format(n=n, patients=patients, together=together, right=right, **labels.counts())
    metrics = {
        "data": f"{n} labelled tiles {patients}, each left out of the fit once{together}, in {MIN_PER_LABEL} folds; "
        "the clusters were learned on all of them, without labels",
        **figures,
        "tiles": labels.counts(),
        "patients": labels.n_patients,
        "folds": MIN_PER_LABEL,
    }
    if calibration is not None:
        metrics["reliability"] = reliability(scores, labels.abnormal, folds)
    groups = {f"{name} training tiles": examples.proportions[labels.abnormal == i] for i, name in enumerate(LABELS)}
    model = {
        "label_basis": basis,
        **fit_models(examples, config),
        "calibration": calibration,
        "conformal": fit_conformal(examples, *_units(labels), config),
        "reference": fit_reference_tiles(groups),
    }
    return {"model": model, "metrics": metrics}


def _folds(labels: TileLabels) -> Folds:
    """Return folds that each hold tiles of both labels; tiles of the same patient are in the same fold."""
    if labels.patients is None:
        # Without shuffling, tiles whose names are neighbours, often of one slide, mostly are in the same fold.
        return StratifiedKFold(MIN_PER_LABEL).split(labels.abnormal, labels.abnormal)
    return StratifiedGroupKFold(MIN_PER_LABEL).split(labels.abnormal, labels.abnormal, labels.patients)


def _units(labels: TileLabels) -> tuple[Int64Array, str]:
    """Return what each of T tiles belongs to, (T,) int64, and the name of that: patients if known, else tiles."""
    return (np.arange(len(labels.abnormal)), "tiles") if labels.patients is None else (labels.patients, "patients")


def _fit_simulated(bags: Examples, drawn_from: Int64Array, healthy: Examples, config: FitConfig) -> dict[str, Any]:
    """Fit to B bags that were simulated from tiles.

    Args:
        bags: B bags with their labels.
        drawn_from: (B,) int64, the tile whose cells each bag was drawn from; bags of a tile are left out together.
        healthy: the T real tiles, all healthy: nothing is fitted to them, they are only scored.
        config: C and seed.
    """
    folds = GroupKFold(n_splits=min(MIN_PER_LABEL, len(healthy.proportions)))
    figures, _ = score_left_out(bags, folds.split(bags.proportions, groups=drawn_from), config)
    groups = {HEALTHY_TILES: healthy.proportions, SIMULATED_BAGS: bags.proportions[bags.abnormal == 1]}
    model = {
        "label_basis": SIMULATED_BASIS,
        **fit_models(bags, config),
        # A simulation does not show how probable an abnormal tile is.
        "calibration": None,
        "conformal": fit_conformal(bags, drawn_from, "tiles", config),
        "reference": fit_reference_tiles(groups, frozenset({SIMULATED_BAGS})),
    }
    tile_scores = svm_scores(model["svm"], healthy.descriptors)
    metrics = {
        "data": f"simulated bags, {folds.get_n_splits()} folds by tile",
        **figures,
        "training_tiles_called_normal": int((tile_scores <= 0).sum()),
        "training_tiles": len(healthy.proportions),
    }
    return {"model": model, "metrics": metrics}


def write_image_level(result: dict[str, Any], run: Path) -> None:
    """Write the result of `fit_image_level`, and `q_calibration` with it, into the directory of a run.

    Raises:
        OSError: it cannot be written.
    """
    write_text(run / NAME, json.dumps(result, indent=2, allow_nan=False) + "\n")


def remove_image_level(run: Path) -> None:
    """Remove the fitted model from a run whose networks or labels change, since it no longer fits them."""
    (run / NAME).unlink(missing_ok=True)


def read_image_level(run: Path) -> dict[str, Any]:
    """Read what `write_image_level` wrote.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = run / NAME
    again = f"make it with `python -m training fit {run}`."
    if not path.is_file():
        raise DataError(f"{path} does not exist; {again}")
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        ImageLevel.model_validate(result["model"])
        if result["q_calibration"] is not None:
            QCalibration.model_validate(result["q_calibration"])
        if result["reference_ranges"] is not None:
            ReferenceRanges.model_validate(result["reference_ranges"])
        return {key: result[key] for key in ("model", "metrics", "reference_ranges", "q_calibration")}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged; {again}") from error
