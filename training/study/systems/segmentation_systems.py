"""The systems that find the nuclei of a tile: every preset, and HistomicsTK's recipes for comparison."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from app.pipeline.errors import EngineUnavailable
from app.pipeline.networks.open import open_segmenter
from app.pipeline.nuclei.border import drop_cut_nuclei
from app.pipeline.nuclei.network import MapNetwork
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import LEARNED, PAPER, PRESETS, SegmentationParams
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import Nuclei, UInt8Array

System = Callable[[UInt8Array], Nuclei]


def segmentation_systems(segmenter: Path | None = None) -> dict[str, System]:
    """Return the systems to evaluate, by their names in the report.

    Args:
        segmenter: directory of a finished run of the segmenter, for the preset that needs one.

    Raises:
        EngineUnavailable: HistomicsTK is not installed.
        InvalidBundle: the run holds no network that can be opened.
    """
    try:
        from training.study.baselines import histomicstk_recipe as recipe
    except ImportError as error:
        raise EngineUnavailable("The evaluation compares with HistomicsTK, and it is not installed.") from error
    return {
        **{name: partial(by_preset, params) for name, params in PRESETS.items()},
        **(
            {}
            if segmenter is None
            else {LEARNED.preset: partial(by_preset, LEARNED, network=open_segmenter(segmenter))}
        ),
        "paper, stains by HistomicsTK": partial(by_preset, PAPER.model_copy(update={"engine": "histomicstk"})),
        "HistomicsTK, the authors' code": lambda pixels: recipe.segment_by_authors(recipe.unmix_by_recipe(pixels)),
        "HistomicsTK, its own seeds": lambda pixels: recipe.segment_by_seeds(recipe.unmix_by_recipe(pixels)),
    }


def by_preset(params: SegmentationParams, pixels: UInt8Array, network: MapNetwork | None = None) -> Nuclei:
    """Find the nuclei of a tile that become cells, as the service does with a preset."""
    return drop_cut_nuclei(segment(unmix(pixels, params.stain, params.engine), params, network))
