"""The systems that find the nuclei of a tile: every preset, and HistomicsTK's recipes for comparison."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from app.pipeline.errors import EngineUnavailable
from app.pipeline.nuclei.border import drop_cut_nuclei
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import PAPER, PRESETS, SegmentationParams
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import Nuclei, UInt8Array

System = Callable[[UInt8Array], Nuclei]


def segmentation_systems() -> dict[str, System]:
    """Return the systems to evaluate, by their names in the report.

    Raises:
        EngineUnavailable: HistomicsTK is not installed.
    """
    try:
        from training.study.baselines import histomicstk_recipe as recipe
    except ImportError as error:
        raise EngineUnavailable("The evaluation compares with HistomicsTK, and it is not installed.") from error
    return {
        **{name: partial(by_preset, params) for name, params in PRESETS.items()},
        "paper, stains by HistomicsTK": partial(by_preset, PAPER.model_copy(update={"engine": "histomicstk"})),
        "HistomicsTK, the authors' code": lambda pixels: recipe.segment_by_authors(recipe.unmix_by_recipe(pixels)),
        "HistomicsTK, its own seeds": lambda pixels: recipe.segment_by_seeds(recipe.unmix_by_recipe(pixels)),
    }


def by_preset(params: SegmentationParams, pixels: UInt8Array) -> Nuclei:
    """Find the nuclei of a tile that become cells, as the service does with a preset."""
    return drop_cut_nuclei(segment(unmix(pixels, params.stain, params.engine), params))
