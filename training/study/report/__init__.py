"""docs/results.md, written from what was measured; each module writes a family of sections."""

from training.study.report.document import SECTIONS, render

__all__ = ["SECTIONS", "render"]
