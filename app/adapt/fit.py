"""The tiles of a laboratory → the manifest of a bundle that is adapted to it; the networks and clusters stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from app.adapt.adapted import Adapted
from app.adapt.report import write_report
from app.adapt.tiles import MAX_TILE_PIXELS, Found, Track, find_in, fit_transfer, look_at
from app.files import whole_directory
from app.pipeline.bundle.load import MANIFEST, Bundle, load_bundle
from app.pipeline.errors import InvalidBundle, InvalidParameter, UnsuitableTiles
from app.pipeline.fit.describe import describe
from app.pipeline.fit.reference_fit import ReferenceCells, fit_reference_ranges
from app.pipeline.manifest import SCHEMA_VERSION, Adaptation, Manifest
from app.pipeline.measure.table import MEASUREMENTS
from app.pipeline.presets import Appearance
from app.pipeline.quality.novelty import outlier_limits
from app.pipeline.quality.reference import fit_reference
from app.review.bundle import FIRST_VERSION, check_name, copy_files

REPORT = "report.html"
"""The report of an adaptation, in the directory of its bundle. The manifest does not name it."""
MIN_TILES = 10
"""With fewer tiles a warning is given: they show too little of how tiles of a laboratory differ."""
FEWEST_TILES = 3
"""With fewer, no bundle is written: nothing says how tiles differ."""
ALIKE_LAB = 0.02
"""Tiles are too alike if their mean lightness and colour (lαβ) differ by less than this standard deviation."""
BASIS = "{n} tiles of {name}, unlabelled; whether they are healthy, and of how many patients, nobody has stated"


def adapt(
    tiles: Sequence[Path],
    source: Bundle,
    target: Path,
    *,
    mpp: float | None,
    track: Track,
    max_pixels: int = MAX_TILE_PIXELS,
) -> Adapted:
    """Write a bundle that knows how the tiles of a laboratory look, and what is usual in them, with a report.

    Limits of cells and tiles that are unlike marrow are taken from the tiles only if the networks find them to be like
    marrow; otherwise those of the source stay, and tissue that is no marrow gets no label by being adapted to.

    Args:
        tiles: unlabelled tiles of one laboratory.
        source: a bundle that was trained, or taught.
        target: directory of the new bundle; its name is that of the bundle. One that was adapted from the same source
            is replaced, with the next version.
        mpp: µm per pixel of the tiles; None takes what each file says, or else the bundle's.
        track: wraps the tiles each of the four times that they are read, to show progress, or to stop by an exception.
        max_pixels: largest tile, in pixels.

    Raises:
        InvalidParameter: the name is taken by another bundle, or was taken meanwhile.
        InvalidBundle: the source does not say how its training tiles look, or is adapted itself.
        UnsuitableTiles: the tiles are too few, or show no two stains or no nuclei.
        PipelineError: a tile cannot be read; the text names it.
        OSError: the bundle cannot be written.
    """
    manifest = source.manifest
    version = _next_version(manifest, target)
    appearance = check_source(manifest)
    if len(tiles) < FEWEST_TILES:
        raise UnsuitableTiles(f"At least {FEWEST_TILES} tiles are needed, and {MIN_TILES} wanted; found {len(tiles)}.")
    look = look_at(tiles, source, mpp, track, max_pixels)
    before = find_in(tiles, source, mpp, track, max_pixels)
    transfer = fit_transfer(look, appearance, manifest.segmentation.stain)
    stain = manifest.segmentation.stain.model_copy(update={"transfer": transfer})
    segmentation = manifest.segmentation.model_copy(update={"stain": stain})
    recoloured = replace(source, manifest=manifest.model_copy(update={"segmentation": segmentation}))
    seen = find_in(tiles, recoloured, mpp, track, max_pixels)
    is_marrow = like_marrow(seen, manifest)
    warnings = _warnings(seen, is_marrow, manifest)
    counted = ~seen.outlier
    adapted = Manifest.model_validate(
        manifest.model_dump()
        | {
            "schema_version": SCHEMA_VERSION,
            "name": target.name,
            "version": version,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "segmentation": segmentation.model_dump(),
            "quality": fit_reference(seen.views, seen.stain_matrices).model_dump(),
            "outliers": outlier_limits([seen.surprise], seen.tile_index, manifest.outliers.components)
            if is_marrow
            else manifest.outliers,
            "reference_ranges": fit_reference_ranges(
                _reference_cells(seen, manifest), BASIS.format(n=len(tiles), name=target.name)
            ),
            "descriptions": describe(seen.measurements[counted], seen.clusters[counted], manifest.n_clusters),
            "adaptation": Adaptation(
                source=manifest.name,
                source_version=manifest.version,
                source_sha256=source.sha256,
                tiles=len(tiles),
                cells=int(counted.sum()),
                warnings=warnings,
            ).model_dump(),
        }
    )
    with whole_directory(target) as staged:
        _write(staged, source, adapted)
        # What does not load, or does not reproduce its golden pair, is never served.
        bundle = load_bundle(staged)
        after = find_in(tiles, bundle, mpp, track, max_pixels)
        result = Adapted(adapted, bundle.sha256, source, tuple(tiles), look, before, after, warnings)
        (staged / REPORT).write_bytes(write_report(result))
        if _next_version(manifest, target) != version:
            raise InvalidParameter(f"{target} was written by somebody else meanwhile; adapt again.")
    return result


def check_source(manifest: Manifest) -> Appearance:
    """Return how the training tiles of a bundle look.

    Raises:
        InvalidBundle: the bundle cannot be adapted, because it does not say so, or is adapted itself.
    """
    if manifest.appearance is None:
        raise InvalidBundle(
            f"The bundle {manifest.name} does not say how its training tiles look, so that nothing can be adapted to "
            "them; take a bundle of a later version."
        )
    if manifest.adaptation is not None:
        raise InvalidBundle(
            f"The bundle {manifest.name} is adapted itself; adapt {manifest.adaptation.source} instead."
        )
    return manifest.appearance


def like_marrow(found: Found, manifest: Manifest) -> bool:
    """Return whether half of the tiles or more are like the training tiles of a bundle, by the surprise of their cells.

    Args:
        found: in the tiles, once they look like the training tiles.
        manifest: of the bundle that was trained.
    """
    usual = manifest.outliers.tile_surprise
    if usual is None:
        return True
    like = []
    for tile in np.unique(found.tile_index):
        cells = found.surprise[found.tile_index == tile]
        like.append(cells.mean() <= usual.limit(len(cells)))
    return float(np.mean(like)) >= 0.5


def _next_version(manifest: Manifest, target: Path) -> str:
    check_name(target.name)
    if not target.exists():
        return FIRST_VERSION
    try:
        there = Manifest.model_validate_json((target / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidParameter(f"{target} exists, and is no bundle; choose another name.") from error
    if there.adaptation is None or there.files != manifest.files:
        raise InvalidParameter(f"{target} exists, and was not adapted from {manifest.name}; choose another name.")
    return str(int(there.version) + 1) if there.version.isdecimal() else FIRST_VERSION


def _write(staged: Path, source: Bundle, manifest: Manifest) -> None:
    """Fill a directory: all files but the manifest are those of the source."""
    copy_files(source.directory, manifest, staged)
    (staged / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _reference_cells(found: Found, manifest: Manifest) -> ReferenceCells:
    counted = ~found.outlier
    tiles = np.unique(found.tile_index[counted])
    return ReferenceCells(
        clusters=found.clusters[counted],
        tile_index=np.searchsorted(tiles, found.tile_index[counted]),
        n_clusters=manifest.n_clusters,
        names=tuple(measurement.name for measurement in MEASUREMENTS),
        units=tuple(measurement.unit for measurement in MEASUREMENTS),
        measurements=found.measurements[counted],
        cellularity=found.cellularity[tiles],
    )


def _warnings(found: Found, is_marrow: bool, manifest: Manifest) -> tuple[str, ...]:
    n_tiles = len(found.counts)
    warnings = []
    if not is_marrow:
        warnings.append(
            "By the features of their cells, most of these tiles are unlike marrow, also once their colours are those "
            "of the training tiles. The limits of cells and tiles that are unlike marrow stay those of "
            f"{manifest.name}, so that such tiles get no label."
        )
    if n_tiles < MIN_TILES:
        warnings.append(
            f"{n_tiles} tiles are few: they hardly show how tiles of this laboratory differ. Adapt to {MIN_TILES} or "
            "more, of several slides and days of staining."
        )
    whole = found.views.stain[np.unique(found.views.tile_index, return_index=True)[1]]
    if n_tiles > 1 and float(np.nanstd(whole[:, :3], axis=0).max()) < ALIKE_LAB:
        warnings.append(
            "The stain of these tiles is almost the same in all of them, as if they were from one slide. Limits that "
            "are taken from them may be too narrow for the next slide."
        )
    return tuple(warnings)
