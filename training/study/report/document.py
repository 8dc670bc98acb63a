"""docs/results.md from what `evaluate` measured and what the bundle's manifest says; nothing is typed by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.pipeline.manifest import Manifest
from training.study.report.bundle import bundle
from training.study.report.classification import classification
from training.study.report.clustering import ablation, agreement, clustering
from training.study.report.figures import figures
from training.study.report.honesty import abstention, intervals, outliers
from training.study.report.image_label import image_label
from training.study.report.quality import quality
from training.study.report.segmentation import detection, segmentation
from training.study.report.slides import slides
from training.study.report.speed import speed
from training.study.report.training_speed import training_speed

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
