"""The systems that find the nuclei of a tile: every preset, and HistomicsTK's recipes for comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from app.pipeline.errors import EngineUnavailable
from app.pipeline.networks.open import open_segmenter
from app.pipeline.nuclei.border import drop_cut_nuclei
from app.pipeline.nuclei.network import MapNetwork
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import LEARNED, PAPER, PRESETS, SegmentationParams
from app.pipeline.stain.unmix import unmix
from app.pipeline.types import Nuclei, UInt8Array
from training.segmenter.lessons import TILES

System = Callable[[UInt8Array], Nuclei]
PAPER_BY_HISTOMICSTK = "paper, stains by HistomicsTK"
BY_AUTHORS = "HistomicsTK, the authors' code"
BY_SEEDS = "HistomicsTK, its own seeds"
RIVALS = (PAPER_BY_HISTOMICSTK, BY_AUTHORS, BY_SEEDS)
"""Names of the systems that need HistomicsTK."""


@dataclass(frozen=True)
class SeenTiles:
    """The tiles that a run of the segmenter has seen, by the SHA-256 of their files; it read no annotation of them.

    Attributes:
        learned_from: hex digests of the tiles that it learned from.
        checked_on: hex digests of the tiles that decided when it stopped.
    """

    learned_from: frozenset[str]
    checked_on: frozenset[str]

    @classmethod
    def of_run(cls, run: Path) -> SeenTiles | None:
        """Read which tiles a run has seen, or return None where the directory does not record them."""
        if not (run / TILES).is_file():
            return None
        with np.load(run / TILES, allow_pickle=False) as stored:
            digests, checked = stored["sha256"], stored["held_out"]
        return cls(frozenset(digests[~checked].tolist()), frozenset(digests[checked].tolist()))


class LearnedSystem:
    """Preset `learned` with the network of a run.

    Args:
        run: directory of a finished run of the segmenter, or of a bundle.

    Attributes:
        run: that directory.
        seen: the tiles that the network has seen, or None where the directory does not record them.

    Raises:
        InvalidBundle: the directory holds no network that can be opened.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.seen = SeenTiles.of_run(run)
        self._network = open_segmenter(run)

    def __call__(self, pixels: UInt8Array) -> Nuclei:
        """Find the nuclei of a tile that become cells."""
        return by_preset(LEARNED, pixels, self._network)


def preset_systems(segmenter: Path | None = None) -> dict[str, System]:
    """Return every preset, by its name.

    Args:
        segmenter: directory of a finished run of the segmenter, for the preset that needs one; without it, that preset
            is left out.

    Raises:
        InvalidBundle: the run holds no network that can be opened.
    """
    presets: dict[str, System] = {name: partial(by_preset, params) for name, params in PRESETS.items()}
    return presets if segmenter is None else {**presets, LEARNED.preset: LearnedSystem(segmenter)}


def segmentation_systems(segmenter: Path | None = None) -> dict[str, System]:
    """Return the systems to evaluate, by their names in the report: the presets, then RIVALS.

    Args:
        segmenter: see `preset_systems`.

    Raises:
        EngineUnavailable: HistomicsTK is not installed.
        InvalidBundle: the run holds no network that can be opened.
    """
    try:
        from training.study.baselines import histomicstk_recipe as recipe
    except ImportError as error:
        raise EngineUnavailable("The evaluation compares with HistomicsTK, and it is not installed.") from error
    return {
        **preset_systems(segmenter),
        PAPER_BY_HISTOMICSTK: partial(by_preset, PAPER.model_copy(update={"engine": "histomicstk"})),
        BY_AUTHORS: lambda pixels: recipe.segment_by_authors(recipe.unmix_by_recipe(pixels)),
        BY_SEEDS: lambda pixels: recipe.segment_by_seeds(recipe.unmix_by_recipe(pixels)),
    }


def by_preset(params: SegmentationParams, pixels: UInt8Array, network: MapNetwork | None = None) -> Nuclei:
    """Find the nuclei of a tile that become cells, as the service does with a preset."""
    return drop_cut_nuclei(segment(unmix(pixels, params.stain, params.engine), params, network))
