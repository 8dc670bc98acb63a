"""Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TITLES = {
    "any": "any flag",
    "tile": "right, tiles",
    "crop": "right, crops",
    "picture": "right, pictures",
    "f1": "F1",
    "recall_code_1": "recall, code 1",
    "iou": "IoU",
    "dice": "Dice",
    "aji": "AJI",
    "pq": "PQ",
    "seconds": "s per tile",
    "coverage_by_anchors": "by anchors",
    "coverage_of_counts": "Wilson of counts",
    "flagged": "tiles without a label for it",
    "error_if_forced": "error if forced",
}


def table(keys: tuple[str, ...], rows: Mapping[Any, dict[str, Any]], columns: dict[str, str]) -> str:
    """A Markdown table, a row by its keys; a figure that was not measured is a dash."""
    lines = [
        "| " + " | ".join([*keys, *(TITLES.get(column, column) for column in columns)]) + " |",
        "|---" * (len(keys) + len(columns)) + "|",
    ]
    for key, scores in rows.items():
        figures = [format(scores[column], spec) if column in scores else "–" for column, spec in columns.items()]
        lines.append("| " + " | ".join([*key, *figures]) + " |")
    return "\n".join(lines) + "\n"
