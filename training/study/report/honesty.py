"""Sections on intervals, outliers and abstention."""

from __future__ import annotations

from typing import Any

from training.study.report.tables import table

INTERVALS = """## Intervals of proportions

Data: the cells of `bm_graz`, as bundle `{bundle}` sees them. Measured {date}.
Command: `python -m training evaluate intervals ../shared/data/bm_graz docs/results`

Simulated tiles: cells drawn from the real ones with replacement, so that the proportions of what they are drawn from
are known; {draws} tiles of each size. Coverage: the share of tiles whose intervals hold all true proportions at once;
wanted: 0.93–0.97 for {confidence:.0%}. A cell's true cluster is not known: in `coverage` it is drawn by Q's
probabilities, in `by anchors` it is the cluster that Q was taught for this cell. For comparison, 95% Wilson intervals
of the counts, each by itself, which know nothing of Q's doubt: they close in on the counts, not on the proportions.
Width: mean of the widest interval.

"""
OUTLIERS = """## Outlier cells

Bundle `{bundle}`, measured {date}. Command: `python -m training evaluate outliers ../shared/data docs/results`

A cell is an outlier where its surprise is above {threshold:.1f}: above that of {share:.0%} of the training cells, each
scored without its own tile. A tile with more than {max_share:.1%} of them, beyond two standard errors, gets no label.
The marrow is what the bundle was trained on, so its share is lower than that; of marrow from another laboratory
nothing is known. Every set is segmented by the bundle, as if it were marrow at its scale.

"""
NOT_CELLS = """
What is no whole nucleus, in the outlines of real ones; all but the first and the last are drawn:

"""
ABSTENTION = """## Abstention

Data: the cells of `bm_graz`, as bundle `{bundle}` sees them. **Simulated**: an abnormal bag holds the cells of a
healthy tile, resampled so that large, pale nuclei dominate; each tile gives five bags of each label. Measured {date}.
Command: `python -m training evaluate abstention ../shared/data/bm_graz docs/results`

Tiles are shifted, analysed, and their bags labelled. Abstained: the share without a label. Error: the share of wrong
labels among those given; if forced: if the sign of the score had to be taken for all. The bundle was trained on
these tiles as they are without a shift.

"""


def intervals(result: dict[str, Any]) -> str:
    """Of what `evaluate_intervals` measured."""
    rows = {(row["population"], f"{row['cells']}"): row for row in result["rows"]}
    first = result["rows"][0]
    text = INTERVALS.format(draws=first["draws"], confidence=first["confidence"], **result)
    columns = {"coverage": ".3f", "coverage_by_anchors": ".3f", "coverage_of_counts": ".3f", "width": ".3f"}
    return text + table(("cells are drawn from", "cells"), rows, columns) + "\n"


def outliers(result: dict[str, Any]) -> str:
    """Of what `evaluate_outliers` measured."""
    text = OUTLIERS.format(share=1 - result["training_share"], **result)
    cells = {(name,): found for name, found in result["cells"].items()}
    text += table(("cells of",), cells, {"cells": "d", "outliers": ".3f", "tiles": "d", "flagged": ".2f"})
    crops = {(name,): found for name, found in result["crops"].items()}
    return text + NOT_CELLS + table(("crops of",), crops, {"crops": "d", "outliers": ".3f"}) + "\n"


def abstention(result: dict[str, Any]) -> str:
    """Of what `evaluate_abstention` measured."""
    rows = {
        (row["shift"], row["strength"]): {
            **{name: value for name, value in row.items() if value is not None},
            "reasons": ", ".join(f"{reason} {share:.0%}" for reason, share in row["reasons"].items()) or "–",
        }
        for row in result["rows"]
    }
    columns = {"bags": "d", "abstained": ".3f", "error": ".3f", "error_if_forced": ".3f", "reasons": ""}
    return ABSTENTION.format(**result) + table(("shift", "strength"), rows, columns) + "\n"
