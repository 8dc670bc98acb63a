"""docs/results.md from what `evaluate` measured and what the bundle's manifest says; nothing is typed by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.pipeline.manifest import Manifest
from training.report.bundle import bundle
from training.report.classification import classification
from training.report.clustering import ablation, agreement, clustering
from training.report.figures import figures
from training.report.honesty import abstention, intervals, outliers
from training.report.image_label import image_label
from training.report.quality import quality
from training.report.segmentation import detection, segmentation
from training.report.slides import slides
from training.report.speed import speed
from training.report.training_speed import training_speed

SECTIONS: dict[str, Callable[[Any], str]] = {
    "detection": detection,
    "segmentation": segmentation,
    "clustering": clustering,
    "ablation": ablation,
    "agreement": agreement,
    "classification": classification,
    "image_label": image_label,
    "training_speed": training_speed,
    "figures": figures,
    "quality": quality,
    "intervals": intervals,
    "outliers": outliers,
    "abstention": abstention,
    "speed": speed,
    "slides": slides,
}
"""By what they report, in the document's order: an evaluation, or (speed, slides) what `bench` wrote."""


def render(results: dict[str, Any], manifest: Manifest) -> str:
    """The document.

    Args:
        results: what `evaluate` and `bench` wrote, by the names of `SECTIONS`; what was not measured is left out.
        manifest: of the shipped bundle.
    """
    head = "# Results\n\nWritten by `python -m training report`; every figure names the command that measured it.\n\n"
    measured = [section(results[name]) for name, section in SECTIONS.items() if name in results]
    return head + "".join(measured) + bundle(manifest)
