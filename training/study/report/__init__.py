"""docs/results.md, a file for each family of sections."""

from training.study.report.bundle import prototype_figure
from training.study.report.document import SECTIONS, render

__all__ = ["SECTIONS", "prototype_figure", "render"]
