"""Whether a tile is good enough, and like the training tiles: measures are compared with limits, and flags raised.

`assess` judges the picture: focus, exposure, compression, tissue, stain and scale. `file_flags` repeats what the file
says and the analysis did not follow. `cell_flags` judges the cells, once they are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from app.pipeline.headers.declared_scale import UM_OF_OBJECTIVE, DeclaredScale
from app.pipeline.headers.metadata import AS_STORED, Metadata
from app.pipeline.manifest import Outliers, QualityReference, TileSurprise
from app.pipeline.presets import StainParams
from app.pipeline.proportions import Proportions
from app.pipeline.quality.measure import STAIN_FEATURES, Colours, QualityMeasures, mean_radius, measure_quality
from app.pipeline.quality.novelty import MAX_DISTANCE
from app.pipeline.types import Float32Array, Float64Array, Stain, Tile, UInt8Array

MESSAGES = {
    "blurred": "Focus is {value}, below {limit}: fine detail is missing.",
    "compressed": "JPEG's blocks stand out by {value}, above {limit}: the tile was compressed too strongly.",
    "little_tissue": "The share of tissue is {value}, below {limit}.",
    "saturated": "The share of tissue at 0 or 255 is {value}, above {limit}: the tile is over- or underexposed.",
    "no_stain": "Haematoxylin and eosin cannot be distinguished in this tile, so no nucleus was sought.",
    "not_he": "The share of stain in colours of haematoxylin and eosin is {value}, below {limit}: is this H&E?",
    "stain_out_of_range": "The stain differs from the training tiles' by {value}, above {limit}; most in {most}.",
    "mpp_unknown": "Neither the request nor the file says how many µm a pixel has: the tile was taken to be at the "
    "bundle's scale.",
    "scale_suspect": "The mean nuclear radius{over_focus} is {value} px, {side} {limit}: is the scale right?",
    "scale_conflict": "The request says {asked:g} µm per pixel, and the file {declared} ({where}): they differ by "
    "{value:.0%}, above {limit:.0%}. The request was followed.",
    "mpp_from_objective": "The file names its objective, {power:g}×, and no µm per pixel: {mpp:g} µm were taken, which "
    "scanners usually have with it. Send mpp if that is wrong.",
    "orientation_ignored": "The file asks viewers to turn or mirror the picture (orientation {orientation}). It was "
    "analysed as it is stored, and all coordinates are those of the stored pixels: a viewer that turns it shows it "
    "differently.",
    "icc_profile_ignored": "The file has a colour profile ({profile}). It was not applied: the stored numbers were "
    "taken as sRGB, so a viewer that applies it shows other colours.",
}
"""Messages of flags by code, in the order in which flags are given."""
HARMLESS = frozenset(
    {
        "mpp_unknown",
        "scale_conflict",
        "mpp_from_objective",
        "orientation_ignored",
        "icc_profile_ignored",
        "few_cells",
        "nuclei_uploaded",
        "upload_nuclei_dropped",
    }
)
"""Codes of flags that do not prevent a label."""
MAX_CONFLICT, MAX_CONFLICT_OF_OBJECTIVE = 0.05, 0.25
"""Largest difference of the request's scale from the file's, as a share of the file's. An objective tells it only
roughly: scanners differ by a tenth at the same power."""
DIFFERENTIAL_COUNT = 500
"""Fewest cells of a differential count of marrow (Lee et al. 2008, ICSH guideline)."""


@dataclass(frozen=True, slots=True)
class Flag:
    """Something that a reader of the answer should know about the tile.

    Attributes:
        code: it names the finding, for programs.
        message: it explains the finding, for people, and contains the value and the threshold.
        value: the measured value; None where nothing was measured.
        threshold: the bundle's limit of the value; None where there is none.
    """

    code: str
    message: str
    value: float | None = None
    threshold: float | None = None

    @property
    def prevents_label(self) -> bool:
        """Whether a tile with this flag gets no label."""
        return self.code not in HARMLESS


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality of a tile.

    Attributes:
        focus: energy of fine over that of coarse detail in the tissue; higher is sharper; 0 where there is none.
        stain_distance: distance of the tile's stain before normalisation from that of the training tiles, in robust
            standard deviations (root mean square over the features); None where two stains cannot be distinguished.
        tissue_fraction: share of pixels that are tissue, 0–1.
        flags: what a reader should know.
    """

    focus: float
    stain_distance: float | None
    tissue_fraction: float
    flags: tuple[Flag, ...]


def assess(tile: Tile, pixels: UInt8Array, stains: Stain, params: StainParams, reference: QualityReference) -> Quality:
    """Measure a tile, and compare it with the training tiles.

    Args:
        tile: the upload.
        pixels: (H, W, 3) uint8 RGB, the upload at the bundle's scale.
        stains: `pixels`, normalised and unmixed.
        params: says which pixels are background.
        reference: numbers of the training tiles, and limits.
    """
    measures = measure_quality(tile.pixels, pixels, stains, params)
    quality = judge(measures, reference, stained=stains.estimate is not None, mpp_known=tile.mpp is not None)
    return replace(quality, flags=quality.flags + file_flags(tile.metadata, tile.requested_mpp))


def judge(measures: QualityMeasures, reference: QualityReference, *, stained: bool, mpp_known: bool) -> Quality:
    """Compare the measures of a tile with the training tiles.

    Args:
        measures: measures of the tile.
        reference: numbers of the training tiles, and limits.
        stained: whether two stains could be distinguished.
        mpp_known: whether the request or the file gave the scale.
    """
    colours = measures.colours
    deviations = _deviations(colours, reference) if stained else None
    flags = [
        *_picture_flags(measures, reference, stained=stained),
        *_stain_flags(colours, deviations, reference, stained=stained),
        *_scale_flags(measures, reference, mpp_known=mpp_known),
    ]
    return Quality(
        focus=measures.focus or 0.0,
        stain_distance=None if deviations is None else stain_distance(deviations),
        tissue_fraction=measures.tissue_fraction,
        flags=tuple(flags),
    )


def stain_distance(deviations: Float64Array) -> float:
    """Return the root mean square of the (12,) deviations of a tile's stain."""
    return float(np.sqrt(np.square(deviations).mean()))


def he_share(colours: Colours, reference: QualityReference) -> float:
    """Return the share of the stain, 0–1, that has a colour of haematoxylin, eosin or their mixtures."""
    low, high = reference.hue_range_deg
    possible = (colours.hue_deg >= low) & (colours.hue_deg <= high) & (colours.saturation >= reference.min_saturation)
    return float(colours.density[possible].sum() / colours.density.sum())


def _deviations(colours: Colours | None, reference: QualityReference) -> Float64Array | None:
    if colours is None or colours.stain is None:
        return None
    deviations = (colours.stain - np.asarray(reference.stain_centre)) / np.asarray(reference.stain_scale)
    return np.asarray(deviations)


def _picture_flags(measures: QualityMeasures, reference: QualityReference, *, stained: bool) -> Iterator[Flag]:
    # A plain surface has no detail to be sharp.
    if stained and measures.focus is not None and measures.focus < reference.min_focus:
        yield _flag("blurred", measures.focus, reference.min_focus)
    if measures.blockiness is not None and measures.blockiness > reference.max_blockiness:
        yield _flag("compressed", measures.blockiness, reference.max_blockiness)
    if measures.tissue_fraction < reference.min_tissue_fraction:
        yield _flag("little_tissue", measures.tissue_fraction, reference.min_tissue_fraction)
    if measures.colours is not None and measures.colours.clipped > reference.max_clipped:
        yield _flag("saturated", measures.colours.clipped, reference.max_clipped)


def _stain_flags(
    colours: Colours | None, deviations: Float64Array | None, reference: QualityReference, *, stained: bool
) -> Iterator[Flag]:
    if not stained:
        yield Flag("no_stain", MESSAGES["no_stain"])
    if colours is not None and (share := he_share(colours, reference)) < reference.min_he_share:
        yield _flag("not_he", share, reference.min_he_share)
    if deviations is not None and (distance := stain_distance(deviations)) > reference.max_stain_distance:
        worst = int(np.abs(deviations).argmax())
        most = f"{STAIN_FEATURES[worst]} ({deviations[worst]:+.3g})"
        yield _flag("stain_out_of_range", distance, reference.max_stain_distance, most=most)


def _scale_flags(measures: QualityMeasures, reference: QualityReference, *, mpp_known: bool) -> Iterator[Flag]:
    if not mpp_known:
        yield Flag("mpp_unknown", MESSAGES["mpp_unknown"])
    if len(measures.radii_px) < reference.min_nuclei:
        return
    radius = mean_radius(measures.radii_px)
    judged = [("", radius, reference.nuclear_radius_range_px)]
    if measures.focus is not None and measures.focus >= reference.min_focus:
        # A wrong scale changes the size of nuclei and of details together; blasts have large nuclei, and details of the
        # usual size. Nothing follows for a blurred tile, which has lost its details, and has a flag of its own.
        judged.append((" over focus", radius / measures.focus, reference.radius_over_focus_range_px))
    for over_focus, value, (low, high) in judged:
        if not low <= value <= high:
            side, limit = ("below", low) if value < low else ("above", high)
            yield _flag("scale_suspect", value, limit, over_focus=over_focus, side=side)
            return


def _flag(code: str, value: float, threshold: float, **details: str) -> Flag:
    limit = f"the bundle's limit of {threshold:.3g}"
    return Flag(code, MESSAGES[code].format(value=f"{value:.3g}", limit=limit, **details), value, threshold)


def file_flags(metadata: Metadata, requested_mpp: float | None) -> tuple[Flag, ...]:
    """Return the flags of what a file says: a scale that is doubtful, and what was not applied to its pixels.

    Args:
        metadata: what the file says.
        requested_mpp: µm per pixel that the request gave; None if it gave none.
    """
    return (*_declared_scale_flags(metadata.scale, requested_mpp), *_not_applied_flags(metadata))


def _declared_scale_flags(declared: DeclaredScale | None, requested_mpp: float | None) -> Iterator[Flag]:
    if declared is None:
        return
    if requested_mpp is None:
        if declared.source == "objective":
            message = MESSAGES["mpp_from_objective"].format(power=UM_OF_OBJECTIVE / declared.mpp_x, mpp=declared.mpp_x)
            yield Flag("mpp_from_objective", message)
        return
    difference = max(abs(requested_mpp / mpp - 1) for mpp in (declared.mpp_x, declared.mpp_y))
    limit = MAX_CONFLICT_OF_OBJECTIVE if declared.source == "objective" else MAX_CONFLICT
    if difference > limit:
        message = MESSAGES["scale_conflict"].format(
            asked=requested_mpp, declared=declared.text, where=declared.source, value=difference, limit=limit
        )
        yield Flag("scale_conflict", message, difference, limit)


def _not_applied_flags(metadata: Metadata) -> Iterator[Flag]:
    if metadata.orientation != AS_STORED:
        message = MESSAGES["orientation_ignored"].format(orientation=metadata.orientation)
        yield Flag("orientation_ignored", message)
    if metadata.color_profile is not None:
        yield Flag("icc_profile_ignored", MESSAGES["icc_profile_ignored"].format(profile=metadata.color_profile))


def cell_flags(
    proportions: Proportions, surprise: Float32Array, outliers: Outliers, distance: float | None = None
) -> tuple[Flag, ...]:
    """Return the flags `few_cells`, `many_outliers` and `unlike_training_tiles`, if they apply to a tile.

    Args:
        proportions: proportions of the tile.
        surprise: (N,) float32, the surprise of each of its cells, outliers included.
        outliers: the bundle's limits.
        distance: of the medians of its measurements from those of the reference tiles, by `distance_from`.
    """
    flags = []
    if proportions.n_counted < DIFFERENTIAL_COUNT:
        flags.append(_few_cells(proportions))
    n_cells, n_outliers = len(proportions.outlier), int(proportions.outlier.sum())
    # Among few cells a share slightly above the limit is no evidence: it must exceed it by two standard errors.
    share = n_outliers / max(n_cells, 1)
    error = (outliers.max_share * (1 - outliers.max_share) / max(n_cells, 1)) ** 0.5
    if share > outliers.max_share + 2 * error:
        message = (
            f"{n_outliers} of {n_cells} cells ({share:.1%}) are unlike any training cell, and {outliers.max_share:.1%} "
            "is the bundle's limit: is this marrow, stained and scanned as the training tiles?"
        )
        flags.append(Flag("many_outliers", message, share, outliers.max_share))
    if n_cells and outliers.tile_surprise is not None:
        flags += _unlike(float(surprise.mean(dtype=np.float64)), n_cells, outliers.tile_surprise)
    # One code says it once; the score of the cells is the better known reason.
    if distance is not None and distance > MAX_DISTANCE and "unlike_training_tiles" not in {one.code for one in flags}:
        message = (
            "The nuclei and the tissue round them measure otherwise than in the reference tiles: their medians are off "
            f"by {distance:.2f} of half a reference range (root mean square), above {MAX_DISTANCE:g}. Is this marrow, "
            "stained and scanned as these tiles?"
        )
        flags.append(Flag("unlike_training_tiles", message, distance, MAX_DISTANCE))
    return tuple(flags)


def _unlike(mean: float, n_cells: int, usual: TileSurprise) -> Iterator[Flag]:
    """Yield `unlike_training_tiles` if the cells of a tile are, taken together, unlike those of any training tile.

    Each of the cells may be within what the training cells show, where their mean is not: the cells of another organ
    are all a little odd.
    """
    limit = usual.limit(n_cells)
    if mean > limit:
        message = (
            f"On average, the cells are unlike the training cells by {mean:.1f}, and the bundle's limit for "
            f"{n_cells} cells is {limit:.1f}: is this marrow, prepared as the training tiles?"
        )
        yield Flag("unlike_training_tiles", message, mean, limit)


def _few_cells(proportions: Proportions) -> Flag:
    n = proportions.n_counted
    message = (
        f"{n} {'cell was' if n == 1 else 'cells were'} counted; a differential count asks for {DIFFERENTIAL_COUNT}."
    )
    if proportions.intervals is not None:
        widest = float((proportions.intervals[:, 1] - proportions.intervals[:, 0]).max())
        message += f" The widest interval of a proportion spans {widest:.2f}."
    return Flag("few_cells", message, n, DIFFERENTIAL_COUNT)
