"""docs/results.md, from what `evaluate` measured and from the bundle's manifest; no figure is typed by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.pipeline.manifest import Manifest
from training.study.report.bundle import bundle
from training.study.report.features import classification, few_labels, site
from training.study.report.figures import figures
from training.study.report.paper_tables import ablation, agreement, clustering, image_label, stability
from training.study.report.prototypes import prototypes
from training.study.report.segmentation import detection, missed, segmentation, sizes
from training.study.report.speed import slides, speed, training_speed
from training.study.report.teach import teach
from training.study.report.tissue import tissue
from training.study.report.uncertainty import abstention, adaptation, intervals, novelty, outliers, quality

SECTIONS: dict[str, Callable[[Any], str]] = {
    "detection": detection,
    "segmentation": segmentation,
    "missed": missed,
    "sizes": sizes,
    "clustering": clustering,
    "ablation": ablation,
    "agreement": agreement,
    "stability": stability,
    "classification": classification,
    "few_labels": few_labels,
    "teach": teach,
    "site": site,
    "image_label": image_label,
    "training_speed": training_speed,
    "figures": figures,
    "prototypes": prototypes,
    "quality": quality,
    "intervals": intervals,
    "outliers": outliers,
    "abstention": abstention,
    "novelty": novelty,
    "adaptation": adaptation,
    "tissue": tissue,
    "speed": speed,
    "slides": slides,
}
"""The function that writes each section, in the document's order, by the name of its results: those of an evaluation
or, for speed and slides, those of `bench`."""


def render(results: dict[str, Any], manifest: Manifest) -> str:
    """Return the document.

    Args:
        results: what `evaluate` and `bench` wrote, by the names of `SECTIONS`; a section without results is left out.
        manifest: manifest of the shipped bundle.
    """
    head = "# Results\n\nWritten by `python -m training report`; every figure names the command that measured it.\n\n"
    measured = [section(results[name]) for name, section in SECTIONS.items() if name in results]
    return head + "".join(measured) + bundle(manifest)
