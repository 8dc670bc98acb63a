"""Sections on the detection and the segmentation of nuclei."""

from __future__ import annotations

from typing import Any

from training.study.report.tables import table

DETECTION = """## Detection of nuclei

Data: `bm_graz`, all dots. Nuclei and dots are matched one to one within 10 px. The split is Kainz's (test: 0007_01,
0008_01, 0020_01; tune: the rest). Kainz's dots leave about a quarter of the cells out, so a nucleus beside them may be
no error; the columns "MBM" count against the complete dots of Cohen et al. 2017 on the same tiles.
Command: `python -m training evaluate detection ../shared/data/bm_graz docs/results`

What the paper leaves open in its recipe was chosen on the tune split (`docs/decisions/0001-paper-preset.md`), and
preset `default` was tuned on it (`docs/decisions/0007-default-preset.md`); only the test split is held out. Seconds are
the median over the tiles, for stains and segmentation, and were measured by the same command.
[This picture](detection-errors.jpg) shows the errors of `default` on the test tiles; it was drawn by
`python -m training evaluate errors ../shared/data/bm_graz`.

"""
DETECTION_COLUMNS = {
    "precision": ".3f",
    "recall": ".3f",
    "f1": ".3f",
    "recall_code_1": ".3f",
    "found": "d",
    "truth": "d",
    "mbm_precision": ".3f",
    "mbm_recall": ".3f",
    "mbm_f1": ".3f",
    "mbm_truth": "d",
    "seconds": ".2f",
}
SEGMENTATION = """## Segmentation of nuclei

Data: {data}; no tile is rescaled.
Command: `python -m training evaluate segmentation ../shared/data docs/results`

Figures are means over the tiles. IoU and F1 are the paper's: they count only the nuclei of which a segment covers more
than half (matched), so a nucleus that is missed costs nothing there. Dice is that of all foreground pixels, AJI that of
Kumar et al. 2017, PQ that of Kirillov et al. 2019. Seconds are the median over the tiles, for stains and segmentation,
and were measured by the same command.

**These are not held-out figures.** Preset `default` is tuned on the masks of `monuseg`; those of `consep` were scored
at the same time, though nothing was chosen by them. `paper` has the paper's numbers.
"""
SEGMENTATION_COLUMNS = {
    "iou": ".3f",
    "f1": ".3f",
    "dice": ".3f",
    "aji": ".3f",
    "pq": ".3f",
    "matched": "d",
    "found": "d",
    "truth": "d",
    "seconds": ".2f",
}


def detection(result: dict[str, Any]) -> str:
    """Return the section on what `evaluate_detection` measured."""
    rows = {(name, split): scores for name, splits in result.items() for split, scores in splits.items()}
    return DETECTION + table(("segmentation", "split"), rows, DETECTION_COLUMNS) + "\n"


def segmentation(result: dict[str, Any]) -> str:
    """Return the section on what `evaluate_segmentation` measured."""
    data, tables = [], ""
    for name, systems in result.items():
        tiles = {scores["tiles"] for scores in systems.values()}
        data.append(f"`{name}` (tiles: {', '.join(map(str, tiles))})")
        rows = {(system,): scores for system, scores in systems.items()}
        tables += f"\n### `{name}`\n\n" + table(("segmentation",), rows, SEGMENTATION_COLUMNS)
    return SEGMENTATION.format(data=", ".join(data)) + tables + "\n"
