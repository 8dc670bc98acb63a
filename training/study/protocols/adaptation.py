"""What adapting a bundle to a laboratory is worth, on tiles recoloured as if other laboratories had made them.

**The laboratories are simulated.** Half of the tiles are recoloured, and the bundle is adapted to them. How its
training tiles look is measured on the other half alone; its networks have seen all of them.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from app.adapt.adapted import Adapted
from app.adapt.fit import adapt
from app.adapt.tiles import Found, find_in, look_at
from app.pipeline.bundle.load import Bundle, load_bundle
from app.pipeline.quality.assess import HARMLESS
from training.cells.tile_files import png_bytes, read_tile, tile_paths
from training.study.protocols.outliers import OTHER_ORGANS
from training.study.protocols.recolour import LABORATORIES, Laboratory
from training.study.records import provenance

MPP = {"consep": 0.25, "crchisto": 0.55, "monuseg": 0.25, "fl_reactive": 0.46}
"""µm per pixel of the sets of other organs."""
FOREIGN_TILES = 4
"""Tiles of each set of other organs, evenly spread over it."""


def evaluate_adaptation(
    data: Path, bundle: Bundle, track: Callable[[Iterable[str]], Iterable[str]] = iter
) -> dict[str, Any]:
    """Adapt a bundle to each simulated laboratory, and compare what it finds with what it finds in the real tiles.

    Args:
        data: directory that holds bm_graz/ and, to be refused, sets of other organs.
        bundle: the bundle that is adapted.
        track: wraps the laboratories, to show progress.

    Returns:
        tiles, how many are recoloured, and reference_tiles, how many say how the training tiles look; `laboratories`:
        for each, before and after, as `_compared` returns them, its sharpening, its warnings, and foreign, the number
        of tiles of other organs and how many of them get a label after it.
    """
    paths = by_lightness(tile_paths(data / "bm_graz" / "tiles"), bundle)
    half = len(paths) // 2
    recoloured, rest = paths[:half], paths[half:]
    appearance = look_at(rest, bundle, None, iter).appearance
    source = replace(bundle, manifest=bundle.manifest.model_copy(update={"appearance": appearance}))
    truth = find_in(recoloured, source, None, iter)
    foreign = [
        (path, MPP[name])
        for name in OTHER_ORGANS
        if (data / name / "tiles").is_dir()
        for path in _spread(tile_paths(data / name / "tiles"))
    ]
    rows = {}
    for name in track(list(LABORATORIES)):
        with tempfile.TemporaryDirectory(prefix="marrowscope-") as scratch:
            rows[name] = _of_laboratory(LABORATORIES[name], recoloured, foreign, source, truth, Path(scratch))
    return {"tiles": half, "reference_tiles": len(rest), "laboratories": rows, **provenance()}


def by_lightness(paths: list[Path], bundle: Bundle) -> list[Path]:
    """Return the files of tiles in the order of the mean lightness of their tissue, so that halves differ in stain."""
    views = find_in(paths, bundle, None, iter).views
    whole = np.unique(views.tile_index, return_index=True)[1]
    return [paths[i] for i in np.argsort(views.stain[whole, 0])]


def _of_laboratory(
    laboratory: Laboratory,
    tiles: list[Path],
    foreign: list[tuple[Path, float]],
    source: Bundle,
    truth: Found,
    scratch: Path,
) -> dict[str, Any]:
    made = [_recoloured(path, laboratory, scratch / "tiles") for path in tiles]
    adapted = adapt(made, source, scratch / "adapted", mpp=None, track=iter)
    bundle = load_bundle(scratch / "adapted")
    labels: Counter[str] = Counter()
    for path, mpp in foreign:
        labels += find_in([_recoloured(path, laboratory, scratch / "foreign")], bundle, mpp, iter).labels
    return {
        "before": _compared(adapted.before, truth),
        "after": _compared(adapted.after, truth),
        "sharpening": _sharpening(adapted),
        "warnings": list(adapted.warnings),
        "foreign": {"tiles": len(foreign), "labelled": sum(labels.values()) - labels["indeterminate"]},
    }


def _sharpening(adapted: Adapted) -> float:
    transfer = adapted.manifest.segmentation.stain.transfer
    return 0.0 if transfer is None else transfer.sharpening


def _recoloured(path: Path, laboratory: Laboratory, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{path.parent.parent.name}-{path.stem}.png"
    target.write_bytes(png_bytes(laboratory.recolour(read_tile(path))))
    return target


def _compared(found: Found, truth: Found) -> dict[str, Any]:
    """Compare what is found in recoloured tiles with what was found in the same tiles as they were.

    Returns:
        flags: how many tiles have each flag that prevents a label. labelled: how many tiles have a label. cells: the
        number of counted cells over that of the tiles as they were. pooled and worst_tile: the largest difference of a
        proportion, of all tiles together and of any single tile.
    """
    shares = [counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) for counts in (found.counts, truth.counts)]
    return {
        "flags": {code: n for code, n in sorted(found.flags.items()) if code not in HARMLESS},
        "labelled": sum(found.labels.values()) - found.labels["indeterminate"],
        "cells": float(found.counts.sum() / truth.counts.sum()),
        "pooled": float(np.abs(found.proportions - truth.proportions).max()),
        "worst_tile": float(np.abs(shares[0] - shares[1]).max()),
    }


def _spread(paths: list[Path]) -> list[Path]:
    return [paths[i] for i in np.linspace(0, len(paths) - 1, min(FOREIGN_TILES, len(paths))).astype(int)]
