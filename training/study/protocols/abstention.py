"""Abstention on shifted tiles: is a label withheld before it becomes wrong? The abnormal bags are simulated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from app.pipeline.bundle.load import Bundle
from app.pipeline.label.decide import decide_label
from app.pipeline.measure.cells import medians
from app.pipeline.proportions import summarise
from app.pipeline.quality.reference import jpeg
from app.pipeline.run import analyse_stages
from app.pipeline.types import UInt8Array
from training.cells.tile_files import MAX_TILE_PIXELS, png_bytes, read_tile, tile_paths
from training.cells.tile_labels import LABELS
from training.label.simulated_bags import blast_like, draw_bag
from training.study.protocols.degrade import blur, expose, resample, stain_strength, turn_hue
from training.study.protocols.segmentation import Track

SHIFTS: dict[str, tuple[Callable[[UInt8Array], UInt8Array], ...]] = {
    "none": (lambda pixels: pixels,),
    "blur, σ 0.7, 1.2, 2 px": (blur(0.7), blur(1.2), blur(2)),
    "stain ×0.85, ×0.7, ×0.55": tuple(stain_strength(factor) for factor in (0.85, 0.7, 0.55)),
    "stain ×1.15, ×1.4, ×1.7": tuple(stain_strength(factor) for factor in (1.15, 1.4, 1.7)),
    "hue −10°, −20°, −40°": tuple(turn_hue(-degrees) for degrees in (10, 20, 40)),
    "hue +10°, +20°, +40°": tuple(turn_hue(degrees) for degrees in (10, 20, 40)),
    "exposure ×1.05, ×1.15, ×1.3": tuple(expose(gain) for gain in (1.05, 1.15, 1.3)),
    "JPEG quality 50, 25, 10": tuple(partial(jpeg, quality=quality) for quality in (50, 25, 10)),
    "scale ×0.9, ×0.75, ×0.6": tuple(resample(factor) for factor in (0.9, 0.75, 0.6)),
    "scale ×1.1, ×1.3, ×1.6": tuple(resample(factor) for factor in (1.1, 1.3, 1.6)),
}
"""Changes of a tile by the name of the shift, each weak, middling and strong."""
STRENGTHS = ("weak", "middling", "strong")
BAGS = 5
"""Bags of each label that are drawn from each tile's cells."""
SEED = 0


def evaluate_abstention(directory: Path, bundle: Bundle, track: Track = iter) -> list[dict[str, Any]]:
    """Label bags of the cells of shifted tiles, as the service would label a tile with these cells.

    A normal bag is a bootstrap of the cells of a healthy tile. In an abnormal one, blast-like cells of the same tile
    dominate, as in the bags to which the bundle's label was fitted. The flags of the shifted tile count for its bags.

    Args:
        directory: directory that holds `tiles`, all of healthy marrow.
        bundle: bundle whose label was fitted to simulated bags.
        track: wraps the tiles, to show progress.

    Returns:
        A row for each shift and strength: shift, strength and the number of bags; abstained, the share without a label;
        error, the share of wrong labels among those given (None if none was given); error_if_forced, the share of bags
        whose score has the wrong sign, among those with a score; and reasons, the share of bags whose label was
        withheld because of each flag, of "few cells", or else of the "score".

    Raises:
        DataError: there is no tile, or one cannot be decoded.
    """
    tallies: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for i, path in enumerate(track(tile_paths(directory / "tiles"))):
        pixels = read_tile(path)
        for shift, changes in SHIFTS.items():
            for strength, change in zip(STRENGTHS if len(changes) > 1 else ("–",), changes, strict=True):
                bags = _label_bags(change(pixels), bundle, np.random.default_rng((SEED, i)))
                tallies.setdefault((shift, strength), []).extend(bags)
    return [{"shift": shift, "strength": strength, **_rates(bags)} for (shift, strength), bags in tallies.items()]


def _label_bags(pixels: UInt8Array, bundle: Bundle, random: np.random.Generator) -> list[dict[str, Any]]:
    """Return the truth, the label, the sign of the score and the reasons for each bag of a tile."""
    analysis, stages = analyse_stages(png_bytes(pixels), bundle, max_pixels=MAX_TILE_PIXELS, mpp=bundle.manifest.mpp)
    flags = [flag for flag in analysis.quality.flags if flag.prevents_label]
    n = len(stages.crops)
    if n == 0:
        return [{"truth": truth, "value": "indeterminate", "sign": None, "reasons": ["no cells"]} for truth in LABELS]
    config: Any = bundle.manifest.training.config
    low, high = config["fit"]["blast_share"]
    blasts = np.flatnonzero(blast_like(stages.crops, stages.nuclei.areas_px))
    bags = []
    for truth in LABELS * BAGS:
        share = random.uniform(low, high) if truth == LABELS[1] else 0.0
        drawn = draw_bag(np.arange(n), blasts, n, share, random)
        found = summarise(analysis.cells.cluster_probs[drawn], analysis.proportions.outlier[drawn])
        model = bundle.manifest.image_level
        measured = analysis.measurements.values[drawn][~found.outlier]
        known = medians(measured, [one.measurement for one in model.measurements])
        label = decide_label(found.values, found.n_counted, model, [flag.message for flag in flags], known)
        reasons = [flag.code for flag in flags] + ["few cells"] * (found.n_counted < model.min_cells)
        withheld = label.value == "indeterminate"
        bags.append(
            {
                "truth": truth,
                "value": label.value,
                "sign": None if label.evidence is None else LABELS[int(label.evidence.score > 0)],
                "reasons": (reasons or ["score"]) if withheld else [],
            }
        )
    return bags


def _rates(bags: list[dict[str, Any]]) -> dict[str, Any]:
    given = [bag for bag in bags if bag["value"] != "indeterminate"]
    scored = [bag for bag in bags if bag["sign"] is not None]
    reasons = Counter(reason for bag in bags for reason in bag["reasons"])
    return {
        "bags": len(bags),
        "abstained": 1 - len(given) / len(bags),
        "error": _share([bag["value"] != bag["truth"] for bag in given]),
        "error_if_forced": _share([bag["sign"] != bag["truth"] for bag in scored]),
        "reasons": {reason: count / len(bags) for reason, count in reasons.most_common()},
    }


def _share(wrong: list[bool]) -> float | None:
    return sum(wrong) / len(wrong) if wrong else None
