"""What is measured on a laboratory's tiles: how they look, and what a bundle finds in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.pipeline.bundle.load import Bundle
from app.pipeline.decode import decode
from app.pipeline.errors import PipelineError, UnsuitableTiles
from app.pipeline.geometry import rescale
from app.pipeline.presets import Appearance, StainParams, Transfer
from app.pipeline.proportions import Proportions
from app.pipeline.quality.measure import measure_focus
from app.pipeline.quality.reference import Views, measure_views, stack_views
from app.pipeline.run import analyse_stages
from app.pipeline.stain.optical_density import is_tissue
from app.pipeline.stain.transfer import (
    SHARPENING_RANGE,
    measure_appearance,
    recoloured,
    sample_tissue,
    sharpened,
)
from app.pipeline.types import Float32Array, Float64Array, UInt8Array

MAX_TILE_PIXELS = 100_000_000
"""Largest tile, in pixels."""
FOCUS_TILES = 12
"""On so many tiles, evenly spread over all, the sharpening is chosen."""
FOCUS_EDGE_PX = 800
"""Edge of the square in the middle of a tile that its sharpness is measured on, px."""
HALVINGS = 8
"""How often the range of sharpenings is halved: the last step is a 60th of it."""

Track = Callable[[Iterable[Path]], Iterable[Path]]


@dataclass(frozen=True)
class Look:
    """How T tiles look before anything is done to them.

    Attributes:
        appearance: of all tiles together.
        middles: (h, w, 3) uint8 RGB, the middle of some of the tiles, at the bundle's scale.
    """

    appearance: Appearance
    middles: tuple[UInt8Array, ...]


@dataclass(frozen=True)
class Found:
    """What a bundle finds in T tiles.

    Attributes:
        flags: how many tiles have each flag, by its code.
        labels: how many tiles have each label.
        counts: (T, K) int64, counted cells of each cluster.
        clusters: (N,) int64, of each cell, outliers included.
        outlier: (N,) bool.
        surprise: (N,) float64, how unlike the training cells each cell is.
        tile_index: (N,) int64, the tile of each cell.
        measurements: (N, M) float64 at the bundle's scale, NaN where one is missing; the columns are those of
            app.pipeline.measure.table.
        cellularity: (T,) float64, NaN where it is not known.
        stain_matrices: (T, 3, 2) float64 after normalisation, NaN where no two stains were found.
        views: measurements on the tiles, as they came, and on squares cut from them.
    """

    flags: Counter[str]
    labels: Counter[str]
    counts: np.ndarray
    clusters: np.ndarray
    outlier: np.ndarray
    surprise: Float64Array
    tile_index: np.ndarray
    measurements: Float64Array
    cellularity: Float64Array
    stain_matrices: Float64Array
    views: Views

    @property
    def proportions(self) -> Float64Array:
        """(K,) the shares of the clusters in all counted cells; NaN without any."""
        total = self.counts.sum()
        return np.asarray(self.counts.sum(axis=0) / total if total else np.full(self.counts.shape[1], np.nan))


def look_at(
    tiles: Sequence[Path], bundle: Bundle, mpp: float | None, track: Track, max_pixels: int = MAX_TILE_PIXELS
) -> Look:
    """Measure how tiles look.

    Raises:
        UnsuitableTiles: two stains cannot be distinguished in them, or they show no tissue to focus on.
        PipelineError: a tile cannot be read; the text names it.
    """
    params = bundle.manifest.segmentation.stain
    samples, focus, middles = [], [], []
    chosen = set(np.linspace(0, len(tiles) - 1, min(FOCUS_TILES, len(tiles))).astype(int).tolist())
    for i, path in enumerate(track(tiles)):
        pixels = _pixels(path, bundle, mpp, max_pixels)
        samples.append(sample_tissue(pixels, params))
        sharp = _focus(pixels, params)
        focus += [] if sharp is None else [sharp]
        if i in chosen:
            middles.append(_middle(pixels))
    appearance = measure_appearance(samples, focus, params)
    if appearance is None:
        raise UnsuitableTiles("Haematoxylin and eosin cannot be distinguished in these tiles.")
    return Look(appearance, tuple(middles))


def fit_transfer(look: Look, target: Appearance, params: StainParams) -> Transfer:
    """Return the transfer that makes tiles look like those of another appearance, and as sharp.

    Args:
        look: of the laboratory's tiles.
        target: how the training tiles look.
        params: say which pixels are background.
    """
    transfer = Transfer(source=look.appearance, target=target, sharpening=0)
    coloured = [recoloured(middle, transfer) for middle in look.middles]
    low, high = SHARPENING_RANGE
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found = [_focus(sharpened(picture, middle), params) for picture in coloured]
        known = [value for value in found if value is not None]
        if not known:
            return transfer
        low, high = (middle, high) if np.median(known) < target.focus else (low, middle)
    return transfer.model_copy(update={"sharpening": round((low + high) / 2, 3)})


def find_in(
    tiles: Sequence[Path], bundle: Bundle, mpp: float | None, track: Track, max_pixels: int = MAX_TILE_PIXELS
) -> Found:
    """Analyse tiles as a bundle does, and keep what its limits are taken from.

    Raises:
        UnsuitableTiles: no cell was found in them.
        PipelineError: a tile cannot be read; the text names it.
    """
    manifest = bundle.manifest
    kept: list[tuple[Proportions, Float64Array, float]] = []
    flags: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    surprise: list[Float32Array] = []
    matrices: list[Float64Array] = []
    rows: list[dict[str, Any]] = []
    for i, path in enumerate(track(tiles)):
        with _named(path):
            analysis, stages = analyse_stages(path.read_bytes(), bundle, max_pixels=max_pixels, mpp=mpp)
        # A tile and its label image are large, and not needed any more.
        kept.append((analysis.proportions, analysis.measurements.values, _or_nan(analysis.tissue.cellularity)))
        flags.update(flag.code for flag in analysis.quality.flags)
        labels[analysis.label.value] += 1
        surprise.append(stages.surprise)
        matrix = stages.stains.stain_matrix
        matrices.append(np.full((3, 2), np.nan) if matrix is None else matrix)
        rows += measure_views(i, stages.pixels, stages.stains, manifest.segmentation.stain)
    if not sum(map(len, surprise)):
        raise UnsuitableTiles("No nucleus was found in any of these tiles.")
    cells, measurements, cellularity = zip(*kept, strict=True)
    return Found(
        flags=flags,
        labels=labels,
        counts=np.stack([one.counts for one in cells]),
        clusters=np.concatenate([one.clusters for one in cells]),
        outlier=np.concatenate([one.outlier for one in cells]),
        surprise=np.concatenate(surprise).astype(np.float64),
        tile_index=np.repeat(np.arange(len(cells)), [len(one.clusters) for one in cells]),
        measurements=np.concatenate(measurements),
        cellularity=np.array(cellularity),
        stain_matrices=np.stack(matrices),
        views=stack_views(rows),
    )


def _pixels(path: Path, bundle: Bundle, mpp: float | None, max_pixels: int) -> UInt8Array:
    """Return a tile at the bundle's scale, (H, W, 3) uint8 RGB."""
    with _named(path):
        tile = decode(path.read_bytes(), max_pixels=max_pixels, mpp=mpp)
        factor = 1.0 if tile.mpp is None else tile.mpp / bundle.manifest.mpp
        return rescale(tile.pixels, factor, max_pixels=max_pixels)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let an error of a tile say which tile it is."""
    try:
        yield
    except PipelineError as error:
        raise type(error)(f"{path.name}: {error}") from error


def _focus(pixels: UInt8Array, params: StainParams) -> float | None:
    return measure_focus(pixels, is_tissue(pixels, params.min_magnitude))


def _middle(pixels: UInt8Array) -> UInt8Array:
    """Return the square in the middle of a tile, or all of a smaller one."""
    starts = [max(0, (edge - FOCUS_EDGE_PX) // 2) for edge in pixels.shape[:2]]
    return np.ascontiguousarray(pixels[tuple(slice(start, start + FOCUS_EDGE_PX) for start in starts)])


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value
