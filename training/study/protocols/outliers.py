"""Outlier rates of cells of marrow, of cells of other organs, and of crops that show no whole nucleus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from app.pipeline.bundle.load import Bundle
from app.pipeline.crops import CROP_PX, WHITE, pictures, surroundings
from app.pipeline.networks.encode import encode
from app.pipeline.run import Analysis, Stages
from app.pipeline.types import BoolArray, UInt8Array
from training.cells.tile_files import analyse_file, tile_paths
from training.representation.look import INK
from training.study.protocols.segmentation import Track

OTHER_ORGANS = {
    "consep": "colon (`consep`)",
    "crchisto": "colon (`crchisto`)",
    "fl_reactive": "lymph node (`fl_reactive`)",
    "monuseg": "seven organs (`monuseg`)",
}
TILES_PER_SET = 12
"""Tiles of each set, taken at equal intervals."""
CROPS_PER_KIND = 500
TRIES = 40
"""Number of places at which the outline of a nucleus is tried, to find one without a nucleus."""
SEED = 0


def evaluate_outliers(data: Path, bundle: Bundle, track: Track = iter) -> dict[str, Any]:
    """Measure the share of outliers among the cells of each set and among crops of each kind.

    Args:
        data: directory of the data sets. It has to hold the tiles of `bm_graz`, on which the shipped bundle was
            trained; the other sets are measured if they are there.
        bundle: bundle whose outliers are measured.
        track: wraps the tiles, to show progress.

    Returns:
        `threshold`, `training_share` and `max_share` of the bundle. `cells`: for each set, the numbers of cells and
        tiles, outliers (their share), the shares of tiles with the flags many_outliers (flagged) and
        unlike_training_tiles (unlike), and the share of tiles that get a label for all that (labelled). `crops`: for
        each kind of crop that shows no whole nucleus, the number of crops and the share of outliers.

    Raises:
        DataError: there is no tile of `bm_graz`, or one cannot be decoded.
    """
    marrow = [analyse_file(path, bundle) for path in track(tile_paths(data / "bm_graz" / "tiles"))]
    cells = {"marrow (`bm_graz`)": _rates([analysis for analysis, _ in marrow])}
    for name, title in OTHER_ORGANS.items():
        if (data / name / "tiles").is_dir():
            paths = tile_paths(data / name / "tiles")
            picked = np.linspace(0, len(paths) - 1, min(TILES_PER_SET, len(paths))).astype(int)
            cells[title] = _rates([analyse_file(path, bundle)[0] for path in track([paths[i] for i in picked])])
    crops = {name: _share(made, bundle) for name, made in not_cells([stages for _, stages in marrow])}
    return {**bundle.manifest.outliers.model_dump(), "cells": cells, "crops": crops}


def not_cells(stages: list[Stages]) -> Iterator[tuple[str, UInt8Array]]:
    """Yield crops that show no whole nucleus, in the outlines of real ones, by kind.

    Args:
        stages: analysed tiles of marrow.

    Yields:
        The name of a kind, and (N, 32, 32, C) uint8 crops of it, with as many channels as those of the tiles have. In
        the surroundings of a real cell, they take the place of its nucleus.
    """
    random = np.random.default_rng(SEED)
    real = np.concatenate([of_tile.crops for of_tile in stages])
    chosen = real[random.choice(len(real), CROPS_PER_KIND, replace=len(real) < CROPS_PER_KIND)]
    cells = pictures(chosen)
    outlines = cells.min(axis=3) < INK

    def filled(mean: tuple[float, float, float], spread: float) -> UInt8Array:
        return _inside(outlines, random.normal(mean, spread, (*outlines.shape, 3)))

    made: dict[str, UInt8Array] = {
        "tissue without a nucleus": _between_nuclei(stages, outlines, random),
        "noise in a nucleus's outline": _inside(outlines, random.integers(0, 256, (*outlines.shape, 3))),
        "noise": random.integers(0, 256, cells.shape, dtype=np.uint8),
        "pigment (brown)": filled((90, 60, 20), 25),
        "dirt (black)": filled((20, 20, 25), 12),
        "erythrocyte (plain pink)": filled((225, 110, 140), 8),
        "fat (nearly white)": filled((243, 238, 243), 4),
        "blurred cell, σ 2.5 px": np.stack(
            [np.asarray(cv2.GaussianBlur(np.ascontiguousarray(cell), (0, 0), 2.5), np.uint8) for cell in cells]
        ),
    }
    for name, alone in made.items():
        yield name, _in_place(alone, chosen[: len(alone)])


def _inside(outlines: BoolArray, values: np.ndarray) -> UInt8Array:
    inked = np.clip(np.rint(values), 0, WHITE - 1)
    return np.asarray(np.where(outlines[..., None], inked, WHITE), np.uint8)


def _in_place(made: UInt8Array, real: UInt8Array) -> UInt8Array:
    """Give (N, 32, 32, 3) crops the surroundings of (N, 32, 32, C) real ones, if these have any."""
    if real.shape[-1] == made.shape[-1]:
        return made
    field = np.where(real[..., 6:] > 0, np.uint8(WHITE), surroundings(real))
    mask = np.zeros_like(real[..., 6])
    # The field has half the scale of a crop, which therefore fills its middle.
    middle = slice(CROP_PX // 4, CROP_PX - CROP_PX // 4)
    for i, crop in enumerate(made):
        half, ink = (
            cv2.resize(picture, (CROP_PX // 2, CROP_PX // 2), interpolation=cv2.INTER_AREA)
            for picture in (crop, (crop.min(axis=2) < INK).astype(np.uint8) * np.uint8(255))
        )
        field[i, middle, middle] = np.where(ink[..., None] > 0, half, field[i, middle, middle])
        mask[i, middle, middle] = ink
    return np.concatenate([made, field, mask[..., None]], axis=3)


def _between_nuclei(stages: list[Stages], outlines: BoolArray, random: np.random.Generator) -> UInt8Array:
    """Cut nuclear outlines out of the normalised tiles, at places of tissue without a nucleus."""
    found = []
    for outline in outlines:
        tile = stages[random.integers(len(stages))]
        height, width = tile.nuclei.label_image.shape
        for _ in range(TRIES):
            y, x = random.integers(0, height - CROP_PX), random.integers(0, width - CROP_PX)
            window = slice(y, y + CROP_PX), slice(x, x + CROP_PX)
            # Most of the outline has to be tissue, not glass.
            if not tile.nuclei.label_image[window][outline].any() and tile.stains.tissue[window][outline].mean() > 0.5:
                crop = np.full((CROP_PX, CROP_PX, 3), WHITE, np.uint8)
                crop[outline] = tile.stains.normalised[window][outline]
                found.append(crop)
                break
    return np.stack(found)


def _rates(analyses: list[Analysis]) -> dict[str, float]:
    outlier = np.concatenate([analysis.proportions.outlier for analysis in analyses])
    codes = [{flag.code for flag in analysis.quality.flags} for analysis in analyses]
    return {
        "cells": len(outlier),
        "outliers": float(outlier.mean()),
        "tiles": len(analyses),
        "flagged": float(np.mean(["many_outliers" in found for found in codes])),
        "unlike": float(np.mean(["unlike_training_tiles" in found for found in codes])),
        "labelled": float(np.mean([analysis.label.value != "indeterminate" for analysis in analyses])),
    }


def _share(crops: UInt8Array, bundle: Bundle) -> dict[str, float]:
    surprise = encode(crops, bundle.backend, bundle.manifest.n_clusters, "fast").surprise
    return {"crops": len(crops), "outliers": float((surprise > bundle.manifest.outliers.threshold).mean())}
